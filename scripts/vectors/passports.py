"""Vectors of the verification of a passport by itself: what holds, and which step each alteration fails.

`cases` are whole alterations, signed again where their point is what was signed; `changes` put another value in every
place of the file. Each says what a verifier finds, so that two of them can be held against each other.
"""

import copy
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from platemark.errors import MalformedError
from platemark.protocol.jws import SigningKey
from platemark.protocol.log_entry import Result
from platemark.protocol.merkle import files_root
from platemark.protocol.outcome import Promise
from platemark.protocol.passport import Anchor, Content, Passport, PassportPartError, ReceiptPart
from platemark.protocol.receipt import Receipt, sign_receipt
from platemark.verify.passport import refused_passport, verify_passport
from platemark.verify.report import Report
from sample_chain import anchored, of_second_revision, redeemed
from sample_documents import (
    AGENT,
    CONTENT_SALT,
    DESIGNER,
    ENVELOPE,
    HOLDER,
    LEDGER_DOMAIN,
    MANIFEST,
    OUTCOME_ENTRY,
    PACKAGE,
    PROMISE,
    RECEIPT,
    RECEIPT_SALT,
    RELEASE,
    RELEASE_KEY,
    contract,
    word,
)
from sample_documents import PASSPORT as SAMPLE

GOOD = anchored()
WHOLE = replace(GOOD, chain_proof=SAMPLE.chain_proof)
OTHER_RELEASE_KEY = SigningKey(word("another release key"))


def build() -> Mapping[str, Any]:
    """Return the files by name."""
    good = WHOLE.to_json()
    return {
        "passports": {
            "passport": good,
            "cases": [
                {"name": name, **_difference(good, passport.to_json()), **_findings(passport.to_json())}
                for name, passport in _cases().items()
            ],
            "changes": [
                {"at": at, **change, "found": _summary_of(_changed(good, at, change))} for at, change in _changes(good)
            ],
        }
    }


def _report_of(value: Any) -> Report | str:
    """Return the report on a passport's JSON, or the code with which it is refused as none."""
    try:
        return verify_passport(Passport.parse(json.dumps(value).encode()))
    except PassportPartError as error:
        return refused_passport(error)
    except MalformedError as error:
        return error.code


def _summary_of(value: Any) -> str:
    """Return every failing step with its code, `holds` for none, or `refused` and a code for what is no passport."""
    report = _report_of(value)
    if isinstance(report, str):
        return f"refused {report}"
    return ", ".join(f"{finding.step.value} {finding.code}" for finding in report.failures) or "holds"


def _findings(value: Any) -> dict[str, Any]:
    report = _report_of(value)
    if isinstance(report, str):
        return {"refused": report}
    return {
        "findings": [
            " ".join([str(finding.step.value), finding.step.name.lower(), finding.verdict, finding.code or ""]).strip()
            for finding in report.findings
        ]
    }


def _difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "set": {name: value for name, value in other.items() if one.get(name) != value},
        "without": sorted(one.keys() - other.keys()),
    }


def _cases() -> dict[str, Passport]:
    return {
        "as it is": WHOLE,
        "public": GOOD.public(),
        "provisional": replace(GOOD, anchor=None),
        "before its outcome": replace(GOOD, outcome=None, receipt=None),
        "without who answers for it": replace(GOOD, responsible=None, material="", warnings=()),
        "permission of a contract wallet": replace(GOOD, permission_signature=bytes(70)),
        "rejected after inspection": _ended(Result.REJECTED, spare_used=True),
        "of a private design": _second_revision(private=True),
        "second revision": _second_revision(private=False),
        "another manifest": replace(GOOD, manifest=replace(MANIFEST, title="Else")),
        "another registrant": replace(GOOD, manifest=replace(MANIFEST, registrant=contract("somebody"))),
        "another content salt": replace(GOOD, content=Content(bytes(32), PACKAGE.files_root)),
        "root of other files": replace(GOOD, content=Content(CONTENT_SALT, files_root([word("file")]))),
        "root of other files, later": replace(GOOD, revision=2, content=Content(CONTENT_SALT, word("root"))),
        "permission by another": replace(GOOD, permission_signature=DESIGNER.sign(word("something"))),
        "permission with a high s": replace(GOOD, permission_signature=_high_s(GOOD.permission_signature)),
        "another revision than was permitted": replace(GOOD, revision=2),
        "request by another": _with_request(
            replace(redeemed(1), signature=HOLDER.sign(redeemed(1).redemption().digest(LEDGER_DOMAIN)))
        ),
        "another detail": replace(GOOD, detail=replace(_known(GOOD.detail), salt=bytes(32))),
        "outcome by another": _with_outcome(
            replace(OUTCOME_ENTRY, signature=HOLDER.sign(OUTCOME_ENTRY.outcome().digest(LEDGER_DOMAIN)))
        ),
        "receipt without an outcome": replace(GOOD, outcome=None),
        "receipt of another agent": replace(GOOD, receipt=_receipt(RECEIPT, by=DESIGNER)),
        "receipt that names another agent": replace(
            GOOD, receipt=ReceiptPart(replace(ENVELOPE, agent=DESIGNER.address), RECEIPT_SALT)
        ),
        "receipt without the gateway": replace(GOOD, receipt=ReceiptPart(sign_receipt(RECEIPT, AGENT), RECEIPT_SALT)),
        "receipt of another gateway": replace(
            GOOD, receipt=ReceiptPart(sign_receipt(RECEIPT, AGENT).countersign(OTHER_RELEASE_KEY), RECEIPT_SALT)
        ),
        "receipt with another salt": replace(GOOD, receipt=ReceiptPart(ENVELOPE, bytes(32))),
        "receipt of another print": _with_receipt(replace(RECEIPT, sequence=2)),
        "receipt of another result": _with_receipt(replace(RECEIPT, result=Result.FAILED)),
        "release by another key": replace(GOOD, release=RELEASE.sign(OTHER_RELEASE_KEY)),
        "release with a changed signature": replace(GOOD, release=GOOD.release[:-4] + "AAAA"),
        "promise instead of a release": replace(GOOD, release=_promise(PROMISE)),
        "release for another entry": _released(leaf_hash=word("leaf")),
        "release of another log": _released(origin=f"{RELEASE.origin}2"),
        "release under another profile": _released(profile_digest=word("profile")),
        "release for another manifest": _released(manifest_digest=word("manifest")),
        "release for another key": _released(key_commitment=word("key")),
        "anchor of another gateway": _anchored(gateway=DESIGNER.address),
        "anchor of another root": _anchored(root=word("root")),
        "anchor of another size": _anchored(size=_known(GOOD.anchor).size + 1),
        "proof for another index": replace(GOOD, redeemed=replace(GOOD.redeemed, index=1)),
        "index outside the log": replace(GOOD, redeemed=replace(GOOD.redeemed, index=1 << 40)),
        "proof that is too short": replace(GOOD, redeemed=replace(GOOD.redeemed, proof=GOOD.redeemed.proof[:-1])),
        "proof that is too long": replace(
            GOOD, redeemed=replace(GOOD.redeemed, proof=(*GOOD.redeemed.proof, word("more")))
        ),
    }


def _known(value: Any) -> Any:
    assert value is not None  # noqa: S101 (the sample has every part)
    return value


def _high_s(signature: bytes) -> bytes:
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = order - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def _with_request(entry: Any) -> Passport:
    return replace(GOOD, redeemed=replace(GOOD.redeemed, entry=entry.to_bytes()))


def _with_outcome(entry: Any, **changes: Any) -> Passport:
    return replace(GOOD, outcome=replace(_known(GOOD.outcome), entry=entry.to_bytes()), **changes)


def _receipt(receipt: Receipt, *, by: Any = AGENT) -> ReceiptPart:
    return ReceiptPart(sign_receipt(receipt, by).countersign(RELEASE_KEY), RECEIPT_SALT)


def _with_receipt(receipt: Receipt, **changes: Any) -> Passport:
    """Return the passport with a receipt that the outcome signed."""
    entry = replace(OUTCOME_ENTRY, receipt_digest=receipt.digest(RECEIPT_SALT), **changes)
    entry = replace(entry, signature=AGENT.sign(entry.outcome().digest(LEDGER_DOMAIN)))
    return _with_outcome(entry, receipt=_receipt(receipt))


def _ended(result: Result, *, spare_used: bool) -> Passport:
    """Return the passport of a print that ended so; it is not under the sample's root, and so provisional."""
    passport = _with_receipt(replace(RECEIPT, result=result), result=result, spare_used=spare_used)
    return replace(passport, anchor=None)


def _released(**changes: Any) -> Passport:
    return replace(GOOD, release=replace(RELEASE, **changes).sign(RELEASE_KEY))


def _promise(promise: Promise) -> str:
    return promise.sign(RELEASE_KEY)


def _anchored(**changes: Any) -> Passport:
    anchor: Anchor = _known(GOOD.anchor)
    return replace(GOOD, anchor=replace(anchor, **changes))


def _second_revision(*, private: bool) -> Passport:
    return replace(of_second_revision(replace(MANIFEST, title="Box, second revision", private=private)), detail=None)


# --- another value in every place ---------------------------------------------------------------------------


def _changes(good: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each place of the file, as a JSON pointer, with what is done to it."""
    for at, value in _places(good, ""):
        if not at.rpartition("/")[2].isdigit():
            yield at, {"delete": True}
        for other in _others(value):
            yield at, {"value": other}


def _places(value: Any, at: str) -> Iterator[tuple[str, Any]]:
    if at:
        yield at, value
    if isinstance(value, dict):
        for name, item in value.items():
            yield from _places(item, f"{at}/{name}")
    elif isinstance(value, list):
        for number, item in enumerate(value[:2]):
            yield from _places(item, f"{at}/{number}")


def _others(value: Any) -> Iterator[Any]:
    yield None
    match value:
        case bool():
            yield not value
            yield int(value)
        case int():
            yield value + 1
            yield str(value)
        case str():
            change: Callable[[str], str] = str.upper if value.startswith("0x") else str.swapcase
            yield change(value)
            yield value[:-1] + ("1" if value.endswith("0") else "0")
            yield f"{value}\n"
            yield [value]
        case list():
            yield [*value, *value]
            yield {"0": value}
        case dict():
            yield {**value, "more": 1}
            yield [value]


def _changed(good: Any, at: str, change: Mapping[str, Any]) -> Any:
    """Return the file with one place changed."""
    document = copy.deepcopy(good)
    *path, last = at[1:].split("/")
    place = document
    for step in path:
        place = place[int(step) if isinstance(place, list) else step]
    if "delete" in change:
        del place[last]
    else:
        place[int(last) if isinstance(place, list) else last] = change["value"]
    return document
