"""A deposit: a designer hands a revision's content key to a gateway, sealed and signed.

What is sealed is the key package (content key ‖ content salt ‖ files root, 96 bytes); what is signed is the
`Deposit` struct with the SHA-256 of the sealed bytes.

Source: docs/formats.md, deposit.
"""

from dataclasses import dataclass

from platemark.errors import VerificationError
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.digests import sha256
from platemark.protocol.sealing import RecipientKey, deposit_info, seal
from platemark.protocol.typed_data import Deposit, Domain
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    UnixSeconds,
    address_text,
    digest_text,
)


@dataclass(frozen=True, slots=True)
class SealedDeposit:
    """A deposit as it travels: the signed struct, the designer's signature, the sealed package."""

    deposit: Deposit
    signature: bytes
    sealed: bytes


def make_deposit(
    package: KeyPackage,
    *,
    domain: Domain,
    design_id: DesignId,
    revision: int,
    gateway: Address,
    deposit_public: bytes,
    deadline: UnixSeconds,
    account: AccountKey,
) -> SealedDeposit:
    """Return the deposit of a revision's key with the gateway that has the public key `deposit_public`.

    Args:
        package: What is deposited.
        domain: The DesignRegistry's.
        design_id: The design.
        revision: Its revision, 1 and up.
        gateway: The gateway's account.
        deposit_public: The gateway's HPKE key from its profile, 1,216 bytes.
        deadline: When the signature stops being good.
        account: The designer's key.
    """
    key_commitment = package.key.commitment()
    info = deposit_info(domain.chain_id, domain.verifying_contract, design_id, revision, key_commitment, gateway)
    sealed = seal(deposit_public, info, package.to_bytes())
    deposit = Deposit(design_id, revision, gateway, key_commitment, sha256(sealed), deadline)
    return SealedDeposit(deposit, account.sign(deposit.digest(domain)), sealed)


def check_sealed(deposit: Deposit, sealed: bytes) -> None:
    """Pass when `sealed` is what the deposit names.

    Errors: VerificationError `deposit-mismatch`.
    """
    _same("sealed bytes", deposit.sealed_digest, sha256(sealed))


def depositor(deposit: Deposit, signature: bytes, domain: Domain) -> Address:
    """Return who signed a deposit with an ordinary account; errors MalformedError `signature-invalid`."""
    return recover(deposit.digest(domain), signature)


def open_deposit(deposit: Deposit, sealed: bytes, *, domain: Domain, deposit_key: RecipientKey) -> KeyPackage:
    """Return the package in a deposit, whose key fits the commitment that the designer signed.

    Errors: VerificationError `deposit-mismatch` for other sealed bytes, `key-commitment` for another key;
        `sealed-key` when they do not open.
    """
    check_sealed(deposit, sealed)
    info = deposit_info(
        domain.chain_id,
        domain.verifying_contract,
        deposit.design_id,
        deposit.revision,
        deposit.key_commitment,
        deposit.gateway,
    )
    package = KeyPackage.from_bytes(deposit_key.open(info, sealed))
    package.key.check(deposit.key_commitment)
    return package


def check_package(package: KeyPackage, *, registrant: Address, commitment: Digest32, files_root: Digest32) -> None:
    """Pass when a package opens the registered commitment and names the files that were really there.

    Args:
        package: From a deposit or a release.
        registrant: The design's registrant.
        commitment: The revision's, on chain.
        files_root: Of the plaintexts as decrypted.

    Errors: VerificationError `files-root`, or `commitment` naming the registrant.
    """
    if package.files_root != files_root:
        raise VerificationError(
            "the files are not the ones that were registered",
            step="files-root",
            code="files-root",
            expected=digest_text(package.files_root),
            found=digest_text(files_root),
        )
    found = package.commitment(registrant)
    if found != commitment:
        raise VerificationError(
            f"salt and files do not open the commitment of {address_text(registrant)}",
            step="commitment",
            code="commitment",
            expected=digest_text(commitment),
            found=digest_text(found),
        )


def _same(what: str, expected: Digest32, found: Digest32) -> None:
    if expected != found:
        raise VerificationError(
            f"the {what} are not what the deposit names",
            step="deposit",
            code="deposit-mismatch",
            expected=digest_text(expected),
            found=digest_text(found),
        )
