"""Answers about the log and about parts."""

from typing import Annotated, Literal

from pydantic import Field

from platemark_gateway.wire import AddressField, DesignIdField, LicenseIdField, TokenIdField, Wire


class PartView(Wire):
    """What a serial stands for today: valid, recalled, voided, provisional or unknown."""

    serial: str
    status: str
    design_id: DesignIdField | None = None
    revision: int | None = None
    token_id: TokenIdField | None = None
    sequence: int | None = None
    recall_reason_cid: str | None = None
    """The block with the owner's reason for a recall; whether somebody still has it is not looked at."""


class AffectedView(Wire):
    """A reservation of a revision (`sequence` 0), or a print of it, and what its holder is owed once it is recalled."""

    token_id: TokenIdField
    sequence: int
    license_id: LicenseIdField
    holder: AddressField
    agent: AddressField
    at: Annotated[int, Field(description="when it was reserved, or released; Unix seconds")]
    serial: str | None
    outcome: Annotated[str | None, Field(description="completed, failed, cancelled or rejected")]
    owed: Literal["return", "replacement", "pending", "nothing"]
    prints: Annotated[int, Field(description="how many prints are owed, or may be")]
    reclaimable_at: Annotated[int | None, Field(description="from when anybody may return them; Unix seconds")]


class AffectedPage(Wire):
    """A page of what a revision's recall affects, by token and sequence; `cursor` asks for the next one."""

    recalled: bool
    items: list[AffectedView]
    cursor: str | None


class AnchorOrder(Wire):
    """Ask for an anchor now; nothing to choose."""


class AnchorAnswer(Wire):
    """The worker will send the root as soon as there is something new."""

    requested: bool
