"""What a gateway answers, parsed once at the edge.

Members that this client does not know are ignored, so that a newer gateway may say more; members that it needs
are checked. Nothing here is believed: callers recompute ids and digests (see `platemark.sdk.trust`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

from platemark.errors import MalformedError, UpstreamError
from platemark.protocol.byte_text import parse_account_signature, parse_base64url
from platemark.protocol.canonical import JsonValue
from platemark.protocol.cid import Cid
from platemark.protocol.typed_data import Acceptance, Close, Registration, Reservation, Terms
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    parse_address,
    parse_digest,
    parse_id,
)

T = TypeVar("T")

_MAX_ITEMS = 1000
_MAX_SEALED_BYTES = 64 << 10


class Members:
    """An object in an answer; each reading says what is wrong with which member."""

    __slots__ = ("_value", "_what")

    def __init__(self, value: JsonValue, what: str) -> None:
        if not isinstance(value, Mapping):
            raise _malformed(what, "an object was expected")
        self._value = value
        self._what = what

    def read(self, name: str, parse: Callable[[JsonValue], T]) -> T:
        """Return a member that must be there.

        Errors: UpstreamError `answer-malformed`.
        """
        if name not in self._value:
            raise _malformed(self._what, f"{name} is missing")
        return self._parsed(name, parse)

    def maybe(self, name: str, parse: Callable[[JsonValue], T]) -> T | None:
        """Return a member, or None when it is absent or null."""
        return None if self._value.get(name) is None else self._parsed(name, parse)

    def items(self, name: str, parse: Callable[[JsonValue], T]) -> list[T]:
        """Return a member that is an array of at most 1,000."""
        return self.read(name, lambda value: [parse(item) for item in _array(value)])

    def _parsed(self, name: str, parse: Callable[[JsonValue], T]) -> T:
        try:
            return parse(self._value[name])
        except MalformedError as error:
            raise _malformed(self._what, f"{name}: {error.message}") from error


def text(value: JsonValue) -> str:
    """Return a text of at most 8,192 characters."""
    if not isinstance(value, str) or len(value) > 8192:
        raise MalformedError("a text was expected", code="canonical-form")
    return value


def integer(value: JsonValue) -> int:
    """Return a non-negative integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise MalformedError("an integer was expected", code="integer-range")
    return value


def boolean(value: JsonValue) -> bool:
    """Return true or false."""
    if not isinstance(value, bool):
        raise MalformedError("true or false was expected", code="canonical-form")
    return value


def _array(value: JsonValue) -> Sequence[JsonValue]:
    if isinstance(value, str) or not isinstance(value, Sequence) or len(value) > _MAX_ITEMS:
        raise MalformedError(f"an array of at most {_MAX_ITEMS} was expected", code="canonical-form")
    return value


def _object(value: JsonValue) -> Mapping[str, JsonValue]:
    if not isinstance(value, Mapping):
        raise MalformedError("an object was expected", code="canonical-form")
    return value


def _decimal(value: JsonValue) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or len(value) > 78:
        raise MalformedError("a decimal text was expected", code="integer-range")
    return int(value)


def _sealed(value: JsonValue) -> bytes:
    return parse_base64url(value, max_bytes=_MAX_SEALED_BYTES)


def _malformed(what: str, why: str) -> UpstreamError:
    return UpstreamError(f"the gateway's answer is not the {what} it should be: {why}", code="answer-malformed")


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """What a gateway says it is; `platemark.sdk.trust` checks it."""

    name: str
    version: str
    chain_id: int
    registry: Address
    license: Address
    ledger: Address
    gateway: Address
    url: str
    profile: Mapping[str, JsonValue]
    profile_digest: Digest32
    log_origin: str
    merge_delay_seconds: int
    final_after_seconds: int
    state: str

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "gateway")
        finality = members.maybe("finality", lambda item: Members(item, "finality"))
        return cls(
            name=members.maybe("name", text) or "",
            version=members.maybe("version", text) or "",
            chain_id=members.read("chainId", integer),
            registry=members.read("registry", parse_address),
            license=members.read("license", parse_address),
            ledger=members.read("ledger", parse_address),
            gateway=members.read("gateway", parse_address),
            url=members.read("url", text),
            profile=members.read("profile", _object),
            profile_digest=members.read("profileDigest", parse_digest),
            log_origin=members.read("logOrigin", text),
            merge_delay_seconds=members.read("mergeDelaySeconds", integer),
            final_after_seconds=(finality.maybe("secondsTypical", integer) or 0) if finality else 0,
            state=members.maybe("state", text) or "ready",
        )


@dataclass(frozen=True, slots=True)
class Blob:
    """A file that a gateway stored on IPFS."""

    cid: Cid
    length_bytes: int
    sha256: Digest32

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "blob")
        return cls(members.read("cid", Cid.parse), members.read("bytes", integer), members.read("sha256", parse_digest))


@dataclass(frozen=True, slots=True)
class RevisionState:
    """How far a revision has come: registered, published, deposited or recalled; `status` is the chain's part."""

    revision: int
    commitment: Digest32
    manifest_digest: Digest32
    manifest_cid: Cid | None
    state: str
    status: str
    revealed: bool
    files_root: Digest32 | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "revision")
        return cls(
            revision=members.read("revision", integer),
            commitment=members.read("commitment", parse_digest),
            manifest_digest=members.read("manifestDigest", parse_digest),
            manifest_cid=members.maybe("manifestCid", Cid.parse),
            state=members.read("state", text),
            status=members.read("status", text),
            revealed=members.maybe("revealed", boolean) or False,
            files_root=members.maybe("filesRoot", parse_digest),
        )


@dataclass(frozen=True, slots=True)
class DesignState:
    """A design as a gateway sees it."""

    design_id: DesignId
    registrant: Address
    owner: Address
    status: str
    latest_revision: int
    is_private: bool
    parent_id: DesignId
    resale_share: int
    derivative_share: int
    registered_edition: int
    edition: int
    revisions: Sequence[RevisionState]
    transaction: str | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "design")
        registrant = members.read("registrant", parse_address)
        return cls(
            design_id=DesignId(members.read("designId", parse_id)),
            registrant=registrant,
            owner=members.maybe("owner", parse_address) or registrant,
            status=members.read("status", text),
            latest_revision=members.read("latestRevision", integer),
            is_private=members.read("isPrivate", boolean),
            parent_id=DesignId(members.maybe("parentId", parse_id) or 0),
            resale_share=members.maybe("resaleShare", integer) or 0,
            derivative_share=members.maybe("derivativeShare", integer) or 0,
            registered_edition=members.maybe("registeredEdition", integer) or 0,
            edition=members.maybe("edition", integer) or 0,
            revisions=members.items("revisions", RevisionState.parse),
            transaction=members.maybe("transaction", text),
        )

    def registration(self) -> Registration | None:
        """Return the registration that the answer's values make, for whoever compares its digest with the id."""
        first = self.revision(1)
        if first is None:
            return None
        return Registration(
            registrant=self.registrant,
            commitment=first.commitment,
            manifest_digest=first.manifest_digest,
            is_private=self.is_private,
            parent_id=self.parent_id,
            resale_share=self.resale_share,
            derivative_share=self.derivative_share,
            edition=self.registered_edition,
        )

    def revision(self, number: int) -> RevisionState | None:
        """Return a revision's state, or None when the gateway does not know it yet."""
        return next((item for item in self.revisions if item.revision == number), None)


@dataclass(frozen=True, slots=True)
class SignedAcceptance:
    """A gateway's promise that it can deliver a revision under these terms."""

    acceptance: Acceptance
    signature: bytes

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "acceptance")
        return cls(members.read("acceptance", Acceptance.from_json), members.read("signature", parse_account_signature))


@dataclass(frozen=True, slots=True)
class LicenseState:
    """A licence as a gateway sees it."""

    license_id: LicenseId
    design_id: DesignId
    gateway: Address
    revision: int
    terms: Terms
    minted: int
    on_sale: bool
    status: str
    terms_cid: Cid | None
    transaction: str | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "licence")
        return cls(
            license_id=LicenseId(members.read("licenseId", parse_id)),
            design_id=DesignId(members.read("designId", parse_id)),
            gateway=members.read("gateway", parse_address),
            revision=members.read("revision", integer),
            terms=members.read("terms", Terms.from_json),
            minted=members.maybe("minted", integer) or 0,
            on_sale=members.maybe("onSale", boolean) or False,
            status=members.read("status", text),
            terms_cid=members.maybe("termsCid", Cid.parse),
            transaction=members.maybe("transaction", text),
        )


@dataclass(frozen=True, slots=True)
class Owed:
    """What is owed in one currency, in its smallest unit; the zero address is the chain's coin."""

    currency: Address
    owed: Wei

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "amount")
        return cls(members.read("currency", parse_address), Wei(members.read("owed", _decimal)))


@dataclass(frozen=True, slots=True)
class Earnings:
    """What the licence contract owes an account, by currency."""

    payee: Address
    items: Sequence[Owed]

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "earnings")
        return cls(members.read("payee", parse_address), members.items("items", Owed.parse))


@dataclass(frozen=True, slots=True)
class ReservationState:
    """A print token's counts as a gateway sees them."""

    token_id: TokenId
    status: str
    reservation: Reservation
    spares: int
    released: int
    voided: int
    next_sequence: int
    prints_left: int
    spares_left: int
    stopped: bool
    closed: bool
    lost: bool
    burned: int
    retry_after_seconds: int | None
    transaction: str | None

    @property
    def prints_returned(self) -> int:
        """How many prints come back, or came back, when the token is closed on these counts."""
        used = min(max(0, self.released - self.voided), self.reservation.prints)
        return self.reservation.prints - max(self.burned, used)

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "reservation")
        return cls(
            token_id=TokenId(members.read("tokenId", parse_id)),
            status=members.read("status", text),
            reservation=members.read("reservation", Reservation.from_json),
            spares=members.maybe("spares", integer) or 0,
            released=members.maybe("released", integer) or 0,
            voided=members.maybe("voided", integer) or 0,
            next_sequence=members.maybe("nextSequence", integer) or 1,
            prints_left=members.maybe("printsLeft", integer) or 0,
            spares_left=members.maybe("sparesLeft", integer) or 0,
            stopped=members.maybe("stopped", boolean) or False,
            closed=members.maybe("closed", boolean) or False,
            lost=members.maybe("lost", boolean) or False,
            burned=members.maybe("burned", integer) or 0,
            retry_after_seconds=members.maybe("retryAfterSeconds", integer),
            transaction=members.maybe("transaction", text),
        )


@dataclass(frozen=True, slots=True)
class Affected:
    """A reservation of a revision (`sequence` 0, no serial) or a print of it, and what its recall owes the holder.

    `owed` is return, replacement, pending or nothing, of so many `prints`; `outcome` is None while there is none.
    """

    token_id: TokenId
    sequence: int
    license_id: LicenseId
    holder: Address
    agent: Address
    at: UnixSeconds
    serial: str | None
    outcome: str | None
    owed: str
    prints: int
    reclaimable_at: UnixSeconds | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "affected reservation or print")
        reclaimable_at = members.maybe("reclaimableAt", integer)
        return cls(
            token_id=TokenId(members.read("tokenId", parse_id)),
            sequence=members.read("sequence", integer),
            license_id=LicenseId(members.read("licenseId", parse_id)),
            holder=members.read("holder", parse_address),
            agent=members.read("agent", parse_address),
            at=UnixSeconds(members.read("at", integer)),
            serial=members.maybe("serial", text),
            outcome=members.maybe("outcome", text),
            owed=members.read("owed", text),
            prints=members.read("prints", integer),
            reclaimable_at=None if reclaimable_at is None else UnixSeconds(reclaimable_at),
        )


@dataclass(frozen=True, slots=True)
class SealedToken:
    """A print token, sealed to its agent."""

    sealed: bytes
    expires_at: UnixSeconds

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "token")
        return cls(members.read("token", _sealed), UnixSeconds(members.read("expiresAt", integer)))


@dataclass(frozen=True, slots=True)
class CloseOffer:
    """A gateway's signed count of a token, for the holder to sign as well."""

    close: Close
    gateway_signature: bytes

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "close")
        return cls(members.read("close", Close.from_json), members.read("gatewaySignature", parse_account_signature))


@dataclass(frozen=True, slots=True)
class PrintAnswer:
    """The answer to a redemption: a signed release (compact JWS) and the key, sealed to the agent."""

    release: str
    sealed_key: bytes
    sequence: int
    prints_left: int
    spares_left: int

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "release")
        return cls(
            release=members.read("release", text),
            sealed_key=members.read("sealedKey", _sealed),
            sequence=members.read("sequence", integer),
            prints_left=members.maybe("printsLeft", integer) or 0,
            spares_left=members.maybe("sparesLeft", integer) or 0,
        )

    @classmethod
    def parse_plate(cls, value: JsonValue) -> list[Self]:
        """Return the answers to the redemptions of a plate, in order; UpstreamError `answer-malformed`."""
        return Members(value, "plate").items("releases", cls.parse)


@dataclass(frozen=True, slots=True)
class OutcomeAnswer:
    """The answer to an outcome: a signed promise of inclusion, and the countersigned receipt."""

    promise: str
    receipt: Mapping[str, JsonValue]
    spare_used: bool
    prints_left: int
    spares_left: int

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "outcome")
        return cls(
            promise=members.read("promise", text),
            receipt=members.read("receipt", _object),
            spare_used=members.maybe("spareUsed", boolean) or False,
            prints_left=members.maybe("printsLeft", integer) or 0,
            spares_left=members.maybe("sparesLeft", integer) or 0,
        )


@dataclass(frozen=True, slots=True)
class TransactionState:
    """A transaction that a gateway sends for somebody: queued, sent, seen, confirmed, final or failed."""

    id: str
    purpose: str
    status: str
    hash: Digest32 | None
    reason: str | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "transaction")
        return cls(
            id=members.read("id", text),
            purpose=members.maybe("purpose", text) or "",
            status=members.read("status", text),
            hash=members.maybe("hash", parse_digest),
            reason=members.maybe("reason", text),
        )


@dataclass(frozen=True, slots=True)
class PartState:
    """What a gateway says about a serial: valid, recalled, voided, provisional or unknown."""

    serial: str
    status: str
    design_id: DesignId | None
    revision: int | None
    token_id: TokenId | None
    sequence: int | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "part")
        design, token = members.maybe("designId", parse_id), members.maybe("tokenId", parse_id)
        return cls(
            serial=members.read("serial", text),
            status=members.read("status", text),
            design_id=None if design is None else DesignId(design),
            revision=members.maybe("revision", integer),
            token_id=None if token is None else TokenId(token),
            sequence=members.maybe("sequence", integer),
        )


@dataclass(frozen=True, slots=True)
class SignInChallenge:
    """What a person is asked to sign in order to sign in (ERC-4361), as the wallet shows it."""

    text: str

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        return cls(Members(value, "challenge").read("text", text))


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key; `secret` is there only in the answer that made it."""

    id: str
    name: str
    scopes: Sequence[str]
    secret: str | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "API key")
        return cls(
            id=members.read("id", text),
            name=members.maybe("name", text) or "",
            scopes=members.maybe("scopes", lambda value: [text(item) for item in _array(value)]) or [],
            secret=members.maybe("key", text),
        )

    def __repr__(self) -> str:
        return f"ApiKey({self.id}, {self.name!r}, secret hidden)"


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list and the cursor of the next, if there is one."""

    items: Sequence[Mapping[str, JsonValue]]
    cursor: str | None

    @classmethod
    def parse(cls, value: JsonValue) -> Self:
        """Return the answer's values; UpstreamError `answer-malformed`."""
        members = Members(value, "list")
        return cls(members.items("items", _object), members.maybe("cursor", text))
