"""What this slice refuses."""

from platemark.errors import MalformedError, PlatemarkError
from platemark_gateway.errors import (
    ConflictError,
    NotFoundError,
    PlateError,
    UnauthenticatedError,
    UnavailableError,
    UnconfirmedError,
)


def sequence_expected(expected: int) -> ConflictError:
    """Return: a gap, or a used sequence with other bytes."""
    return ConflictError(f"the next sequence of this token is {expected}", code="sequence-expected", expected=expected)


def count_spent(prints: int) -> ConflictError:
    """Return: nothing is left."""
    return ConflictError(f"all {prints} prints of this token are spent", code="count-spent")


def print_id_used() -> ConflictError:
    """Return: another print has this id."""
    return ConflictError("another print has this print id", code="print-id-used", hint="draw 16 new random bytes")


def not_issued() -> ConflictError:
    """Return: nobody fetched the token yet."""
    return ConflictError("the print token was not issued yet", code="token-not-issued", hint="POST /v1/tokens")


def token_mismatch() -> ConflictError:
    """Return: the redemption cites another token."""
    return ConflictError("the redemption cites another token than was issued", code="token-digest")


def recipient_mismatch() -> ConflictError:
    """Return: the key would be sealed to somebody else than the token names."""
    return ConflictError("the recipient key is not the one that the token names", code="recipient-mismatch")


def not_agent() -> UnauthenticatedError:
    """Return: the voucher is not the agent's."""
    return UnauthenticatedError("the voucher is not signed by the token's agent", code="signature-invalid")


def seen_block_unknown() -> ConflictError:
    """Return: no such block."""
    return ConflictError(
        "the seen block is not a final block of this chain",
        code="seen-block-unknown",
        hint="take the latest final block from the chain, or the agent sees another chain than the gateway",
    )


def seen_block_ahead(seconds: int) -> UnconfirmedError:
    """Return: the gateway does not see this block as final yet."""
    return UnconfirmedError(
        "the gateway does not see this block as final yet",
        code="awaiting-finality",
        retry_after_seconds=max(1, seconds),
    )


def backlog(seconds: int) -> UnavailableError:
    """Return: entries wait too long for their anchor."""
    return UnavailableError(
        f"entries of the log have waited {seconds} seconds for a final anchor; nothing is released meanwhile",
        code="backlog-unanchored",
        retry_after_seconds=30,
    )


def key_not_deposited() -> ConflictError:
    """Return: the gateway holds no key for this revision."""
    return ConflictError("the design's key is not deposited here", code="key-not-deposited")


def busy() -> UnavailableError:
    """Return: too many redemptions wait."""
    return UnavailableError("too many redemptions are waiting", code="redemptions-busy", retry_after_seconds=1)


def print_unknown() -> NotFoundError:
    """Return: this sequence was never redeemed."""
    return NotFoundError("this token has no such print", code="print-unknown")


def outcome_final(result: str) -> ConflictError:
    """Return: there is another outcome already."""
    return ConflictError("this print has its one final outcome already", code="outcome-exists", expected=result)


def outcome_late() -> ConflictError:
    """Return: the time for outcomes is over."""
    return ConflictError("the time for outcomes of this token is over; the print counts", code="outcome-late")


def plate_repeats() -> MalformedError:
    """Return: an agent signs one redemption of a token at a time."""
    return MalformedError("a plate has one redemption of each token", code="plate-repeats")


def at_place(refusal: PlatemarkError, place: int) -> PlateError:
    """Return a refusal that says which redemption of a plate it is of, counted from 0."""
    return PlateError(refusal, place)
