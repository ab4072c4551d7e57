"""A print token given up for another one, for what is left of it: the gateway lost it, or it is of no use any more.

1  everything that can forbid the new reservation is looked at, before the old token is touched
2  gateway and holder close the old token on its counts; what was not used is back with the holder
3  the holder permits the rest anew; the permission's salt is the old token's id

The salt makes it known for ever which token took the place of which, so a renewal that was interrupted is found again,
in the agent's records or among its pending permissions, and no token is renewed twice.
"""

from platemark.agent.machine import TokenMachine
from platemark.errors import Kind, RefusedError
from platemark.protocol.typed_data import Reservation
from platemark.protocol.units import Digest32, TokenId
from platemark.sdk.answers import DesignState, ReservationState


def renewal_salt(token_id: TokenId) -> Digest32:
    """Return the salt of the permission that takes a token's place: that token's id, which nothing else has."""
    return Digest32(token_id.to_bytes(32, "big"))


def is_renewal(reservation: Reservation, token_id: TokenId) -> bool:
    """Return whether a permission takes the place of a token."""
    return reservation.salt == renewal_salt(token_id)


def check_renewable(state: ReservationState, design: DesignState, revision: int, machine: TokenMachine | None) -> None:
    """Pass when closing a token strands nothing: a new one will be issued, and no outcome is still to be told.

    Args:
        state: The token's counts, as its gateway has them.
        design: The token's design there.
        revision: The revision that would be reserved.
        machine: What this agent did with the token; None where another agent held it.

    Errors: RefusedError `count-spent`, `revision-recalled`, `key-not-deposited`, `outcome-missing`.
    """
    if state.prints_returned == 0:
        raise RefusedError("nothing is left of the token", kind=Kind.CONFLICT, code="count-spent")
    known = {found.revision: found.state for found in design.revisions}
    if known.get(revision) == "recalled":
        raise RefusedError(
            "the revision was recalled: nothing is reserved of it any more",
            kind=Kind.CONFLICT,
            code="revision-recalled",
            hint="have what is left given back: platemark token close",
        )
    if known.get(revision) != "deposited":
        raise RefusedError(
            "the gateway has no key for the design yet",
            kind=Kind.CONFLICT,
            code="key-not-deposited",
            hint="its designer deposits it again: platemark keys kit deposit",
        )
    if machine is not None and not state.closed and (machine.open or machine.unacknowledged):
        raise RefusedError(
            "prints of the token are not reported yet, and a print that failed is given back by its report only",
            kind=Kind.CONFLICT,
            code="outcome-missing",
            hint="finish or report them first: platemark print, platemark outcome",
        )
