"""Recovery kits on disk: a designer's only copy of a content key, encrypted under a passphrase."""

from pathlib import Path

from platemark.errors import MalformedError
from platemark.protocol.recovery_kit import MAX_BYTES, USUAL_COST, RecoveryKit, open_kit, seal_kit
from platemark.sdk.files import make_folder, read_limited, write_whole


def write_kit(path: Path, kit: RecoveryKit, passphrase: str, *, cost: int = USUAL_COST) -> None:
    """Write a kit, whole or not at all, readable by its owner only; an existing file is never replaced.

    Errors: RefusedError `passphrase-short`; LocalError when the disk fails or the file exists.
    """
    make_folder(path.parent)
    write_whole(path, seal_kit(kit, passphrase, cost=cost), replace=False)


def read_kit(path: Path, passphrase: str) -> RecoveryKit:
    """Return the kit in a file.

    Errors: LocalError; MalformedError `recovery-kit` for a file that is none; RefusedError `passphrase-wrong`.
    """
    data = read_limited(path, max_bytes=MAX_BYTES)
    try:
        return open_kit(data, passphrase)
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", code=error.code, hint=error.hint) from error
