"""After a fault: whether database, log, agents and chain say the same, and where they differ."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import func, select

from faults.load import Centre
from faults.site import Site
from platemark.protocol.checkpoint import NoteKey, open_checkpoint
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry, decode, leaf_hash
from platemark.protocol.release import Release
from platemark.protocol.tiles import LogReader
from platemark.protocol.units import Digest32
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.printlog import LogAnchor, LogEntry, LogHead
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import service as printlog

_QUIET_SECONDS: Final = 180
_SETTLED_SECONDS: Final = 150


@dataclass(frozen=True, slots=True)
class Sums:
    """What was counted, and where the parts differ."""

    released: int
    outcomes: int
    log_size: int
    burned: int
    """Prints that the chain counts: never more than were released."""
    differences: tuple[str, ...]
    """Empty when nothing was lost, counted twice or made up."""


async def reconcile(site: Site, centres: Sequence[Centre]) -> Sums:
    """Compare database, log, agents and chain; nobody may print meanwhile.

    Errors: AssertionError when the log does not come to rest.
    """
    await _until_quiet(site)
    rows, outcomes, counts = await _rows(site)
    size, log = _published(site)
    entries = [decode(entry) for entry in log.entries()]
    redeemed = [entry for entry in entries if isinstance(entry, RedeemedEntry)]
    ended = [entry for entry in entries if isinstance(entry, OutcomeEntry)]
    logged = Counter((entry.token_id, entry.sequence) for entry in redeemed)
    reported = Counter((entry.token_id, entry.sequence) for entry in ended)
    differences = [f"{use} is in the log {count} times" for use, count in logged.items() if count != 1]
    differences += [
        f"the outcome of {use} is in the log {count} times" for use, count in reported.items() if count != 1
    ]
    differences += [f"{use} is in the log or in the rows alone" for use in set(logged) ^ set(rows)]
    differences += [f"the outcome of {use} is in the log or in the rows alone" for use in set(reported) ^ outcomes]
    if size != len(entries):
        differences.append(f"the log of {size} entries has {len(entries)}")
    for token_id, (released, voided) in counts.items():
        sequences = sorted(sequence for token, sequence in rows if token == token_id)
        if sequences != list(range(1, released + 1)):
            differences.append(f"token {token_id:#x} counts {released}, its rows are {sequences}")
        if sum(entry.spare_used for entry in ended if entry.token_id == token_id) != voided:
            differences.append(f"token {token_id:#x} gave {voided} prints back, the log says otherwise")
    differences += _held(site, centres, {leaf_hash(entry) for entry in redeemed}, counts)
    differences += await _anchors(site, size, log)
    burned, ahead = await _chain(site, centres, counts)
    return Sums(len(rows), len(outcomes), len(entries), burned, (*differences, *ahead))


async def require_notice(site: Site, centres: Sequence[Centre]) -> None:
    """Pass when a release that an agent has lost is noticed: the comparison itself is put to the test.

    Errors: AssertionError.
    """
    held = next((centre.held for centre in centres if centre.held), None)
    if held is None:
        return  # nothing was printed, because no case was run
    sequence = len(held)
    taken = held.pop(sequence)
    try:
        assert (await reconcile(site, centres)).differences, "a release that nobody holds was not noticed"
    finally:
        held[sequence] = taken


def _held(
    site: Site, centres: Sequence[Centre], leaves: set[Digest32], counts: dict[int, tuple[int, int]]
) -> Iterator[str]:
    """Yield where what agents hold is not what was released."""
    for centre in centres:
        name, (released, voided) = f"token {centre.agent.token_id:#x}", counts[centre.agent.token_id]
        if sorted(centre.held) != list(range(1, released + 1)):
            yield f"{name}: {released} were released, the agent holds {len(centre.held)}"
        if set(centre.reported) != set(centre.held):
            yield f"{name}: an outcome was not acknowledged"
        if sum(centre.reported.values()) != voided:
            yield f"{name}: the agent was promised other spares than {voided}"
        for sequence, text in centre.held.items():
            release = Release.verify(text, site.gateway.container.profile.release_key)
            if release.leaf_hash not in leaves:
                yield f"{name}: release {sequence} is not in the log"
    if sum(len(centre.held) for centre in centres) != sum(released for released, _ in counts.values()):
        yield "agents hold another number of releases than all tokens count"


async def _anchors(site: Site, size: int, log: LogReader) -> list[str]:
    """Return where the ledger's anchors are not of this log."""
    profile = site.gateway.container.profile
    state = await site.chain.reader.gateway(profile.gateway)
    async with site.database.read() as session:
        rows = (await session.scalars(select(LogAnchor).where(LogAnchor.seen_block.is_not(None)))).all()
    found = [f"the anchor of {row.size} entries has another root" for row in rows if log.old_root(row.size) != row.root]
    if state.size > size:
        found.append(f"the ledger has an anchor of {state.size} entries, the log {size}")
    return found


async def settled(site: Site, centres: Sequence[Centre]) -> None:
    """Return when the chain counts exactly what was released and reported, for every token."""
    ends_at = time.monotonic() + _SETTLED_SECONDS
    while True:
        _, _, counts = await _rows(site)
        expected = sum(released - voided for released, voided in counts.values())
        burned, _ = await _chain(site, centres, counts)
        if burned == expected:
            return
        assert time.monotonic() < ends_at, f"the chain counts {burned} prints, {expected} were made"
        await asyncio.sleep(1)


async def _until_quiet(site: Site) -> None:
    ends_at = time.monotonic() + _QUIET_SECONDS
    while True:
        async with site.database.read() as session:
            waiting = await session.scalar(
                select(func.count()).select_from(LogEntry).where(LogEntry.position.is_(None))
            )
            head = (await session.scalars(select(LogHead))).one()
        note = printlog.files_of(site.gateway.container).read_checkpoint()
        if not waiting and note is not None and head.size == head.assigned and _published(site)[0] == head.size:
            assert head.quarantine is None, head.quarantine
            return
        assert time.monotonic() < ends_at, f"{waiting} entries wait, quarantine: {head.quarantine}"
        await asyncio.sleep(0.1)


def _published(site: Site) -> tuple[int, LogReader]:
    """Return the size of the signed checkpoint and its log, which is read against its root."""
    profile = site.gateway.container.profile
    files = printlog.files_of(site.gateway.container)
    note = files.read_checkpoint()
    assert note is not None
    checkpoint = open_checkpoint(note, NoteKey(profile.log_origin, profile.log_key))
    return checkpoint.size, LogReader(checkpoint.size, checkpoint.root, files.read)


async def _rows(site: Site) -> tuple[list[tuple[int, int]], set[tuple[int, int]], dict[int, tuple[int, int]]]:
    async with site.database.read() as session:
        rows = (await session.execute(select(Print.token_id, Print.sequence))).all()
        ended = (await session.execute(select(PrintOutcome.token_id, PrintOutcome.sequence))).all()
        tokens = (await session.execute(select(Token.token_id, Token.released, Token.voided))).all()
    return (
        [(row[0], row[1]) for row in rows],
        {(row[0], row[1]) for row in ended},
        {row[0]: (row[1], row[2]) for row in tokens},
    )


async def _chain(site: Site, centres: Sequence[Centre], counts: dict[int, tuple[int, int]]) -> tuple[int, list[str]]:
    """Return how many prints the chain counts, and where it is ahead of the rows."""
    burned, ahead = 0, []
    for centre in centres:
        permission, token_id = centre.agent.permission(), centre.agent.token_id
        found = await site.chain.reader.reservation(permission.gateway, permission.license_id, token_id)
        released, voided = counts[token_id]
        if found is None or found.burned > released or found.voided > voided:
            ahead.append(f"token {token_id:#x}: released {released}, given back {voided}, on the chain {found}")
        else:
            burned += found.burned
    return burned, ahead
