"""Whom the recall of a revision affects, and who is owed a print: the reservations of it and the prints made of it.

Licences that give out prints of the revision, and who holds prints that nobody reserved, are the chain's to tell: see
docs/flows/recall.md.
"""

from collections.abc import Sequence
from typing import Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.log_entry import Result
from platemark.protocol.outcome import gives_back, result_text
from platemark.protocol.permission import RECLAIM_SECONDS
from platemark.protocol.units import DesignId, TokenId, UnixSeconds, id_text, parse_id
from platemark_gateway.auth.scopes import Principal
from platemark_gateway.container import Container
from platemark_gateway.designs import service as designs
from platemark_gateway.models.print import Print, PrintOutcome
from platemark_gateway.models.token import Token
from platemark_gateway.printlog import repository
from platemark_gateway.printlog.passports import may_still_end
from platemark_gateway.printlog.schemas import AffectedPage, AffectedView
from platemark_gateway.tokens.service import now_of

PAGE = 50
CURSOR: Final = "^0x[0-9a-f]{64}[.][0-9]{1,5}$"
"""The token and sequence of the last one; a reservation stands before its prints, as sequence 0."""

_Key = tuple[TokenId, int]


async def page(
    session: AsyncSession,
    container: Container,
    caller: Principal,
    design_id: DesignId,
    number: int,
    *,
    cursor: str | None,
) -> AffectedPage:
    """Return a page of a revision's reservations with this gateway, and prints, recalled or not yet.

    Errors: DesignUnknownError, also for everybody but the design's owner.
    """
    await designs.require_owner(session, caller.address, design_id, number)
    after = _after(cursor)
    # One more than is shown tells whether there is another page; another, since the first may be behind `after`.
    tokens = await repository.tokens_from(session, container.vault.account, design_id, number, after[0], limit=PAGE + 2)
    known = {token.token_id: token for token in tokens}
    prints = await repository.prints_after(session, list(known), after, limit=PAGE + 1)
    now = await now_of(session, container)
    found = {(token.token_id, 0): _reservation(token) for token in tokens if (token.token_id, 0) > after}
    found |= {(each.token_id, each.sequence): _print(known[each.token_id], each, end, now) for each, end in prints}
    keys = sorted(found)
    return AffectedPage(
        recalled=await designs.is_recalled(session, design_id, number),
        items=[found[key] for key in keys[:PAGE]],
        cursor=_cursor(keys),
    )


def _after(cursor: str | None) -> _Key:
    if cursor is None:
        return TokenId(0), -1
    token, _, sequence = cursor.partition(".")
    return TokenId(parse_id(token)), int(sequence)


def _cursor(keys: Sequence[_Key]) -> str | None:
    if len(keys) <= PAGE:
        return None
    token, sequence = keys[PAGE - 1]
    return f"{id_text(token)}.{sequence}"


def _reservation(token: Token) -> AffectedView:
    """Return a reservation; what is open of it and was not printed comes back, by a close or by `reclaim`."""
    is_open = token.closed_block is None and token.reclaimed_block is None
    unused = max(0, token.prints - (token.released - token.voided)) if is_open else 0
    return AffectedView(
        token_id=token.token_id,
        sequence=0,
        license_id=token.license_id,
        holder=token.holder,
        agent=token.agent,
        at=token.reserved_at or token.created_at,
        serial=None,
        outcome=None,
        owed="return" if unused else "nothing",
        prints=unused,
        reclaimable_at=token.expires_at + RECLAIM_SECONDS if unused else None,
    )


def _print(token: Token, made: Print, outcome: PrintOutcome | None, now: UnixSeconds) -> AffectedView:
    owed = _owed(token, outcome, now)
    return AffectedView(
        token_id=made.token_id,
        sequence=made.sequence,
        license_id=token.license_id,
        holder=token.holder,
        agent=token.agent,
        at=made.created_at,
        serial=made.serial,
        outcome=None if outcome is None else result_text(Result(outcome.result)),
        owed=owed,
        prints=0 if owed == "nothing" else 1,
        reclaimable_at=None,
    )


def _owed(token: Token, outcome: PrintOutcome | None, now: UnixSeconds) -> Literal["replacement", "pending", "nothing"]:
    """Return what a print's holder is owed: nothing for a part that never was good, since its passport says voided."""
    if outcome is None:
        return "pending" if may_still_end(token, now) else "replacement"
    return "nothing" if gives_back(Result(outcome.result)) else "replacement"
