"""A deposit, checked in full before it is kept: every file is fetched, decrypted and compared.

1. the designer's signature, the deadline, the gateway and revision that the deposit names
2. the sealed package opens with the deposit key, and its key is the one of the manifest's commitment
3. each ciphertext: every block against its CID, then its size and SHA-256
4. each plaintext: size and SHA-256 as the manifest says (salted when private)
5. all plaintexts together: the files root, which with the salt opens the registered commitment

Nothing is written until all of it holds. Files are streamed; memory is a few segments whatever their size.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.errors import VerificationError
from platemark.protocol.cid import Cid, read_file
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.deposit import check_package, check_sealed
from platemark.protocol.manifest import Manifest, check_file
from platemark.protocol.merkle import files_root
from platemark.protocol.sealed_file import open_sealed
from platemark.protocol.sealing import deposit_info
from platemark.protocol.typed_data import Deposit
from platemark.protocol.units import Address, DesignId, Digest32, digest_text, id_text
from platemark_gateway.audit import journal
from platemark_gateway.auth import signatures
from platemark_gateway.container import Container
from platemark_gateway.designs import repository, service
from platemark_gateway.designs.errors import DepositForeignError, DesignUnknownError, NotPublishedError
from platemark_gateway.errors import UnauthenticatedError

_BLOCK_SECONDS: Final = 120
"""A store's own deadline is shorter; this one only ends a thread whose event loop is gone."""


@dataclass(frozen=True, slots=True)
class DepositTask:
    """What a deposit must fit, read from the database in one go."""

    design_id: DesignId
    revision: int
    registrant: Address
    owner: Address
    commitment: Digest32
    manifest_cid: Cid


async def prepare(
    session: AsyncSession, container: Container, design_id: DesignId, number: int, deposit: Deposit
) -> DepositTask:
    """Return what the deposit must fit.

    Errors: DesignUnknownError, `awaiting-finality`, RevisionRecalledError, NotPublishedError,
        DepositForeignError, DeadlinePassedError.
    """
    named = (deposit.design_id, deposit.revision, deposit.gateway)
    if named != (design_id, number, container.vault.account):
        raise DepositForeignError
    await service.require_deadline(session, container, deposit.deadline)
    row = await service.final_revision(session, container, design_id, number)
    design = await repository.design(session, design_id)
    if design is None:
        raise DesignUnknownError
    if row.manifest_cid is None:
        raise NotPublishedError
    return DepositTask(design_id, number, design.registrant, design.owner, row.commitment, Cid.parse(row.manifest_cid))


async def check(
    container: Container, task: DepositTask, deposit: Deposit, signature: bytes, sealed: bytes
) -> KeyPackage:
    """Return the deposited package once every hash was compared; steps as above.

    Errors: UnauthenticatedError, MalformedError, VerificationError; NotFoundError `block-not-found` for a
        ciphertext that was not uploaded.
    """
    deployment = container.chain.deployment
    await _check_signature(container, task, deposit.digest(deployment.registry_domain()), signature)
    check_sealed(deposit, sealed)
    info = deposit_info(
        deployment.chain_id,
        deployment.registry,
        task.design_id,
        task.revision,
        deposit.key_commitment,
        deposit.gateway,
    )
    package = KeyPackage.from_bytes(container.vault.open_deposit(info, sealed))
    package.key.check(deposit.key_commitment)
    manifest = Manifest.parse(await container.blocks.get(task.manifest_cid))
    package.key.check(manifest.key_commitment)
    async with container.heavy:
        root = await _in_thread(container, lambda get_block: _decrypted_root(manifest, package, get_block))
    check_package(package, registrant=task.registrant, commitment=task.commitment, files_root=root)
    return package


async def keep(session: AsyncSession, container: Container, task: DepositTask, package: KeyPackage) -> Digest32:
    """Wrap a checked package into its row and return the key's commitment; a repeat wraps it anew.

    Errors: as `prepare`; DepositForeignError when the revision changed while its files were being compared.
    """
    await repository.revision(session, task.design_id, task.revision, lock=True)
    row = await service.final_revision(session, container, task.design_id, task.revision)
    if (row.commitment, row.manifest_cid) != (task.commitment, task.manifest_cid.text):
        raise DepositForeignError
    commitment = package.key.commitment()
    row.key_commitment = commitment
    row.wrapped_package = container.vault.wrap(package.to_bytes(), service.package_context(container, row))
    row.deposited_at = container.clock.now()
    journal.record(
        session,
        container.clock,
        actor=task.owner,
        action="design.deposit",
        subject=id_text(task.design_id),
        detail={"revision": task.revision, "keyCommitment": digest_text(commitment)},
    )
    return commitment


async def _check_signature(container: Container, task: DepositTask, digest: Digest32, signature: bytes) -> None:
    """Pass when the owner signed, or the registrant: he made the key, and a lost vault is healed by him."""
    try:
        await signatures.check(container.chain, task.owner, digest, signature)
    except UnauthenticatedError:
        if task.registrant == task.owner:
            raise
        await signatures.check(container.chain, task.registrant, digest, signature)


async def _in_thread(container: Container, work: Callable[[Callable[[Cid], bytes]], Digest32]) -> Digest32:
    """Run `work` in a thread of its own, which fetches blocks through the event loop."""
    loop = asyncio.get_running_loop()

    def get_block(cid: Cid) -> bytes:
        return asyncio.run_coroutine_threadsafe(container.blocks.get(cid), loop).result(_BLOCK_SECONDS)

    # Not the default executor: block stores need its threads, and would wait for each other.
    executor = ThreadPoolExecutor(1, thread_name_prefix="deposit")
    try:
        return await loop.run_in_executor(executor, work, get_block)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _decrypted_root(manifest: Manifest, package: KeyPackage, get_block: Callable[[Cid], bytes]) -> Digest32:
    plain_hashes = []
    for file in manifest.files:
        sealed = _Measured(read_file(file.sealed_cid, get_block, max_bytes=file.sealed_bytes))
        plain = _Measured(open_sealed(package.key.file_key(file.index), sealed))
        for _segment in plain:
            pass
        if (sealed.size, sealed.digest()) != (file.sealed_bytes, file.sealed_sha256):
            raise VerificationError(
                f"the ciphertext of {file.name} is not the one that the manifest names",
                step="ciphertext",
                code="ciphertext-mismatch",
                expected=f"{digest_text(file.sealed_sha256)}, {file.sealed_bytes} bytes",
                found=f"{digest_text(sealed.digest())}, {sealed.size} bytes",
            )
        check_file(manifest, file.index, plain.digest(), size_bytes=plain.size, salt=package.salt)
        plain_hashes.append(plain.digest())
    return files_root(plain_hashes)


class _Measured(Iterator[bytes]):
    """Passes chunks on, counting and hashing them."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._hash = hashlib.sha256()
        self.size = 0

    def __next__(self) -> bytes:
        chunk = next(self._chunks)
        self._hash.update(chunk)
        self.size += len(chunk)
        return chunk

    def digest(self) -> Digest32:
        """Return the SHA-256 of what passed."""
        return Digest32(self._hash.digest())
