from dataclasses import replace

import pytest

import sample_documents as sample
from platemark.errors import VerificationError
from platemark.protocol.deposit import (
    SealedDeposit,
    check_package,
    check_sealed,
    depositor,
    make_deposit,
    open_deposit,
)
from platemark.protocol.digests import sha256
from platemark.protocol.sealing import RecipientKey, deposit_info, seal
from platemark.protocol.typed_data import registry_domain
from platemark.protocol.units import DesignId, Digest32, UnixSeconds


@pytest.fixture(scope="module")
def deposited() -> SealedDeposit:
    return make_deposit(
        sample.PACKAGE,
        domain=sample.REGISTRY_DOMAIN,
        design_id=sample.DESIGN_ID,
        revision=1,
        gateway=sample.GATEWAY.address,
        deposit_public=sample.DEPOSIT_KEY.public_bytes,
        deadline=UnixSeconds(sample.NOW + 60),
        account=sample.DESIGNER,
    )


def test_a_gateway_opens_what_a_designer_deposits(deposited: SealedDeposit) -> None:
    package = open_deposit(
        deposited.deposit, deposited.sealed, domain=sample.REGISTRY_DOMAIN, deposit_key=sample.DEPOSIT_KEY
    )
    assert package.to_bytes() == sample.PACKAGE.to_bytes()
    assert depositor(deposited.deposit, deposited.signature, sample.REGISTRY_DOMAIN) == sample.DESIGNER.address
    assert sample.CONTENT_KEY.secret() not in deposited.sealed


def test_other_sealed_bytes_are_refused(deposited: SealedDeposit) -> None:
    with pytest.raises(VerificationError) as caught:
        check_sealed(deposited.deposit, deposited.sealed[:-1])
    assert caught.value.code == "deposit-mismatch"


@pytest.mark.parametrize("change", ["design", "revision", "gateway", "registry", "chain", "key"])
def test_a_deposit_opens_for_its_own_purpose_only(deposited: SealedDeposit, change: str) -> None:
    deposit, domain, key = deposited.deposit, sample.REGISTRY_DOMAIN, sample.DEPOSIT_KEY
    match change:
        case "design":
            deposit = replace(deposit, design_id=DesignId(deposit.design_id ^ 1))
        case "revision":
            deposit = replace(deposit, revision=2)
        case "gateway":
            deposit = replace(deposit, gateway=sample.HOLDER.address)
        case "registry":
            domain = registry_domain(sample.CHAIN_ID, sample.LEDGER)
        case "chain":
            domain = registry_domain(1, sample.REGISTRY)
        case _:
            key = RecipientKey(bytes(32))
    with pytest.raises(VerificationError) as caught:
        open_deposit(deposit, deposited.sealed, domain=domain, deposit_key=key)
    assert caught.value.code == "sealed-key"


def test_a_deposit_of_another_key_than_was_signed_is_refused(deposited: SealedDeposit) -> None:
    commitment = Digest32(bytes(32))
    info = deposit_info(sample.CHAIN_ID, sample.REGISTRY, sample.DESIGN_ID, 1, commitment, sample.GATEWAY.address)
    sealed = seal(sample.DEPOSIT_KEY.public_bytes, info, sample.PACKAGE.to_bytes())
    deposit = replace(deposited.deposit, key_commitment=commitment, sealed_digest=sha256(sealed))
    with pytest.raises(VerificationError) as caught:
        open_deposit(deposit, sealed, domain=sample.REGISTRY_DOMAIN, deposit_key=sample.DEPOSIT_KEY)
    assert caught.value.code == "key-commitment"


def test_a_package_opens_the_commitment_of_its_registrant_and_files() -> None:
    right = {
        "registrant": sample.DESIGNER.address,
        "commitment": sample.REGISTRATION.commitment,
        "files_root": sample.PACKAGE.files_root,
    }
    check_package(sample.PACKAGE, **right)  # type: ignore[arg-type]
    for change, code in (
        ({"registrant": sample.HOLDER.address}, "commitment"),
        ({"commitment": Digest32(bytes(32))}, "commitment"),
        ({"files_root": Digest32(bytes(32))}, "files-root"),
    ):
        with pytest.raises(VerificationError) as caught:
            check_package(sample.PACKAGE, **(right | change))  # type: ignore[arg-type]
        assert caught.value.code == code
