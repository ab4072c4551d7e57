"""What lies beside a copy of the log is read as it was written, by the vault that wrote it."""

import json
from pathlib import Path

import pytest

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.byte_text import base64url
from platemark.protocol.units import DesignId, Digest32, TokenId, UnixSeconds
from platemark_gateway.printlog.waiting import Forbidding, Offered, Recalled, Stopped, Waiting
from platemark_gateway.vault.files import FileVault
from sample_documents import RESERVATION
from simulators.gateway import PASSPHRASE

ACTS = Forbidding(
    [Stopped(RESERVATION, UnixSeconds(1_800_000_000), b"\x01" * 65)],
    [Offered(TokenId(2**255 + 1), 5, 1, UnixSeconds(1_800_003_600))],
    [Recalled(DesignId(4), 65_535, UnixSeconds(1_800_000_001), Digest32(b"\x05" * 32))],
)
WAITING = Waiting("platemark/31337/log/1", 7, [b"\x01\x01 first", b"\x01\x02 second"], ACTS)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> FileVault:
    return FileVault.create(tmp_path_factory.mktemp("vault") / "vault", PASSPHRASE)


def test_it_is_read_as_it_was_written(vault: FileVault) -> None:
    assert Waiting.parse(WAITING.encode(vault), vault) == WAITING


def test_the_first_version_had_no_acts(vault: FileVault) -> None:
    entries = [base64url(entry) for entry in WAITING.entries]
    stated: dict[str, canonical.JsonValue] = {
        "version": 1,
        "origin": WAITING.origin,
        "size": WAITING.size,
        "entries": [*entries],
    }
    mac = base64url(vault.mac("log-waiting", canonical.encode(stated)))
    found = Waiting.parse(canonical.encode({**stated, "mac": mac}), vault)
    assert (found.entries, found.forbidding) == (WAITING.entries, Forbidding([], [], []))


def test_another_vaults_is_refused(vault: FileVault, tmp_path: Path) -> None:
    other = FileVault.create(tmp_path / "vault", PASSPHRASE)
    with pytest.raises(VerificationError) as caught:
        Waiting.parse(WAITING.encode(vault), other)
    assert caught.value.code == "waiting-foreign"


def test_entries_do_not_begin_after_the_checkpoint_beside_them(vault: FileVault) -> None:
    WAITING.check_follows(WAITING.origin, 7)
    WAITING.check_follows(WAITING.origin, 8)
    WAITING.check_follows(WAITING.origin + "2", 1)  # another epoch repeats what came before
    with pytest.raises(VerificationError) as caught:
        WAITING.check_follows(WAITING.origin, 6)
    assert caught.value.code == "waiting-ahead"


@pytest.mark.parametrize("kind", ["entries", "stops", "offers", "recalls"])
def test_nothing_can_be_taken_out(vault: FileVault, kind: str) -> None:
    found = json.loads(WAITING.encode(vault))
    for changed in ({**found, kind: []}, {name: value for name, value in found.items() if name != kind}):
        with pytest.raises((VerificationError, MalformedError)) as caught:
            Waiting.parse(canonical.encode(changed), vault)
        assert caught.value.code in {"waiting-foreign", "canonical-form"}
