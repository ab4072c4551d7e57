"""The gateway's profiles: which one is in force, and the keys that it names.

The log's head names the profile under which new prints are released (`LogHead.profile_digest`). It moves only when the
chain has made a declaration final, in the transaction that every process reads its next release from; so no process
signs with a key that no profile declares, whichever started when.
"""

import functools
from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.cid import Cid, Codec
from platemark.protocol.jws import Signer, header_key_id
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.units import Address, Digest32, UnixSeconds
from platemark_gateway.container import Container
from platemark_gateway.errors import VaultError
from platemark_gateway.models.profile import Declaration, StoredProfile
from platemark_gateway.ports import KeyKind


async def keep(session: AsyncSession, profile: GatewayProfile, now: UnixSeconds) -> None:
    """Store a profile; storing it again changes nothing."""
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    values = {"digest": profile.digest(), "profile": profile.encode(), "created_at": now}
    await session.execute(insert(StoredProfile).values(values).on_conflict_do_nothing())


async def profile_of(session: AsyncSession, container: Container, digest: Digest32) -> GatewayProfile:
    """Return a profile of this gateway by its digest: from the database, else from its block.

    Errors: NotFoundError `block-not-found`; UnavailableError when the blocks are away.
    """
    if digest == digest_of(container.profile):
        return container.profile
    stored = await session.get(StoredProfile, digest)
    return await opened(container, digest, None if stored is None else stored.profile)


@functools.lru_cache(maxsize=16)
def digest_of(profile: GatewayProfile) -> Digest32:
    """Return a profile's digest; remembered, because every redemption asks for it."""
    return profile.digest()


async def opened(container: Container, digest: Digest32, stored: bytes | None) -> GatewayProfile:
    """Return a profile of this gateway from what the database holds of it, or from its block; errors: `profile_of`."""
    data = await container.blocks.get(Cid(Codec.RAW, digest)) if stored is None else stored
    found = GatewayProfile.parse(data)
    if found.digest() != digest:
        raise VaultError("a stored profile is not the one that its digest names", code="row-changed")
    return found


def signer_of(container: Container, profile: GatewayProfile) -> Signer:
    """Return what signs with a profile's release key; errors: VaultError `vault-key-missing`."""
    return container.vault.release_signer(profile.release_key_id)


def signer_again(container: Container, statement: str) -> Signer:
    """Return what signs with the key that signed a statement of ours (JWS); errors: VaultError `vault-key-missing`."""
    return container.vault.release_signer(header_key_id(statement))


def require_keys(container: Container, profile: GatewayProfile) -> None:
    """Pass when the vault holds every key that a profile names; errors: VaultError `vault-key-missing`."""
    for kind in KeyKind:
        if not container.vault.holds(kind, public_key(profile, kind)):
            raise VaultError(
                f"the vault does not hold the {kind} key that is declared",
                code="vault-key-missing",
                hint="restore the vault's newest backup",
            )


def public_key(profile: GatewayProfile, kind: KeyKind) -> bytes:
    """Return a profile's public key of a kind."""
    match kind:
        case KeyKind.RELEASE:
            return profile.release_key
        case KeyKind.LOG:
            return profile.log_key
        case KeyKind.DEPOSIT:
            return profile.deposit_key


async def declarations(session: AsyncSession, gateway: Address, *, up_to_block: int) -> Sequence[Declaration]:
    """Return what a gateway declared in blocks up to `up_to_block`, oldest first."""
    rows = await session.scalars(
        select(Declaration)
        .where(Declaration.gateway == gateway, Declaration.seen_block <= up_to_block)
        .order_by(Declaration.seen_block, Declaration.log_index)
    )
    return rows.all()


async def stored(session: AsyncSession) -> list[GatewayProfile]:
    """Return every profile that this gateway made, oldest first."""
    rows = await session.scalars(select(StoredProfile).order_by(StoredProfile.created_at))
    return [GatewayProfile.parse(row.profile) for row in rows]


def declaration_key(profile: GatewayProfile, again: int = 0) -> str:
    """Return under which key a profile's declaration stands in the outbox; `again` counts those before it."""
    return f"declare:{profile.digest().hex()}:{again}"


async def is_ours(session: AsyncSession, container: Container, digest: Digest32) -> bool:
    """Return whether a profile is one that this gateway made."""
    if digest == container.profile.digest():
        return True
    found = await session.scalar(select(func.count()).select_from(StoredProfile).where(StoredProfile.digest == digest))
    return bool(found)
