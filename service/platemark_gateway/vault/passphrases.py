"""Where the vault's passphrase comes from; it is never asked for, and never shown.

1. the setting `passphrase` (PLATEMARK_GATEWAY_PASSPHRASE)
2. the setting `passphrase_file` (--passphrase-file)
3. systemd's credential `platemark-passphrase` (LoadCredential=, LoadCredentialEncrypted=)
4. the file `passphrase` in the data folder, where `dev` keeps its own

Source: systemd.exec(5), Credentials.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from platemark.errors import LocalError
from platemark_gateway.settings import Settings

PASSPHRASE_FILE: Final = "passphrase"  # noqa: S105 (the name of a file)
CREDENTIAL: Final = "platemark-passphrase"
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
_LARGEST: Final = 4096


def passphrase_of(settings: Settings, environment: Mapping[str, str] = os.environ) -> SecretStr:
    """Return the vault's passphrase, from the first of the places above that has one; its text never shows it.

    Errors: LocalError `vault-passphrase`.
    """
    if settings.passphrase is not None:
        return settings.passphrase
    credential = Path(folder) / CREDENTIAL if (folder := environment.get(_CREDENTIALS)) else None
    beside = settings.data / PASSPHRASE_FILE
    for file in (settings.passphrase_file, credential if credential and credential.is_file() else None):
        if file is not None:
            return _read(file)
    if beside.is_file():
        return _read(beside)
    raise LocalError(
        "the vault needs a passphrase",
        code="vault-passphrase",
        hint="set PLATEMARK_GATEWAY_PASSPHRASE, give --passphrase-file, or load the credential platemark-passphrase",
    )


def _read(file: Path) -> SecretStr:
    try:
        with file.open("rb") as found:
            data = found.read(_LARGEST)
        return SecretStr(data.decode().rstrip("\n"))
    except (OSError, UnicodeDecodeError):
        raise LocalError("the passphrase's file cannot be read", code="vault-passphrase") from None
