import hashlib
import io
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from golden import cases
from platemark.errors import MalformedError, UsageError, VerificationError
from platemark.protocol import sealed_file
from platemark.protocol.sealed_file import open_sealed, seal, sealed_bytes

KEY = bytes(range(32))
SEGMENT = sealed_file.SEGMENT_BYTES
FIRST = SEGMENT - sealed_file.HEADER_BYTES - sealed_file.TAG_BYTES
LATER = SEGMENT - sealed_file.TAG_BYTES
EDGES = [0, 1, FIRST - 1, FIRST, FIRST + 1, FIRST + LATER - 1, FIRST + LATER, FIRST + LATER + 1]


def pattern(size: int) -> bytes:
    return bytes((i + (i >> 8) + (i >> 16)) % 251 for i in range(size))


@pytest.fixture(scope="module")
def long() -> bytes:
    """Four segments: three full ones and a last one."""
    return b"".join(seal(KEY, [bytes(3 * SEGMENT)]))


@pytest.fixture(scope="module")
def tink_primitive() -> Any:
    """Tink's own AES256_GCM_HKDF_1MB under KEY, without a key prefix."""
    import tink
    from tink import secret_key_access, streaming_aead
    from tink.proto import aes_gcm_hkdf_streaming_pb2, tink_pb2

    streaming_aead.register()
    template = streaming_aead.streaming_aead_key_templates.AES256_GCM_HKDF_1MB
    params = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKeyFormat.FromString(template.value).params
    key = aes_gcm_hkdf_streaming_pb2.AesGcmHkdfStreamingKey(version=0, params=params, key_value=KEY)
    data = tink_pb2.KeyData(
        type_url=template.type_url, value=key.SerializeToString(), key_material_type=tink_pb2.KeyData.SYMMETRIC
    )
    entry = tink_pb2.Keyset.Key(key_data=data, status=tink_pb2.ENABLED, key_id=1, output_prefix_type=tink_pb2.RAW)
    keyset = tink_pb2.Keyset(primary_key_id=1, key=[entry])
    handle = tink.proto_keyset_format.parse(keyset.SerializeToString(), secret_key_access.TOKEN)
    return handle.primitive(streaming_aead.StreamingAead)


class _Kept(io.BytesIO):
    """Keeps what was written when Tink closes it."""

    written = b""

    def close(self) -> None:
        self.written = self.getvalue()
        super().close()


@pytest.mark.parametrize("size", EDGES)
def test_tink_opens_what_we_seal(tink_primitive: Any, size: int) -> None:
    sealed = b"".join(seal(KEY, [bytes(size)]))
    with tink_primitive.new_decrypting_stream(io.BytesIO(sealed), b"") as stream:
        assert stream.read() == bytes(size)


@pytest.mark.parametrize("size", EDGES)
def test_we_open_what_tink_seals(tink_primitive: Any, size: int) -> None:
    kept = _Kept()
    with tink_primitive.new_encrypting_stream(kept, b"") as stream:
        stream.write(bytes(size))
    assert len(kept.written) == sealed_bytes(size)
    assert b"".join(open_sealed(KEY, [kept.written])) == bytes(size)


@pytest.mark.parametrize("case", cases("sealed_file", "files"))
def test_sealed_files_are_as_they_were(case: dict[str, Any]) -> None:
    random = {32: bytes.fromhex(case["salt"]), 7: bytes.fromhex(case["prefix"])}
    key = bytes.fromhex(case["key"])
    sealed = b"".join(seal(key, [pattern(case["size"])], random_bytes=random.__getitem__))
    assert len(sealed) == sealed_bytes(case["size"]) == case["sealedBytes"]
    assert hashlib.sha256(sealed).hexdigest() == case["sha256"]
    assert sealed.hex() == case.get("sealed", sealed.hex())
    assert b"".join(open_sealed(key, [sealed])) == pattern(case["size"])


def test_the_size_says_what_sealing_gives() -> None:
    for size in EDGES:
        assert sum(map(len, seal(KEY, [bytes(size)]))) == sealed_bytes(size)
    with pytest.raises(UsageError):
        sealed_bytes(-1)


def test_pieces_of_any_size_are_the_same_file(long: bytes) -> None:
    pieces = [long[:3], b"", long[3:41], long[41 : SEGMENT + 5], long[SEGMENT + 5 :], b""]
    assert b"".join(open_sealed(KEY, pieces)) == bytes(3 * SEGMENT)


def test_no_two_sealed_files_are_alike() -> None:
    assert list(seal(KEY, [b"same"])) != list(seal(KEY, [b"same"]))


@pytest.mark.parametrize("key", [b"", bytes(16), bytes(31), bytes(33)])
def test_keys_of_other_lengths_are_refused(key: bytes) -> None:
    with pytest.raises(UsageError):
        next(seal(key, [b""]))
    with pytest.raises(UsageError):
        next(open_sealed(key, [b""]))


@pytest.mark.parametrize("length", [0, 1, 39, 40, 55])
def test_a_file_that_ends_in_its_header_is_none(length: int) -> None:
    with pytest.raises(MalformedError) as caught:
        list(open_sealed(KEY, [next(seal(KEY, [b""]))[:length]]))
    assert caught.value.code == "sealed-file"


def test_another_header_is_none_of_ours() -> None:
    sealed = next(seal(KEY, [b"data"]))
    with pytest.raises(MalformedError):
        list(open_sealed(KEY, [b"\x29" + sealed[1:]]))


def test_another_key_opens_nothing() -> None:
    with pytest.raises(VerificationError) as caught:
        list(open_sealed(bytes(32), seal(KEY, [b"data"])))
    assert caught.value.code == "sealed-file"


@pytest.mark.parametrize("at", [1, 20, 32, 33, 39, 40, 43, 44, 59])
def test_any_altered_byte_is_found(at: int) -> None:
    sealed = bytearray(next(seal(KEY, [b"data"])))
    sealed[at] ^= 0x80
    with pytest.raises(VerificationError):
        list(open_sealed(KEY, [bytes(sealed)]))


def _segments(sealed: bytes) -> list[bytes]:
    return [sealed[at : at + SEGMENT] for at in range(0, len(sealed), SEGMENT)]


def _opened(sealed: bytes) -> tuple[int, int | None]:
    """Return how many segments came out, and the number of the one that failed."""
    count = 0
    try:
        for _ in open_sealed(KEY, [sealed]):
            count += 1
    except VerificationError as error:
        return count, int(error.message.split()[1])
    return count, None


def test_segments_in_another_order_fail(long: bytes) -> None:
    first, second, third, last = _segments(long)
    assert _opened(first + third + second + last) == (1, 1)


def test_a_missing_segment_fails(long: bytes) -> None:
    first, _, third, last = _segments(long)
    assert _opened(first + third + last) == (1, 1)


def test_a_repeated_segment_fails(long: bytes) -> None:
    first, second, third, last = _segments(long)
    assert _opened(first + second + second + third + last) == (2, 2)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_file_cut_between_segments_fails(long: bytes, kept: int) -> None:
    assert _opened(b"".join(_segments(long)[:kept])) == (kept - 1, kept - 1)


@pytest.mark.parametrize("cut", [1, 15, 16, 17, 100])
def test_a_file_cut_within_a_segment_fails(long: bytes, cut: int) -> None:
    assert _opened(long[:-cut]) == (3, 3)


@pytest.mark.parametrize("extra", [b"\0", bytes(16), bytes(17), bytes(SEGMENT)])
def test_a_file_with_something_after_it_fails(long: bytes, extra: bytes) -> None:
    assert _opened(long + extra) == (3, 3)


def test_a_segment_of_another_file_fails(long: bytes) -> None:
    first, second, third, last = _segments(long)
    other = _segments(b"".join(seal(KEY, [bytes(3 * SEGMENT)])))
    assert _opened(first + other[1] + third + last) == (1, 1)
    assert _opened(first + second + third + other[3]) == (3, 3)
    assert _opened(other[0][:40] + first[40:] + second + third + last) == (0, 0)


def test_an_empty_segment_after_a_full_one_is_refused_even_under_the_right_key() -> None:
    salt, prefix = bytes(32), bytes(7)
    cipher = sealed_file._cipher(KEY, salt)
    first = cipher.encrypt(sealed_file._nonce(prefix, 0, last=False), bytes(FIRST), None)
    empty = cipher.encrypt(sealed_file._nonce(prefix, 1, last=True), b"", None)
    assert _opened(bytes([40]) + salt + prefix + first + empty) == (1, 1)


def test_plaintext_never_precedes_the_check_of_its_segment(long: bytes) -> None:
    """A stream that breaks in the second segment has yielded the first one, whole, and nothing else."""
    broken = bytearray(long)
    broken[2 * SEGMENT - 1] ^= 1
    out: list[bytes] = []
    with pytest.raises(VerificationError):
        out.extend(open_sealed(KEY, [bytes(broken)]))
    assert list(map(len, out)) == [FIRST]


def test_memory_does_not_grow_with_the_file() -> None:
    piece = bytes(100_000)

    def pieces() -> Iterator[bytes]:
        for _ in range(320):
            yield piece

    tracemalloc.start()
    total = sum(len(part) for part in open_sealed(KEY, seal(KEY, pieces())))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 32_000_000
    assert peak < 12 * SEGMENT


def test_a_file_never_has_more_segments_than_the_nonce_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed_file, "_MAX_SEGMENTS", 2)
    assert len(list(seal(KEY, [bytes(FIRST + LATER)]))) == 2
    with pytest.raises(MalformedError) as caught:
        list(seal(KEY, [bytes(FIRST + LATER + 1)]))
    assert caught.value.code == "too-large"
