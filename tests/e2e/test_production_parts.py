"""The main job on PostgreSQL, a real Kubo node and anvil: register, license, print, settle, audit."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from chain_stack import running_anvil
from kubo_process import running_kubo
from platemark.cli.demo.processes import gateway_program
from simulators.databases import database_of
from stack import PASSPHRASE, Stack, command, cube_stl, fund, wait_for

pytestmark = [pytest.mark.postgresql, pytest.mark.kubo, pytest.mark.anvil, pytest.mark.slow]


def deploy(stack: Stack) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [gateway_program(), "deploy", "--data", str(stack.data), "--rpc", stack.rpc],
        env={**os.environ, "PLATEMARK_GATEWAY_PASSPHRASE": PASSPHRASE},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_main_job_runs_on_the_components_of_production(tmp_path: Path) -> None:
    database = asyncio.run(database_of("postgresql", tmp_path))
    with running_kubo(tmp_path / "kubo") as kubo, running_anvil("--block-time", "1") as anvil:
        options = ("--database-url", database, "--ipfs-api", kubo.api)
        stack = Stack(tmp_path, anvil.url, options)
        try:
            told = deploy(stack)
            account = next(word for word in (told.stdout + told.stderr).split() if word.startswith("0x")).strip(".,:;")
            fund(stack.rpc, account)
            done = deploy(stack)
            assert done.returncode == 0, done.stderr
            stack.start_gateway()
            designer, centre = stack.person("designer"), stack.person("centre", coins=True)
            (tmp_path / "cube.stl").write_bytes(cube_stl())
            design = designer.run("design", "register", str(tmp_path / "cube.stl"), "--title", "Cube")
            terms = ("--cap", "2", "--price", "0.001", "--on-sale")
            offered = designer.run("license", "offer", design["designId"], *terms)
            centre.run("license", "buy", offered["licenseId"], "--prints", "2")
            token = centre.run("token", "request", offered["licenseId"], "--prints", "2")
            made = [centre.make_print(token["tokenId"], "--printer", "ada") for _ in range(2)]
            assert [item["result"] for item in made] == ["completed", "completed"]
            refused = centre.attempt("print", token["tokenId"], "--printer", "ada", "--material", "PLA")
            assert (refused.exit_code, refused.error_code) == (4, "count-spent")
            wait_for("the settlement", lambda: centre.run("token", "show", token["tokenId"])["burned"] == 2, seconds=90)
            assert not list(stack.data.rglob(design["manifest"])), "blocks lie in Kubo, not in a folder"
            audit = ("audit", "log", "--blocks", stack.url, "--tiles", str(stack.data / "log"), "--rpc", stack.rpc)

            def settled_and_anchored() -> bool:
                report = command(*audit, "--json").value
                facts = report["facts"]
                pending = [item for item in report["findings"] if item["verdict"] == "not checked"]
                return report["holds"] and (facts["released"], facts["settled"], pending) == (2, 2, [])

            wait_for("an audit of final blocks that holds", settled_and_anchored, seconds=60)
        finally:
            stack.close()
