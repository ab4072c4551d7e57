"""Who is calling, and what a caller may do."""

from dataclasses import dataclass
from enum import StrEnum

from platemark.protocol.units import Address
from platemark_gateway.errors import ForbiddenError


class Scope(StrEnum):
    """What a session or an API key is good for."""

    DESIGNER = "designer"
    CENTRE = "centre"
    OPERATOR = "operator"
    AUDITOR = "auditor"


EVERYBODY = frozenset({Scope.DESIGNER, Scope.CENTRE, Scope.AUDITOR})
"""What any account that signed in may do; it still acts only for itself."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven account and the scopes of the session or key that it came with."""

    address: Address
    scopes: frozenset[Scope]
    has_signed_in: bool
    """Whether a session proves it; an API key may have been copied."""

    def require(self, scope: Scope) -> None:
        """Pass when the caller has the scope.

        Errors: ForbiddenError `scope`.
        """
        if scope not in self.scopes:
            raise ForbiddenError(f"this needs the scope {scope}", code="scope")

    def require_session(self) -> None:
        """Pass when the account itself signed in: a leaked API key must not make others that outlive it.

        Errors: ForbiddenError `session-needed`.
        """
        if not self.has_signed_in:
            raise ForbiddenError("an API key cannot do this", code="session-needed", hint="POST /v1/sign-in/challenges")
