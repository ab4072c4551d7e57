"""A gateway's data folder and database brought back from a backup: the old ones or the new ones, never a mixture.

1. everything is checked: every byte of the backup, whose it is, that its vault opens, that its log is one with the
   other copies of it, that nothing would be overwritten unasked
2. what is to be is made ready in `.restore` and beside the database; a kill up to here has changed nothing
3. `.restore/plan.json` gets its name: from here on the new state is what this folder holds
4. files move into their places. A kill here is answered by whoever uses the folder next: `serve`, `worker` or
   `restore` take this step again, to its end, before anything else

The log is never set back. Of the backup's log, the one that lies in the folder and a shipped copy, the furthest stays,
with the files of all of them, and with the entries that waited beside it to be counted; blocks are added to those that
are there. What is replaced is kept beside the new, under the name `….replaced-<time>`, but for PostgreSQL's schema.

A database that is behind the log after this starts in quarantine and counts the difference (`printlog.rebuild`).
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import SecretStr

from platemark.errors import LocalError
from platemark.protocol.units import address_text
from platemark_gateway.chain.files import sync_directory, write_atomically
from platemark_gateway.clock import Clock
from platemark_gateway.printlog.files import CHECKPOINT, WAITING
from platemark_gateway.printlog.waiting import Waiting
from platemark_gateway.recovery.copying import (
    PRIVATE_FILE,
    PRIVATE_FOLDER,
    copy_durably,
    files_below,
    make_folders,
    sync_tree,
)
from platemark_gateway.recovery.databases import DatabaseCopies, copies_of
from platemark_gateway.recovery.logs import furthest
from platemark_gateway.recovery.manifest import Manifest, open_backup
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
from platemark_gateway.vault.files import FileVault
from platemark_gateway.vault.passphrases import PASSPHRASE_FILE

STAGE: Final = ".restore"
PLAN: Final = "plan.json"
_NEW: Final = "new"
_DATABASE: Final = "database"
_SWAPPED: Final = (VAULT, DEPLOYMENT_FILE, STATE_FILE)
_PUBLIC_FILE: Final = 0o644
_UNHARMED: Final = frozenset({LOCK, STAGE, PASSPHRASE_FILE})
_OWN: Final = frozenset({*_SWAPPED, LOG, BLOCKS})


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: the stamp under which the replaced is kept, and how far the log goes now."""

    stamp: str
    log_size: int
    log_from: str


def restore(
    settings: Settings,
    source: Path,
    passphrase: SecretStr,
    clock: Clock,
    *,
    replace: bool = False,
    tail: Path | None = None,
) -> Restored:
    """Put a backup in place; a restore that was killed is finished instead, and nothing else is done.

    Args:
        settings: Where the data folder and the database are.
        source: The backup's folder.
        passphrase: The vault's; with another one nothing is touched.
        clock: For the names of what is replaced.
        replace: Whether a gateway that is there may be replaced.
        tail: A shipped copy of the log, to go on from.

    Errors: LocalError `gateway-running`, `restore-target`, `backup-foreign`, `backup-damaged`, `backup-failed`,
        `program-missing`; those of the vault; LogForkedError for copies of the log that contradict each other.
    """
    with in_use(settings.data, alone=True):
        if (finished := _finish(settings)) is not None:
            return finished
        try:
            return _restore(settings, source, passphrase, clock, replace=replace, tail=tail)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else "an input or output error"
            raise LocalError(f"the backup cannot be restored: {reason}", code="backup-failed") from error


def finish(settings: Settings) -> None:
    """Take a restore that was killed in step 4 to its end; call it before anything in the folder is used.

    Errors: LocalError `gateway-running` while another process does it.
    """
    if (settings.data / STAGE / PLAN).exists():
        with in_use(settings.data, alone=True):
            _finish(settings)


def _finish(settings: Settings) -> Restored | None:
    stage, database = settings.data / STAGE, copies_of(settings)
    plan = _read_plan(stage / PLAN)
    if plan is None:
        _discard(stage, database)
        return None
    if plan["database"] != database.kind:
        raise LocalError(
            f"a restore of a {plan['database']} database was begun here",
            code="restore-target",
            hint="give the same --database-url again",
        )
    _apply(settings.data, database, str(plan["stamp"]))
    return Restored(str(plan["stamp"]), int(plan["logSize"]), str(plan["logFrom"]))


def _restore(
    settings: Settings, source: Path, passphrase: SecretStr, clock: Clock, *, replace: bool, tail: Path | None
) -> Restored:
    data, database = settings.data, copies_of(settings)
    manifest = open_backup(source)
    _check_target(settings, database, manifest, replace=replace)
    stage = data / STAGE
    try:
        (stage / _NEW).mkdir(parents=True, mode=PRIVATE_FOLDER)
        (stage / _DATABASE).mkdir(mode=PRIVATE_FOLDER)
        for path in manifest.files:
            if not path.startswith(f"{LOG}/") and path != database.dump_name:
                _stage_file(source, data, stage / _NEW, path)
        vault = _open_vault(stage / _NEW / VAULT, passphrase, manifest)
        log = furthest(manifest, vault, _log_copies(source, data, tail))
        for path, found in log.files.items():
            copy_durably(found, stage / _NEW / LOG / path, mode=_PUBLIC_FILE)
        waiting = _waiting(source, data, tail)
        if waiting is not None:
            Waiting.parse(waiting.read_bytes(), vault).check_follows(log.origin, log.size)
            copy_durably(waiting, stage / _NEW / LOG / WAITING)
        database.stage(source / database.dump_name, stage / _DATABASE)
        sync_tree(stage)
        stamp = _new_stamp(data, clock)
        plan = {"version": 1, "stamp": stamp, "database": database.kind, "logSize": log.size, "logFrom": log.name}
        write_atomically(stage / PLAN, json.dumps(plan) + "\n", mode=PRIVATE_FILE)  # step 3
    except BaseException:
        if not (stage / PLAN).exists():
            _discard(stage, database)
        raise
    _apply(data, database, stamp)
    return Restored(stamp, log.size, log.name)


# --- step 1 -----------------------------------------------------------------------------------------------


def _check_target(settings: Settings, database: DatabaseCopies, manifest: Manifest, *, replace: bool) -> None:
    data = settings.data
    if manifest.database != database.kind:
        raise LocalError(
            f"the backup holds a {manifest.database} database, the settings name a {database.kind} one",
            code="backup-foreign",
            hint="give --database-url for a database of that kind",
        )
    if database.dump_name not in manifest.files or not {*_SWAPPED[1:], f"{VAULT}/vault.json"} <= set(manifest.files):
        raise LocalError("the backup lacks a part of every gateway", code="backup-damaged")
    if not replace:
        there = {path.name for path in data.iterdir()} - _UNHARMED
        if there or not database.is_empty():
            raise LocalError(
                f"{_in_the_way(data, there)}; nothing was changed",
                code="restore-target",
                hint="say --replace to put the backup in its place, or name an empty folder and database "
                "(--data, --database-url)",
            )
        return
    state = read_state(data)
    if state is None:
        return
    ours = (manifest.chain_id, address_text(manifest.ledger), address_text(manifest.gateway))
    found = (state.get("chainId"), state.get("ledger"), state.get("gateway"))
    if found != ours:
        raise LocalError(
            f"the backup is of gateway {ours[2]} on chain {ours[0]}, the folder is of {found[2]} on chain {found[0]}",
            code="backup-foreign",
            hint="restore it into an empty folder",
        )


def _in_the_way(data: Path, there: set[str]) -> str:
    if own := sorted(there & _OWN):
        return f"{data} already holds a gateway's data: {', '.join(own)}"
    if there:
        return f"{data} is not empty: it holds {min(there, key=lambda name: (name.startswith('.'), name))}"
    return "the database already holds a gateway's tables"


def _open_vault(folder: Path, passphrase: SecretStr, manifest: Manifest) -> FileVault:
    vault = FileVault.open(folder, passphrase.get_secret_value())
    if vault.account != manifest.gateway:
        raise LocalError("the backup's vault is of another gateway than its manifest", code="backup-foreign")
    return vault


def _log_copies(source: Path, data: Path, tail: Path | None) -> list[tuple[str, Path]]:
    copies = [("the backup", source / LOG), ("the data folder", data / LOG)]
    if tail is not None:
        if not (tail / CHECKPOINT).is_file() and not (tail / WAITING).is_file():
            raise LocalError(
                f"{tail} is no shipped copy of a log: it has no checkpoint, and nothing that waits for one",
                code="backup-foreign",
                hint="is the second place mounted?",
            )
        copies.append(("the shipped copy", tail))
    return copies


def _waiting(source: Path, data: Path, tail: Path | None) -> Path | None:
    """Return the entries that wait beside a copy of the log and must come into the folder; those there stay.

    The shipped copy's are the newest: nothing is shipped before what a restore brought is counted.
    """
    if tail is not None and (tail / WAITING).exists():
        return tail / WAITING
    if (data / LOG / WAITING).exists() or not (source / LOG / WAITING).exists():
        return None
    return source / LOG / WAITING


# --- steps 2 and 4 ----------------------------------------------------------------------------------------


def _stage_file(source: Path, data: Path, new: Path, path: str) -> None:
    """Make one file ready; blocks that are there already stay as they are."""
    if path.startswith(f"{BLOCKS}/") and (data / path).exists():
        return
    private = path.startswith(f"{VAULT}/")
    copy_durably(source / path, new / path, mode=PRIVATE_FILE if private else _PUBLIC_FILE)


def _apply(data: Path, database: DatabaseCopies, stamp: str) -> None:
    """Step 4; every part of it may be taken again."""
    stage, new = data / STAGE, data / STAGE / _NEW
    database.replace(stage / _DATABASE, stamp)
    for name in (BLOCKS, LOG):
        if (new / name).is_dir():
            _move_files(new / name, data / name)
    for name in _SWAPPED:
        if (new / name).exists():
            if (data / name).exists():
                (data / name).rename(data / f"{name}.replaced-{stamp}")
            (new / name).rename(data / name)
    sync_directory(data)
    (stage / PLAN).unlink()
    sync_directory(stage)
    _discard(stage, database)


def _new_stamp(data: Path, clock: Clock) -> str:
    """Return a name for what is replaced that nothing has yet."""
    first = stamp = datetime.fromtimestamp(clock.now(), UTC).strftime("%Y%m%dT%H%M%SZ")
    number = 1
    while any((data / f"{name}.replaced-{stamp}").exists() for name in _SWAPPED):
        number += 1
        stamp = f"{first}-{number}"
    return stamp


def _move_files(source: Path, target: Path) -> None:
    """Move files to where they belong, the checkpoint after the tiles it speaks of and the entries that follow it."""
    folders: set[Path] = set()
    for path in sorted(files_below(source), key=lambda each: (each.startswith(CHECKPOINT), each)):
        make_folders((target / path).parent)
        (source / path).replace(target / path)
        folders.update(parent for parent in (target / path).parents if parent.is_relative_to(target.parent))
        if path.startswith(CHECKPOINT):
            sync_directory(target)
    for folder in sorted(folders):
        sync_directory(folder)


def _discard(stage: Path, database: DatabaseCopies) -> None:
    """Remove what was made ready and is not, or no longer, needed."""
    database.unstage()
    if stage.exists():
        shutil.rmtree(stage)


def _read_plan(path: Path) -> Mapping[str, Any] | None:
    try:
        found: Mapping[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    return found
