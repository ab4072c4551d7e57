"""What every test shares: which optional parts are here, and what a missing one means.

A machine with only Python runs everything but the tests marked for PostgreSQL, Kubo, anvil, geth, PrusaSlicer,
libfaketime, Chromium or the log programs of others. The end of a run names each missing part and how to get it; with
PLATEMARK_REQUIRE_ALL=1 a skip fails the run.
"""

import gc
import os
import shutil
import sys
from collections import defaultdict
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
from hypothesis import settings
from xdist.scheduler import LoadScopeScheduling

from browser import chromium_program
from kubo_process import ipfs_program
from log_programs import programs_folder

ROOT: Final = Path(__file__).resolve().parent.parent

PARTS: Final = {
    "postgresql": "set PLATEMARK_TEST_POSTGRESQL_URL=postgresql+psycopg://user:password@host/database",
    "kubo": "(cd scripts/servers && go build -o ../../.tools/ipfs github.com/ipfs/kubo/cmd/ipfs), "
    "or set PLATEMARK_TEST_IPFS_PROGRAM to Kubo's ipfs",
    "anvil": "run `npm ci --ignore-scripts` in contracts/, or set PLATEMARK_TEST_ANVIL to foundry's anvil",
    "geth": "(cd scripts/servers && go build -o ../../.tools/geth github.com/ethereum/go-ethereum/cmd/geth), "
    "or set PLATEMARK_TEST_GETH to go-ethereum's geth",
    "forge": "run `npm ci --ignore-scripts` in contracts/",
    "prusaslicer": "install PrusaSlicer, on Debian: apt-get install --no-install-recommends prusa-slicer",
    "faketime": "install libfaketime, on Debian: apt-get install --no-install-recommends faketime",
    "chromium": "install Chromium, on Debian: apt-get install --no-install-recommends chromium, "
    "or set PLATEMARK_TEST_CHROMIUM to it",
    "interop": "(cd tests/interop/logcheck && go build -o ../../../.tools/ . tool), "
    "or set PLATEMARK_TEST_LOG_PROGRAMS to a folder of these programs; and install OpenSSH's client for its agent",
}

TOGETHER: Final = {
    "the life of a design": {
        f"tests/e2e/test_{name}.py"
        for name in (
            "attacks",
            "audit_without_a_gateway",
            "each_step_fails",
            "lies",
            "refusals",
            "stranger_settles",
        )
    },
    "a chain and a gateway": {f"tests/cli/test_{name}.py" for name in ("faucet", "interrupted", "outputs", "scripts")},
    **{
        file: {file}
        for file in (
            "tests/e2e/test_demo.py",
            "tests/e2e/test_part_page.py",
            "tests/e2e/test_privacy.py",
            "tests/e2e/test_sales_and_moves.py",
            "tests/integration/test_contracts_eth_tester.py",
            "tests/integration/test_embedded_chain.py",
            "tests/integration/test_endpoints.py",
            "tests/integration/test_indexer.py",
            "tests/integration/test_outbox.py",
            "tests/integration/test_real_clients.py",
            "tests/integration/test_serving.py",
            "tests/integration/test_terms_are_held.py",
            "tests/races/test_sending_kills.py",
            "tests/unit/auditor/test_compiled.py",
            "tests/unit/gateway/blobs/test_kubo.py",
            "tests/unit/layers/test_layers.py",
        )
    },
}
"""Files whose tests share a fixture that takes long to make, by what they share."""

# How long an example takes says nothing: a busy machine is no failure.
settings.register_profile("platemark", deadline=None)
settings.load_profile("platemark")


def anvil_program() -> str | None:
    """Return foundry's anvil, where there is one."""
    named = os.environ.get("PLATEMARK_TEST_ANVIL")
    local = ROOT / "contracts" / "node_modules" / ".bin" / "anvil"
    return named or (str(local) if local.exists() else shutil.which("anvil"))


def geth_program() -> str | None:
    """Return go-ethereum's geth, where there is one."""
    built = ROOT / ".tools" / "geth"
    return os.environ.get("PLATEMARK_TEST_GETH") or (str(built) if built.exists() else shutil.which("geth"))


def faketime_library() -> Path | None:
    """Return libfaketime for programs with threads, where there is one."""
    return next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)


def _missing() -> set[str]:
    present = {
        "postgresql": "PLATEMARK_TEST_POSTGRESQL_URL" in os.environ,
        "kubo": ipfs_program() is not None,
        "anvil": anvil_program() is not None,
        "geth": geth_program() is not None,
        "forge": (ROOT / "contracts" / "node_modules" / ".bin" / "forge").exists(),
        "prusaslicer": shutil.which("prusa-slicer") is not None,
        "faketime": faketime_library() is not None,
        "chromium": chromium_program() is not None,
        "interop": programs_folder() is not None,
    }
    return {part for part, here in present.items() if not here}


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Skip what needs a part that is not here, with a reason that says how to get it; begin with the slow ones."""
    missing = _missing()
    for item in items:
        for part in sorted(missing & {mark.name for mark in item.iter_markers()}):
            item.add_marker(pytest.mark.skip(reason=f"needs {part}: {PARTS[part]}"))
    yield
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Keep what was imported and collected out of garbage collections, each of which would walk through all of it."""
    gc.collect()
    gc.freeze()


class _Together(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """Hands out tests one by one, but those to one process that share what takes long to make."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((name for name, files in TOGETHER.items() if file in files), nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Together | None:
    """Let `--dist=load` keep together what belongs together."""
    return _Together(config, log) if config.getoption("dist") == "load" else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name each reason for skipping once, with the number of tests."""
    reasons: dict[str, int] = defaultdict(int)
    for report in terminalreporter.stats.get("skipped", []):
        reasons[str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)] += 1
    if reasons:
        terminalreporter.section("not run here, and how to get it")
        for reason, count in sorted(reasons.items()):
            terminalreporter.line(f"{count:4d}  {reason.removeprefix('Skipped: ')}")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that must be complete if anything was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if isinstance(reporter, pytest.TerminalReporter) else []
    if os.environ.get("PLATEMARK_REQUIRE_ALL") == "1" and skipped and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(autouse=True)
def _plain_log_lines() -> None:
    """Write log lines without colours and pictures of tracebacks, which take a second each."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])


@pytest.fixture(scope="session", autouse=True)
def _cheap_passphrases() -> Generator[None]:
    """Stretch the passphrases of keys, kits and vaults that tests make less: each use of one takes half a second."""
    from platemark.designer.registering import Registrar
    from platemark.protocol.recovery_kit import LOWEST_COST
    from platemark.sdk import keystore
    from platemark_gateway.vault.files import FileVault

    cheap: dict[Any, dict[str, Any]] = {
        vars(FileVault)["create"].__func__: {"scrypt_n": 1 << 10},
        keystore.KeyStore.__init__: {"rounds": 1 << 10},
        keystore.encrypt: {"rounds": 1 << 10},
        keystore.encrypt_secret: {"rounds": 1 << 10},
        Registrar.__init__: {"kit_cost": LOWEST_COST},
    }
    with pytest.MonkeyPatch.context() as patch:
        for stretches, costs in cheap.items():
            patch.setattr(stretches, "__kwdefaults__", (stretches.__kwdefaults__ or {}) | costs)
        yield


@pytest.fixture(scope="session", autouse=True)
def _statements_compile_once() -> Generator[None]:
    """Let all databases of a kind share what SQLAlchemy has compiled: a fifth of a test's time is spent on it."""
    from sqlalchemy.engine import Dialect
    from sqlalchemy.ext.asyncio import AsyncEngine

    from platemark_gateway.db.engine import create_engine as original

    shared: dict[type[Dialect], Any] = {}

    with pytest.MonkeyPatch.context() as patch:

        def create_engine(url: str, *, pool_size: int = 8) -> AsyncEngine:
            engine = original(url, pool_size=pool_size)
            kind = type(engine.sync_engine.dialect)
            if kind not in shared:
                shared[kind] = engine.sync_engine._compiled_cache
                # The cache's keys hold the dialect: one is as good as another of its kind.
                patch.setattr(kind, "__hash__", lambda dialect: hash(type(dialect)), raising=False)
                patch.setattr(kind, "__eq__", lambda dialect, other: type(dialect) is type(other), raising=False)
            engine.sync_engine._compiled_cache = shared[kind]
            return engine

        patch.setattr("platemark_gateway.db.session.create_engine", create_engine)
        yield


@pytest.fixture(scope="session", autouse=True)
def _programs_import_once() -> Generator[None]:
    """Fork the gateway's programs from one that has imported what they need, where the system can give them to us."""
    if sys.platform != "linux":
        yield
        return
    from forked_programs import forked_programs

    with forked_programs():
        yield


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run asynchronous tests on asyncio, which SQLAlchemy and uvicorn use."""
    return "asyncio"
