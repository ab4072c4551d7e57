from dataclasses import replace
from decimal import Decimal

import pytest

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.cid import raw_cid
from platemark.protocol.digests import private_file_hash, sha256
from platemark.protocol.manifest import (
    Constraints,
    Manifest,
    Process,
    check_counts,
    check_file,
    named_hash,
    total_sealed_bytes,
)
from platemark.protocol.units import DesignId


def test_a_manifest_is_one_block_named_by_its_digest() -> None:
    data = sample.MANIFEST.encode()
    assert Manifest.parse(data) == sample.MANIFEST
    assert sample.MANIFEST.digest() == sha256(data) == sample.REGISTRATION.manifest_digest
    assert sample.MANIFEST.cid() == raw_cid(data)
    assert sample.MANIFEST.cid().text == golden("statements")["ids"]["manifestCid"]


def test_a_product_is_all_parts_in_their_quantities() -> None:
    assert sample.MANIFEST.products() == 3
    assert total_sealed_bytes(sample.FILES) == sum(file.sealed_bytes for file in sample.FILES)


def test_open_constraints_are_left_out() -> None:
    constraints = Constraints(Process.SLA)
    assert constraints.to_json() == {"tsdc": "3DP", "printing-process": "SLA", "material": []}
    assert Constraints.from_json(constraints.to_json()) == constraints


def test_a_manifest_may_have_a_parent() -> None:
    child = replace(sample.MANIFEST, parent_id=DesignId(7))
    assert Manifest.parse(child.encode()) == child
    assert child.digest() != sample.MANIFEST.digest()


@pytest.mark.parametrize("files, parts", [(0, 1), (1, 0), (257, 1), (1, 257), (10**6, 1), (1, 10**6)])
def test_counts_are_refused_before_anything_heavy(files: int, parts: int) -> None:
    with pytest.raises(MalformedError) as caught:
        check_counts(files=files, parts=parts)
    assert caught.value.code == "count-limit"


def test_a_million_files_are_refused_unread() -> None:
    with pytest.raises(MalformedError) as caught:
        Manifest.from_json(sample.MANIFEST.to_json() | {"files": [None] * 10**6})
    assert caught.value.code == "count-limit"
    text = canonical.encode(sample.MANIFEST.to_json() | {"files": [0] * 10**6})
    with pytest.raises(MalformedError) as caught:
        Manifest.parse(text)
    assert caught.value.code == "too-large"


def test_a_manifest_that_nobody_could_read_is_not_written() -> None:
    for broken in (
        replace(sample.MANIFEST, title="a\nb"),
        replace(sample.MANIFEST, parts=(replace(sample.PARTS[0], quantity=0),)),
    ):
        with pytest.raises(MalformedError):
            broken.encode()


def test_a_manifest_is_at_most_one_mebibyte() -> None:
    parts = tuple(replace(sample.PARTS[0], name=f"{index:03}" + "𝄞" * 117) for index in range(256))
    large = replace(sample.MANIFEST, parts=parts, warnings=tuple("𝄞" * 500 for _ in range(32)))
    assert len(large.encode()) < 1 << 20
    wide = replace(sample.FILES[0], media_type="𝄞" * 100)
    files = tuple(replace(wide, index=index, name=f"{index:03}" + "𝄞" * 117) for index in range(256))
    assert len(replace(large, files=files).encode()) < 1 << 20


def test_a_public_file_is_named_by_its_hash() -> None:
    plain = sample.PLAINTEXTS[0]
    check_file(sample.MANIFEST, 0, sha256(plain), size_bytes=len(plain), salt=sample.CONTENT_SALT)
    for digest, size in ((sha256(b"other"), len(plain)), (sha256(plain), len(plain) + 1)):
        with pytest.raises(VerificationError) as caught:
            check_file(sample.MANIFEST, 0, digest, size_bytes=size, salt=sample.CONTENT_SALT)
        assert caught.value.code == "file-mismatch"


def test_a_private_file_is_named_under_its_salt_only() -> None:
    plain = sample.PLAINTEXTS[0]
    salted = named_hash(sha256(plain), private=True, salt=sample.CONTENT_SALT)
    assert salted == private_file_hash(sample.CONTENT_SALT, sha256(plain))
    private = replace(sample.MANIFEST, private=True, files=(replace(sample.FILES[0], sha256=salted), sample.FILES[1]))
    assert sha256(plain).hex().encode() not in private.encode()
    check_file(private, 0, sha256(plain), size_bytes=len(plain), salt=sample.CONTENT_SALT)
    with pytest.raises(VerificationError):
        check_file(private, 0, sha256(plain), size_bytes=len(plain), salt=bytes(32))


def test_lengths_keep_a_thousandth_of_a_micrometre() -> None:
    fine = replace(sample.PARTS[0], volume_mm3=Decimal("0.000001"))
    assert Manifest.parse(replace(sample.MANIFEST, parts=(fine,)).encode()).parts == (fine,)
