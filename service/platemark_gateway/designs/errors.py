"""What goes wrong with designs."""

from platemark_gateway.errors import ConflictError, ForbiddenError, NotFoundError


class DesignUnknownError(NotFoundError):
    """No such design, or no such revision of it."""

    def __init__(self) -> None:
        super().__init__("this gateway knows no such design or revision", code="design-unknown")


class NotOwnerError(ForbiddenError):
    """The caller is neither the design's owner nor its registrant."""

    def __init__(self) -> None:
        super().__init__("only the design's owner may do this", code="not-owner")


class RevisionTakenError(ConflictError):
    """The number belongs to another revision, or is not the next one."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"the next revision of this design is {expected}", code="revision-not-next", expected=expected)


class RevisionRecalledError(ConflictError):
    """The revision was recalled."""

    def __init__(self) -> None:
        super().__init__("this revision was recalled", code="revision-recalled")


class NotPublishedError(ConflictError):
    """The revision's manifest is not here yet."""

    def __init__(self) -> None:
        super().__init__(
            "publish the manifest first",
            code="manifest-unknown",
            hint="another gateway's design comes with its licence: platemark license move --to",
        )


class PrivateDesignError(ConflictError):
    """A private design is revealed by nobody but its registrant."""

    def __init__(self) -> None:
        super().__init__("a private design is not revealed by the gateway", code="design-private")


class DeadlinePassedError(ConflictError):
    """What was signed is no longer good."""

    def __init__(self) -> None:
        super().__init__("the signature's deadline has passed", code="deadline-passed", hint="sign again")


class DepositForeignError(ConflictError):
    """The deposit names another gateway, design or revision."""

    def __init__(self) -> None:
        super().__init__("the deposit is for another gateway or revision", code="deposit-foreign")
