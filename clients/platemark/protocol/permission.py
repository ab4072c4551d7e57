"""Permissions: what a holder signs so that one agent may print, and the keys that agent derives for it.

An agent has one seed. Each permission has a salt that the agent picked; the token's account key and recipient
key are derived from seed, chain, ledger and salt, so that a lost disk loses nothing that the seed cannot restore.

Source: docs/formats.md, keys and permission.
"""

import secrets
from collections.abc import Callable
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from platemark.errors import Kind, MalformedError, RefusedError, VerificationError
from platemark.protocol import digests
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.typed_data import Domain, Reservation, Terms
from platemark.protocol.units import ZERO_ADDRESS, Address, UnixSeconds, address_text

LAST_RELEASE_BEFORE_EXPIRY_SECONDS: Final = 3600
"""No key is released in a token's last hour."""
SETTLE_BY_ANYBODY_SECONDS: Final = 3 * 24 * 3600
RECLAIM_SECONDS: Final = 10 * 24 * 3600
MAX_USES: Final = 65_535
LATEST_EXPIRY: Final = UnixSeconds((1 << 32) - 1)

_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


class AgentSeed:
    """Thirty-two secret bytes of a print centre's agent; their text never shows them."""

    __slots__ = ("_secret",)

    def __init__(self, secret: bytes) -> None:
        """Errors: MalformedError `agent-seed` unless `secret` is 32 bytes."""
        if len(secret) != 32:
            raise MalformedError("an agent's seed has 32 bytes", code="agent-seed")
        self._secret = bytes(secret)

    @classmethod
    def generate(cls, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> Self:
        """Return a new seed."""
        return cls(random_bytes(32))

    def __repr__(self) -> str:
        return "AgentSeed(secret hidden)"

    def __reduce__(self) -> str:
        raise TypeError("an agent's seed is not pickled")

    def secret(self) -> bytes:
        """Return the 32 secret bytes, for writing them encrypted."""
        return self._secret

    def agent_key(self, chain_id: int, ledger: Address, salt: bytes) -> AccountKey:
        """Return the account key for the permission that has `salt` (32 bytes).

        `1 + HKDF-SHA256(seed, no salt, tag "agent-key" ‖ chain id (32) ‖ ledger (20) ‖ salt (32), 48 bytes)
        mod (n - 1)`, FIPS 186-5's extra random bits: no salt gives an impossible key.
        """
        info = digests.tag("agent-key") + chain_id.to_bytes(32, "big") + ledger + salt
        wide = HKDF(algorithm=SHA256(), length=48, salt=None, info=info).derive(self._secret)
        return AccountKey((1 + int.from_bytes(wide, "big") % (_ORDER - 1)).to_bytes(32, "big"))

    def recipient_key(self, chain_id: int, ledger: Address, salt: bytes) -> RecipientKey:
        """Return the key to which the permission's token and releases are sealed."""
        return RecipientKey.derive(self._secret, chain_id, ledger, salt)


def check_reservation(
    reservation: Reservation, terms: Terms, *, gateway: Address, domain: Domain, now: UnixSeconds
) -> None:
    """Pass when the PrintLedger would accept this permission under these terms, as far as bytes can say.

    Balance, accepted revision, recall and earlier use are the chain's to say.

    Args:
        reservation: What the holder signed or is about to sign.
        terms: Of the licence.
        gateway: Who serves the licence now: the one that its terms name, or the one it was moved to.
        domain: The PrintLicense's, for the licence's id.
        now: The later of wall clock and head of the chain.

    Errors: RefusedError with the reason's code.
    """
    if reservation.license_id != terms.license_id(domain):
        raise _refused("the permission is for another licence", "license-differs")
    if reservation.gateway != gateway:
        raise _refused("the permission names another gateway than the licence", "gateway-mismatch")
    if reservation.agent == ZERO_ADDRESS:
        raise _refused("the permission names no agent", "agent-zero")
    if reservation.prints < max(1, terms.smallest_reservation):
        raise _refused(f"a reservation has at least {terms.smallest_reservation} prints", "reservation-too-small")
    if reservation.prints + terms.spares(reservation.prints) > MAX_USES:
        raise _refused(f"prints and spares together are at most {MAX_USES}", "reservation-too-large")
    _check_times(reservation, terms, now)


def check_holder(reservation: Reservation, signature: bytes, domain: Domain) -> None:
    """Pass when the holder's ordinary account signed; contract wallets are asked on chain (ERC-1271) instead.

    Errors: VerificationError or MalformedError `signature-invalid`.
    """
    found = recover(reservation.digest(domain), signature)
    if found != reservation.holder:
        raise VerificationError(
            "the permission is not signed by its holder",
            step="permission",
            code="signature-invalid",
            expected=address_text(reservation.holder),
            found=address_text(found),
        )


def may_release(*, released: int, voided: int, prints: int, spares: int, now: UnixSeconds, expires_at: int) -> None:
    """Pass when the counts and times of a token allow one more release.

    Args:
        released: Sequences given out so far.
        voided: Outcomes that gave their print back.
        prints: As reserved.
        spares: As reserved.
        now: The later of wall clock and head of the chain.
        expires_at: The token's.

    Errors: RefusedError `token-expired` or `count-spent`.
    """
    if now + LAST_RELEASE_BEFORE_EXPIRY_SECONDS >= expires_at:
        raise _refused("the token has expired, or is in its last hour", "token-expired")
    if released - voided >= prints or released >= prints + spares:
        raise _refused(f"all {prints} prints of this token are spent", "count-spent")


def _check_times(reservation: Reservation, terms: Terms, now: UnixSeconds) -> None:
    if now > reservation.deadline:
        raise _refused("the permission's deadline has passed", "deadline-passed")
    if now < terms.not_before:
        raise _refused("the licence has not begun", "license-not-begun")
    if now > terms.not_after:
        raise _refused("the licence has ended", "license-ended")
    if reservation.expires_at > terms.not_after:
        raise _refused("the token would outlast the licence", "expiry-after-license")
    if reservation.expires_at > LATEST_EXPIRY:
        raise _refused("the token would expire after the year 2106", "expiry-invalid")
    if reservation.expires_at <= now + LAST_RELEASE_BEFORE_EXPIRY_SECONDS:
        raise _refused("the token would expire before anything could be printed", "expiry-invalid")


def _refused(message: str, code: str) -> RefusedError:
    return RefusedError(message, kind=Kind.CONFLICT, code=code)
