"""A copy of everything that the audit of a log reads but the chain, so that it can be repeated when nobody serves it.

    FOLDER/log/checkpoint, tile/…    the print log, as any static host serves it
    FOLDER/blocks/…                  manifests, terms, profiles and lists of tiles, by their identifiers
    FOLDER/report.json               what the audit found

What is there already is not fetched again, so an archive that was interrupted, or one of a log that grew, is completed.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Final

from platemark.auditor.evidence import Evidence, LogFiles
from platemark.auditor.replay import audit_log
from platemark.auditor.signers import Unsigned, unsigned
from platemark.errors import LocalError, UpstreamError, VerificationError
from platemark.protocol.cid import Cid
from platemark.sdk.files import make_folder, write_whole
from platemark.sdk.ipfs import BlockSource, FolderSource, SeveralSources
from platemark.verify.report import Report

LOG: Final = "log"
BLOCKS: Final = "blocks"
REPORT: Final = "report.json"
_CHECKPOINT: Final = "checkpoint"


class _KeptLog(LogFiles):
    """A log whose files are kept as they are read; the checkpoint, which says how far it goes, is kept last."""

    def __init__(self, origin: LogFiles, folder: Path, *, reuse: bool) -> None:
        super().__init__(str(folder))
        self._origin = origin
        self._folder = folder
        self._reuse = reuse
        self._stated: bytes | None = None
        self.reused = 0

    def checkpoint(self) -> bytes:
        """Return the checkpoint of the place that is archived, the same one each time."""
        if self._stated is None:
            self._stated = self._origin.checkpoint()
        return self._stated

    def get(self, path: str) -> bytes | None:
        """Return a file, from the archive where it may be taken from there."""
        data = super().get(path) if self._reuse else None
        if data is not None:
            self.reused += 1
            return data
        data = self._origin.get(path)
        if data is not None:
            self._keep(path, data)
        return data

    def finish(self) -> None:
        """Keep the checkpoint."""
        if self._stated is not None:
            self._keep(_CHECKPOINT, self._stated)

    def _keep(self, path: str, data: bytes) -> None:
        make_folder((self._folder / path).parent)
        write_whole(self._folder / path, data, mode=0o644)


class _KeptBlocks:
    """Blocks that are kept as they are read."""

    def __init__(self, origin: BlockSource, folder: Path) -> None:
        self._kept = FolderSource(folder)
        self._origin = SeveralSources((origin,))

    def get(self, cid: Cid) -> bytes:
        """Return a block that fits its identifier; a damaged copy is replaced."""
        try:
            return self._kept.get(cid)
        except (LocalError, UpstreamError, VerificationError):
            data = self._origin.get(cid)
        self._kept.path(cid).unlink(missing_ok=True)
        self._kept.put(cid, data)
        return data


def archive(evidence: Evidence, folder: Path, *, unsigned: Unsigned = unsigned) -> Report:
    """Audit a log, keep all that was read of it in a folder, and return the report, which is kept too.

    An archive holds what was found, lies included: it is evidence in any case. Where the audit fails and some of the
    files were kept earlier, all are fetched again, since a copy may have been damaged.

    Args:
        evidence: What is read; its chain is not copied.
        folder: A new one, or that of an earlier archive of the same log.
        unsigned: As `audit_log` takes it.

    Errors: those of `audit_log`; LocalError when the folder cannot be written.
    """
    make_folder(folder)
    blocks = _KeptBlocks(evidence.blocks, folder / BLOCKS)
    log = _KeptLog(evidence.log, folder / LOG, reuse=True)
    report = audit_log(replace(evidence, blocks=blocks, log=log), unsigned=unsigned)
    if report.failures and log.reused:
        log = _KeptLog(evidence.log, folder / LOG, reuse=False)
        report = audit_log(replace(evidence, blocks=blocks, log=log), unsigned=unsigned)
    log.finish()
    write_whole(folder / REPORT, json.dumps(report.to_json(), ensure_ascii=False, indent=1).encode(), mode=0o644)
    return report
