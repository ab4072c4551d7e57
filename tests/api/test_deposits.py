"""A deposit is kept only when every file behind it was decrypted and compared."""

from dataclasses import replace

import httpx
import pytest

from platemark.protocol import sealed_file
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.cid import unixfs_blocks
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.deposit import make_deposit
from platemark.protocol.digests import sha256
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.units import Address, Digest32, id_text
from platemark_gateway.designs import service
from platemark_gateway.errors import VaultError
from platemark_gateway.models.design import Revision
from simulators.chain import DEPLOYMENT
from simulators.gateway import SimulatedGateway
from simulators.people import Designer, signature_text

pytestmark = pytest.mark.anyio


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


async def stored(designer: Designer) -> Revision:
    async with designer.gateway.container.database.read() as session:
        row = await session.get(Revision, (designer.design_id, 1))
    assert row is not None
    return row


async def published(designer: Designer) -> Designer:
    await designer.registered()
    assert (await designer.publish_manifest()).status_code == 200
    return designer


async def test_the_vault_keeps_the_package_wrapped(designer: Designer) -> None:
    await designer.deposited()
    row = await stored(designer)
    assert row.wrapped_package is not None
    for secret in (designer.key.secret(), designer.salt):
        assert secret not in row.wrapped_package
    assert service.key_package(designer.gateway.container, row) == designer.package


async def test_a_row_that_was_moved_opens_nothing(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    other = await Designer(gateway, account=AccountKey(b"\x55" * 32), key=ContentKey(b"\x56" * 32)).deposited()
    row, foreign = await stored(designer), await stored(other)
    row.wrapped_package = foreign.wrapped_package
    with pytest.raises(VaultError) as caught:
        service.key_package(gateway.container, row)
    assert caught.value.code == "vault-unwrap"


async def test_nothing_is_accepted_when_a_row_was_moved(gateway: SimulatedGateway, designer: Designer) -> None:
    await designer.deposited()
    other = await Designer(gateway, account=AccountKey(b"\x55" * 32), key=ContentKey(b"\x56" * 32)).deposited()
    async with gateway.container.database.begin() as session:
        row = await session.get(Revision, (designer.design_id, 1))
        foreign = await session.get(Revision, (other.design_id, 1))
        assert row is not None
        assert foreign is not None
        row.wrapped_package = foreign.wrapped_package
    refused = await designer.accept()
    assert refused.status_code == 500
    assert set(refused.json()) == {"type", "title", "status", "code", "correlationId"}


async def test_a_private_design_is_compared_with_its_salted_hashes(gateway: SimulatedGateway) -> None:
    designer = await published(Designer(gateway, private=True))
    assert (await designer.deposit()).status_code == 200


async def test_a_file_of_many_blocks_is_compared(gateway: SimulatedGateway) -> None:
    designer = await published(Designer(gateway, plaintext=bytes(range(251)) * 12_000))
    before = gateway.blocks.reads
    assert (await designer.deposit()).status_code == 200
    assert gateway.blocks.reads - before == 1 + 3 + 1  # the root, its leaves, the manifest


async def test_an_empty_file_can_be_deposited(gateway: SimulatedGateway) -> None:
    designer = await published(Designer(gateway, plaintext=b""))
    assert (await designer.deposit()).status_code == 200


async def test_deposit_refuses_another_key(designer: Designer) -> None:
    await published(designer)
    other = KeyPackage(ContentKey(b"\x01" * 32), designer.salt, designer.root)
    assert problem(await designer.deposit(other)) == (409, "key-commitment")
    assert (await stored(designer)).wrapped_package is None


async def test_deposit_refuses_a_salt_that_does_not_open_the_commitment(designer: Designer) -> None:
    await published(designer)
    other = KeyPackage(designer.key, b"\x02" * 32, designer.root)
    assert problem(await designer.deposit(other)) == (409, "commitment")


async def test_deposit_refuses_another_files_root(designer: Designer) -> None:
    await published(designer)
    other = KeyPackage(designer.key, designer.salt, Digest32(b"\x02" * 32))
    assert problem(await designer.deposit(other)) == (409, "files-root")


async def test_deposit_refuses_plaintext_that_was_not_registered(gateway: SimulatedGateway) -> None:
    """The manifest names the ciphertext of one file and the hash of another."""
    designer = Designer(gateway)
    await designer.upload()
    designer.plaintext = bytes(reversed(designer.plaintext))
    assert (await designer.register()).status_code == 202
    await gateway.chain.mine()
    assert (await designer.publish_manifest()).status_code == 200
    assert problem(await designer.deposit()) == (409, "file-mismatch")


async def test_deposit_refuses_a_ciphertext_under_another_key(gateway: SimulatedGateway) -> None:
    designer = Designer(gateway)
    designer.sealed = b"".join(sealed_file.seal(b"\x44" * 32, [designer.plaintext]))
    await published(designer)
    assert problem(await designer.deposit()) == (409, "sealed-file")


async def test_deposit_refuses_a_ciphertext_hash_that_is_none(gateway: SimulatedGateway) -> None:
    designer = Designer(gateway)
    await designer.upload()
    right = designer.manifest()
    wrong = replace(right, files=(replace(right.files[0], sealed_sha256=Digest32(b"\x03" * 32)),))
    designer.manifest = lambda **_: wrong  # type: ignore[method-assign]
    await designer.register()
    await gateway.chain.mine()
    assert (await designer.publish_manifest()).status_code == 200
    assert problem(await designer.deposit()) == (409, "ciphertext-mismatch")


async def test_deposit_refuses_a_ciphertext_that_was_not_uploaded(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await published(designer)
    assert designer.cid is not None
    for node in (gateway.blocks, gateway.replica):
        del node.blocks[designer.cid.text]
    assert problem(await designer.deposit()) == (404, "block-not-found")


async def test_deposit_refuses_a_block_that_was_altered_on_disk(gateway: SimulatedGateway, designer: Designer) -> None:
    await published(designer)
    assert designer.cid is not None
    for node in (gateway.blocks, gateway.replica):
        node.blocks[designer.cid.text] += b"x"
    assert problem(await designer.deposit()) == (502, "block-damaged")


async def test_deposit_says_when_the_block_store_is_away_and_works_later(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await published(designer)
    gateway.blocks.is_away = gateway.replica.is_away = True
    assert problem(await designer.deposit()) == (503, "ipfs-unreachable")
    gateway.blocks.is_away = gateway.replica.is_away = False
    assert (await designer.deposit()).status_code == 200


async def test_deposit_is_compared_from_the_replica_while_the_first_node_is_away(
    gateway: SimulatedGateway, designer: Designer
) -> None:
    await published(designer)
    gateway.blocks.is_away = True
    assert (await designer.deposit()).status_code == 200


async def test_deposit_refuses_sealed_bytes_that_were_not_signed_for(designer: Designer) -> None:
    await published(designer)
    assert problem(await designer.deposit(sealed=base64url(b"\x01" * 1300))) == (409, "deposit-mismatch")


async def test_deposit_refuses_what_is_sealed_to_somebody_else(designer: Designer) -> None:
    await published(designer)
    made = make_deposit(
        designer.package,
        domain=DEPLOYMENT.registry_domain(),
        design_id=designer.design_id,
        revision=1,
        gateway=designer.gateway.container.vault.account,
        deposit_public=RecipientKey(b"\x08" * 32).public_bytes,
        deadline=designer.deadline(),
        account=designer.account,
    )
    body = {
        "deposit": made.deposit.to_json(),
        "signature": signature_text(made.signature),
        "sealed": base64url(made.sealed),
    }
    assert problem(await designer.post(designer.path("/revisions/1/deposit"), body)) == (409, "sealed-key")


@pytest.mark.parametrize(
    "changes, expected",
    [
        ({"gateway": Address(b"\x01" * 20)}, (409, "deposit-foreign")),
        ({"revision": 2}, (409, "deposit-foreign")),
        ({"design_id": 5}, (409, "deposit-foreign")),
        ({"deadline": 1}, (409, "deadline-passed")),
    ],
)
async def test_deposit_refuses_what_is_meant_for_something_else(
    designer: Designer, changes: dict[str, object], expected: tuple[int, str]
) -> None:
    await published(designer)
    right = make_deposit(
        designer.package,
        domain=DEPLOYMENT.registry_domain(),
        design_id=designer.design_id,
        revision=1,
        gateway=designer.gateway.container.vault.account,
        deposit_public=designer.gateway.container.profile.deposit_key,
        deadline=designer.deadline(),
        account=designer.account,
    )
    wrong = replace(right.deposit, **changes)  # type: ignore[arg-type]
    body = {
        "deposit": wrong.to_json(),
        "signature": designer.registry_signature(wrong),
        "sealed": base64url(right.sealed),
    }
    assert problem(await designer.post(designer.path("/revisions/1/deposit"), body)) == expected


async def test_deposit_refuses_a_stranger(designer: Designer) -> None:
    await published(designer)
    honest = designer.account
    designer_as_thief = replace(designer, account=AccountKey(b"\x0d" * 32))
    made = make_deposit(
        designer.package,
        domain=DEPLOYMENT.registry_domain(),
        design_id=designer.design_id,
        revision=1,
        gateway=designer.gateway.container.vault.account,
        deposit_public=designer.gateway.container.profile.deposit_key,
        deadline=designer.deadline(),
        account=designer_as_thief.account,
    )
    body = {
        "deposit": made.deposit.to_json(),
        "signature": signature_text(made.signature),
        "sealed": base64url(made.sealed),
    }
    assert honest.address != designer_as_thief.account.address
    assert problem(await designer.post(designer.path("/revisions/1/deposit"), body)) == (401, "signature-invalid")


async def test_deposit_waits_for_the_manifest(designer: Designer) -> None:
    await designer.registered()
    assert problem(await designer.deposit()) == (409, "manifest-unknown")


async def test_depositing_again_heals_a_lost_vault_row(designer: Designer) -> None:
    await designer.deposited()
    first = (await stored(designer)).wrapped_package
    assert (await designer.deposit()).status_code == 200
    again = await stored(designer)
    assert again.wrapped_package != first
    assert service.key_package(designer.gateway.container, again) == designer.package


async def test_files_are_compared_by_the_blocks_of_the_manifest_alone(designer: Designer) -> None:
    """What is decrypted is what the manifest's CID names, not what happens to be uploaded."""
    await published(designer)
    blocks = list(unixfs_blocks([designer.sealed]))
    assert blocks[-1].cid == designer.cid
    assert sha256(designer.sealed) == designer.manifest().files[0].sealed_sha256
    assert (
        await designer.post(f"/v1/designs/{id_text(designer.design_id)}/revisions/9/deposit", {})
    ).status_code == 422
