"""What contracts and nodes refuse, decoded: custom errors by name, with a public code each."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from platemark.errors import Kind, UpstreamError
from platemark.protocol import abi
from platemark_gateway.chain.contracts import args_json, decode_values
from platemark_gateway.errors import GatewayError, UnavailableError

_ERROR_STRING: Final = bytes.fromhex("08c379a0")
_PANIC: Final = bytes.fromhex("4e487b71")
_MAX_REASON: Final = 500


@dataclass(frozen=True, slots=True)
class Revert:
    """Why a call reverted: the error's name, its arguments, and a public code such as `cap-exceeded`."""

    name: str
    args: Mapping[str, Any]
    code: str

    def __str__(self) -> str:
        """Return the name and its arguments, at most 500 characters."""
        shown = ", ".join(f"{name}={args_json(value)}" for name, value in self.args.items())
        return f"{self.name}({shown})"[:_MAX_REASON]


class RevertedError(GatewayError):
    """A contract refused; nothing was changed on chain."""

    def __init__(self, revert: Revert) -> None:
        super().__init__(f"the contract refuses: {revert}", kind=Kind.CONFLICT, code=revert.code)
        self.revert = revert


class NodeError(UpstreamError):
    """The node answered with an error that is no revert; `rpc_code` and `rpc_message` are the node's."""

    def __init__(self, method: str, rpc_code: int, rpc_message: str) -> None:
        super().__init__(f"the chain's node refused {method}", code="rpc-error")
        self.rpc_code = rpc_code
        self.rpc_message = rpc_message[:_MAX_REASON]


class NodeUnreachableError(UnavailableError):
    """The node did not answer in time."""

    def __init__(self) -> None:
        super().__init__("the chain's node cannot be reached", code="rpc-unreachable", retry_after_seconds=5)


class NodeBehindError(UnavailableError):
    """The node's chain ends before what was final: it lags far behind, or lost what it had."""

    def __init__(self, endpoint: str, head: int, final: int) -> None:
        super().__init__(
            f"the chain endpoint {endpoint} ends at block {head}, but {final} was final", code="rpc-behind"
        )


class EndpointContradictsError(UpstreamError):
    """A node said something that contradicts what is proven or was agreed; it is not asked again for a while."""

    def __init__(self, endpoint: str, fact: str) -> None:
        super().__init__(f"the chain endpoint {endpoint} contradicts {fact}", code="rpc-contradicts")
        self.endpoint = endpoint
        self.fact = fact


def decode_revert(data: bytes) -> Revert:
    """Return what revert data says; unknown data is named `Unknown` with its first bytes."""
    if not data:
        return Revert("Reverted", {}, "reverted")
    if data[:4] in {_ERROR_STRING, _PANIC}:
        return _standard(data)
    entry = _errors().get(data[:4])
    if entry is None:
        return Revert("Unknown", {"data": data[:68]}, "reverted")
    try:
        values = decode_values(entry["inputs"], data[4:])
    except UpstreamError:
        return Revert("Unknown", {"data": data[:68]}, "reverted")
    names = [member["name"] or str(at) for at, member in enumerate(entry["inputs"])]
    return Revert(entry["name"], dict(zip(names, values, strict=True)), code_of(entry["name"]))


def code_of(error_name: str) -> str:
    """Return the public code of a contract's error: `CapExceeded` is `cap-exceeded`."""
    words = re.findall(r"[A-Z]+[0-9]*(?![a-z])|[A-Z][a-z0-9]*|[a-z0-9]+", error_name)
    return "-".join(word.lower() for word in words)


def _standard(data: bytes) -> Revert:
    kind, name = ("string", "Error") if data[:4] == _ERROR_STRING else ("uint256", "Panic")
    try:
        (value,) = decode_values([{"type": kind, "name": "reason"}], data[4:])
    except UpstreamError:
        return Revert("Unknown", {"data": data[:68]}, "reverted")
    return Revert(name, {"reason": value}, "reverted")


@cache
def _errors() -> Mapping[bytes, Mapping[str, Any]]:
    found: dict[bytes, Mapping[str, Any]] = {}
    for name in abi.NAMES:
        found |= abi.load(name).errors()
    return found
