"""The part passport: all that shows offline who made a part's design, under which licence, and that it was counted.

One JSON file of at most 4 MiB. Registration and terms stand in it whole, so that the ids of design and licence can
be computed again; the manifest and the gateway's profile likewise. Without an anchor it is *provisional*. The
*full* form opens a private design's commitment and the detail of the request; the *public* form does neither, and
an audit then says "content not disclosed".

Source: docs/formats.md, passport.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, Self, TypeVar

from platemark.errors import MalformedError
from platemark.protocol import canonical, log_entry
from platemark.protocol.byte_text import (
    base64url,
    hex_text,
    parse_account_signature,
    parse_base64url,
    parse_hex,
    signature_text,
)
from platemark.protocol.canonical import JsonValue, integer_of, object_of, text_of
from platemark.protocol.jws import MAX_JWS_BYTES
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry
from platemark.protocol.manifest import Manifest
from platemark.protocol.plain_text import items_of, line_of, lines_of
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Envelope
from platemark.protocol.serial import parse_serial, serial_of
from platemark.protocol.typed_data import (
    Domain,
    Registration,
    Reservation,
    Terms,
    ledger_domain,
    license_domain,
    registry_domain,
)
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    address_text,
    digest_text,
    id_text,
    parse_address,
    parse_digest,
    parse_id,
)
from platemark.protocol.voucher import IntendedPrint

VERSION: Final = 1
MAX_BYTES: Final = 4 << 20
MAX_PROOF: Final = 64
MAX_ACCOUNTS: Final = 8
MAX_SLOTS: Final = 64
MAX_NODES: Final = 80
MAX_NODE_BYTES: Final = 4096
MAX_HEADER_BYTES: Final = 4096
MAX_ENTRY_BYTES: Final = 1024
MAX_WARNINGS: Final = 64
MEDIA_TYPE: Final = "application/vnd.platemark.passport+json"

_T = TypeVar("_T")


class PassportPartError(MalformedError):
    """A part of a passport is missing, broken, or not what the other parts give; `part` is its name in the file."""

    def __init__(self, message: str, *, part: str, code: str = "passport") -> None:
        """Take the message, the part, and the code of what is wrong with it."""
        super().__init__(message, code=code)
        self.part = part


class Form(StrEnum):
    """How much a passport opens."""

    PUBLIC = "public"
    FULL = "full"


class Statement(StrEnum):
    """What log or chain hold as a salted digest, and a passport opens or not; each by its part's name."""

    RECEIPT = "receipt"
    CONTENT = "content"
    DETAIL = "detail"


class Status(StrEnum):
    """What a look-up of a serial answers; no part of the passport itself."""

    VALID = "valid"
    RECALLED = "recalled"
    VOIDED = "voided"
    PROVISIONAL = "provisional"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LoggedEntry:
    """An entry of the print log, where it stands in it, and the proof against the anchor's root."""

    entry: bytes
    index: int
    proof: tuple[Digest32, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the entry as the passport holds it."""
        return {
            "entry": base64url(self.entry),
            "index": self.index,
            "proof": [digest_text(digest) for digest in self.proof],
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the entry that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"entry", "index", "proof"}))
        proof = items_of(found["proof"], max_items=MAX_PROOF, what="hashes of a proof")
        return cls(
            entry=parse_base64url(found["entry"], max_bytes=MAX_ENTRY_BYTES),
            index=integer_of(found["index"]),
            proof=tuple(parse_digest(digest) for digest in proof),
        )


@dataclass(frozen=True, slots=True)
class Anchor:
    """A root on chain: under which gateway, epoch and size, and in which block and transaction it was put there."""

    gateway: Address
    epoch: int
    size: int
    root: Digest32
    tiles_digest: Digest32
    block_number: int
    block_hash: Digest32
    transaction: Digest32

    def to_json(self) -> dict[str, JsonValue]:
        """Return the anchor as the passport holds it."""
        return {
            "gateway": address_text(self.gateway),
            "epoch": self.epoch,
            "size": self.size,
            "root": digest_text(self.root),
            "tilesDigest": digest_text(self.tiles_digest),
            "blockNumber": self.block_number,
            "blockHash": digest_text(self.block_hash),
            "transaction": digest_text(self.transaction),
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the anchor that `to_json` wrote; errors: MalformedError."""
        names = {"gateway", "epoch", "size", "root", "tilesDigest", "blockNumber", "blockHash", "transaction"}
        found = object_of(value, fields=frozenset(names))
        return cls(
            gateway=parse_address(found["gateway"]),
            epoch=integer_of(found["epoch"], low=1, high=(1 << 32) - 1),
            size=integer_of(found["size"], low=1),
            root=parse_digest(found["root"]),
            tiles_digest=parse_digest(found["tilesDigest"]),
            block_number=integer_of(found["blockNumber"]),
            block_hash=parse_digest(found["blockHash"]),
            transaction=parse_digest(found["transaction"]),
        )


@dataclass(frozen=True, slots=True)
class SlotProof:
    """One storage slot with its value and the trie nodes (RLP) from the storage root."""

    key: Digest32
    value: Digest32
    proof: tuple[bytes, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the slot as the passport holds it."""
        return {"key": digest_text(self.key), "value": digest_text(self.value), "proof": _nodes_text(self.proof)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the slot that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"key", "value", "proof"}))
        return cls(parse_digest(found["key"]), parse_digest(found["value"]), _parse_nodes(found["proof"]))


@dataclass(frozen=True, slots=True)
class AccountProof:
    """One contract's account and slots, as `eth_getProof` gives them; `proof` leads from the block's state root."""

    address: Address
    proof: tuple[bytes, ...]
    slots: tuple[SlotProof, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the account as the passport holds it."""
        return {
            "address": address_text(self.address),
            "proof": _nodes_text(self.proof),
            "slots": [slot.to_json() for slot in self.slots],
        }

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the account that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"address", "proof", "slots"}))
        slots = items_of(found["slots"], max_items=MAX_SLOTS, what="storage slots")
        return cls(
            address=parse_address(found["address"]),
            proof=_parse_nodes(found["proof"]),
            slots=tuple(SlotProof.from_json(slot) for slot in slots),
        )


@dataclass(frozen=True, slots=True)
class ChainProof:
    """Storage proofs against one block: the block's header (RLP, hashes to the block's hash) and accounts."""

    header: bytes
    accounts: tuple[AccountProof, ...]

    def to_json(self) -> dict[str, JsonValue]:
        """Return the proofs as the passport holds them."""
        return {"header": hex_text(self.header), "accounts": [account.to_json() for account in self.accounts]}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the proofs that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"header", "accounts"}))
        accounts = items_of(found["accounts"], min_items=1, max_items=MAX_ACCOUNTS, what="accounts")
        return cls(
            header=parse_hex(found["header"], max_bytes=MAX_HEADER_BYTES),
            accounts=tuple(AccountProof.from_json(account) for account in accounts),
        )


@dataclass(frozen=True, slots=True)
class Content:
    """What opens a revision's commitment: salt (32 bytes) and files root."""

    salt: bytes
    files_root: Digest32

    def to_json(self) -> dict[str, JsonValue]:
        """Return the opening as the passport holds it."""
        return {"salt": hex_text(self.salt), "filesRoot": digest_text(self.files_root)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the opening that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"salt", "filesRoot"}))
        return cls(parse_hex(found["salt"], exact_bytes=32), parse_digest(found["filesRoot"]))


@dataclass(frozen=True, slots=True)
class Detail:
    """What opens a request's detail: salt (32 bytes) and what was committed to."""

    salt: bytes
    intended: IntendedPrint

    def to_json(self) -> dict[str, JsonValue]:
        """Return the opening as the passport holds it."""
        return {"salt": hex_text(self.salt), "intended": self.intended.to_json()}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the opening that `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"salt", "intended"}))
        return cls(parse_hex(found["salt"], exact_bytes=32), IntendedPrint.from_json(found["intended"]))


@dataclass(frozen=True, slots=True)
class ReceiptPart:
    """The receipt's envelope, and the salt (32 bytes) under which the outcome signed its digest."""

    envelope: Envelope
    salt: bytes

    def to_json(self) -> dict[str, JsonValue]:
        """Return envelope and salt as the passport holds them."""
        return {"envelope": self.envelope.to_json(), "salt": hex_text(self.salt)}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"envelope", "salt"}))
        return cls(Envelope.from_json(found["envelope"]), parse_hex(found["salt"], exact_bytes=32))


@dataclass(frozen=True, slots=True)
class Responsible:
    """Who answers for the part: the print centre's published name, and how to reach it."""

    name: str
    contact: str

    def to_json(self) -> dict[str, JsonValue]:
        """Return name and contact as the passport holds them."""
        return {"name": self.name, "contact": self.contact}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return what `to_json` wrote; errors: MalformedError."""
        found = object_of(value, fields=frozenset({"name", "contact"}))
        return cls(line_of(found["name"]), line_of(found["contact"], may_be_empty=True))


@dataclass(frozen=True, slots=True)
class Passport:
    """A part passport; nothing in it is verified yet but that its ids and its serial belong together.

    `permission_signature` is the holder's; `release` the compact JWS; `outcome` and `receipt` are there once the
    print has ended; `anchor` once the log is on chain; `content` opens a private design, `detail` the request.
    """

    registration: Registration
    revision: int
    manifest: Manifest
    terms: Terms
    profile: GatewayProfile
    permission: Reservation
    permission_signature: bytes
    token_digest: Digest32
    release: str
    sequence: int
    redeemed: LoggedEntry
    outcome: LoggedEntry | None = None
    receipt: ReceiptPart | None = None
    anchor: Anchor | None = None
    chain_proof: ChainProof | None = None
    content: Content | None = None
    detail: Detail | None = None
    responsible: Responsible | None = None
    material: str = ""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Errors: PassportPartError, the first in the order of the steps, for parts that cannot belong together."""
        if self.terms.design_id != self.design_id:
            raise PassportPartError("the passport's terms are for another design", part="terms")
        if self.permission.license_id != self.license_id:
            raise PassportPartError("the passport's permission is for another licence", part="permission")
        redeemed = _part("redeemed", lambda _: self.redeemed_entry(), None)
        if (redeemed.token_id, redeemed.sequence) != (self.token_id, self.sequence):
            raise PassportPartError("the passport's log entry is another print's", part="redeemed")
        if redeemed.token_digest != self.token_digest:
            raise PassportPartError("the passport's log entry cites another token", part="tokenDigest")
        outcome = _part("outcome", lambda _: self.outcome_entry(), None)
        if outcome is not None and (outcome.token_id, outcome.sequence) != (self.token_id, self.sequence):
            raise PassportPartError("the passport's outcome is another print's", part="outcome")
        if self.chain_proof is not None and self.anchor is None:
            raise PassportPartError("a passport with storage proofs has an anchor", part="chainProof")

    @property
    def registry_domain(self) -> Domain:
        """The DesignRegistry's domain."""
        return registry_domain(self.profile.chain_id, self.profile.registry)

    @property
    def license_domain(self) -> Domain:
        """The PrintLicense's domain."""
        return license_domain(self.profile.chain_id, self.profile.license)

    @property
    def ledger_domain(self) -> Domain:
        """The PrintLedger's domain."""
        return ledger_domain(self.profile.chain_id, self.profile.ledger)

    @property
    def design_id(self) -> DesignId:
        """The design's id, computed from the registration."""
        return DesignId(int.from_bytes(self.registration.digest(self.registry_domain), "big"))

    @property
    def license_id(self) -> LicenseId:
        """The licence's id, computed from the terms."""
        return self.terms.license_id(self.license_domain)

    @property
    def token_id(self) -> TokenId:
        """The print token's id, computed from the permission."""
        return self.permission.token_id(self.ledger_domain)

    @property
    def serial(self) -> str:
        """The part's serial, computed from token and sequence."""
        return serial_of(self.token_id, self.sequence)

    @property
    def provisional(self) -> bool:
        """Whether the log is not anchored yet, as far as this passport shows."""
        return self.anchor is None

    @property
    def form(self) -> Form:
        """How much is opened."""
        return Form.PUBLIC if self.content is None and self.detail is None else Form.FULL

    @property
    def disclosed(self) -> tuple[Statement, ...]:
        """The statements that are open in it."""
        return tuple(each for each in Statement if self._optional_parts()[each] is not None)

    @property
    def undisclosed(self) -> tuple[Statement, ...]:
        """The statements that were made and are not open in it; before its outcome a print has no receipt."""
        made = [each for each in Statement if each is not Statement.RECEIPT or self.outcome is not None]
        return tuple(each for each in made if each not in self.disclosed)

    def redeemed_entry(self) -> RedeemedEntry:
        """Return the log's entry of the redemption; errors: MalformedError."""
        entry = log_entry.decode(self.redeemed.entry)
        if not isinstance(entry, RedeemedEntry):
            raise MalformedError("the passport's first entry is no redemption", code="passport")
        return entry

    def outcome_entry(self) -> OutcomeEntry | None:
        """Return the log's entry of the outcome, if there is one yet; errors: MalformedError."""
        if self.outcome is None:
            return None
        entry = log_entry.decode(self.outcome.entry)
        if not isinstance(entry, OutcomeEntry):
            raise MalformedError("the passport's second entry is no outcome", code="passport")
        return entry

    def public(self) -> "Passport":
        """Return the passport without what opens a private design or the request."""
        return replace(self, content=None, detail=None)

    def disclosing(self, statements: Collection[Statement]) -> "Passport":
        """Return the passport with none of its statements open but these; the material is the receipt's to tell."""
        told = Statement.RECEIPT in statements
        return replace(
            self,
            receipt=self.receipt if told else None,
            content=self.content if Statement.CONTENT in statements else None,
            detail=self.detail if Statement.DETAIL in statements else None,
            material=self.material if told else "",
        )

    def to_json(self) -> dict[str, JsonValue]:
        """Return the passport as JSON; what is not known yet is left out."""
        found: dict[str, JsonValue] = {
            "version": VERSION,
            "form": str(self.form),
            "serial": self.serial,
            "sequence": self.sequence,
            "chainId": self.profile.chain_id,
            "contracts": _contracts(self.profile),
            "designId": id_text(self.design_id),
            "revision": self.revision,
            "licenseId": id_text(self.license_id),
            "tokenId": id_text(self.token_id),
            "registration": self.registration.to_json(),
            "manifest": self.manifest.to_json(),
            "terms": self.terms.to_json(),
            "profile": self.profile.to_json(),
            "permission": self.permission.to_json(),
            "permissionSignature": signature_text(self.permission_signature),
            "tokenDigest": digest_text(self.token_digest),
            "release": self.release,
            "redeemed": self.redeemed.to_json(),
            "material": self.material,
            "warnings": list(self.warnings),
        }
        for name, part in self._optional_parts().items():
            if part is not None:
                found[name] = part.to_json()
        return found

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the passport that `to_json` wrote.

        Errors: PassportPartError naming the first part, in the order of the steps, that is missing, broken or not what
            the others give; MalformedError for what is no passport at all, or one of a later version.
        """
        if not isinstance(value, Mapping) or 2 * len(_FIELDS & value.keys()) < len(_FIELDS):
            raise MalformedError("this is no passport", code="canonical-form")
        version = value.get("version")
        if isinstance(version, int) and version > VERSION:
            raise MalformedError(f"a passport of version {version}; this reads version {VERSION}", code="integer-range")
        found = {name: _read(value, name) for name in _PARTS if name in _FIELDS or name in value}
        if unknown := value.keys() - _PARTS.keys():
            name = min(unknown)[:200]
            raise PassportPartError(f"unknown field: {name}", part=name, code="canonical-form")
        _check_stated(value, found)
        passport = cls(
            registration=found["registration"],
            revision=found["revision"],
            manifest=found["manifest"],
            terms=found["terms"],
            profile=found["profile"],
            permission=found["permission"],
            permission_signature=found["permissionSignature"],
            token_digest=found["tokenDigest"],
            release=found["release"],
            sequence=found["sequence"],
            redeemed=found["redeemed"],
            outcome=found.get("outcome"),
            receipt=found.get("receipt"),
            anchor=found.get("anchor"),
            chain_proof=found.get("chainProof"),
            content=found.get("content"),
            detail=found.get("detail"),
            responsible=found.get("responsible"),
            material=found["material"],
            warnings=found["warnings"],
        )
        if passport.serial != value["serial"]:
            raise _not_given("serial")
        return passport

    def encode(self) -> bytes:
        """Return the passport's bytes, canonical JSON, exactly what `parse` accepts."""
        data = canonical.encode(self.to_json())
        self.parse(data)
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Return the passport in JSON of at most 4 MiB, canonical or not; errors as `from_json`."""
        return cls.from_json(canonical.parse(data, max_bytes=MAX_BYTES))

    def _optional_parts(self) -> Mapping[str, "_Part | None"]:
        return {
            "outcome": self.outcome,
            "receipt": self.receipt,
            "anchor": self.anchor,
            "chainProof": self.chain_proof,
            "content": self.content,
            "detail": self.detail,
            "responsible": self.responsible,
        }


_Part = LoggedEntry | ReceiptPart | Anchor | ChainProof | Content | Detail | Responsible

_OPTIONAL: Final = frozenset({"outcome", "receipt", "anchor", "chainProof", "content", "detail", "responsible"})


def _check_stated(value: Mapping[str, JsonValue], found: Mapping[str, Any]) -> None:
    """Pass when the ids and the form that stand in the file are what its parts give."""
    profile: GatewayProfile = found["profile"]
    design_id = int.from_bytes(found["registration"].digest(registry_domain(profile.chain_id, profile.registry)), "big")
    own: dict[str, JsonValue] = {
        "chainId": profile.chain_id,
        "contracts": _contracts(profile),
        "designId": id_text(design_id),
        "form": str(Form.FULL if {"content", "detail"} & found.keys() else Form.PUBLIC),
        "licenseId": id_text(found["terms"].license_id(license_domain(profile.chain_id, profile.license))),
        "tokenId": id_text(found["permission"].token_id(ledger_domain(profile.chain_id, profile.ledger))),
    }
    for name, expected in own.items():
        if value[name] != expected:
            raise _not_given(name)


def _not_given(name: str) -> PassportPartError:
    return PassportPartError(f"the passport's {name} is not what its parts give", part=name)


def _read(value: Mapping[str, JsonValue], name: str) -> Any:
    if name not in value:
        raise PassportPartError(f"missing field: {name}", part=name, code="canonical-form")
    return _part(name, _PARTS[name], value[name])


def _part(name: str, read: Callable[[JsonValue], _T], value: JsonValue) -> _T:
    try:
        return read(value)
    except MalformedError as error:
        raise PassportPartError(error.message, part=name, code=error.code) from error


def _contracts(profile: GatewayProfile) -> dict[str, JsonValue]:
    return {
        "registry": address_text(profile.registry),
        "license": address_text(profile.license),
        "ledger": address_text(profile.ledger),
    }


def _release(value: JsonValue) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_JWS_BYTES:
        raise MalformedError("a release is a compact JWS", code="jws")
    return value


def _nodes_text(nodes: tuple[bytes, ...]) -> list[JsonValue]:
    return [hex_text(node) for node in nodes]


def _parse_nodes(value: JsonValue) -> tuple[bytes, ...]:
    nodes = items_of(value, max_items=MAX_NODES, what="trie nodes")
    return tuple(parse_hex(node, max_bytes=MAX_NODE_BYTES) for node in nodes)


_PARTS: Final[Mapping[str, Callable[[JsonValue], Any]]] = {
    "version": lambda value: integer_of(value, low=VERSION, high=VERSION),
    "chainId": integer_of,
    "contracts": lambda value: object_of(value, fields=frozenset({"registry", "license", "ledger"})),
    "manifest": Manifest.from_json,
    "material": lambda value: line_of(value, may_be_empty=True),
    "warnings": lambda value: lines_of(value, max_items=MAX_WARNINGS, max_length=500),
    "registration": Registration.from_json,
    "designId": parse_id,
    "content": Content.from_json,
    "form": text_of,
    "revision": lambda value: integer_of(value, low=1, high=65_535),
    "terms": Terms.from_json,
    "licenseId": parse_id,
    "permission": Reservation.from_json,
    "permissionSignature": parse_account_signature,
    "tokenId": parse_id,
    "sequence": lambda value: integer_of(value, low=1, high=65_535),
    "serial": parse_serial,
    "tokenDigest": parse_digest,
    "redeemed": LoggedEntry.from_json,
    "outcome": LoggedEntry.from_json,
    "detail": Detail.from_json,
    "receipt": ReceiptPart.from_json,
    "responsible": Responsible.from_json,
    "profile": GatewayProfile.from_json,
    "release": _release,
    "anchor": Anchor.from_json,
    "chainProof": ChainProof.from_json,
}
"""Every member of the file and what reads it, in the order of the steps that they belong to."""
_FIELDS: Final = frozenset(_PARTS) - _OPTIONAL
