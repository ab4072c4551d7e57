"""The entries of the print log: a print was redeemed, had an outcome, a token was closed.

    1 redeemed   u8 version 1 ‖ u8 1 ‖ token id (32) ‖ u32 sequence ‖ token digest (32) ‖ print id (16) ‖
                 recipient digest (32) ‖ u64 seen block ‖ seen hash (32) ‖ detail (32) ‖ agent's signature (65)
    2 outcome    u8 version 1 ‖ u8 2 ‖ token id (32) ‖ u32 sequence ‖ u8 result ‖ u8 spare used ‖
                 receipt digest (32) ‖ agent's signature (65)
    3 closed     u8 version 1 ‖ u8 3 ‖ token id (32) ‖ u32 released ‖ u32 voided ‖ u8 reason

A leaf is SHA-256(0x00 ‖ entry). Decoding accepts exactly what encoding writes.

Evolution: another layout takes another version byte; readers refuse versions and kinds that they do not know.
Source: docs/formats.md, log entries.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from platemark.errors import MalformedError
from platemark.protocol import digests, merkle
from platemark.protocol.accounts import check_signature
from platemark.protocol.typed_data import Outcome, Redemption
from platemark.protocol.units import Digest32, TokenId

VERSION: Final = 1


class Result(IntEnum):
    """How a print ended."""

    COMPLETED = 1
    FAILED = 2
    CANCELLED = 3
    REJECTED = 4


class CloseReason(IntEnum):
    """Why a token yields no more prints."""

    AGREED = 1
    EXPIRED = 2
    STOPPED = 3


@dataclass(frozen=True, slots=True)
class RedeemedEntry:
    """A print was requested and released; carries all that proves the agent's voucher."""

    KIND: ClassVar[int] = 1
    SIZE_BYTES: ClassVar[int] = 255
    token_id: TokenId
    sequence: int
    token_digest: Digest32
    print_id: bytes
    recipient_digest: Digest32
    seen_block: int
    seen_hash: Digest32
    detail: Digest32
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the entry, 255 bytes; errors: MalformedError `log-entry` for a field of another length or range."""
        return (
            _head(self.KIND, self.token_id)
            + _positive(self.sequence)
            + _fixed(self.token_digest, 32)
            + _fixed(self.print_id, 16)
            + _fixed(self.recipient_digest, 32)
            + _unsigned(self.seen_block, 8)
            + _fixed(self.seen_hash, 32)
            + _fixed(self.detail, 32)
            + _signature(self.signature)
        )

    def request_digest(self) -> Digest32:
        """Return the digest of the request, which the agent signed."""
        return digests.request_digest(
            self.token_digest, self.print_id, self.recipient_digest, self.seen_block, self.seen_hash, self.detail
        )

    def redemption(self) -> Redemption:
        """Return the voucher that `signature` must be of."""
        return Redemption(self.token_id, self.sequence, self.request_digest())


@dataclass(frozen=True, slots=True)
class OutcomeEntry:
    """A print ended; `spare_used` says that it gave its print back."""

    KIND: ClassVar[int] = 2
    SIZE_BYTES: ClassVar[int] = 137
    token_id: TokenId
    sequence: int
    result: Result
    spare_used: bool
    receipt_digest: Digest32
    signature: bytes

    def to_bytes(self) -> bytes:
        """Return the entry, 137 bytes; errors as `RedeemedEntry.to_bytes`."""
        if self.spare_used and self.result is Result.COMPLETED:
            raise MalformedError("a completed print gives nothing back", code="log-entry")
        return (
            _head(self.KIND, self.token_id)
            + _positive(self.sequence)
            + bytes([self.result, self.spare_used])
            + _fixed(self.receipt_digest, 32)
            + _signature(self.signature)
        )

    def outcome(self) -> Outcome:
        """Return the statement that `signature` must be of."""
        return Outcome(self.token_id, self.sequence, self.result, self.receipt_digest)


@dataclass(frozen=True, slots=True)
class ClosedEntry:
    """A token yields no more prints; its counts are these."""

    KIND: ClassVar[int] = 3
    SIZE_BYTES: ClassVar[int] = 43
    token_id: TokenId
    released: int
    voided: int
    reason: CloseReason

    def to_bytes(self) -> bytes:
        """Return the entry, 43 bytes; errors as `RedeemedEntry.to_bytes`."""
        if self.voided > self.released:
            raise MalformedError("more prints were given back than released", code="log-entry")
        return (
            _head(self.KIND, self.token_id)
            + _unsigned(self.released, 4)
            + _unsigned(self.voided, 4)
            + bytes([self.reason])
        )


LogEntry = RedeemedEntry | OutcomeEntry | ClosedEntry


def leaf_hash(entry: LogEntry) -> Digest32:
    """Return the hash of the entry's leaf."""
    return merkle.leaf_hash(entry.to_bytes())


def decode(data: bytes) -> LogEntry:
    """Return the entry in `data`, which must be exactly what `to_bytes` writes.

    Errors: MalformedError `log-entry` for an unknown version or kind, a wrong length, or a field out of its range;
        `signature-invalid` for a signature that no agent makes.
    """
    if len(data) < 2 or data[0] != VERSION:
        raise MalformedError("this is no log entry of version 1", code="log-entry")
    fields = _Fields(data)
    entry: LogEntry
    match data[1]:
        case RedeemedEntry.KIND:
            fields.expect(RedeemedEntry.SIZE_BYTES)
            entry = RedeemedEntry(
                TokenId(fields.number(32)),
                fields.number(4),
                fields.digest(),
                fields.take(16),
                fields.digest(),
                fields.number(8),
                fields.digest(),
                fields.digest(),
                fields.take(65),
            )
        case OutcomeEntry.KIND:
            fields.expect(OutcomeEntry.SIZE_BYTES)
            entry = OutcomeEntry(
                TokenId(fields.number(32)),
                fields.number(4),
                Result(fields.one_of(set(Result))),
                bool(fields.one_of({0, 1})),
                fields.digest(),
                fields.take(65),
            )
        case ClosedEntry.KIND:
            fields.expect(ClosedEntry.SIZE_BYTES)
            entry = ClosedEntry(
                TokenId(fields.number(32)),
                fields.number(4),
                fields.number(4),
                CloseReason(fields.one_of(set(CloseReason))),
            )
        case kind:
            raise MalformedError(f"log entries of kind {kind} are unknown", code="log-entry")
    entry.to_bytes()  # raises for ranges that the layout cannot show
    return entry


class _Fields:
    """Reads the fields of an entry one after the other, after version and kind."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 2

    def expect(self, size: int) -> None:
        if len(self._data) != size:
            raise MalformedError(f"the log entry has {len(self._data)} bytes instead of {size}", code="log-entry")

    def take(self, size: int) -> bytes:
        self._at += size
        return self._data[self._at - size : self._at]

    def digest(self) -> Digest32:
        return Digest32(self.take(32))

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def one_of(self, values: set[int]) -> int:
        found = self.number(1)
        if found not in values:
            raise MalformedError(f"{found} is out of range in a log entry", code="log-entry")
        return found


def _head(kind: int, token_id: int) -> bytes:
    return bytes([VERSION, kind]) + _unsigned(token_id, 32)


def _unsigned(value: int, size: int) -> bytes:
    if not 0 <= value < 1 << 8 * size:
        raise MalformedError(f"{value} does not fit {size} bytes of a log entry", code="log-entry")
    return value.to_bytes(size, "big")


def _positive(sequence: int) -> bytes:
    if sequence < 1:
        raise MalformedError("sequences begin with 1", code="log-entry")
    return _unsigned(sequence, 4)


def _fixed(value: bytes, size: int) -> bytes:
    if len(value) != size:
        raise MalformedError(f"a field of a log entry has {len(value)} bytes instead of {size}", code="log-entry")
    return value


def _signature(signature: bytes) -> bytes:
    check_signature(signature)
    return signature
