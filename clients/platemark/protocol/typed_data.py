"""EIP-712 structs of the three contracts, hashed directly.

Each class below is one struct: its fields, in order, are the members of `TYPE`. The Solidity twins stand in
`contracts/src/interfaces/`; `tests/vectors/typed_data.json` is read by both sides.

Source: EIP-712, docs/formats.md.
"""

import functools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final, Self, cast

from platemark.errors import MalformedError
from platemark.protocol.canonical import MAX_SAFE_INTEGER, JsonValue, list_of, object_of
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    address_text,
    digest_text,
    id_text,
    keccak256,
    parse_address,
    parse_digest,
    parse_id,
)

REGISTRY_NAME: Final = "Platemark DesignRegistry"
LICENSE_NAME: Final = "Platemark PrintLicense"
LEDGER_NAME: Final = "Platemark PrintLedger"
VERSION: Final = "1"
MAX_ITEMS: Final = 1000

_DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_LAYOUTS: Final[dict[type, tuple[bytes, tuple["_Member", ...]]]] = {}
_MEMBER: Final = re.compile(r"(\w+(?:\[\])?) (\w+)")


@dataclass(frozen=True, slots=True)
class Domain:
    """The contract that checks a signature, on one chain."""

    name: str
    chain_id: int
    verifying_contract: Address

    def separator(self) -> Digest32:
        """Return the EIP-712 domain separator, 32 bytes."""
        return _separator(self)


@functools.lru_cache(maxsize=256)
def _separator(domain: Domain) -> Digest32:
    return keccak256(
        keccak256(_DOMAIN_TYPE.encode())
        + keccak256(domain.name.encode())
        + keccak256(VERSION.encode())
        + domain.chain_id.to_bytes(32, "big")
        + bytes(12)
        + domain.verifying_contract
    )


@dataclass(frozen=True, slots=True)
class Struct:
    """What all structs share: hashing, JSON, and the message that a wallet shows."""

    TYPE: ClassVar[str]

    def struct_hash(self) -> Digest32:
        """Return `hashStruct(self)`, 32 bytes.

        Errors: MalformedError `integer-range` for a member that does not fit its type.
        """
        type_hash, members = _layout(type(self))
        words = [member.encode(getattr(self, member.attribute)) for member in members]
        return keccak256(type_hash + b"".join(words))

    def digest(self, domain: Domain) -> Digest32:
        """Return what is signed: keccak256(0x1901 ‖ domain separator ‖ struct hash)."""
        return keccak256(b"\x19\x01" + domain.separator() + self.struct_hash())

    def to_json(self) -> dict[str, JsonValue]:
        """Return the struct as JSON: members by their names in `TYPE` (docs/formats.md, conventions)."""
        _, members = _layout(type(self))
        return {member.name: member.to_json(getattr(self, member.attribute)) for member in members}

    @classmethod
    def from_json(cls, value: JsonValue) -> Self:
        """Return the struct that `to_json` wrote.

        Errors: MalformedError for missing, unknown or ill-formed members.
        """
        _, members = _layout(cls)
        found = object_of(value, fields=frozenset(member.name for member in members))
        made = cls(**{member.attribute: member.from_json(found[member.name]) for member in members})
        made.struct_hash()
        return made

    def message(self, domain: Domain) -> dict[str, Any]:
        """Return the `eth_signTypedData_v4` message: types, primaryType, domain and message."""
        types: dict[str, list[dict[str, str]]] = {
            "EIP712Domain": [{"name": name, "type": kind} for kind, name in _MEMBER.findall(_DOMAIN_TYPE)]
        }
        _collect_types(type(self), types)
        return {
            "types": types,
            "primaryType": type(self).TYPE.partition("(")[0],
            "domain": {
                "name": domain.name,
                "version": VERSION,
                "chainId": domain.chain_id,
                "verifyingContract": address_text(domain.verifying_contract),
            },
            "message": self._wallet_values(),
        }

    def _wallet_values(self) -> dict[str, Any]:
        _, members = _layout(type(self))
        values: dict[str, Any] = {}
        for member in members:
            value = getattr(self, member.attribute)
            if isinstance(value, Struct):
                values[member.name] = value._wallet_values()  # noqa: SLF001 (the same class)
            elif isinstance(value, tuple):
                values[member.name] = [item._wallet_values() for item in value]  # noqa: SLF001 (the same class)
            elif member.kind == "address":
                values[member.name] = address_text(value)
            elif member.kind == "bytes32":
                values[member.name] = digest_text(value)
            elif isinstance(value, bool) or value <= MAX_SAFE_INTEGER:
                values[member.name] = value
            else:
                values[member.name] = str(value)  # wallets read JSON, whose numbers end at 2^53
        return values

    @classmethod
    def arguments_order(cls) -> tuple[str, ...]:
        """Return the members' names in the order of the Solidity struct."""
        return tuple(member.name for member in _layout(cls)[1])

    def arguments(self) -> tuple[Any, ...]:
        """Return the members as the tuple that an ABI encoder takes (addresses as EIP-55 text)."""
        _, members = _layout(type(self))
        values: list[Any] = []
        for member in members:
            value = getattr(self, member.attribute)
            if isinstance(value, Struct):
                values.append(value.arguments())
            elif isinstance(value, tuple):
                values.append([item.arguments() for item in value])
            else:
                values.append(address_text(value) if member.kind == "address" else value)
        return tuple(values)


@dataclass(frozen=True, slots=True)
class _Member:
    kind: str
    name: str
    attribute: str
    encode: Callable[[Any], bytes]
    to_json: Callable[[Any], JsonValue]
    from_json: Callable[[JsonValue], Any]


def _layout(cls: type[Struct]) -> tuple[bytes, tuple[_Member, ...]]:
    known = _LAYOUTS.get(cls)
    if known is None:
        known = _LAYOUTS[cls] = _read_layout(cls)
    return known


def _read_layout(cls: type[Struct]) -> tuple[bytes, tuple[_Member, ...]]:
    primary = cls.TYPE[: cls.TYPE.index(")") + 1]
    declared = _MEMBER.findall(primary.partition("(")[2])
    attributes = [field.name for field in fields(cls)]
    if len(declared) != len(attributes):
        raise TypeError(f"{cls.__name__}: its fields are not the members of {cls.TYPE}")
    members = tuple(
        _member(kind, name, attribute) for (kind, name), attribute in zip(declared, attributes, strict=True)
    )
    return keccak256(cls.TYPE.encode()), members


def _member(kind: str, name: str, attribute: str) -> _Member:
    if kind == "address":
        return _Member(kind, name, attribute, _encode_address, address_text, parse_address)
    if kind == "bytes32":
        return _Member(kind, name, attribute, _encode_bytes32, digest_text, parse_digest)
    if kind == "bool":
        return _Member(kind, name, attribute, _encode_bool, bool, _parse_bool)
    if kind.startswith("uint"):
        return _integer_member(kind, name, attribute)
    if kind.endswith("[]"):
        return _array_member(kind, name, attribute)
    nested = _NESTED[kind]
    return _Member(
        kind, name, attribute, _encode_struct, lambda value: cast("Struct", value).to_json(), nested.from_json
    )


def _array_member(kind: str, name: str, attribute: str) -> _Member:
    item = _NESTED[kind[:-2]]

    def encode(value: tuple[Struct, ...]) -> bytes:
        return keccak256(b"".join(each.struct_hash() for each in value))

    def parse(value: JsonValue) -> tuple[Struct, ...]:
        return tuple(item.from_json(each) for each in list_of(value, max_items=MAX_ITEMS))

    def write(value: tuple[Struct, ...]) -> JsonValue:
        return [each.to_json() for each in value]

    return _Member(kind, name, attribute, encode, write, parse)


def _integer_member(kind: str, name: str, attribute: str) -> _Member:
    limit = 1 << int(kind[4:])

    def encode(value: int) -> bytes:
        if not 0 <= value < limit:
            raise MalformedError(f"{name} does not fit {kind}", code="integer-range")
        return value.to_bytes(32, "big")

    def parse(value: JsonValue) -> int:
        if limit == 1 << 256:
            return parse_id(value)
        if limit > MAX_SAFE_INTEGER:
            if not isinstance(value, str) or not re.fullmatch(r"0|[1-9][0-9]{0,77}", value):
                raise MalformedError(f"{name} is a decimal string", code="integer-range")
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise MalformedError(f"{name} is an integer", code="integer-range")
        return value

    def write(value: int) -> JsonValue:
        if limit == 1 << 256:
            return id_text(value)
        return str(value) if limit > MAX_SAFE_INTEGER else value

    return _Member(kind, name, attribute, encode, write, parse)


def _encode_address(value: Address) -> bytes:
    if len(value) != 20:
        raise MalformedError("an address has 20 bytes", code="address")
    return bytes(12) + value


def _encode_bytes32(value: Digest32) -> bytes:
    if len(value) != 32:
        raise MalformedError("a digest has 32 bytes", code="digest-length")
    return bytes(value)


def _encode_bool(value: bool) -> bytes:
    return int(value).to_bytes(32, "big")


def _parse_bool(value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise MalformedError("true or false was expected", code="canonical-form")
    return value


def _encode_struct(value: Struct) -> bytes:
    return value.struct_hash()


def _collect_types(cls: type[Struct], types: dict[str, list[dict[str, str]]]) -> None:
    _, members = _layout(cls)
    types[cls.TYPE.partition("(")[0]] = [{"name": m.name, "type": m.kind} for m in members]
    for member in members:
        nested = _NESTED.get(member.kind.removesuffix("[]"))
        if nested is not None:
            _collect_types(nested, types)


# --- DesignRegistry -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registration(Struct):
    """A design's first statement; its digest is the design's id.

    `commitment` hides the files until `reveal`; `manifest_digest` is the SHA-256 of the manifest's bytes;
    shares are basis points; `edition` limits all licences together, 0 is open.
    """

    TYPE: ClassVar[str] = (
        "Registration(address registrant,bytes32 commitment,bytes32 manifestDigest,bool isPrivate,"
        "uint256 parentId,uint16 resaleShare,uint16 derivativeShare,uint40 edition)"
    )
    registrant: Address
    commitment: Digest32
    manifest_digest: Digest32
    is_private: bool
    parent_id: DesignId
    resale_share: int
    derivative_share: int
    edition: int


@dataclass(frozen=True, slots=True)
class Publication(Struct):
    """A later revision (2 and up), signed by the design's owner; revisions are consecutive."""

    TYPE: ClassVar[str] = (
        "Publication(uint256 designId,uint16 revision,bytes32 commitment,bytes32 manifestDigest,uint40 deadline)"
    )
    design_id: DesignId
    revision: int
    commitment: Digest32
    manifest_digest: Digest32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Recall(Struct):
    """The owner withdraws a revision: no new reservations, no new releases; final."""

    TYPE: ClassVar[str] = "Recall(uint256 designId,uint16 revision,bytes32 reasonDigest,uint40 deadline)"
    design_id: DesignId
    revision: int
    reason_digest: Digest32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class RegistrationBatch(Struct):
    """Many registrations of one registrant under one signature, at most `MAX_ITEMS`."""

    TYPE: ClassVar[str] = "RegistrationBatch(Registration[] registrations)" + Registration.TYPE
    registrations: tuple[Registration, ...]


@dataclass(frozen=True, slots=True)
class EditionLimit(Struct):
    """The owner lowers the edition of a design that has one; nothing that was minted is taken back."""

    TYPE: ClassVar[str] = "EditionLimit(uint256 designId,uint40 edition,uint40 deadline)"
    design_id: DesignId
    edition: int
    deadline: UnixSeconds


# --- PrintLicense ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms(Struct):
    """The terms of a licence, immutable once offered; their digest is the licence's id.

    `currency` zero is the chain's coin; `price` is for one print, in the currency's smallest unit; `payout` 0 pays at
    purchase, 1 as printed; spares of a reservation are `spares_flat + prints * spares_per_hundred // 100`.
    """

    TYPE: ClassVar[str] = (
        "Terms(uint256 designId,bytes32 termsDigest,address currency,uint96 price,address gateway,uint40 cap,"
        "uint40 notBefore,uint40 notAfter,uint16 sparesFlat,uint16 sparesPerHundred,uint16 smallestReservation,"
        "bool transferable,uint8 payout,bytes32 salt)"
    )
    design_id: DesignId
    terms_digest: Digest32
    currency: Address
    price: Wei
    gateway: Address
    cap: int
    not_before: UnixSeconds
    not_after: UnixSeconds
    spares_flat: int
    spares_per_hundred: int
    smallest_reservation: int
    transferable: bool
    payout: int
    salt: Digest32

    def license_id(self, domain: Domain) -> LicenseId:
        """Return the licence's id: the digest of these terms under the PrintLicense domain."""
        return LicenseId(int.from_bytes(self.digest(domain), "big"))

    def spares(self, prints: int) -> int:
        """Return how many failed prints a reservation of `prints` gives back at most."""
        return self.spares_flat + prints * self.spares_per_hundred // 100


@dataclass(frozen=True, slots=True)
class Acceptance(Struct):
    """A gateway's word that it holds the key of a revision, checked every hash and will serve these terms.

    An operator may sign for several gateways; the word is that of `gateway` alone.
    """

    TYPE: ClassVar[str] = (
        "Acceptance(address gateway,uint256 designId,uint16 revision,bytes32 keyCommitment,bytes32 termsDigest,"
        "uint40 deadline)"
    )
    gateway: Address
    design_id: DesignId
    revision: int
    key_commitment: Digest32
    terms_digest: Digest32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Offer(Struct):
    """What a design's owner signs so that somebody else can send his offer."""

    TYPE: ClassVar[str] = "Offer(Terms terms,bool onSale,uint40 deadline)" + Terms.TYPE
    terms: Terms
    on_sale: bool
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Mint(Struct):
    """What a design's owner signs to give prints of a licence to an account; `nonce` is any unused number.

    `owner` must own the design still when it is brought, here, in `Sale` and in `Move`.
    """

    TYPE: ClassVar[str] = "Mint(address owner,uint256 licenseId,address to,uint40 prints,uint256 nonce,uint40 deadline)"
    owner: Address
    license_id: LicenseId
    to: Address
    prints: int
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Grant(Struct):
    """Prints of a licence for one account; part of a `MintBatch`, never signed by itself."""

    TYPE: ClassVar[str] = "Grant(uint256 licenseId,address to,uint40 prints)"
    license_id: LicenseId
    to: Address
    prints: int


@dataclass(frozen=True, slots=True)
class MintBatch(Struct):
    """What the owner of designs signs to give prints of their licences, all or none, at most `MAX_ITEMS` grants."""

    TYPE: ClassVar[str] = "MintBatch(address owner,Grant[] grants,uint256 nonce,uint40 deadline)" + Grant.TYPE
    owner: Address
    grants: tuple[Grant, ...]
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Sale(Struct):
    """What a design's owner signs to open or end a licence's sale to strangers; `nonce` is any unused number."""

    TYPE: ClassVar[str] = "Sale(address owner,uint256 licenseId,bool onSale,uint256 nonce,uint40 deadline)"
    owner: Address
    license_id: LicenseId
    on_sale: bool
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Move(Struct):
    """What a design's owner signs to move a licence to another gateway, which accepts it by an `Acceptance`."""

    TYPE: ClassVar[str] = "Move(address owner,uint256 licenseId,address gateway,uint256 nonce,uint40 deadline)"
    owner: Address
    license_id: LicenseId
    gateway: Address
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Return(Struct):
    """What a holder signs to return prints that are paid as printed and not reserved, for their price."""

    TYPE: ClassVar[str] = "Return(address holder,uint256 licenseId,uint40 prints,uint256 nonce,uint40 deadline)"
    holder: Address
    license_id: LicenseId
    prints: int
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Withdrawal(Struct):
    """What a payee signs to take all that it is owed in a currency (zero is the chain's coin) to another account.

    While less than `at_least` is owed, in the currency's smallest unit, the contract refuses it and it stays good.
    """

    TYPE: ClassVar[str] = (
        "Withdrawal(address payee,address currency,address to,uint256 atLeast,uint256 nonce,uint40 deadline)"
    )
    payee: Address
    currency: Address
    to: Address
    at_least: Wei
    nonce: int
    deadline: UnixSeconds


# --- PrintLedger ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reservation(Struct):
    """A holder's permission: this agent may request `prints` prints; its digest is the print token's id."""

    TYPE: ClassVar[str] = (
        "Reservation(address holder,address gateway,address agent,uint256 licenseId,uint16 revision,"
        "uint16 prints,uint40 expiresAt,uint40 deadline,bytes32 salt)"
    )
    holder: Address
    gateway: Address
    agent: Address
    license_id: LicenseId
    revision: int
    prints: int
    expires_at: UnixSeconds
    deadline: UnixSeconds
    salt: Digest32

    def token_id(self, domain: Domain) -> TokenId:
        """Return the token's id: the digest of this permission under the PrintLedger domain."""
        return TokenId(int.from_bytes(self.digest(domain), "big"))


@dataclass(frozen=True, slots=True)
class TokenRequest(Struct):
    """An agent asks for its print token and names the key to seal it to."""

    TYPE: ClassVar[str] = "TokenRequest(uint256 tokenId,bytes32 recipientDigest,uint40 deadline)"
    token_id: TokenId
    recipient_digest: Digest32
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Redemption(Struct):
    """A cumulative voucher: sequence k says "at least k prints were requested" (1 and up)."""

    TYPE: ClassVar[str] = "Redemption(uint256 tokenId,uint32 sequence,bytes32 requestDigest)"
    token_id: TokenId
    sequence: int
    request_digest: Digest32


@dataclass(frozen=True, slots=True)
class Outcome(Struct):
    """How a print ended: 1 completed, 2 failed, 3 cancelled, 4 rejected."""

    TYPE: ClassVar[str] = "Outcome(uint256 tokenId,uint32 sequence,uint8 result,bytes32 receiptDigest)"
    token_id: TokenId
    sequence: int
    result: int
    receipt_digest: Digest32


@dataclass(frozen=True, slots=True)
class Close(Struct):
    """Gateway and holder agree on the final counts of a token; unused prints go back at once."""

    TYPE: ClassVar[str] = "Close(uint256 tokenId,uint32 released,uint32 voided,uint40 deadline)"
    token_id: TokenId
    released: int
    voided: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Declaration(Struct):
    """What a gateway's account signs to declare its profile, or a new epoch; `nonce` is any unused number."""

    TYPE: ClassVar[str] = (
        "Declaration(address gateway,bytes32 profileDigest,bool newEpoch,uint256 nonce,uint40 deadline)"
    )
    gateway: Address
    profile_digest: Digest32
    new_epoch: bool
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Appointment(Struct):
    """What a gateway's account signs to let an operator act for it, or no more."""

    TYPE: ClassVar[str] = "Appointment(address gateway,address operator,bool allowed,uint256 nonce,uint40 deadline)"
    gateway: Address
    operator: Address
    allowed: bool
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Stop(Struct):
    """A holder ends the releases of a token at once; nothing is given back before it is closed or expires."""

    TYPE: ClassVar[str] = "Stop(uint256 tokenId,uint40 deadline)"
    token_id: TokenId
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class Deposit(Struct):
    """A designer deposits a content key with a gateway; `sealed_digest` is the SHA-256 of the sealed bytes."""

    TYPE: ClassVar[str] = (
        "Deposit(uint256 designId,uint16 revision,address gateway,bytes32 keyCommitment,bytes32 sealedDigest,"
        "uint40 deadline)"
    )
    design_id: DesignId
    revision: int
    gateway: Address
    key_commitment: Digest32
    sealed_digest: Digest32
    deadline: UnixSeconds


_NESTED: Final[Mapping[str, type[Struct]]] = {"Terms": Terms, "Registration": Registration, "Grant": Grant}


def registry_domain(chain_id: int, registry: Address) -> Domain:
    """Return the domain of a DesignRegistry: Registration(Batch), Publication, Recall, EditionLimit, Deposit."""
    return Domain(REGISTRY_NAME, chain_id, registry)


def license_domain(chain_id: int, print_license: Address) -> Domain:
    """Return the domain of a PrintLicense: Terms, Acceptance, Offer, Mint(Batch), Sale, Move, Return, Withdrawal."""
    return Domain(LICENSE_NAME, chain_id, print_license)


def ledger_domain(chain_id: int, ledger: Address) -> Domain:
    """Return the domain of a PrintLedger: of a print token's statements, and a gateway's Declaration, Appointment."""
    return Domain(LEDGER_NAME, chain_id, ledger)
