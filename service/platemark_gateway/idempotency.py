"""Idempotency keys: the same POST with the same key has the same answer, whatever happened to the first one.

Every act of the gateway is idempotent by the digest of what was signed; the key saves doing it again and covers
acts without a signature. Only answers of success are kept, encrypted by the vault, for a day. Uploads stream past:
their result is their content's own identifier. Pure ASGI.
"""

import asyncio
import contextlib
import hashlib
import json
import re
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import ColumnElement, delete, update
from sqlalchemy.dialects import postgresql, sqlite
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platemark.errors import MalformedError, PlatemarkError
from platemark.protocol.digests import tag
from platemark.protocol.units import Digest32, UnixSeconds
from platemark_gateway.auth.callers import bearer
from platemark_gateway.auth.service import principal_of
from platemark_gateway.container import Container
from platemark_gateway.errors import ConflictError, UnavailableError, UnconfirmedError
from platemark_gateway.models.idempotency import IdempotentAnswer
from platemark_gateway.ports import KeyVault

KEPT_SECONDS: Final = 86_400
_PENDING_SECONDS: Final = 120
"""An attempt without an answer after this long has died; the next one may serve the request."""
_WAIT_SECONDS: Final = 5
_KEY: Final = re.compile(rb"[\x21-\x7e]{8,128}")
_KEPT_HEADERS: Final = {b"content-type", b"cache-control", b"location"}
_Attempt = tuple[Digest32, UnixSeconds]
"""Whose row it is: the key's digest, and when the attempt began. One that was given up writes into no later one's."""


class Idempotency:
    """Answers a repeated POST from what was kept."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        container: Container,
        streams: frozenset[str],
        refuse: Callable[[PlatemarkError], ASGIApp],
    ) -> None:
        self._app = app
        self._container = container
        self._streams = streams
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        key = _header(scope, b"idempotency-key") if scope["type"] == "http" and scope["method"] == "POST" else None
        if key is None or scope["path"] in self._streams:
            await self._app(scope, receive, send)
            return
        try:
            if not _KEY.fullmatch(key):
                raise MalformedError("an idempotency key is 8 to 128 visible characters", code="idempotency-key")
            body = await _body(receive)
            if body is None:
                return  # the caller went away
            key_digest, request_digest = self._digests(scope, key, body)
            begun = await self._begin(key_digest, request_digest)
            if not isinstance(begun, int):
                await self._require_signed_in(scope)
        except PlatemarkError as error:
            await self._refuse(error)(scope, receive, send)
            return
        if not isinstance(begun, int):
            await _replay(begun, send)
            return
        await self._serve(scope, receive, send, body, (key_digest, begun))

    async def _serve(self, scope: Scope, receive: Receive, send: Send, body: bytes, attempt: _Attempt) -> None:
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            # Held back until the answer is kept: whoever saw it will see the same again.
            messages.append(message)

        kept = False
        try:
            await self._app(scope, _again(body, receive), keep)
            status, data = _answer(messages)
            if 200 <= status < 300:
                try:
                    await self._finish(attempt, status, data)
                except UnavailableError as error:
                    messages.clear()
                    await self._refuse(_not_kept(error))(scope, receive, keep)
                else:
                    kept = True
        finally:
            if not kept:
                with contextlib.suppress(UnavailableError):  # an attempt that stays there dies by itself
                    await asyncio.shield(self._forget(attempt))
        for message in messages:
            await send(message)

    async def _require_signed_in(self, scope: Scope) -> None:
        """Pass when the credential of the request is still good: a kept answer must not outlive it.

        Errors: UnauthenticatedError `credential-invalid`.
        """
        credential = bearer(Request(scope))
        if credential is not None:
            async with self._container.database.read() as session:
                await principal_of(session, self._container, credential)

    def _digests(self, scope: Scope, key: bytes, body: bytes) -> tuple[Digest32, Digest32]:
        """Return the digests of who asks where with which key, and of what is asked."""
        caller = _header(scope, b"authorization") or b""
        place = scope["path"].encode() + b"\0" + scope.get("query_string", b"")
        who = hashlib.sha256(caller).digest() + hashlib.sha256(place).digest() + hashlib.sha256(key).digest()
        mac = self._container.vault.mac("idempotency", who)
        return Digest32(mac), Digest32(hashlib.sha256(tag("idempotent-request") + body).digest())

    async def _begin(self, key_digest: Digest32, request_digest: Digest32) -> dict[str, Any] | UnixSeconds:
        """Return the kept answer, or when this attempt began if it is to be served now.

        Errors: ConflictError `idempotency-conflict`; UnconfirmedError `idempotency-pending`.
        """
        deadline = self._container.clock.monotonic() + _WAIT_SECONDS
        while True:
            found = await self._claim(key_digest, request_digest)
            if isinstance(found, int):
                return found
            if found is not None and found.request_digest != request_digest:
                raise ConflictError("this idempotency key came with another request", code="idempotency-conflict")
            if found is not None and found.wrapped_answer is not None:
                return kept_answer(self._container.vault, found)
            if self._container.clock.monotonic() >= deadline:
                raise UnconfirmedError(
                    "the same request is being served", code="idempotency-pending", retry_after_seconds=2
                )
            await asyncio.sleep(0.05)

    async def _claim(self, key_digest: Digest32, request_digest: Digest32) -> IdempotentAnswer | UnixSeconds | None:
        """Return the row that is there, or when this attempt began after a row of ours was written.

        None when another attempt's row was there, and was forgotten before it could be read.
        """
        now = self._container.clock.now()
        async with self._container.database.begin() as session:
            await session.execute(delete(IdempotentAnswer).where(expired(now)))
            insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
            made: UnixSeconds | None = await session.scalar(
                insert(IdempotentAnswer)
                .values(key_digest=key_digest, request_digest=request_digest, started_at=now)
                .on_conflict_do_nothing()
                .returning(IdempotentAnswer.started_at)
            )
            if made is not None:
                return made
            return await session.get(IdempotentAnswer, key_digest, populate_existing=True)

    async def _finish(self, attempt: _Attempt, status: int, data: bytes) -> None:
        key_digest, begun = attempt
        wrapped = self._container.vault.wrap(data, _context(key_digest))
        async with self._container.database.begin() as session:
            await session.execute(
                update(IdempotentAnswer)
                .where(IdempotentAnswer.key_digest == key_digest, IdempotentAnswer.started_at == begun)
                .values(status=status, wrapped_answer=wrapped)
            )

    async def _forget(self, attempt: _Attempt) -> None:
        key_digest, begun = attempt
        async with self._container.database.begin() as session:
            await session.execute(
                delete(IdempotentAnswer).where(
                    IdempotentAnswer.key_digest == key_digest,
                    IdempotentAnswer.started_at == begun,
                    IdempotentAnswer.wrapped_answer.is_(None),
                )
            )


def expired(now: UnixSeconds) -> ColumnElement[bool]:
    """Return whether a row is kept no longer: its answer is old, or its attempt has died."""
    found: ColumnElement[bool] = (IdempotentAnswer.started_at < now - KEPT_SECONDS) | (
        IdempotentAnswer.wrapped_answer.is_(None) & (IdempotentAnswer.started_at < now - _PENDING_SECONDS)
    )
    return found


def kept_answer(vault: KeyVault, row: IdempotentAnswer) -> dict[str, Any]:
    """Return a kept answer: status, headers and body; errors: VaultError `vault-unwrap`."""
    answer: dict[str, Any] = json.loads(vault.unwrap(row.wrapped_answer or b"", _context(row.key_digest)))
    return answer


def _not_kept(error: UnavailableError) -> UnavailableError:
    return UnavailableError(
        "the request was served, but its answer could not be kept; ask again with the same key", code=error.code
    )


def _context(key_digest: Digest32) -> bytes:
    return tag("idempotent-answer") + key_digest


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)


async def _body(receive: Receive) -> bytes | None:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message.get("body", b"")
        if not message.get("more_body", False):
            return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    given = False

    async def receive_again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again


def _answer(messages: list[Message]) -> tuple[int, bytes]:
    """Return the status, and status, headers and body as bytes to keep (the body as Latin-1 text)."""
    start = next(message for message in messages if message["type"] == "http.response.start")
    body = b"".join(message.get("body", b"") for message in messages if message["type"] == "http.response.body")
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")]
        for name, value in start["headers"]
        if name.lower() in _KEPT_HEADERS
    ]
    kept = {"status": start["status"], "headers": headers, "body": body.decode("latin-1")}
    return start["status"], json.dumps(kept).encode()


async def _replay(kept: dict[str, Any], send: Send) -> None:
    body = kept["body"].encode("latin-1")
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in kept["headers"]]
    headers += [(b"content-length", str(len(body)).encode()), (b"idempotent-replay", b"true")]
    await send({"type": "http.response.start", "status": kept["status"], "headers": headers})
    await send({"type": "http.response.body", "body": body})
