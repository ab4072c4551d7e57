from hypothesis import given, settings
from hypothesis import strategies as st

from platemark.errors import DataError
from platemark.protocol import log_entry
from platemark.protocol.accounts import AccountKey
from platemark.protocol.log_entry import ClosedEntry, CloseReason, LogEntry, OutcomeEntry, RedeemedEntry, Result, decode
from platemark.protocol.units import Digest32, TokenId, keccak256

WORD = st.binary(min_size=32, max_size=32).map(Digest32)
TOKEN = st.integers(0, 2**256 - 1).map(TokenId)
SEQUENCE = st.integers(1, 2**32 - 1)
KEY = AccountKey(bytes(31) + b"\x07")
SIGNATURE = st.binary(max_size=8).map(lambda seed: KEY.sign(keccak256(seed)))

REDEEMED = st.builds(
    RedeemedEntry,
    TOKEN,
    SEQUENCE,
    WORD,
    st.binary(min_size=16, max_size=16),
    WORD,
    st.integers(0, 2**64 - 1),
    WORD,
    WORD,
    SIGNATURE,
)
OUTCOME = st.builds(OutcomeEntry, TOKEN, SEQUENCE, st.sampled_from(Result), st.just(value=False), WORD, SIGNATURE)
CLOSED = st.builds(
    lambda token, counts, reason: ClosedEntry(token, max(counts), min(counts), reason),
    TOKEN,
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.sampled_from(CloseReason),
)


@given(st.one_of(REDEEMED, OUTCOME, CLOSED))
def test_every_entry_survives_its_bytes(entry: LogEntry) -> None:
    assert decode(entry.to_bytes()) == entry
    assert len(entry.to_bytes()) == entry.SIZE_BYTES


@given(st.one_of(REDEEMED, OUTCOME, CLOSED), st.data())
def test_an_altered_entry_is_another_one_or_none(entry: LogEntry, data: st.DataObject) -> None:
    altered = bytearray(entry.to_bytes())
    altered[data.draw(st.integers(0, len(altered) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decode(bytes(altered))
    except DataError as error:
        assert error.code in {"log-entry", "signature-invalid"}  # noqa: PT017 (either outcome is right, not the code)
    else:
        assert found != entry
        assert found.to_bytes() == altered
        assert log_entry.leaf_hash(found) != log_entry.leaf_hash(entry)


@settings(max_examples=300)
@given(st.binary(max_size=260), st.sampled_from([255, 137, 43, 0]), st.integers(0, 4))
def test_any_bytes_are_the_one_form_of_an_entry_or_refused(data: bytes, size: int, kind: int) -> None:
    shaped = (bytes([1, kind]) + data + bytes(size))[:size] if size else data
    try:
        again = decode(shaped).to_bytes()
    except DataError:
        again = shaped
    assert again == shaped
