"""Signed reports: an auditor's account puts its name to what an audit found, and anybody can read that later.

An in-toto Statement in a DSSE envelope with one signature: 65 bytes over SHA-256(PAE), as an agent signs a receipt. The
statement's only subject is the report itself. A signature says who says so, not that it is so: the same evidence can
be audited again.

Source: in-toto Statement v1, DSSE v1; docs/formats.md, signed report.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.digests import sha256
from platemark.protocol.dsse import (
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    base64_text,
    parse_base64,
    parse_signature,
    pre_authentication,
)
from platemark.protocol.plain_text import items_of, line_of
from platemark.protocol.units import Address, UnixSeconds, address_text, parse_address
from platemark.verify.report import Report

PREDICATE_TYPE: Final = "https://platemark.example/audit-report/v1"
MAX_BYTES: Final = 32 << 20
"""Of an envelope; a report of a large log with very many discrepancies is to be read as it is."""
_STATEMENT_BYTES: Final = MAX_BYTES // 4 * 3 - 4096


@dataclass(frozen=True, slots=True)
class SignedReport:
    """A report with who signed it and when that account said it was made (not proven by anything)."""

    report: Report
    auditor: Address
    made_at: UnixSeconds

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return what an envelope holds, once its signature was found to be of the account that it names.

        Errors: MalformedError for what is no signed report; VerificationError `signature-invalid`.
        """
        envelope = object_of(
            canonical.parse(data, max_bytes=MAX_BYTES), fields=frozenset({"payload", "payloadType", "signatures"})
        )
        if envelope["payloadType"] != PAYLOAD_TYPE:
            raise MalformedError("the envelope holds something else than a statement", code="envelope")
        (signed,) = items_of(envelope["signatures"], min_items=1, max_items=1, what="signatures")
        key_id, signature = parse_signature(signed, 65)
        payload = parse_base64(envelope["payload"], max_bytes=_STATEMENT_BYTES)
        found = recover(sha256(pre_authentication(payload)), signature)
        if found != parse_address(key_id):
            raise VerificationError(
                "the report is not signed by the account that it names",
                step="report",
                code="signature-invalid",
                expected=key_id,
                found=address_text(found),
            )
        statement = object_of(
            canonical.decode(payload, max_bytes=_STATEMENT_BYTES),
            fields=frozenset({"_type", "subject", "predicateType", "predicate"}),
        )
        if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
            raise MalformedError("this is no statement about an audit", code="report-type")
        predicate = object_of(statement["predicate"], fields=frozenset({"madeAt", "report"}))
        report = Report.from_json(predicate["report"])
        if statement["subject"] != _subject(report):
            raise MalformedError("the statement is about another report than it says", code="report-subject")
        return cls(report, found, UnixSeconds(integer_of(predicate["madeAt"])))

    def check_auditor(self, accepted: Collection[Address]) -> None:
        """Pass when one of these accounts signed; errors: VerificationError `signature-invalid`."""
        if self.auditor not in accepted:
            raise VerificationError(
                "the report is signed by an account that was not named",
                step="report",
                code="signature-invalid",
                expected=" or ".join(sorted(map(address_text, accepted))),
                found=address_text(self.auditor),
            )


def sign_report(report: Report, auditor: AccountKey, made_at: UnixSeconds) -> bytes:
    """Return the report in an envelope with the auditor's signature, as one line of JSON.

    Errors: MalformedError `too-large` for a report that nobody could open again.
    """
    predicate: Mapping[str, JsonValue] = {"madeAt": made_at, "report": report.to_json()}
    payload = canonical.encode(
        {
            "_type": STATEMENT_TYPE,
            "subject": _subject(report),
            "predicateType": PREDICATE_TYPE,
            "predicate": predicate,
        }
    )
    if len(payload) > _STATEMENT_BYTES:
        raise MalformedError("the report is too large to be signed", code="too-large", hint="keep it as JSON: --json")
    signature = auditor.sign(sha256(pre_authentication(payload)))
    signed: JsonValue = {"keyid": address_text(auditor.address), "sig": base64_text(signature)}
    return canonical.encode({"payload": base64_text(payload), "payloadType": PAYLOAD_TYPE, "signatures": [signed]})


def _subject(report: Report) -> list[JsonValue]:
    name = line_of(report.subject, max_length=1024)
    return [{"name": name, "digest": {"sha256": sha256(canonical.encode(report.to_json())).hex()}}]
