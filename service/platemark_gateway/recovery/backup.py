"""A backup of a whole gateway, taken while it runs.

1. the database, as it is at one moment
2. the checkpoint, then the tiles: whatever the database or the checkpoint speaks of is there when it is copied
3. keys, state and blocks, which only gain since
4. the manifest; then the folder gets its name, so that a folder of that name is a whole backup

A backup whose checkpoint is ahead of its database is sound: the restored gateway counts the difference from the tiles.
Secrets are in it as they lie on the disk, under the vault's passphrase, which is not in it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from platemark.errors import LocalError, MalformedError
from platemark.protocol.canonical import integer_of, text_of
from platemark.protocol.units import Address, parse_address
from platemark_gateway.chain.files import sync_directory
from platemark_gateway.clock import Clock
from platemark_gateway.printlog.files import CHECKPOINT
from platemark_gateway.recovery.copying import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    copy_durably,
    files_below,
    measure,
    sync_tree,
)
from platemark_gateway.recovery.databases import copies_of
from platemark_gateway.recovery.manifest import FILE_NAME, Manifest, Stored
from platemark_gateway.recovery.state import (
    BLOCKS,
    DEPLOYMENT_FILE,
    LOCK,
    LOG,
    STATE_FILE,
    VAULT,
    in_use,
    read_state,
)
from platemark_gateway.settings import Settings
from platemark_gateway.vault.document import FILE_NAME as VAULT_FILE

_FIRST_NEEDED: Final = (f"{VAULT}/{VAULT_FILE}", DEPLOYMENT_FILE, STATE_FILE)


def back_up(settings: Settings, target: Path, clock: Clock) -> Manifest:
    """Write a backup into the new folder `target`, and return its manifest; a kill leaves no folder of that name.

    Errors: LocalError `backup-exists`, `state-missing` before the first start, `backup-failed`, `program-missing`.
    """
    if target.exists():
        raise LocalError(f"{target} is there already", code="backup-exists", hint="name a new folder")
    whose = _whose(settings.data)
    draft = target.with_name(f".{target.name}.partial")
    try:
        with in_use(settings.data), in_use(draft, alone=True):
            return _write(settings, draft, target, whose, clock)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else "an input or output error"
        raise LocalError(f"the backup cannot be written: {reason}", code="backup-failed") from error


def _write(
    settings: Settings, draft: Path, target: Path, whose: tuple[int, Address, Address], clock: Clock
) -> Manifest:
    _clear(draft)
    draft.chmod(PRIVATE_FOLDER)
    database = copies_of(settings)
    dump = draft / database.dump_name
    database.dump(dump)
    files = {database.dump_name: Stored(*measure(dump))}
    for path in _paths(settings):
        files[path] = Stored(*copy_durably(settings.data / path, draft / path))
    chain_id, ledger, gateway = whose
    manifest = Manifest(clock.now(), chain_id, ledger, gateway, database.kind, files)
    descriptor = os.open(draft / FILE_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as out:
        out.write(manifest.encode())
        out.flush()
        os.fsync(out.fileno())
    (draft / LOCK).unlink()
    sync_tree(draft)
    draft.rename(target)
    sync_directory(target.parent)
    return manifest


def _paths(settings: Settings) -> Iterator[str]:
    """Yield what is copied, in the order in which it must be."""
    for path in _FIRST_NEEDED:
        if not (settings.data / path).is_file():
            raise LocalError(f"the gateway has no {path}", code="backup-failed", hint="`platemark-gateway doctor`")
        yield path
    log = settings.data / LOG
    if log.is_dir():
        found = [f"{LOG}/{path}" for path in files_below(log)]
        # Listed again: a checkpoint that is copied now may name tiles that were not there when the first list was made.
        notes = sorted(path for path in found if path.startswith(f"{LOG}/{CHECKPOINT}"))
        yield from notes
        yield from (f"{LOG}/{path}" for path in files_below(log) if f"{LOG}/{path}" not in notes)
    blocks = settings.data / BLOCKS
    if settings.ipfs_api is None and blocks.is_dir():
        yield from (f"{BLOCKS}/{path}" for path in files_below(blocks))


def _whose(data: Path) -> tuple[int, Address, Address]:
    state = read_state(data)
    if state is None:
        raise LocalError(
            f"no gateway was ever started in {data}", code="state-missing", hint="name its folder with --data"
        )
    try:
        return (
            integer_of(state["chainId"], low=1),
            parse_address(text_of(state["ledger"])),
            parse_address(text_of(state["gateway"])),
        )
    except (KeyError, MalformedError) as error:
        raise LocalError(f"{STATE_FILE} is damaged", code="state-damaged", hint="restore a backup") from error


def _clear(draft: Path) -> None:
    """Remove what a backup that was killed left in its draft."""
    for path in draft.iterdir():
        if path.name == LOCK:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
