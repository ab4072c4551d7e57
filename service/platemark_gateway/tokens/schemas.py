"""Bodies of reservations and print tokens."""

from typing import Annotated

from pydantic import Field

from platemark_gateway.wire import (
    AccountSignature,
    AgentSignature,
    BytesField,
    CloseField,
    ReservationField,
    StopField,
    TokenIdField,
    TokenRequestField,
    Wire,
)


class ReservationRelay(Wire):
    """A permission that the gateway shall bring to the ledger."""

    reservation: ReservationField
    signature: AccountSignature


class ReservationView(Wire):
    """A reservation and its counts; `status` is pending, seen, confirmed, final or failed."""

    token_id: TokenIdField
    status: str
    reservation: ReservationField
    spares: int
    released: int
    voided: int
    next_sequence: int
    prints_left: int
    spares_left: int
    stopped: bool
    closed: bool
    issued: bool
    lost: bool
    burned: int
    settled_sequence: int
    retry_after_seconds: int | None = None
    transaction: str | None = None


class ReservationList(Wire):
    """A holder's reservations."""

    items: list[ReservationView]
    cursor: str | None = None


class TokenOrder(Wire):
    """An agent asks for its print token; `recipient_key` is the HPKE key to which it is sealed (1,216 bytes)."""

    request: TokenRequestField
    recipient_key: BytesField
    signature: AgentSignature


class IssuedToken(Wire):
    """The print token, sealed to the recipient key."""

    token: BytesField
    expires_at: int


class StopOrder(Wire):
    """A holder ends the releases of a token."""

    stop: StopField
    signature: AccountSignature


class CloseOrder(Wire):
    """Without a signature: ask for the gateway's counts; with it: close on these counts."""

    deadline: Annotated[int, Field(ge=1, lt=2**40)]
    holder_signature: AccountSignature | None = None


class CloseOffer(Wire):
    """The counts on which the gateway agrees to close, for the holder to sign; `transaction` once it was sent."""

    close: CloseField
    gateway_signature: AccountSignature
    transaction: str | None = None
