"""Cosignatures of witnesses on the log's checkpoint (C2SP tlog-witness).

A new checkpoint is shown to the witnesses before it is published, all at once, for at most `witness_seconds`; whoever
has not cosigned by then does it later, and its line is added to the checkpoint where it lies. How many are wanted is
for whoever verifies: a witness that is away or refuses is told in health and metrics, and stops nothing.

What a witness cosigned last is kept in the database, so that the next request starts from there; it may know more,
or less, and says so. A witness that failed is left alone for a while, longer each time.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from platemark.errors import PlatemarkError, UpstreamError
from platemark.protocol.checkpoint import Checkpoint, Note, NoteSignature
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Digest32, UnixSeconds
from platemark.protocol.witness import AddCheckpoint
from platemark_gateway import telemetry
from platemark_gateway.container import Container
from platemark_gateway.errors import UnavailableError, WitnessConflictError
from platemark_gateway.models.printlog import LogHead, LogWitness
from platemark_gateway.ports import Witness
from platemark_gateway.printlog import repository
from platemark_gateway.printlog.files import LogFiles

_FIRST_PAUSE_SECONDS: Final = 5
_LONGEST_PAUSE_SECONDS: Final = 600

_Prove = Callable[[int], list[Digest32]]


async def cosigned(container: Container, head: LogHead, files: LogFiles, note: bytes) -> bytes:
    """Return a signed checkpoint with the cosignatures of those witnesses that gave one in time.

    Errors: UnavailableError when the database is away.
    """
    if not container.witnesses:
        return note
    signed = Note.parse(note)
    return signed.with_signatures(*await _ask_all(container, head, files, signed, container.witnesses)).to_bytes()


async def catch_up(container: Container, head: LogHead, files: LogFiles) -> bool:
    """Ask those witnesses whose cosignature the published checkpoint lacks; return whether it has got one.

    Errors: UnavailableError when the database is away.
    """
    data = await asyncio.to_thread(files.read_checkpoint)
    if data is None:
        return False
    note = Note.parse(data)
    if Checkpoint.parse(note.text).origin != head.origin:
        return False
    present = {(line.name, line.key_id) for line in note.signatures}
    lacking = [each for each in container.witnesses if (each.key.name, each.key.key_id) not in present]
    lines = await _ask_all(container, head, files, note, lacking)
    return bool(lines) and await asyncio.to_thread(files.add_signatures, note.text, lines)


async def _ask_all(
    container: Container, head: LogHead, files: LogFiles, note: Note, witnesses: Sequence[Witness]
) -> list[NoteSignature]:
    """Return the cosignatures of those that may be asked by now and give one; what came of it is noted."""
    async with container.database.read() as reading:
        known = await repository.witnesses(reading, head.epoch)
    now = container.clock.now()
    due = [each for each in witnesses if _may_ask(known.get(each.key.text), now)]
    if not due:
        return []
    checkpoint = Checkpoint.parse(note.text)
    own = Note(note.text, tuple(line for line in note.signatures if line.name == head.origin))

    def prove(old_size: int) -> list[Digest32]:
        return LogReader(checkpoint.size, checkpoint.root, files.read).consistency_proof(old_size)

    results = await asyncio.gather(
        *(_ask(container, each, _size_of(known.get(each.key.text)), own, checkpoint.size, prove) for each in due)
    )
    async with container.database.begin() as session:
        current = await repository.head(session)
        reached = checkpoint.size if current is None else current.size
        for witness, result in zip(due, results, strict=True):
            if isinstance(result, WitnessConflictError):
                if result.size <= reached:
                    continue  # another process of this gateway was there first
                result = UpstreamError(  # noqa: PLW2901 (what a conflict beyond the log means)
                    f"the witness cosigned {result.size} entries, the log has {reached}", code="witness-ahead"
                )
            row = await repository.witness(session, head.epoch, witness.key.text)
            if isinstance(result, PlatemarkError):
                _note_failure(row, result, witness, now)
            else:
                row.size, row.cosigned_at, row.failures, row.code = checkpoint.size, now, 0, None
    return [result for result in results if isinstance(result, NoteSignature)]


async def _ask(
    container: Container, witness: Witness, old_size: int, note: Note, size: int, prove: _Prove
) -> NoteSignature | PlatemarkError:
    """Return a witness's cosignature, or why there is none; one that knows another size is asked once more."""
    try:
        async with asyncio.timeout(container.settings.witness_seconds):
            try:
                return await _add(witness, min(old_size, size), note, prove)
            except WitnessConflictError as conflict:
                if conflict.size > size:
                    return conflict
                return await _add(witness, conflict.size, note, prove)
    except TimeoutError:
        return UnavailableError("the witness did not answer in time", code="witness-unreachable")
    except PlatemarkError as error:
        return error


async def _add(witness: Witness, old_size: int, note: Note, prove: _Prove) -> NoteSignature:
    proof = await asyncio.to_thread(prove, old_size)
    return await witness.add_checkpoint(AddCheckpoint(old_size, tuple(proof), note))


def _size_of(row: LogWitness | None) -> int:
    return 0 if row is None else row.size


def _may_ask(row: LogWitness | None, now: UnixSeconds) -> bool:
    if row is None or row.failures == 0 or row.failed_at is None:
        return True
    pause = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS << min(row.failures - 1, 10))
    return abs(now - row.failed_at) >= pause


def _note_failure(row: LogWitness, error: PlatemarkError, witness: Witness, now: UnixSeconds) -> None:
    if row.code != error.code:
        telemetry.log().warning("log.witness.failed", witness=witness.key.name, code=error.code, reason=error.message)
    row.failed_at, row.failures, row.code = now, row.failures + 1, error.code
