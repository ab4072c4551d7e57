"""A designer's client, file by file and step by step, against the gateway application."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from client_bridge import RunningGateway, running_gateway
from platemark.designer.earning import Earner, earnings
from platemark.designer.licensing import Licensor
from platemark.designer.moving import Mover
from platemark.designer.preparing import Description
from platemark.designer.records import DesignRecord, DesignRecords
from platemark.designer.registering import Registrar, Rights, fetch_manifest
from platemark.errors import LocalError, PlatemarkError, RefusedError, TryLaterError, UsageError, VerificationError
from platemark.geometry.part import load_part
from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import Cid, read_file
from platemark.protocol.license_terms import Protection
from platemark.protocol.manifest import Constraints, Process
from platemark.protocol.recovery_kit import LOWEST_COST
from platemark.protocol.sealed_file import open_sealed
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Grant
from platemark.protocol.units import ZERO_ADDRESS, Address, DesignId, LicenseId, Wei
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.licenses import fetch_license
from platemark.sdk.waiting import Patience

PASSPHRASE = "a long passphrase"
HOLDER = Address(b"\x77" * 20)


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    folder = tmp_path / "gateway"
    folder.mkdir()
    with running_gateway(folder) as running:
        yield running


@dataclasses.dataclass
class Desk:
    """A designer with a machine of their own."""

    running: RunningGateway
    folder: Path
    account: AccountKey = dataclasses.field(default_factory=lambda: AccountKey(b"\x42" * 32))
    told: list[str] = dataclasses.field(default_factory=list)

    @property
    def records(self) -> DesignRecords:
        return DesignRecords(self.folder / "designs")

    def part(self, name: str = "bracket.stl") -> Path:
        path = self.folder / name
        path.write_bytes(load_part())
        return path

    def client(self) -> GatewayClient:
        return self.running.client(self.account)

    def registrar(self, client: GatewayClient | None = None, *, seconds: float = 60) -> Registrar:
        return Registrar(
            client or self.client(),
            self.running.trusted(),
            self.account,
            self.records,
            clock=self.running.simulated.clock,
            tell=self.told.append,
            patience=self.running.patience(seconds),
            kit_cost=LOWEST_COST,
        )

    def licensor(self, client: GatewayClient | None = None) -> Licensor:
        return Licensor(
            client or self.client(),
            self.running.trusted(),
            self.account,
            clock=self.running.simulated.clock,
            chain=None,
            tell=self.told.append,
            patience=self.running.patience(),
        )

    def description(self, *, private: bool = False) -> Description:
        return Description("A bracket", Constraints(Process.FDM), private=private, previews=False)

    def registered(self, *, private: bool = False) -> DesignRecord:
        registrar = self.registrar()
        record = registrar.register([self.part()], self.description(private=private), Rights(), passphrase=PASSPHRASE)
        registrar.carry_on(record, 1, passphrase=PASSPHRASE)
        self.running.mine()
        return record

    def document(self, design_id: DesignId, **changes: object) -> TermsDocument:
        made = TermsDocument(
            title="A bracket",
            design_id=design_id,
            gateway=self.running.trusted().address,
            protection=Protection.FILE,
            cap=100,
            price=Wei(10**15),
        )
        return dataclasses.replace(made, **changes)  # type: ignore[arg-type]

    def offered(self, record: DesignRecord, **changes: object) -> int:
        manifest = record.revision(1).manifest
        license_id, state = self.licensor().offer(
            self.document(record.design_id, **changes),
            revision=1,
            key_commitment=manifest.key_commitment,
            on_sale=False,
        )
        assert state.status == "final"
        return license_id


@pytest.fixture
def desk(gateway: RunningGateway, tmp_path: Path) -> Desk:
    folder = tmp_path / "designer"
    folder.mkdir()
    return Desk(gateway, folder)


def test_a_file_becomes_a_design_whose_key_the_gateway_holds(desk: Desk) -> None:
    record = desk.registered()
    with desk.client() as client:
        state = client.design(record.design_id)
        revision = state.revision(1)
        assert revision is not None
        assert (revision.state, revision.status, revision.revealed) == ("deposited", "final", True)
        number, manifest = fetch_manifest(client, record.design_id, None)
        assert (number, manifest) == (1, record.revision(1).manifest)
        file = manifest.files[0]
        ciphertext = read_file(file.sealed_cid, client.block, max_bytes=file.sealed_bytes)
        key = record.revision(1).kit(PASSPHRASE).package.key
        assert b"".join(open_sealed(key.file_key(0), ciphertext)) == load_part()
    assert not record.revision(1).staged()


def test_a_private_design_is_deposited_and_never_revealed(desk: Desk) -> None:
    record = desk.registered(private=True)
    with desk.client() as client:
        revision = client.design(record.design_id).revision(1)
    assert revision is not None
    assert (revision.state, revision.revealed, revision.files_root) == ("deposited", False, None)
    assert not any("reveal" in path for path in desk.running.transport.asked)


def test_what_was_interrupted_goes_on_from_the_record(desk: Desk) -> None:
    registrar = desk.registrar(seconds=0)
    record = registrar.register([desk.part()], desk.description(), Rights(), passphrase=PASSPHRASE)
    with pytest.raises(TryLaterError) as caught:
        registrar.carry_on(record, 1, passphrase=PASSPHRASE)
    assert caught.value.code == "awaiting-finality"
    found = desk.records.find(record.design_id)
    assert found is not None
    assert found.revision(1).staged()
    state = desk.registrar().carry_on(found, 1, passphrase=PASSPHRASE)
    assert state.state == "deposited"
    again = desk.registrar().carry_on(found, 1, passphrase=PASSPHRASE)
    assert again.state == "deposited"


@pytest.mark.parametrize("method", ["upload", "register", "publish_manifest", "reveal", "deposit"])
def test_an_interruption_at_any_step_loses_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    original = getattr(GatewayClient, method)
    calls = []

    def once(self: GatewayClient, *args: object, **kwargs: object) -> object:
        calls.append(method)
        answer = original(self, *args, **kwargs)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(GatewayClient, method, once)
    record = desk.registrar().register([desk.part()], desk.description(), Rights(), passphrase=PASSPHRASE)
    with pytest.raises(KeyboardInterrupt):
        desk.registrar().carry_on(record, 1, passphrase=PASSPHRASE)
    state = desk.registrar().carry_on(record, 1, passphrase=PASSPHRASE)
    desk.running.mine()
    with desk.client() as client:
        found = client.design(record.design_id).revision(1)
    assert state.state == "deposited"
    assert found is not None
    assert found.revealed


def test_a_ciphertext_that_was_lost_before_it_was_uploaded_is_told(desk: Desk) -> None:
    record = desk.registrar().register([desk.part()], desk.description(), Rights(), passphrase=PASSPHRASE)
    record.revision(1).staged()[0].path.unlink()
    with pytest.raises(LocalError) as caught:
        desk.registrar().carry_on(record, 1, passphrase=PASSPHRASE)
    assert caught.value.code == "staged-missing"
    assert not any(path.startswith("POST /v1/designs") for path in desk.running.transport.asked)


def test_a_later_revision_has_a_key_of_its_own(desk: Desk) -> None:
    record = desk.registered()
    registrar = desk.registrar()
    revision = registrar.revise(record, [desk.part()], desk.description(), passphrase=PASSPHRASE)
    assert revision.number == 2
    state = registrar.carry_on(record, 2, passphrase=PASSPHRASE)
    assert state.state == "deposited"
    first, second = (record.revision(number).manifest.key_commitment for number in (1, 2))
    assert first != second


def test_a_revision_waits_for_the_one_before(desk: Desk) -> None:
    record = desk.registered()
    desk.registrar().revise(record, [desk.part()], desk.description(), passphrase=PASSPHRASE)
    with pytest.raises(UsageError) as caught:
        desk.registrar().revise(record, [desk.part()], desk.description(), passphrase=PASSPHRASE)
    assert caught.value.code == "revision-pending"


def test_a_publication_whose_deadline_passed_is_signed_again(desk: Desk) -> None:
    record = desk.registered()
    desk.registrar().revise(record, [desk.part()], desk.description(), passphrase=PASSPHRASE)
    desk.running.simulated.clock.forward(3 * 24 * 3600)
    desk.running.mine()
    assert desk.registrar().carry_on(record, 2, passphrase=PASSPHRASE).state == "deposited"


def test_a_public_design_does_not_become_private(desk: Desk) -> None:
    record = desk.registered()
    with pytest.raises(UsageError):
        desk.registrar().revise(record, [desk.part()], desk.description(private=True), passphrase=PASSPHRASE)


def test_a_recalled_revision_names_a_reason_that_everybody_can_read(desk: Desk) -> None:
    record = desk.registered()
    desk.registrar().recall(record.design_id, 1, "the hook breaks under load")
    with desk.client() as client:
        revision = client.design(record.design_id).revision(1)
    assert revision is not None
    assert revision.state == "recalled"


def test_a_kit_heals_a_gateway_that_lost_its_keys(desk: Desk) -> None:
    record = desk.registered()
    kit = record.revision(1).kit(PASSPHRASE)
    assert desk.registrar().deposit_kit(kit) == record.design_id


def test_a_kit_of_other_contracts_is_refused(desk: Desk) -> None:
    kit = desk.registered().revision(1).kit(PASSPHRASE)
    with pytest.raises(UsageError) as caught:
        desk.registrar().deposit_kit(dataclasses.replace(kit, chain_id=kit.chain_id + 1))
    assert caught.value.code == "other-contracts"


def test_a_licence_is_offered_and_minted(desk: Desk) -> None:
    record = desk.registered()
    license_id = desk.offered(record)
    with desk.client() as client:
        found = fetch_license(client, desk.running.trusted(), license_id)  # type: ignore[arg-type]
        assert found.terms.design_id == record.design_id
        assert found.document.protection is Protection.FILE
        desk.licensor(client).mint(license_id, HOLDER, 25)  # type: ignore[arg-type]
        assert client.balance(license_id, HOLDER) == 25  # type: ignore[arg-type]


def test_more_prints_than_the_cap_are_refused_before_anything_is_sent(desk: Desk) -> None:
    license_id = desk.offered(desk.registered())
    with pytest.raises(RefusedError) as caught:
        desk.licensor().mint(license_id, HOLDER, 101)  # type: ignore[arg-type]
    assert caught.value.code == "cap-exceeded"
    assert not any(path.endswith("/mints") for path in desk.running.transport.asked)


class Lying(httpx.BaseTransport):
    """Passes requests on and alters the answers of one path."""

    def __init__(self, inner: httpx.BaseTransport, path: str, **changes: object) -> None:
        self._inner = inner
        self._path = path
        self._changes = changes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if not request.url.path.endswith(self._path) or not answer.is_success:
            return answer
        body = json.loads(answer.read())
        for name, value in self._changes.items():
            body[name] = value(body[name]) if callable(value) else value
        return httpx.Response(answer.status_code, json=body)


@pytest.mark.parametrize(
    "path,changes,code",
    [
        ("/v1/blobs", {"sha256": "0x" + "00" * 32}, "upload-mismatch"),
        ("/v1/blobs", {"bytes": 1}, "upload-mismatch"),
        ("/v1/designs", {"designId": "0x" + "01" * 32}, "design-differs"),
        (
            "/manifest",
            {"manifestCid": "bafkreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy"},
            "manifest-differs",
        ),
        ("/deposit", {"keyCommitment": "0x" + "00" * 32}, "key-commitment"),
    ],
)
def test_a_gateway_that_answers_something_else_is_found_out(
    desk: Desk, path: str, changes: dict[str, object], code: str
) -> None:
    client = GatewayClient(
        "http://gateway.test", account=desk.account, transport=Lying(desk.running.transport, path, **changes)
    )
    registrar = desk.registrar(client)
    record = registrar.register([desk.part()], desk.description(), Rights(), passphrase=PASSPHRASE)
    with pytest.raises(VerificationError) as caught:
        registrar.carry_on(record, 1, passphrase=PASSPHRASE)
    assert caught.value.code == code


@pytest.mark.parametrize(
    "member,value",
    [("revision", 2), ("designId", "0x" + "01" * 32), ("keyCommitment", "0x" + "00" * 32), ("deadline", 1)],
)
def test_an_acceptance_that_says_something_else_is_not_used(desk: Desk, member: str, value: object) -> None:
    record = desk.registered()
    lying = Lying(desk.running.transport, "/acceptances", acceptance=lambda found: {**found, member: value})
    client = GatewayClient("http://gateway.test", account=desk.account, transport=lying)
    with pytest.raises(VerificationError) as caught:
        desk.licensor(client).offer(
            desk.document(record.design_id),
            revision=1,
            key_commitment=record.revision(1).manifest.key_commitment,
            on_sale=False,
        )
    assert caught.value.code == "acceptance"


def test_an_acceptance_signed_by_a_stranger_is_not_used_without_the_chain(desk: Desk) -> None:
    record = desk.registered()
    stranger = AccountKey(b"\x01" * 32).sign
    lying = Lying(
        desk.running.transport,
        "/acceptances",
        signature=lambda _: "0x" + stranger(record.design_id.to_bytes(32)).hex(),  # type: ignore[arg-type]
    )
    client = GatewayClient("http://gateway.test", account=desk.account, transport=lying)
    with pytest.raises(PlatemarkError) as caught:
        desk.licensor(client).offer(
            desk.document(record.design_id),
            revision=1,
            key_commitment=record.revision(1).manifest.key_commitment,
            on_sale=False,
        )
    assert caught.value.code == "operator-unknown"


def test_a_licence_with_another_price_than_its_id_is_found_out(desk: Desk) -> None:
    license_id = desk.offered(desk.registered())
    path = f"/v1/licenses/0x{license_id:064x}"
    lying = Lying(desk.running.transport, path, terms=lambda terms: {**terms, "price": "1"})
    with GatewayClient("http://gateway.test", transport=lying) as client, pytest.raises(VerificationError) as caught:
        fetch_license(client, desk.running.trusted(), license_id)  # type: ignore[arg-type]
    assert caught.value.code == "license-differs"


def test_prints_for_several_accounts_are_minted_under_one_signature(desk: Desk) -> None:
    license_id = LicenseId(desk.offered(desk.registered()))
    receivers = [Address(bytes([index]) * 20) for index in (1, 2, 3)]
    with desk.client() as client:
        desk.licensor(client).mint_all([Grant(license_id, to, 5) for to in receivers])
        assert [client.balance(license_id, to) for to in receivers] == [5, 5, 5]
    assert desk.running.transport.asked.count("POST /v1/licenses/mints") == 1
    with pytest.raises(RefusedError) as caught:
        desk.licensor().mint_all([Grant(license_id, to, 40) for to in receivers])
    assert caught.value.code == "cap-exceeded"
    assert desk.running.transport.asked.count("POST /v1/licenses/mints") == 1


def test_a_sale_is_opened_by_signature(desk: Desk) -> None:
    license_id = LicenseId(desk.offered(desk.registered()))
    for on_sale in (True, False):
        sent = desk.licensor().set_sale(license_id, on_sale=on_sale)
        assert sent is not None
        assert sent.status == "final"
        with desk.client() as client:
            assert client.license(license_id).on_sale is on_sale


def test_a_licence_is_raised_to_a_later_revision_without_a_chain_endpoint(desk: Desk) -> None:
    record = desk.registered()
    license_id = LicenseId(desk.offered(record))
    registrar = desk.registrar()
    revision = registrar.revise(record, [desk.part()], desk.description(), passphrase=PASSPHRASE)
    registrar.carry_on(record, 2, passphrase=PASSPHRASE)
    key = revision.manifest.key_commitment
    assert desk.licensor().raise_revision(license_id, revision=2, key_commitment=key) is not None
    with desk.client() as client:
        assert client.license(license_id).revision == 2
    assert desk.licensor().raise_revision(license_id, revision=2, key_commitment=key) is None


def test_an_edition_is_lowered_and_never_raised(desk: Desk) -> None:
    registrar = desk.registrar()
    record = registrar.register([desk.part()], desk.description(), Rights(edition=50), passphrase=PASSPHRASE)
    registrar.carry_on(record, 1, passphrase=PASSPHRASE)
    state = registrar.lower_edition(record.design_id, 20)
    assert (state.edition, state.registered_edition) == (20, 50)
    made = state.registration()
    assert made is not None
    assert made == record.registration
    for edition in (20, 30):
        with pytest.raises(UsageError) as caught:
            registrar.lower_edition(record.design_id, edition)
        assert caught.value.code == "edition-not-lowered"


def earner(desk: Desk, client: GatewayClient, account: AccountKey | None = None) -> Earner:
    return Earner(
        client,
        desk.running.trusted(),
        account or desk.account,
        clock=desk.running.simulated.clock,
        tell=desk.told.append,
        patience=desk.running.patience(),
    )


def test_prints_paid_at_purchase_are_not_returned_and_nothing_is_sent(desk: Desk) -> None:
    license_id = LicenseId(desk.offered(desk.registered()))
    with desk.client() as client:
        found = fetch_license(client, desk.running.trusted(), license_id)
        with pytest.raises(RefusedError) as caught:
            earner(desk, client).return_prints(found, 1)
    assert caught.value.code == "not-returnable"
    assert not any(path.endswith("/returns") for path in desk.running.transport.asked)


def test_nothing_owed_is_told(desk: Desk) -> None:
    with desk.client() as client:
        assert earnings(client, desk.running.trusted(), desk.account.address, None) == []
        with pytest.raises(RefusedError) as caught:
            earner(desk, client).withdraw(ZERO_ADDRESS, HOLDER, at_least=Wei(0))
    assert caught.value.code == "nothing-owed"


def test_a_gateway_that_tells_somebody_elses_earnings_is_found_out(desk: Desk) -> None:
    lying = Lying(desk.running.transport, "/earnings", payee="0x" + "01" * 20)
    with GatewayClient("http://gateway.test", transport=lying) as client, pytest.raises(VerificationError) as caught:
        earnings(client, desk.running.trusted(), desk.account.address, None)
    assert caught.value.code == "earnings-differ"


def mover(desk: Desk, client: GatewayClient) -> Mover:
    return Mover(
        client,
        desk.running.trusted(),
        blocks=BlocksOf(client),
        registrar=desk.registrar(client),
        licensor=desk.licensor(client),
        tell=desk.told.append,
        patience=Patience(1.0, sleep=lambda _: desk.running.mine()),
    )


class BlocksOf:
    """Implements `BlockSource` by a gateway."""

    def __init__(self, client: GatewayClient) -> None:
        self._client = client

    def get(self, cid: Cid) -> bytes:
        return self._client.block(cid)


def test_a_gateway_that_is_still_reading_the_chain_is_waited_for(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    license_id = LicenseId(desk.offered(desk.registered()))
    original, asked = GatewayClient.license, []

    def late(self: GatewayClient, number: LicenseId) -> object:
        asked.append(number)
        return original(self, LicenseId(7) if len(asked) == 1 else number)

    monkeypatch.setattr(GatewayClient, "license", late)
    with desk.client() as client:
        state, document = mover(desk, client).terms(license_id)
    assert (state.license_id, len(asked)) == (license_id, 2)
    assert document.digest() == state.terms.terms_digest
    assert any("still be reading" in line for line in desk.told)


def test_a_licence_that_the_new_gateway_never_learns_of_is_told(desk: Desk) -> None:
    with desk.client() as client, pytest.raises(RefusedError) as caught:
        mover(desk, client).terms(LicenseId(7))
    assert caught.value.code == "license-unknown"
