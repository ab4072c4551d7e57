"""Compiles the contracts from source as the shipped artefacts were compiled.

The contracts are built by themselves in a folder of their own: what else is compiled beside a contract must not move
a byte of its code. Whoever rebuilds runs the compiler that the source folder names, so it is a folder one trusts.
"""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from platemark.errors import LocalError
from platemark.protocol.abi import NAMES

BUILD_SECONDS: Final = 900
_TOLD: Final = 400


def rebuild(source: Path, *, seconds: float = BUILD_SECONDS) -> dict[str, dict[str, Any]]:
    """Return the artefacts that a checkout of this repository compiles to, as their files have them.

    Args:
        source: The checkout, with the packages of `contracts/` installed.
        seconds: How long the compiler may take.

    Errors: LocalError `source-unbuildable`.
    """
    contracts = source / "contracts"
    if not (contracts / "foundry.toml").is_file():
        raise _unbuildable(f"{source} is no checkout of Platemark", "name the folder that has contracts/foundry.toml")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        _run(contracts, folder, seconds)
        try:
            return {name: _artifact(contracts, folder, name) for name in NAMES}
        except (OSError, ValueError, KeyError) as error:
            raise _unbuildable(
                "forge built something else than the three contracts", "is the checkout whole?"
            ) from error


def _run(contracts: Path, folder: Path, seconds: float) -> None:
    forge = contracts / "node_modules/.bin/forge"
    program = str(forge) if forge.exists() else shutil.which("forge")
    if program is None or not (contracts / "node_modules").is_dir():
        raise _unbuildable("forge or the contracts' packages are not installed", _INSTALL)
    command = [program, "build", "--force", "--quiet", "--skip", "test", "script", "--build-info"]
    command += ["--build-info-path", f"{folder}/info", "--out", f"{folder}/out", "--cache-path", f"{folder}/cache"]
    try:
        ended = subprocess.run(
            command, cwd=contracts, check=False, capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired as error:
        raise _unbuildable(
            f"forge did not end within {seconds:g} seconds", "try again on a less busy machine"
        ) from error
    except OSError as error:
        raise _unbuildable("forge cannot be run", _INSTALL) from error
    if ended.returncode != 0:
        told = ended.stderr.decode(errors="replace").strip()[-_TOLD:]
        raise _unbuildable(f"forge cannot build {contracts}", f"forge says: {told}")


_INSTALL: Final = "run `npm ci --ignore-scripts` in contracts/"


def _artifact(contracts: Path, folder: Path, name: str) -> dict[str, Any]:
    built = json.loads((folder / "out" / f"{name}.sol" / f"{name}.json").read_text("utf-8"))
    settings = built["metadata"]["settings"]
    package = contracts / "node_modules/@openzeppelin/contracts/package.json"
    return {
        "contractName": name,
        "abi": built["abi"],
        "bytecode": built["bytecode"]["object"],
        "deployedBytecode": built["deployedBytecode"]["object"],
        "immutableReferences": _immutables(
            built["deployedBytecode"].get("immutableReferences", {}), _variables(folder, name)
        ),
        "metadata": {
            "solc": built["metadata"]["compiler"]["version"],
            "optimizer": {**settings["optimizer"], "viaIR": settings["viaIR"]},
            "evmVersion": settings["evmVersion"],
            "openzeppelin": json.loads(package.read_text("utf-8"))["version"],
        },
    }


def _immutables(found: Mapping[str, list[dict[str, int]]], names: Mapping[str, str]) -> dict[str, list[dict[str, int]]]:
    """Name the places by their variables, in the order of the code; the compiler's numbers shift with each source."""
    places = {names[number]: sorted(each, key=lambda place: place["start"]) for number, each in found.items()}
    if len(places) != len(found):
        raise ValueError("two immutable variables have one name")
    return dict(sorted(places.items(), key=lambda item: item[1][0]["start"]))


def _variables(folder: Path, name: str) -> dict[str, str]:
    """Return the names of the immutable variables by the numbers that the compiler gave them for a contract."""
    for path in sorted((folder / "info").glob("*.json")):
        output = json.loads(path.read_text("utf-8"))["output"]
        if name in output.get("contracts", {}).get(f"src/{name}.sol", {}):
            trees = [source["ast"] for source in output["sources"].values()]
            return {str(node["id"]): node["name"] for tree in trees for node in _immutable_nodes(tree)}
    raise ValueError(f"no build has {name}")


def _immutable_nodes(tree: Any) -> Iterator[Mapping[str, Any]]:
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("nodeType") == "VariableDeclaration" and node.get("mutability") == "immutable":
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _unbuildable(message: str, hint: str) -> LocalError:
    return LocalError(message, code="source-unbuildable", hint=hint)
