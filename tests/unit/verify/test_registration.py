"""Files, manifests, registrations and revisions: each check fails when its evidence is altered."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from platemark.errors import MalformedError, VerificationError
from platemark.protocol.digests import sha256
from platemark.protocol.manifest import named_hash
from platemark.protocol.units import DesignId
from platemark.verify.facts import DesignFact
from platemark.verify.registration import (
    check_commitment,
    check_file,
    check_manifest,
    check_registrant,
    check_registration,
    check_revision,
    check_root,
    claims,
)
from sample_chain import CONTRACTS, DESIGN, REVISION, block
from sample_documents import CONTENT_SALT, DESIGN_ID, HOLDER, MANIFEST, PACKAGE, PLAINTEXTS, REGISTRATION, word


def code_of(check: Callable[[], Any]) -> str:
    with pytest.raises((VerificationError, MalformedError)) as raised:
        check()
    return raised.value.code


def test_file_of_the_manifest_is_found() -> None:
    assert [check_file(sha256(plain), MANIFEST) for plain in PLAINTEXTS] == [0, 1]


def test_file_of_a_private_manifest_is_found_with_its_salt_only() -> None:
    files = tuple(
        replace(file, sha256=named_hash(file.sha256, private=True, salt=CONTENT_SALT)) for file in MANIFEST.files
    )
    private = replace(MANIFEST, private=True, files=files)
    assert check_file(sha256(PLAINTEXTS[1]), private, salt=CONTENT_SALT) == 1
    assert code_of(lambda: check_file(sha256(PLAINTEXTS[1]), private, salt=bytes(32))) == "file-unknown"


def test_altered_file_is_unknown() -> None:
    assert code_of(lambda: check_file(sha256(b"solid bodx"), MANIFEST)) == "file-unknown"


def test_registered_manifest_is_read() -> None:
    assert check_manifest(MANIFEST.encode(), REVISION) == MANIFEST


def test_altered_manifest_fails() -> None:
    altered = replace(MANIFEST, title="Another box").encode()
    assert code_of(lambda: check_manifest(altered, REVISION)) == "manifest-digest"


def test_registration_gives_the_designs_id() -> None:
    check_registration(DESIGN, CONTRACTS)
    altered = replace(DESIGN, registration=replace(REGISTRATION, edition=7))
    assert code_of(lambda: check_registration(altered, CONTRACTS)) == "design-digest"


def test_commitment_opens_with_its_salt_and_root_only() -> None:
    check_commitment(DESIGN, REVISION, CONTENT_SALT, PACKAGE.files_root)
    assert code_of(lambda: check_commitment(DESIGN, REVISION, bytes(32), PACKAGE.files_root)) == "commitment"
    assert code_of(lambda: check_commitment(DESIGN, REVISION, CONTENT_SALT, word("other"))) == "commitment"


def test_manifests_files_have_the_root() -> None:
    check_root(MANIFEST, PACKAGE.files_root)
    assert code_of(lambda: check_root(MANIFEST, word("other"))) == "files-root"


def test_manifest_names_the_registrant() -> None:
    check_registrant(DESIGN, MANIFEST)
    other = replace(MANIFEST, registrant=HOLDER.address)
    assert code_of(lambda: check_registrant(DESIGN, other)) == "registrant"


def test_published_revision_stands() -> None:
    assert check_revision(DESIGN, 1) is REVISION


def test_unknown_and_recalled_revisions_fail() -> None:
    assert code_of(lambda: check_revision(DESIGN, 2)) == "revision-unknown"
    recalled = replace(DESIGN, revisions={1: replace(REVISION, recalled=block(9))})
    assert code_of(lambda: check_revision(recalled, 1)) == "revision-recalled"


def test_all_who_revealed_the_same_files_are_listed_the_earliest_first() -> None:
    other_id, hidden_id = DesignId(5), DesignId(6)
    rival = DesignFact(
        other_id, REGISTRATION, HOLDER.address, {1: REVISION, 2: replace(REVISION, revision=2, block=block(1))}, 0
    )
    hidden = DesignFact(hidden_id, REGISTRATION, HOLDER.address, {1: replace(REVISION, files_root=None, salt=None)}, 0)
    found = claims(PACKAGE.files_root, {DESIGN_ID: DESIGN, other_id: rival, hidden_id: hidden})
    assert [(design.design_id, revision.revision) for design, revision in found] == [
        (other_id, 2),
        (other_id, 1),
        (DESIGN_ID, 1),
    ]
