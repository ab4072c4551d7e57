"""Keys that give way to new ones, while the gateway serves.

1. the new key is written into the vault, beside those that were
2. a profile that names it is stored, and its declaration goes into the outbox; a new log key begins a new epoch, and
   the same transaction closes the log of the old one
3. the chain makes the declaration final
4. each process goes over to the new profile by itself, in the order of the database (`printlog.adopt`)

A kill before 3 leaves the old profile in force, a kill after it the new one; the same command again goes on: a key that
is in the vault and not declared is declared before another one is made. Old keys stay in the vault: what they signed is
asked for again, and deposits may still be on their way to them.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import select

from platemark.errors import LocalError, MalformedError
from platemark.protocol.byte_text import base64url
from platemark.protocol.digests import sha256
from platemark.protocol.jws import key_id
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.units import Address, Digest32, address_text, digest_text
from platemark_gateway import profiles
from platemark_gateway.chain.senders import give_up_lost, leaving
from platemark_gateway.chain.submitter import sending_account
from platemark_gateway.container import Container
from platemark_gateway.forgetting import forget_unreadable
from platemark_gateway.models.chain import SendingAccount
from platemark_gateway.ports import KeyKind
from platemark_gateway.recovery.state import VAULT
from platemark_gateway.serving import Replacing, building, declare, open_vault, update_state
from platemark_gateway.settings import Settings
from platemark_gateway.vault.files import FileVault
from platemark_gateway.vault.passphrases import passphrase_of


@dataclass(frozen=True, slots=True)
class KeyState:
    """One key of the vault: what it is for, its name, and `declared`, `old`, `waiting` or, of a sender, `leaving`."""

    kind: str
    name: str
    state: str


async def rotate(settings: Settings, kinds: Sequence[KeyKind]) -> GatewayProfile:
    """Replace the keys of these kinds, and any other that is declared and lost; return the profile that is final.

    Errors: those of the vault, of the chain, and UnavailableError `profile-undeclared`.
    """
    async with building(settings, Replacing.LOST) as (container, senders):
        vault, profile = await asyncio.to_thread(open_vault, settings), container.profile
        state = await container.chain.gateway(vault.account)
        epoch = state.epoch
        async with container.database.begin() as session:
            await give_up_lost(session, vault, container.clock.now())
        if await _lacks_declared(container, state.profile_digest):
            async with container.database.begin() as session:
                await forget_unreadable(session, container)
        profile = next_profile(vault, profile, epoch, kinds)  # step 1
        await declare(container, senders, profile, new_epoch=profile.epoch > epoch)  # steps 2 and 3
        update_state(settings.data, profile)
        return profile


def next_profile(vault: FileVault, profile: GatewayProfile, epoch: int, kinds: Sequence[KeyKind]) -> GatewayProfile:
    """Return the profile that replaces one, with the newest keys of these kinds; a key is made unless one waits.

    Errors: those of `FileVault.add_key`.
    """
    keys = {}
    for kind in kinds:
        newest = vault.public_keys(kind)[-1]
        keys[kind] = vault.add_key(kind) if newest == profiles.public_key(profile, kind) else newest
    if profile.epoch == epoch and KeyKind.LOG in kinds:
        profile = profile.in_epoch(epoch + 1)
    return replace(
        profile,
        release_key=keys.get(KeyKind.RELEASE, profile.release_key),
        log_key=keys.get(KeyKind.LOG, profile.log_key),
        deposit_key=keys.get(KeyKind.DEPOSIT, profile.deposit_key),
    )


async def _lacks_declared(container: Container, digest: Digest32) -> bool:
    """Return whether the vault lacks a key of the profile that is declared: it is not the one that declared it."""
    if digest == container.profile.digest():
        return False
    async with container.database.read() as session:
        declared = await profiles.profile_of(session, container, digest)
    return not all(container.vault.holds(kind, profiles.public_key(declared, kind)) for kind in KeyKind)


async def states(settings: Settings) -> list[KeyState]:
    """Return what the vault holds, and which of it is declared on chain; accounts that send or sent come last."""
    async with building(settings, Replacing.LOST) as (container, _):
        vault, declared = container.vault, container.profile
        digest = (await container.chain.gateway(vault.account)).profile_digest
        if any(digest):
            async with container.database.read() as session:
                declared = await profiles.profile_of(session, container, digest)
        senders = await _sender_states(container, await asyncio.to_thread(open_vault, settings))
    found = []
    for kind in KeyKind:
        keys = vault.public_keys(kind)
        at = keys.index(profiles.public_key(declared, kind)) if profiles.public_key(declared, kind) in keys else -1
        for number, key in enumerate(keys):
            state = "declared" if number == at else "old" if number < at else "waiting"
            found.append(KeyState(kind, name_of(kind, key), state))
    return found + senders


async def _sender_states(container: Container, vault: FileVault) -> list[KeyState]:
    async with container.database.read() as session:
        sender = await sending_account(session, vault.account)
        busy = {row.address for row in await leaving(session)}
        known = {vault.account, *await session.scalars(select(SendingAccount.address))}

    def state(account: Address) -> str:
        if account == sender:
            return "declared"
        return "leaving" if account in busy else "old" if account in known else "waiting"

    return [KeyState("sender", address_text(account), state(account)) for account in vault.senders]


def name_of(kind: KeyKind, public: bytes) -> str:
    """Return a short name of a public key: `kid` of releases, base64url of the log's, the digest of a deposit key."""
    match kind:
        case KeyKind.RELEASE:
            return key_id(public)
        case KeyKind.LOG:
            return base64url(public)
        case KeyKind.DEPOSIT:
            return digest_text(sha256(public))


def told(profile: GatewayProfile) -> dict[str, str | int]:
    """Return what a command says of the profile that is in force now."""
    return {
        "gateway": address_text(profile.gateway),
        "profileDigest": digest_text(profile.digest()),
        "epoch": profile.epoch,
        **{f"{kind}Key": name_of(kind, profiles.public_key(profile, kind)) for kind in KeyKind},
    }


def read_secret(file: Path) -> str:
    """Return the text of a small file with a secret; errors: LocalError `file-missing`."""
    try:
        return file.read_text("ascii")[:256]
    except (OSError, UnicodeDecodeError):
        raise LocalError("the file with the account's key cannot be read", code="file-missing") from None


def import_account(settings: Settings, text: str) -> str:
    """Make a vault around an account's secret; return the account's address.

    Errors: LocalError `vault-exists`, `vault-passphrase`; MalformedError `hex`, `account-key`.
    """
    try:
        secret = bytes.fromhex(text.strip())
    except ValueError:
        raise MalformedError("an account's key is 64 hexadecimal digits", code="hex") from None
    vault = FileVault.create(settings.data / VAULT, passphrase_of(settings).get_secret_value(), account=secret)
    return address_text(vault.account)
