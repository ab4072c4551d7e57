"""Where the vault's passphrase comes from, and that nothing on its way shows it."""

import traceback
from pathlib import Path

import pytest

from platemark.errors import LocalError
from platemark_gateway.settings import Settings
from platemark_gateway.vault.passphrases import passphrase_of

SECRET = "correct horse battery staple"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


def credentials(tmp_path: Path, text: str) -> dict[str, str]:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "platemark-passphrase").write_text(text)
    return {"CREDENTIALS_DIRECTORY": str(folder)}


def test_a_setting_comes_first_then_its_file_then_the_credential_then_the_data_folder(
    settings: Settings, tmp_path: Path
) -> None:
    with pytest.raises(LocalError, match="needs a passphrase"):
        passphrase_of(settings, {})
    settings.data.mkdir()
    (settings.data / "passphrase").write_text("beside\n")
    assert passphrase_of(settings, {}).get_secret_value() == "beside"
    environment = credentials(tmp_path, "credential\n")
    assert passphrase_of(settings, environment).get_secret_value() == "credential"
    file = tmp_path / "file"
    file.write_text("file\n")
    settings = settings.model_copy(update={"passphrase_file": file})
    assert passphrase_of(settings, environment).get_secret_value() == "file"
    settings = Settings(data=settings.data, passphrase_file=file, passphrase="setting")
    assert passphrase_of(settings, environment).get_secret_value() == "setting"


def test_a_unit_without_the_credential_takes_the_next_place(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(LocalError) as caught:
        passphrase_of(settings, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert caught.value.code == "vault-passphrase"


@pytest.mark.parametrize("data", [b"\xff\xfe" + SECRET.encode(), None])
def test_a_file_that_cannot_be_read_is_told_without_what_is_in_it(
    settings: Settings, tmp_path: Path, data: bytes | None
) -> None:
    file = tmp_path / "file"
    if data is not None:
        file.write_bytes(data)
    settings = settings.model_copy(update={"passphrase_file": file})
    with pytest.raises(LocalError) as caught:
        passphrase_of(settings, {})
    told = "".join(traceback.format_exception(caught.value))
    assert caught.value.code == "vault-passphrase"
    assert SECRET not in told


def test_settings_and_passphrase_do_not_show_it(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, passphrase=SECRET)
    for shown in (settings, passphrase_of(settings, {})):
        assert SECRET not in repr(shown)
        assert SECRET not in str(shown)
        assert SECRET not in f"{shown}"
    assert SECRET not in settings.model_dump_json()
