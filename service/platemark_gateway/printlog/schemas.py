"""Answers about the log and about parts."""

from platemark_gateway.wire import DesignIdField, TokenIdField, Wire


class PartView(Wire):
    """What a serial stands for today: valid, recalled, voided, provisional or unknown."""

    serial: str
    status: str
    design_id: DesignIdField | None = None
    revision: int | None = None
    token_id: TokenIdField | None = None
    sequence: int | None = None


class AnchorOrder(Wire):
    """Ask for an anchor now; nothing to choose."""


class AnchorAnswer(Wire):
    """The worker will send the root as soon as there is something new."""

    requested: bool
