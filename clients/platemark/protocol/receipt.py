"""Receipts: how a print was made, an in-toto Statement in a DSSE envelope with two signatures.

The agent signs SHA-256(PAE) with the token's secp256k1 key (65 bytes, key id: its address), the gateway PAE itself
with its Ed25519 release key (key id: RFC 7638 thumbprint). A quantity says who measured it; what nobody measured
has no value. The predicate type is a name, not a place: nothing is fetched from it.

Source: in-toto Statement v1, DSSE v1; docs/formats.md, receipt.
"""

from dataclasses import dataclass, fields
from decimal import Decimal
from enum import StrEnum
from typing import Final, Self

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.decimals import decimal_text, parse_decimal
from platemark.protocol.digests import receipt_digest, serial_digest, sha256
from platemark.protocol.dsse import (
    PAYLOAD_TYPE,
    STATEMENT_TYPE,
    base64_text,
    parse_base64,
    parse_signature,
    pre_authentication,
)
from platemark.protocol.jws import Signer, key_id, verify_bytes
from platemark.protocol.outcome import Result, parse_result, result_text
from platemark.protocol.plain_text import items_of, line_of
from platemark.protocol.serial import serial_of
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
    parse_id,
)
from platemark.protocol.voucher import LAST_SEQUENCE

PREDICATE_TYPE: Final = "https://platemark.example/print-receipt/v1"
MAX_BYTES: Final = 262_144
MAX_ATTEMPTS: Final = 64
MAX_OBJECTS: Final = 4096


class Source(StrEnum):
    """Who says so: a meter, the printer's own count, the slicer's estimate, a person, or nobody."""

    METER = "meter"
    PRINTER = "printer"
    SLICER = "slicer"
    OPERATOR = "operator"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured number; with source `none` there is no value."""

    value: Decimal | None
    source: Source

    def __post_init__(self) -> None:
        """Errors: MalformedError `quantity` for a value without a source, or a source without a value."""
        if (self.value is None) != (self.source is Source.NONE):
            raise MalformedError("a quantity has a value exactly when somebody measured it", code="quantity")

    def to_json(self, unit: str) -> dict[str, JsonValue]:
        """Return `{value, unit, source}`, without `value` when nobody measured."""
        found: dict[str, JsonValue] = {"unit": unit, "source": str(self.source)}
        if self.value is not None:
            found["value"] = decimal_text(self.value)
        return found

    @classmethod
    def from_json(cls, value: JsonValue, unit: str) -> Self:
        """Return the quantity that `to_json` wrote; errors: MalformedError `quantity` for another unit or source."""
        found = object_of(value, fields=frozenset({"unit", "source"}), optional=frozenset({"value"}))
        if found["unit"] != unit or found["source"] not in tuple(Source):
            raise MalformedError(f"a quantity in {unit} with a known source was expected", code="quantity")
        number = parse_decimal(found["value"]) if "value" in found else None
        return cls(number, Source(line_of(found["source"])))


NOT_MEASURED: Final = Quantity(None, Source.NONE)


@dataclass(frozen=True, slots=True)
class Quantities:
    """What a print used; grams, minutes and kilowatt hours. The default of each is: nobody measured it."""

    in_part: Quantity = NOT_MEASURED
    in_supports: Quantity = NOT_MEASURED
    purged: Quantity = NOT_MEASURED
    failed: Quantity = NOT_MEASURED
    duration: Quantity = NOT_MEASURED
    energy: Quantity = NOT_MEASURED

    def to_json(self) -> dict[str, JsonValue]:
        """Return all six quantities by name."""
        return {name: getattr(self, attribute).to_json(unit) for attribute, (name, unit) in _QUANTITIES.items()}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset(name for name, _ in _QUANTITIES.values()))
        return cls(
            **{attribute: Quantity.from_json(found[name], unit) for attribute, (name, unit) in _QUANTITIES.items()}
        )


_QUANTITIES: Final = {
    "in_part": ("materialInPart", "g"),
    "in_supports": ("materialInSupports", "g"),
    "purged": ("materialPurged", "g"),
    "failed": ("materialFailed", "g"),
    "duration": ("duration", "min"),
    "energy": ("energy", "kWh"),
}
assert list(_QUANTITIES) == [field.name for field in fields(Quantities)]  # noqa: S101 (holds at import or never)


@dataclass(frozen=True, slots=True)
class Printer:
    """The machine: its name in the centre, its model, how it is driven (simulated, octoprint, moonraker, file)."""

    name: str
    model: str
    driver: str

    def to_json(self) -> dict[str, JsonValue]:
        """Return the printer as the receipt holds it."""
        return {"name": self.name, "model": self.model, "driver": self.driver}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the printer that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"name", "model", "driver"}))
        return cls(line_of(found["name"]), line_of(found["model"]), line_of(found["driver"], max_length=60))


@dataclass(frozen=True, slots=True)
class Attempt:
    """One run on one printer: which G-code (its SHA-256), from when to when, how it ended and why."""

    printer: Printer
    gcode_sha256: Digest32
    started_at: UnixSeconds
    finished_at: UnixSeconds
    result: Result
    reason: str = ""

    def to_json(self) -> dict[str, JsonValue]:
        """Return the attempt as the receipt holds it."""
        return {
            "printer": self.printer.to_json(),
            "gcodeSha256": digest_text(self.gcode_sha256),
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            "result": result_text(self.result),
            "reason": self.reason,
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the attempt that `to_json` wrote; errors: MalformedError."""
        names = frozenset({"printer", "gcodeSha256", "startedAt", "finishedAt", "result", "reason"})
        found = object_of(value, fields=names)
        started_at = integer_of(found["startedAt"])
        return cls(
            printer=Printer.from_json(found["printer"]),
            gcode_sha256=parse_digest(found["gcodeSha256"]),
            started_at=UnixSeconds(started_at),
            finished_at=UnixSeconds(integer_of(found["finishedAt"], low=started_at)),
            result=_result(found["result"]),
            reason=line_of(found["reason"], may_be_empty=True),
        )


@dataclass(frozen=True, slots=True)
class ObjectOutcome:
    """How one body of the product came out: which part, which copy of it (0 and up)."""

    part: str
    index: int
    result: Result

    def to_json(self) -> dict[str, JsonValue]:
        """Return the body as the receipt holds it."""
        return {"part": self.part, "index": self.index, "result": result_text(self.result)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the body that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"part", "index", "result"}))
        return cls(line_of(found["part"], max_length=120), integer_of(found["index"]), _result(found["result"]))


@dataclass(frozen=True, slots=True)
class Material:
    """What it is made of; `recycled_percent` only with the digest of the document that says so."""

    name: str
    lot: str = ""
    recycled_percent: Decimal | None = None
    document_sha256: Digest32 | None = None

    def __post_init__(self) -> None:
        """Errors: MalformedError `material` for a recycled share without a document, or above 100."""
        if self.recycled_percent is not None and (self.document_sha256 is None or self.recycled_percent > 100):
            raise MalformedError("a recycled share is at most 100 and has a document", code="material")

    def to_json(self) -> dict[str, JsonValue]:
        """Return the material as the receipt holds it; what is unknown is left out."""
        found: dict[str, JsonValue] = {"name": self.name, "lot": self.lot}
        if self.recycled_percent is not None:
            found["recycledPercent"] = decimal_text(self.recycled_percent)
        if self.document_sha256 is not None:
            found["documentSha256"] = digest_text(self.document_sha256)
        return found

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the material that `to_json` wrote; errors: MalformedError."""
        found = object_of(
            value, fields=frozenset({"name", "lot"}), optional=frozenset({"recycledPercent", "documentSha256"})
        )
        return cls(
            name=line_of(found["name"], max_length=120),
            lot=line_of(found["lot"], max_length=120, may_be_empty=True),
            recycled_percent=parse_decimal(found["recycledPercent"]) if "recycledPercent" in found else None,
            document_sha256=parse_digest(found["documentSha256"]) if "documentSha256" in found else None,
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """The predicate of a receipt, with what its subject is derived from (token and sequence)."""

    design_id: DesignId
    revision: int
    license_id: LicenseId
    token_id: TokenId
    sequence: int
    result: Result
    slicer: str
    slicer_version: str
    profile_sha256: Digest32
    attempts: tuple[Attempt, ...]
    objects: tuple[ObjectOutcome, ...]
    quantities: Quantities
    material: Material | None = None

    @property
    def serial(self) -> str:
        """The part's serial."""
        return serial_of(self.token_id, self.sequence)

    def statement(self) -> bytes:
        """Return the in-toto Statement, canonical JSON, exactly the bytes that `parse` accepts.

        Errors: MalformedError for texts or counts that nobody could parse again.
        """
        predicate: dict[str, JsonValue] = {
            "designId": id_text(self.design_id),
            "revision": self.revision,
            "licenseId": id_text(self.license_id),
            "tokenId": id_text(self.token_id),
            "sequence": self.sequence,
            "serial": self.serial,
            "result": result_text(self.result),
            "slicer": {
                "name": self.slicer,
                "version": self.slicer_version,
                "profileSha256": digest_text(self.profile_sha256),
            },
            "attempts": [attempt.to_json() for attempt in self.attempts],
            "objects": [item.to_json() for item in self.objects],
            "quantities": self.quantities.to_json(),
        }
        if self.material is not None:
            predicate["material"] = self.material.to_json()
        data = canonical.encode(
            {
                "_type": STATEMENT_TYPE,
                "subject": _subject(self.token_id, self.sequence),
                "predicateType": PREDICATE_TYPE,
                "predicate": predicate,
            }
        )
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the receipt in a statement of at most 256 KiB.

        Errors: MalformedError; `receipt-subject` when subject or serial are not the token's and sequence's.
        """
        statement = object_of(
            canonical.decode(data, max_bytes=MAX_BYTES),
            fields=frozenset({"_type", "subject", "predicateType", "predicate"}),
        )
        if statement["_type"] != STATEMENT_TYPE or statement["predicateType"] != PREDICATE_TYPE:
            raise MalformedError("this is no statement about a print", code="receipt-type")
        found = object_of(statement["predicate"], fields=_PREDICATE_FIELDS, optional=frozenset({"material"}))
        slicer = object_of(found["slicer"], fields=frozenset({"name", "version", "profileSha256"}))
        attempts = items_of(found["attempts"], max_items=MAX_ATTEMPTS, what="attempts")
        objects = items_of(found["objects"], max_items=MAX_OBJECTS, what="objects")
        receipt = cls(
            design_id=DesignId(parse_id(found["designId"])),
            revision=integer_of(found["revision"], low=1, high=65_535),
            license_id=LicenseId(parse_id(found["licenseId"])),
            token_id=TokenId(parse_id(found["tokenId"])),
            sequence=integer_of(found["sequence"], low=1, high=LAST_SEQUENCE),
            result=_result(found["result"]),
            slicer=line_of(slicer["name"], max_length=60),
            slicer_version=line_of(slicer["version"], max_length=60),
            profile_sha256=parse_digest(slicer["profileSha256"]),
            attempts=tuple(Attempt.from_json(attempt) for attempt in attempts),
            objects=tuple(ObjectOutcome.from_json(item) for item in objects),
            quantities=Quantities.from_json(found["quantities"]),
            material=Material.from_json(found["material"]) if "material" in found else None,
        )
        subject = _subject(receipt.token_id, receipt.sequence)
        if statement["subject"] != subject or found["serial"] != receipt.serial:
            raise MalformedError("the statement is about another part than it says", code="receipt-subject")
        return receipt

    def digest(self, salt: bytes) -> Digest32:
        """Return what the outcome signs: the salted digest (32-byte salt) of the statement."""
        return receipt_digest(salt, self.statement())


_PREDICATE_FIELDS: Final = frozenset(
    {
        "designId",
        "revision",
        "licenseId",
        "tokenId",
        "sequence",
        "serial",
        "result",
        "slicer",
        "attempts",
        "objects",
        "quantities",
    }
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope: the statement's bytes, the agent's signature, and perhaps the gateway's.

    `agent_signature` is 65 bytes over SHA-256(PAE); `gateway_signature` 64 bytes over PAE.
    """

    statement: bytes
    agent: Address
    agent_signature: bytes
    gateway_key_id: str | None = None
    gateway_signature: bytes | None = None

    def countersign(self, key: Signer) -> "Envelope":
        """Return the envelope with the signature of the gateway's release key."""
        return Envelope(
            self.statement, self.agent, self.agent_signature, key.key_id, key.sign(pre_authentication(self.statement))
        )

    def verify_agent(self, agent: Address) -> None:
        """Pass when the token's agent signed; errors: MalformedError or VerificationError `signature-invalid`."""
        found = recover(_agent_digest(self.statement), self.agent_signature)
        if found != agent or self.agent != agent:
            raise VerificationError(
                "the receipt is not signed by the token's agent",
                step="receipt",
                code="signature-invalid",
                expected=address_text(agent),
                found=address_text(found),
            )

    def verify_gateway(self, release_public: bytes) -> None:
        """Pass when the release key (32 bytes) countersigned; errors: VerificationError `signature-invalid`."""
        expected = key_id(release_public)
        if self.gateway_signature is None or self.gateway_key_id != expected:
            raise VerificationError(
                "the receipt is not countersigned by this gateway",
                step="receipt",
                code="signature-invalid",
                expected=expected,
                found=str(self.gateway_key_id),
            )
        verify_bytes(release_public, pre_authentication(self.statement), self.gateway_signature)

    def to_json(self) -> dict[str, JsonValue]:
        """Return the envelope as DSSE's JSON: standard base64, as the specification writes it."""
        signatures: list[JsonValue] = [{"keyid": address_text(self.agent), "sig": base64_text(self.agent_signature)}]
        if self.gateway_key_id is not None and self.gateway_signature is not None:
            signatures.append({"keyid": self.gateway_key_id, "sig": base64_text(self.gateway_signature)})
        return {"payload": base64_text(self.statement), "payloadType": PAYLOAD_TYPE, "signatures": signatures}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the envelope that `to_json` wrote: the agent's signature first, then perhaps the gateway's.

        Errors: MalformedError `envelope`.
        """
        found = object_of(value, fields=frozenset({"payload", "payloadType", "signatures"}))
        if found["payloadType"] != PAYLOAD_TYPE:
            raise MalformedError("the envelope holds something else than a statement", code="envelope")
        signatures = items_of(found["signatures"], min_items=1, max_items=2, what="signatures")
        pairs = [parse_signature(item, exact_bytes) for item, exact_bytes in zip(signatures, (65, 64), strict=False)]
        agent, agent_signature = pairs[0]
        gateway_key_id, gateway_signature = pairs[1] if len(pairs) == 2 else (None, None)
        return cls(
            statement=parse_base64(found["payload"], max_bytes=MAX_BYTES),
            agent=parse_address(agent),
            agent_signature=agent_signature,
            gateway_key_id=gateway_key_id,
            gateway_signature=gateway_signature,
        )


def sign_receipt(receipt: Receipt, agent: AccountKey) -> Envelope:
    """Return the receipt in an envelope with the agent's signature."""
    statement = receipt.statement()
    return Envelope(statement, agent.address, agent.sign(_agent_digest(statement)))


def _agent_digest(statement: bytes) -> Digest32:
    return sha256(pre_authentication(statement))


def _subject(token_id: TokenId, sequence: int) -> list[JsonValue]:
    """Return the statement's only subject: the part, by its serial and the whole digest that it is taken from."""
    digest = serial_digest(token_id, sequence).hex()
    return [{"name": serial_of(token_id, sequence), "digest": {"sha256": digest}}]


def _result(value: JsonValue) -> Result:
    return parse_result(line_of(value))
