"""tests/corpus/tokens.json, which tests without forge use, is what forge compiles."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from chain_stack import ROOT

TOKENS = json.loads((ROOT / "tests/corpus/tokens.json").read_text(encoding="utf-8"))


@pytest.mark.forge
@pytest.mark.slow
def test_the_tokens_are_compiled_from_their_source(tmp_path: Path) -> None:
    forge = min((ROOT / "contracts/node_modules/@foundry-rs").glob("forge-*/bin/forge"))
    folders = ["--out", str(tmp_path / "out"), "--cache-path", str(tmp_path / "cache")]
    subprocess.run(
        [forge, "build", "test/utils/Tokens.sol", *folders],
        cwd=ROOT / "contracts",
        env=os.environ | {"FOUNDRY_OPTIMIZER": "true"},
        check=True,
        capture_output=True,
        timeout=240,
    )
    for name, code in TOKENS["creation"].items():
        built = json.loads((tmp_path / "out/Tokens.sol" / f"{name}.json").read_text(encoding="utf-8"))
        assert built["bytecode"]["object"] == "0x" + code, f"compile {name} again"
