"""All documents: the golden ones read and write as fixed, the invalid ones are refused with the right code."""

import copy
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import sample_documents as sample
from golden import cases, golden
from platemark.errors import MalformedError
from platemark.protocol import canonical
from platemark.protocol.manifest import Manifest
from platemark.protocol.outcome import Promise, SignedOutcome
from platemark.protocol.passport import Passport
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Envelope, Receipt
from platemark.protocol.release import Release
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.token import PrintToken
from platemark.protocol.voucher import SignedRequest

READERS: Mapping[str, tuple[Callable[[Any], Any], Any]] = {
    "manifest": (lambda value: Manifest.parse(canonical.encode(value)), sample.MANIFEST),
    "profile": (lambda value: GatewayProfile.parse(canonical.encode(value)), sample.PROFILE),
    "terms": (lambda value: TermsDocument.parse(canonical.encode(value)), sample.TERMS_DOCUMENT),
    "receipt": (lambda value: Receipt.parse(canonical.encode(value)), sample.RECEIPT),
    "envelope": (Envelope.from_json, sample.ENVELOPE),
    "redemption": (SignedRequest.from_json, sample.SIGNED_REQUEST),
    "outcome": (SignedOutcome.from_json, sample.OUTCOME),
    "token": (PrintToken.from_json, sample.TOKEN),
    "release": (Release.from_json, sample.RELEASE),
    "promise": (Promise.from_json, sample.PROMISE),
    "passport": (lambda value: Passport.parse(canonical.encode(value)), sample.PASSPORT),
}


def written(document: Any) -> Any:
    return canonical.decode(document.statement()) if isinstance(document, Receipt) else document.to_json()


@pytest.mark.parametrize("name", sorted(READERS))
def test_golden_documents_read_and_write_as_fixed(name: str) -> None:
    read, expected = READERS[name]
    fixed = golden("documents")[name]
    found = read(fixed["json"])
    assert found == expected
    assert canonical.encode(written(found)) == canonical.encode(fixed["json"])
    assert hashlib.sha256(canonical.encode(fixed["json"])).hexdigest() == fixed["sha256"]


@pytest.mark.parametrize("case", cases("documents_invalid", "cases"))
def test_invalid_documents_are_refused_with_their_code(case: dict[str, Any]) -> None:
    read, _ = READERS[case["document"]]
    document = copy.deepcopy(golden("documents")[case["document"]]["json"])
    place = document
    for step in case["path"][:-1]:
        place = place[step]
    if "delete" in case:
        del place[case["path"][-1]]
    else:
        place[case["path"][-1]] = case["value"]
    with pytest.raises(MalformedError) as caught:
        read(document)
    assert caught.value.code == case["code"]


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize("value", [None, [], "document", 7, True], ids=repr)
def test_documents_are_objects(name: str, value: Any) -> None:
    read, _ = READERS[name]
    with pytest.raises(MalformedError):
        read(value)
