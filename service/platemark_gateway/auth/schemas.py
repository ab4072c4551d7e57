"""Bodies of sign-in and API keys."""

import uuid
from typing import Annotated, Any

from pydantic import Field

from platemark.protocol.plain_text import line_of
from platemark_gateway.auth.scopes import Scope
from platemark_gateway.wire import AccountSignature, AddressField, Text, Wire

_LONGEST_NAME = 80


def _name(value: Any) -> str:
    return line_of(value, max_length=_LONGEST_NAME)


NameInput = Annotated[str, Text(_name, str, {"type": "string", "minLength": 1, "maxLength": _LONGEST_NAME}, ())]
"""One line of visible text."""


class ChallengeRequest(Wire):
    """Who wants to sign in."""

    address: AddressField


class ChallengeAnswer(Wire):
    """The message to sign (ERC-4361); `text` is what the wallet shows."""

    domain: str
    uri: str
    chain_id: int
    nonce: str
    issued_at: int
    expiration_time: int
    text: str


class SignInRequest(Wire):
    """The message as it was issued, and the account's signature of it."""

    message: Annotated[str, Field(max_length=2048)]
    signature: AccountSignature


class SignInAnswer(Wire):
    """A session: send it as `Authorization: Bearer <session>`."""

    session: str
    expires_at: int
    address: AddressField
    scopes: list[Scope]


class ApiKeyRequest(Wire):
    """A new key for a machine; its scopes are among the caller's."""

    name: NameInput
    scopes: Annotated[list[Annotated[Scope, Field(strict=False)]], Field(min_length=1, max_length=4)]


class NewApiKey(Wire):
    """The key, shown this once."""

    id: uuid.UUID
    key: str
    name: str
    scopes: list[Scope]


class ApiKeyView(Wire):
    """A key without its secret."""

    id: uuid.UUID
    name: str
    scopes: list[Scope]
    created_at: int
    revoked_at: int | None


class ApiKeyList(Wire):
    """The caller's keys, newest first."""

    items: list[ApiKeyView]


class QuotaView(Wire):
    """One limit: `most` in each window, what is left of it, and in how many seconds it is whole again."""

    name: str
    most: int
    window_seconds: int
    left: int
    whole_in_seconds: int


class QuotaList(Wire):
    """What the caller may still do."""

    items: list[QuotaView]
