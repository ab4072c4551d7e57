import json
from decimal import Decimal
from pathlib import Path

import pytest

from platemark.designer.preparing import StagedFile
from platemark.designer.records import DesignRecord, DesignRecords, write_design, write_revision
from platemark.errors import LocalError, MalformedError, PlatemarkError, UsageError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import raw_cid
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.manifest import Constraints, Manifest, ManifestFile, Part, Process
from platemark.protocol.merkle import files_root
from platemark.protocol.recovery_kit import LOWEST_COST, RecoveryKit
from platemark.protocol.sealed_file import sealed_bytes
from platemark.protocol.typed_data import Registration, registry_domain
from platemark.protocol.units import Address, DesignId, digest_text

PASSPHRASE = "a long passphrase"
ACCOUNT = AccountKey(b"\x42" * 32)
CHAIN_ID, REGISTRY = 480215, Address(b"\x31" * 20)
CIPHERTEXT = b"s" * sealed_bytes(len(b"plain"))
PACKAGE = KeyPackage(ContentKey(b"\x09" * 32), b"\x07" * 32, files_root([sha256(b"plain")]))


def _manifest() -> Manifest:
    file = ManifestFile(
        index=0,
        name="cube.stl",
        media_type="model/stl",
        size_bytes=5,
        sha256=sha256(b"plain"),
        sealed_cid=raw_cid(CIPHERTEXT),
        sealed_bytes=len(CIPHERTEXT),
        sealed_sha256=sha256(CIPHERTEXT),
    )
    one = Decimal(1)
    return Manifest(
        title="A cube",
        registrant=ACCOUNT.address,
        private=False,
        files=(file,),
        key_commitment=PACKAGE.key.commitment(),
        parts=(Part("cube", 0, 1, (0, 0, 0), (one, one, one), one),),
        constraints=Constraints(Process.FDM),
    )


def _kept(records: DesignRecords) -> DesignRecord:
    manifest = _manifest()
    registration = Registration(
        registrant=ACCOUNT.address,
        commitment=commitment(ACCOUNT.address, PACKAGE.salt, PACKAGE.files_root),
        manifest_digest=manifest.digest(),
        is_private=False,
        parent_id=DesignId(0),
        resale_share=0,
        derivative_share=0,
        edition=0,
    )
    digest = registration.digest(registry_domain(CHAIN_ID, REGISTRY))
    with records.new_folder() as folder:
        staged = folder / "r1" / "staged"
        staged.mkdir(parents=True)
        (staged / "0.sealed").write_bytes(CIPHERTEXT)
        file = StagedFile(staged / "0.sealed", raw_cid(CIPHERTEXT), sha256(CIPHERTEXT), len(CIPHERTEXT))
        write_revision(
            folder / "r1",
            manifest=manifest,
            signature=ACCOUNT.sign(digest),
            publication=None,
            kit=RecoveryKit(CHAIN_ID, REGISTRY, registration, 1, PACKAGE, manifest),
            passphrase=PASSPHRASE,
            staged=(file,),
            kit_cost=LOWEST_COST,
        )
        write_design(
            folder,
            title="A cube",
            gateway="http://gateway.test",
            chain_id=CHAIN_ID,
            registry=REGISTRY,
            registration=registration,
        )
        records.keep(folder, records.folder / digest_text(digest))
    found = records.find(DesignId(int.from_bytes(digest, "big")))
    assert found is not None
    return found


@pytest.fixture
def records(tmp_path: Path) -> DesignRecords:
    return DesignRecords(tmp_path / "designs")


def test_a_record_comes_back_as_it_was_written(records: DesignRecords) -> None:
    record = _kept(records)
    revision = record.revision(1)
    assert (record.title, record.gateway, record.revisions()) == ("A cube", "http://gateway.test", [1])
    assert revision.manifest == _manifest()
    assert revision.kit(PASSPHRASE).package.key.secret() == PACKAGE.key.secret()
    (staged,) = revision.staged()
    assert b"".join(staged.chunks()) == CIPHERTEXT
    assert [item.design_id for item in records.all()] == [record.design_id]


def test_neither_key_nor_salt_lies_readable(records: DesignRecords) -> None:
    record = _kept(records)
    for path in record.folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert PACKAGE.key.secret() not in data
            assert PACKAGE.key.secret().hex().encode() not in data
            assert path.stat().st_mode & 0o077 == 0 or path.suffix == ".sealed"


def test_a_folder_that_was_not_finished_is_gone_and_never_a_record(records: DesignRecords) -> None:
    def interrupted() -> None:
        with records.new_folder() as folder:
            (folder / "design.json").write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(records.folder.iterdir())
    assert records.all() == []


def test_a_record_is_never_overwritten(records: DesignRecords) -> None:
    _kept(records)
    with pytest.raises(LocalError) as caught:
        _kept(records)
    assert caught.value.code == "file-exists"
    assert len(list(records.folder.iterdir())) == 1


def test_a_registration_under_another_name_is_refused(records: DesignRecords) -> None:
    record = _kept(records)
    path = record.folder / "design.json"
    value = json.loads(path.read_text())
    value["registration"]["edition"] = 7
    path.write_text(json.dumps(value))
    with pytest.raises(MalformedError) as caught:
        records.find(record.design_id)
    assert caught.value.code == "record"
    assert records.all() == [], "a broken record is left out of lists"


@pytest.mark.parametrize("name", ["design.json", "r1/manifest.json", "r1/statement.json"])
@pytest.mark.parametrize("text", ["", "{}", "[", '{"version": 9}'])
def test_a_damaged_record_is_an_error_of_ours(records: DesignRecords, name: str, text: str) -> None:
    record = _kept(records)
    (record.folder / name).write_text(text)

    def read() -> None:
        found = records.find(record.design_id)
        assert found is not None
        found.revision(1)

    with pytest.raises(PlatemarkError):
        read()


def test_a_staged_file_never_lies_outside_its_folder(records: DesignRecords, tmp_path: Path) -> None:
    record = _kept(records)
    (tmp_path / "secret").write_bytes(CIPHERTEXT)
    description = record.folder / "r1" / "staged" / "0.sealed.json"
    value = json.loads(description.read_text())
    value["name"] = "../../../../secret"
    description.write_text(json.dumps(value))
    with pytest.raises(MalformedError) as caught:
        record.revision(1).staged()
    assert caught.value.code == "record"


def test_what_was_uploaded_is_dropped_once_and_the_key_stays(records: DesignRecords) -> None:
    revision = _kept(records).revision(1)
    revision.drop_staged()
    revision.drop_staged()
    assert revision.staged() == []
    assert revision.kit(PASSPHRASE).package == PACKAGE


def test_a_revision_that_is_not_here_is_told_with_a_way_out(records: DesignRecords) -> None:
    with pytest.raises(UsageError) as caught:
        _kept(records).revision(2)
    assert caught.value.code == "revision-unknown"
    assert caught.value.hint is not None


def test_nothing_is_recorded_where_nothing_was_registered(records: DesignRecords) -> None:
    assert records.all() == []
    assert records.find(DesignId(1)) is None
