"""What goes wrong with licences."""

from platemark.protocol.units import Address, address_text
from platemark_gateway.errors import ConflictError, NotFoundError


class LicenseUnknownError(NotFoundError):
    """No such licence."""

    def __init__(self) -> None:
        super().__init__("this gateway knows no such licence", code="license-unknown")


class NotDepositedError(ConflictError):
    """The gateway does not hold the revision's key, so it accepts no terms for it."""

    def __init__(self) -> None:
        super().__init__(
            "the revision's key was not deposited here", code="key-not-deposited", hint="deposit the content key first"
        )


class TermsForeignError(ConflictError):
    """The terms name another design or another gateway than the request."""

    def __init__(self, what: str) -> None:
        super().__init__(f"the terms name another {what}", code="terms-foreign")


class AcceptanceInvalidError(ConflictError):
    """The acceptance is not this gateway's for these terms."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the acceptance {why}", code="acceptance", hint="ask for a new acceptance")


class LicenseMovedError(ConflictError):
    """Another gateway serves the licence."""

    def __init__(self, gateway: Address) -> None:
        super().__init__(
            f"the licence is served by the gateway {address_text(gateway)}",
            code="license-moved",
            hint="ask the gateway that serves it now",
            expected=address_text(gateway),
        )
