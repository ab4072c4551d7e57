"""What is left of a life, in copies that a test may alter, and audits of it."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from life import Life
from platemark.cli.demo.lies import Lie, plant
from platemark.protocol.checkpoint import NoteSigner
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.typed_data import Domain, ledger_domain
from platemark.protocol.units import Digest32, parse_address
from platemark.sdk.ipfs import FolderSource
from stack import Ended, command

Change = Callable[[Sequence[bytes], Domain], list[bytes]]


@dataclass(frozen=True, slots=True)
class Kept:
    """Blocks and log of a life, and the endpoint that is asked."""

    life: Life
    blocks: Path
    log: Path
    rpc: str

    @classmethod
    def of(cls, life: Life) -> "Kept":
        return cls(life, life.blocks, life.log, life.rpc)

    def copied(self, folder: Path) -> "Kept":
        """Return a copy that may be altered."""
        shutil.copytree(self.blocks, folder / "blocks")
        shutil.copytree(self.log, folder / "log")
        return Kept(self.life, folder / "blocks", folder / "log", self.rpc)

    def at(self, rpc: str) -> "Kept":
        """Return the same, asked of another endpoint."""
        return Kept(self.life, self.blocks, self.log, rpc)

    def domain(self) -> Domain:
        return ledger_domain(int(self.life.stack.ready["chainId"]), parse_address(self.life.ledger))

    def with_lie(self, folder: Path, change: Change) -> "Kept":
        """Return the same with a log that was changed and signed with the gateway's own key."""
        signer = NoteSigner.parse(self.life.log_key)
        plant(Lie("test", "something", change), self.log, folder / "planted", signer, self.domain())
        shutil.copytree(self.log, folder / "log")  # tiles of earlier anchors stay where they are
        shutil.copytree(folder / "planted", folder / "log", dirs_exist_ok=True)
        return Kept(self.life, self.blocks, folder / "log", self.rpc)

    def block(self, digest: bytes) -> Path:
        return FolderSource(self.blocks).path(Cid(Codec.RAW, Digest32(digest)))

    # --- audits ---

    def audit_log(self, *options: str) -> Ended:
        return self._audit("log", "--blocks", str(self.blocks), "--tiles", str(self.log), *options)

    def audit_part(self, serial: str, *options: str) -> Ended:
        return self._audit("part", serial, "--blocks", str(self.blocks), "--tiles", str(self.log), *options)

    def audit_archive(self, folder: Path, *options: str) -> Ended:
        return self._audit("archive", str(folder), "--blocks", str(self.blocks), "--tiles", str(self.log), *options)

    def audit_parts(self, file: Path, *options: str) -> Ended:
        return self._audit("parts", str(file), "--blocks", str(self.blocks), "--tiles", str(self.log), *options)

    def audit_related(self, serial: str, *options: str) -> Ended:
        return self._audit("related", serial, "--blocks", str(self.blocks), "--tiles", str(self.log), *options)

    def audit_passport(self, path: Path, *options: str) -> Ended:
        return self._audit("passport", str(path), *options)

    def audit_file(self, path: Path, *options: str) -> Ended:
        return self._audit("file", str(path), "--blocks", str(self.blocks), "--ledger", self.life.ledger, *options)

    def audit_design(self, *options: str) -> Ended:
        design = self.life.design_id
        return self._audit("design", design, "--blocks", str(self.blocks), "--ledger", self.life.ledger, *options)

    def _audit(self, *argv: str) -> Ended:
        return command("audit", *argv, "--rpc", self.rpc, "--json")


def failures(ended: Ended) -> list[tuple[int, str]]:
    """Return step and code of every discrepancy in a report, each once."""
    found: list[Any] = ended.value["findings"]
    return sorted({(item["step"], item["code"]) for item in found if item["verdict"] == "fails"})


def checked_steps(ended: Ended) -> set[int]:
    """Return the steps that hold."""
    return {item["step"] for item in ended.value["findings"] if item["verdict"] == "holds"}


def flip(path: Path, at: int = -1) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)
