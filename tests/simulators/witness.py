"""A witness in memory, which decides as the specification says, and can be away, slow, lost or a liar."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from platemark.errors import UpstreamError
from platemark.protocol import merkle
from platemark.protocol.checkpoint import Checkpoint, KeyType, NoteKey, NoteSignature, NoteSigner
from platemark.protocol.units import Digest32, UnixSeconds
from platemark.protocol.witness import AddCheckpoint, Verdict, decide, read_cosignature
from platemark_gateway.errors import UnavailableError, WitnessConflictError

_REFUSALS = {
    Verdict.MALFORMED: "witness-refused",
    Verdict.NOT_SIGNED: "witness-refused",
    Verdict.INCONSISTENT: "witness-inconsistent",
}


@dataclass
class SimulatedWitness:
    """A witness of one log. It has cosigned `size` entries under `root`, and counts what it is asked."""

    name: str
    log_key: NoteKey
    size: int = 0
    root: Digest32 = merkle.EMPTY_ROOT
    asked: int = 0
    is_away: bool = False
    hangs: bool = False
    before: Callable[[], None] = lambda: None
    signer: NoteSigner = field(init=False)

    def __post_init__(self) -> None:
        self.signer = NoteSigner.from_seed(self.name, self.name.encode().ljust(32, b"-"), KeyType.COSIGNATURE)

    @property
    def key(self) -> NoteKey:
        return self.signer.key

    async def add_checkpoint(self, request: AddCheckpoint) -> NoteSignature:
        self.asked += 1
        self.before()
        if self.hangs:
            await asyncio.sleep(3600)
        if self.is_away:
            raise UnavailableError("the witness cannot be reached", code="witness-unreachable")
        request = AddCheckpoint.parse(request.encode())
        checkpoint = Checkpoint.parse(request.note.text)
        if checkpoint.origin != self.log_key.name:
            raise UpstreamError("the witness does not know this log", code="witness-unknown-log")
        verdict = decide(request, checkpoint, [self.log_key], self.size, self.root)
        if verdict is Verdict.CONFLICT:
            raise WitnessConflictError(self.size)
        if verdict is not Verdict.COSIGN:
            raise UpstreamError("the witness refuses", code=_REFUSALS[verdict])
        self.size, self.root = checkpoint.size, checkpoint.root
        line = self.signer.cosign(request.note.text, UnixSeconds(1_700_000_000 + self.asked)).line()
        return read_cosignature(line.encode(), request.note.text, self.key)
