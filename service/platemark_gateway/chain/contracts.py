"""The three contracts by their ABIs: calldata out, results and events in; pure (no I/O).

Values: integers are int, addresses 20 bytes, bytes32 and other bytes are bytes, structs are mappings by their
members' names, arrays are tuples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from platemark.errors import MalformedError, UpstreamError
from platemark.protocol import abi
from platemark.protocol.units import Digest32, address_text, digest32, id_text, parse_address
from platemark_gateway.ports import BlockRef, ChainEvent, Contract, Deployment

_MAX_SAFE: Final = 2**53 - 1
_ARRAY: Final = "[]"


@dataclass(frozen=True, slots=True)
class RawLog:
    """A log as a node gives it, parsed: address (20 bytes), topics (32 bytes each), data, where it stands."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: Digest32
    transaction_hash: Digest32
    log_index: int


class AbiCalls:
    """Encodes calls and decodes results; implements `ports.ContractCalls`."""

    def encode(self, contract: Contract, function: str, arguments: Sequence[Any]) -> bytes:
        """Return calldata. Structs are given as `Struct.arguments()`, addresses as 20 bytes or EIP-55 text.

        Errors: MalformedError `calldata` when the arguments do not fit the function.
        """
        entry = abi.load(contract).entry("function", function)
        return abi.selector(entry) + _encode(entry["inputs"], arguments, f"{contract}.{function}")

    def decode(self, contract: Contract, function: str, returned: bytes) -> tuple[Any, ...]:
        """Return a function's results, in order.

        Errors: UpstreamError `rpc-nonsense` when the bytes are no such results.
        """
        return decode_values(abi.load(contract).entry("function", function)["outputs"], returned)

    def creation(self, contract: Contract, arguments: Sequence[Any]) -> bytes:
        """Return the code that creates a contract with its constructor's arguments."""
        artifact = abi.load(contract)
        constructors = [entry for entry in artifact.abi if entry["type"] == "constructor"]
        inputs = constructors[0]["inputs"] if constructors else []
        return artifact.bytecode + _encode(inputs, arguments, f"{contract}'s constructor")


def decode_event(deployment: Deployment, log: RawLog, block: BlockRef) -> ChainEvent | None:
    """Return a log of one of the deployment's contracts as an event; None when no ABI of ours knows it.

    Errors: UpstreamError `rpc-nonsense` when topics or data do not fit the event they name.
    """
    contract = next((each for each in Contract if deployment.address(each) == log.address), None)
    if contract is None or not log.topics:
        return None
    entry = _events(contract).get(log.topics[0])
    if entry is None:
        return None
    inputs: Sequence[Mapping[str, Any]] = entry["inputs"]
    indexed = [member for member in inputs if member["indexed"]]
    if len(log.topics) != len(indexed) + 1:
        raise UpstreamError(f"a log of {entry['name']} has {len(log.topics)} topics", code="rpc-nonsense")
    found: dict[str, Any] = {
        member["name"]: decode_values([member], topic)[0] if _is_word(member) else topic
        for member, topic in zip(indexed, log.topics[1:], strict=True)
    }
    plain = [member for member in inputs if not member["indexed"]]
    found |= zip((member["name"] for member in plain), decode_values(plain, log.data), strict=True)
    return ChainEvent(
        contract=contract,
        name=entry["name"],
        args={member["name"]: found[member["name"]] for member in inputs},
        block=block,
        transaction_hash=log.transaction_hash,
        log_index=log.log_index,
    )


def decode_values(members: Sequence[Mapping[str, Any]], data: bytes) -> tuple[Any, ...]:
    """Return the values that ABI-encoded `data` holds; errors UpstreamError `rpc-nonsense`."""
    from eth_abi.abi import decode
    from eth_abi.exceptions import DecodingError

    try:
        values = decode([_type(member) for member in members], data)
    except (DecodingError, OverflowError, ValueError) as error:
        raise UpstreamError("the chain returned bytes that no function of ours returns", code="rpc-nonsense") from error
    return tuple(_named(member, value) for member, value in zip(members, values, strict=True))


def args_json(value: Any) -> Any:
    """Return decoded values as JSON: bytes and addresses in hexadecimal, large integers as 0x and 64 digits."""
    match value:
        case Mapping():
            return {key: args_json(each) for key, each in value.items()}
        case tuple() | list():
            return [args_json(each) for each in value]
        case bytes():
            return address_text(value) if len(value) == 20 else "0x" + value.hex()
        case bool() | str():
            return value
        case int():
            return value if value <= _MAX_SAFE else id_text(value)
        case _:
            raise TypeError(f"{type(value).__name__} is no value of the ABI")


def topics_of(contract: Contract) -> tuple[bytes, ...]:
    """Return the first topics of a contract's events."""
    return tuple(_events(contract))


@cache
def _events(contract: Contract) -> Mapping[bytes, Mapping[str, Any]]:
    return abi.load(contract).events()


def _encode(inputs: Sequence[Mapping[str, Any]], arguments: Sequence[Any], what: str) -> bytes:
    from eth_abi.abi import encode
    from eth_abi.exceptions import EncodingError

    if len(inputs) != len(arguments):
        raise MalformedError(f"{what} takes {len(inputs)} arguments, not {len(arguments)}", code="calldata")
    try:
        return bytes(encode([_type(member) for member in inputs], list(arguments)))
    except (EncodingError, TypeError, ValueError) as error:
        raise MalformedError(f"the arguments do not fit {what}", code="calldata") from error


def _type(member: Mapping[str, Any]) -> str:
    kind: str = member["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(inner) for inner in member['components'])}){kind[5:]}"


def _is_word(member: Mapping[str, Any]) -> bool:
    """Whether an indexed member stands in its topic itself, not as a hash."""
    kind: str = member["type"]
    return not (kind in {"string", "bytes"} or kind.endswith("]") or kind.startswith("tuple"))


def _named(member: Mapping[str, Any], value: Any) -> Any:
    kind: str = member["type"]
    if kind.endswith(_ARRAY):
        element = {**member, "type": kind.removesuffix(_ARRAY)}
        return tuple(_named(element, each) for each in value)
    if kind == "tuple":
        return {inner["name"]: _named(inner, each) for inner, each in zip(member["components"], value, strict=True)}
    if kind == "address":
        return parse_address(value)
    return digest32(value) if kind == "bytes32" else value
