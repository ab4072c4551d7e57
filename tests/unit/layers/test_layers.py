"""The import layers hold, and a planted violation of each kind is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

VIOLATIONS = {
    "clients never import the gateway": ("clients/platemark/sdk/clock.py", "import platemark_gateway.clock"),
    "the gateway takes only formats and checks": (
        "service/platemark_gateway/designs/service.py",
        "import platemark.sdk.clock",
    ),
    "formats and checks are pure": ("clients/platemark/protocol/cid.py", "import os"),
    "layers of platemark": ("clients/platemark/agent/job.py", "import platemark.auditor.render"),
    "layers of the gateway": ("service/platemark_gateway/db/engine.py", "import platemark_gateway.main"),
    "slices see ports, not adapters": ("service/platemark_gateway/prints/service.py", "import ipfshttpclient"),
    "the repository of prints belongs to it": (
        "service/platemark_gateway/settlement/service.py",
        "import platemark_gateway.prints.repository",
    ),
    "only the embedded chain imports eth-tester": ("service/platemark_gateway/tokens/service.py", "import eth_tester"),
}


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join(str(folder / name) for name in ("clients", "service"))
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Plant one violation of each kind in a copy of the sources and return what the linter says."""
    folder = tmp_path_factory.mktemp("sources")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("clients", "service"):
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / ".importlinter", folder)
    for path, line in VIOLATIONS.values():
        file = folder / path
        file.write_text(f"{file.read_text()}\n{line}\n")
    done = lint(folder)
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def test_layers_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("contract", VIOLATIONS)
def test_planted_violation_is_found(planted: str, contract: str) -> None:
    assert f"{contract} BROKEN" in planted


def test_a_gateway_carries_no_chain_machine() -> None:
    """Only the embedded chain's own process loads the machine that executes contracts: it is large and slow to load."""
    loaded = "import sys, platemark_gateway.serving; print(sorted({'eth', 'eth_tester', 'web3'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, timeout=240)
    assert done.stdout.strip() == "[]"
