"""How an agent comes to a print token: a permission for the holder to sign, then the token, opened and checked.

1  the agent draws a salt and derives a fresh key; the permission names its address
2  the holder signs; anybody brings the permission to the chain
3  once that is final, the agent asks for the token, opens it and compares every claim with the permission
"""

import secrets
from collections.abc import Callable
from typing import Final, Protocol

from platemark.agent.spool import TokenRecord
from platemark.protocol.permission import AgentSeed, check_holder, check_reservation
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.token import PrintToken, check_token, open_token, sign_request
from platemark.protocol.typed_data import Reservation, Terms, TokenRequest, ledger_domain, license_domain
from platemark.protocol.units import Address, Digest32, UnixSeconds, address_text, digest_text, id_text
from platemark.sdk.answers import SealedToken

_REQUEST_SECONDS: Final = 600


class TokenIssuer(Protocol):
    """The part of a gateway that issues print tokens."""

    def token(self, request: TokenRequest, recipient_key: bytes, signature: bytes) -> SealedToken:
        """Return a print token sealed to the recipient key; TryLaterError until its reservation is final."""
        ...


def permission(
    seed: AgentSeed,
    terms: Terms,
    profile: GatewayProfile,
    *,
    serving: Address,
    holder: Address,
    revision: int,
    prints: int,
    expires_at: UnixSeconds,
    deadline: UnixSeconds,
    now: UnixSeconds,
    random_bytes: Callable[[int], bytes] = secrets.token_bytes,
) -> Reservation:
    """Return a permission for the holder to sign: it names a key that this agent uses for nothing else.

    `serving` is the gateway that the licence is with now; the permission is for the gateway of `profile`.

    Errors: RefusedError with the reason's code when the terms do not allow it.
    """
    salt = Digest32(random_bytes(32))
    reservation = Reservation(
        holder=holder,
        gateway=profile.gateway,
        agent=seed.agent_key(profile.chain_id, profile.ledger, salt).address,
        license_id=terms.license_id(license_domain(profile.chain_id, profile.license)),
        revision=revision,
        prints=prints,
        expires_at=expires_at,
        deadline=deadline,
        salt=salt,
    )
    domain = license_domain(profile.chain_id, profile.license)
    check_reservation(reservation, terms, gateway=serving, domain=domain, now=now)
    return reservation


def obtain(
    issuer: TokenIssuer,
    seed: AgentSeed,
    reservation: Reservation,
    holder_signature: bytes,
    *,
    terms: Terms,
    profile: GatewayProfile,
    now: UnixSeconds,
) -> TokenRecord:
    """Return the print token of a reservation, checked; keep it with `Spool.add`.

    Errors: TryLaterError `awaiting-finality`; VerificationError `token-claims`, `sealed-key`, `signature-invalid`.
    """
    domain = ledger_domain(profile.chain_id, profile.ledger)
    if len(holder_signature) == 65:  # a contract wallet's signature is the chain's to check
        check_holder(reservation, holder_signature, domain)
    token_id = reservation.token_id(domain)
    agent = seed.agent_key(profile.chain_id, profile.ledger, reservation.salt)
    recipient = seed.recipient_key(profile.chain_id, profile.ledger, reservation.salt)
    request, signature = sign_request(
        token_id, recipient.public_bytes, UnixSeconds(now + _REQUEST_SECONDS), agent=agent, domain=domain
    )
    sealed = issuer.token(request, recipient.public_bytes, signature)
    text = open_token(sealed.sealed, token_id, recipient)
    check_token(
        PrintToken.verify(text, profile.release_key),
        {
            "tokenId": id_text(token_id),
            "chainId": profile.chain_id,
            "ledger": address_text(profile.ledger),
            "licenseId": id_text(reservation.license_id),
            "designId": id_text(terms.design_id),
            "revision": reservation.revision,
            "agent": address_text(agent.address),
            "recipientDigest": digest_text(recipient.digest),
            "prints": reservation.prints,
            "spares": terms.spares(reservation.prints),
            "expiresAt": reservation.expires_at,
            "profileDigest": digest_text(profile.digest()),
        },
    )
    return TokenRecord(reservation, holder_signature, text, profile)
