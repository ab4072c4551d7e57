"""An agent's seed on disk: 32 secret bytes, encrypted under a passphrase as account keys are.

Whoever has the seed can restore every key that the agent ever derived; whoever loses it loses its open tokens.
"""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.permission import AgentSeed
from platemark.sdk.files import make_folder, read_limited, write_whole
from platemark.sdk.keystore import decrypt_secret, encrypt_secret

VERSION: Final = 1
_MAX_FILE_BYTES: Final = 16 << 10


def read_or_make_seed(
    path: Path, passphrase: str, *, randomness: Callable[[int], bytes] = secrets.token_bytes
) -> AgentSeed:
    """Return the seed in a file, which is made when it is not there.

    Errors: LocalError `passphrase-wrong`, `disk-…`; MalformedError `agent-seed` for another file.
    """
    if not path.exists():
        make_folder(path.parent)
        made = AgentSeed.generate(randomness)
        value: dict[str, JsonValue] = {
            "version": VERSION,
            "crypto": encrypt_secret(made.secret(), passphrase, randomness=randomness),
        }
        write_whole(path, canonical.encode(value) + b"\n", replace=False)
        return made
    return read_seed(path, passphrase)


def read_seed(path: Path, passphrase: str) -> AgentSeed:
    """Return the seed in a file; errors as `read_or_make_seed`, and LocalError `file-missing`."""
    try:
        found = object_of(
            canonical.parse(read_limited(path, max_bytes=_MAX_FILE_BYTES)), fields=frozenset({"version", "crypto"})
        )
        integer_of(found["version"], low=VERSION, high=VERSION)
        return AgentSeed(decrypt_secret(found["crypto"], passphrase))
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", code="agent-seed") from error
