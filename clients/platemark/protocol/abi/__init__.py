"""The contracts as compiled: their ABIs and byte code, written by `scripts/generate_abi`."""

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from platemark.errors import LocalError, UsageError
from platemark.protocol.units import keccak256

NAMES: Final = ("DesignRegistry", "PrintLicense", "PrintLedger")


@dataclass(frozen=True, slots=True)
class ContractArtifact:
    """A compiled contract; `bytecode` deploys, `deployed_bytecode` is what then stands on chain.

    `immutable_references` says where the constructor writes into the deployed code: for each variable the ranges
    `{start, length}`; outside them deployed code equals `deployed_bytecode`.
    """

    name: str
    abi: Sequence[Mapping[str, Any]]
    bytecode: bytes
    deployed_bytecode: bytes
    immutable_references: Mapping[str, Sequence[Mapping[str, int]]]
    metadata: Mapping[str, Any]

    def entry(self, kind: str, name: str) -> Mapping[str, Any]:
        """Return the ABI's only entry of a `kind` (function, event, error) with this name.

        Errors: UsageError when there is none, or more than one.
        """
        found = [entry for entry in self.abi if entry["type"] == kind and entry.get("name") == name]
        if len(found) != 1:
            raise UsageError(f"{self.name} has {len(found)} entries for the {kind} {name}")
        return found[0]

    def errors(self) -> Mapping[bytes, Mapping[str, Any]]:
        """Return the contract's custom errors by their selectors (4 bytes)."""
        return {selector(entry): entry for entry in self.abi if entry["type"] == "error"}

    def events(self) -> Mapping[bytes, Mapping[str, Any]]:
        """Return the contract's events by their topic (32 bytes)."""
        return {topic(entry): entry for entry in self.abi if entry["type"] == "event"}


@functools.cache
def load(name: str) -> ContractArtifact:
    """Return a contract's artefact.

    Errors: UsageError for another name than `NAMES`; LocalError `artifact-missing` when the package was built
        without the generated files.
    """
    if name not in NAMES:
        raise UsageError(f"there is no contract {name}")
    try:
        text = resources.files(__name__).joinpath(f"{name}.json").read_text("utf-8")
    except FileNotFoundError as error:
        raise LocalError(
            f"the artefact of {name} is missing", code="artifact-missing", hint="run scripts/generate_abi"
        ) from error
    return parse_artifact(json.loads(text))


def parse_artifact(found: Mapping[str, Any]) -> ContractArtifact:
    """Return the artefact in the JSON of one of the package's own files."""
    return ContractArtifact(
        name=found["contractName"],
        abi=found["abi"],
        bytecode=_code(found["bytecode"]),
        deployed_bytecode=_code(found["deployedBytecode"]),
        immutable_references=found["immutableReferences"],
        metadata=found["metadata"],
    )


def signature(entry: Mapping[str, Any]) -> str:
    """Return the canonical signature of an ABI entry, tuples written out: `name(type,…)`."""
    return f"{entry['name']}({','.join(_type(member) for member in entry['inputs'])})"


def selector(entry: Mapping[str, Any]) -> bytes:
    """Return the selector of a function or an error, 4 bytes."""
    return topic(entry)[:4]


def topic(entry: Mapping[str, Any]) -> bytes:
    """Return the Keccak-256 of an entry's signature: an event's first topic, 32 bytes."""
    return keccak256(signature(entry).encode())


def _type(member: Mapping[str, Any]) -> str:
    kind: str = member["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(inner) for inner in member['components'])}){kind[5:]}"


def _code(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
