"""Of several copies of one log, the furthest, with the files of all that agree with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from platemark.errors import LocalError, PlatemarkError
from platemark.protocol.checkpoint import Checkpoint, Note, NoteKey, open_checkpoint
from platemark.protocol.tiles import LogReader, Tile
from platemark.protocol.units import address_text
from platemark_gateway.ports import KeyKind, KeyVault
from platemark_gateway.printlog.errors import LogForkedError
from platemark_gateway.printlog.files import CHECKPOINT, LogFiles, is_published
from platemark_gateway.recovery.copying import files_below
from platemark_gateway.recovery.manifest import Manifest


@dataclass(frozen=True, slots=True)
class LogCopy:
    """A log: whose copy it is, which epoch's and how far it goes, and where each of its files lies."""

    name: str
    origin: str
    size: int
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    folder: Path
    checkpoint: Checkpoint

    @property
    def place(self) -> tuple[int, int]:
        """Epoch and size: a later epoch repeats what came before."""
        return int(self.checkpoint.origin.rpartition("/")[2]), self.checkpoint.size

    def reader(self) -> LogReader:
        """Return what reads this copy; errors: VerificationError, MalformedError when its tiles give another root."""
        return LogReader(self.checkpoint.size, self.checkpoint.root, LogFiles(self.folder).read)

    def files(self) -> Mapping[str, Path]:
        """Return the files of the published tree and the notes; what was written ahead of it is left out."""
        found = {}
        for path in files_below(self.folder):
            if path.startswith("tile/"):
                if not is_published(Tile.parse(path), self.checkpoint.size):
                    continue
            elif not path.startswith(CHECKPOINT):
                continue
            found[path] = self.folder / path
        return found


def furthest(manifest: Manifest, vault: KeyVault, copies: Iterable[tuple[str, Path]]) -> LogCopy:
    """Return the furthest of these copies of the backup's log; folders without a checkpoint are none.

    Errors: LogForkedError for copies that are no beginnings of each other; LocalError `backup-foreign` for a log of
        another gateway, or signed with a key that the vault does not have; VerificationError for damaged tiles.
    """
    found = [each for name, folder in copies if (each := _open(manifest, vault, name, folder)) is not None]
    if not found:
        return LogCopy("nothing", "", 0, {})
    best = max(found, key=lambda each: each.place)
    reader = best.reader()
    files: dict[str, Path] = {}
    for other in sorted(found, key=lambda each: each.place):
        if other.checkpoint.origin != best.checkpoint.origin:
            continue  # an epoch that ended: its last entries need not be in this one
        if reader.old_root(other.checkpoint.size) != other.checkpoint.root:
            raise LogForkedError(f"{other.name} and {best.name} have different logs")
        files |= other.files()
    return LogCopy(best.name, best.checkpoint.origin, best.checkpoint.size, files)


def _open(manifest: Manifest, vault: KeyVault, name: str, folder: Path) -> _Candidate | None:
    data = LogFiles(folder).read_checkpoint()
    if data is None:
        return None
    origin = Note.parse(data).text.partition("\n")[0]
    ours = f"{manifest.chain_id}/{address_text(manifest.ledger)}/{address_text(manifest.gateway)}/"
    if not origin.startswith(ours):
        raise LocalError(f"{name} has the log {origin[:200]}, which is another gateway's", code="backup-foreign")
    for key in vault.public_keys(KeyKind.LOG):
        try:
            return _Candidate(name, folder, open_checkpoint(data, NoteKey(origin, key)))
        except PlatemarkError:
            continue
    raise LocalError(
        f"{name} has a checkpoint that none of the vault's keys signed",
        code="backup-foreign",
        hint="the backup may be older than the log's key: restore one that was taken since",
    )
