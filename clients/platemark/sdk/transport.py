"""HTTP with deadlines, bounded answers, careful retries, and problem documents turned into errors.

Only idempotent calls are repeated: reads, uploads of content-addressed bytes, and POSTs that carry an
`Idempotency-Key`. Between attempts stands a jittered pause with a cap, or the `Retry-After` that a server asked for.

Source: RFC 9110, RFC 9457 (problem details).
"""

import functools
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit

import httpx

from platemark.errors import (
    Kind,
    MalformedError,
    PlatemarkError,
    RefusedError,
    TryLaterError,
    UpstreamError,
    UsageError,
)
from platemark.protocol import canonical
from platemark.protocol.canonical import JsonValue

MAX_ANSWER_BYTES: Final = 8 << 20
_MAX_PROBLEM_BYTES: Final = 64 << 10
_STATUS_KINDS: Final[Mapping[int, Kind]] = {
    400: Kind.MALFORMED,
    401: Kind.UNAUTHENTICATED,
    403: Kind.FORBIDDEN,
    404: Kind.NOT_FOUND,
    409: Kind.CONFLICT,
    413: Kind.MALFORMED,
    422: Kind.MALFORMED,
    429: Kind.LIMITED,
    502: Kind.UPSTREAM,
    503: Kind.UNAVAILABLE,
    504: Kind.UPSTREAM,
}
_DEFAULT_RETRY_SECONDS: Final = 5
_MAX_RETRY_SECONDS: Final = 3600


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long one call may take: to connect, without hearing anything, and altogether."""

    connect_seconds: float = 5
    silence_seconds: float = 30
    total_seconds: float = 120


@dataclass(frozen=True, slots=True)
class Retries:
    """How often an idempotent call is made, and how long the pauses between attempts are."""

    attempts: int = 3
    first_pause_seconds: float = 0.25
    longest_pause_seconds: float = 5

    def pause(self, attempt: int, jitter: float) -> float:
        """Return the pause after attempt `attempt` (1 and up), in seconds; `jitter` is from 0 to 1."""
        whole = min(self.longest_pause_seconds, self.first_pause_seconds * float(2 ** (attempt - 1)))
        return whole * (0.5 + jitter / 2)


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read to its end: status and body (at most the limit that was asked for)."""

    status: int
    body: bytes
    media_type: str

    def json(self) -> JsonValue:
        """Return the body as JSON.

        Errors: UpstreamError `answer-malformed`.
        """
        try:
            return canonical.parse(self.body, max_bytes=MAX_ANSWER_BYTES)
        except MalformedError as error:
            raise UpstreamError("the gateway's answer is not the JSON it should be", code="answer-malformed") from error


class ServerProblemError(RefusedError):
    """A refusal that came as a problem document; `details` are the members beyond the standard ones."""

    def __init__(
        self, message: str, *, kind: Kind, code: str, hint: str | None, details: Mapping[str, JsonValue]
    ) -> None:
        super().__init__(message, kind=kind, code=code, hint=hint)
        self.details = details


@functools.cache
def _authorities() -> ssl.SSLContext:
    """Return who is trusted to name servers; reading them takes longer than many a call, so once for all clients."""
    return httpx.create_ssl_context()


class Transport:
    """Calls to one server; a context manager that closes its connections."""

    def __init__(
        self,
        base_url: str,
        *,
        deadlines: Deadlines | None = None,
        retries: Retries | None = None,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Errors: UsageError `gateway-url` unless `base_url` is an http or https address without a query."""
        self.base_url = checked_url(base_url)
        self._deadlines = deadlines or Deadlines()
        self._retries = retries or Retries()
        self._sleep = sleep
        self._monotonic = monotonic
        self._jitter = jitter
        self._client = httpx.Client(
            transport=transport,
            follow_redirects=False,
            timeout=httpx.Timeout(self._deadlines.silence_seconds, connect=self._deadlines.connect_seconds),
            headers={"User-Agent": "platemark"},
            trust_env=transport is None,
            verify=transport is not None or _authorities(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        json: JsonValue = None,
        content: Callable[[], Iterator[bytes]] | bytes | None = None,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
        total_seconds: float | None = None,
    ) -> Answer:
        """Return the answer of one call, made again where that is safe.

        Args:
            method: The HTTP method.
            path: Path below the base address, beginning with a slash.
            json: Body as JSON, encoded canonically.
            content: Body as bytes, or a function that begins the body anew for each attempt.
            params: Query parameters.
            headers: Further headers.
            idempotent: Whether the call may be repeated; by default reads, and whatever has an Idempotency-Key.
            max_bytes: Most bytes that the answer may have.
            total_seconds: Deadline of the call with all attempts; the transport's own by default.

        Errors: UpstreamError `gateway-unreachable`, `gateway-timeout`, `answer-too-large`; otherwise what the
            server's problem document says, see `problem_error`.
        """
        sent = dict(headers or {})
        body: bytes | None = None
        if json is not None:
            body = canonical.encode(json)
            sent["Content-Type"] = "application/json"
        elif isinstance(content, bytes):
            body = content
        if idempotent is None:
            idempotent = method in {"GET", "HEAD"} or "Idempotency-Key" in sent
        ends_at = self._monotonic() + (total_seconds or self._deadlines.total_seconds)
        attempts = self._retries.attempts if idempotent else 1
        for attempt in range(1, attempts + 1):
            begun = content() if callable(content) else body
            try:
                return self._once(method, path, begun, params, sent, max_bytes, ends_at)
            except (UpstreamError, TryLaterError) as error:
                pause = self._pause(error, attempt, attempts, ends_at)
                if pause is None:
                    raise
            self._sleep(pause)
        raise AssertionError("unreachable: the last attempt returns or raises")  # pragma: no cover

    def _pause(self, error: UpstreamError | TryLaterError, attempt: int, attempts: int, ends_at: float) -> float | None:
        """Return how long to wait before the next attempt, or None when there is none."""
        if attempt == attempts:
            return None
        pause = self._retries.pause(attempt, self._jitter())
        if isinstance(error, TryLaterError):
            if error.kind is Kind.UNCONFIRMED or error.retry_after_seconds > self._retries.longest_pause_seconds:
                return None
            pause = max(pause, error.retry_after_seconds)
        return pause if self._monotonic() + pause < ends_at else None

    def _once(
        self,
        method: str,
        path: str,
        content: bytes | Iterator[bytes] | None,
        params: Mapping[str, str] | None,
        headers: Mapping[str, str],
        max_bytes: int,
        ends_at: float,
    ) -> Answer:
        with (
            self._reached(),
            self._client.stream(
                method, self.base_url + path, content=content, params=params, headers=dict(headers)
            ) as response,
        ):
            limit = max_bytes if response.is_success else _MAX_PROBLEM_BYTES
            body = self._read(response, limit, ends_at)
            if response.is_success:
                return Answer(response.status_code, body, response.headers.get("content-type", ""))
            raise problem_error(response.status_code, response.headers, body)

    def _read(self, response: httpx.Response, limit: int, ends_at: float) -> bytes:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > limit:
                raise UpstreamError(f"an answer has more than {limit} bytes", code="answer-too-large")
            if self._monotonic() > ends_at:
                raise httpx.ReadTimeout("the call's deadline has passed")
        return bytes(body)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise UpstreamError(
                f"{self.base_url} did not answer in time",
                code="gateway-timeout",
                hint="try again; what was sent once is not counted twice",
            ) from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise UpstreamError(
                f"{self.base_url} cannot be reached",
                code="gateway-unreachable",
                hint="is it running, and is --gateway (or PLATEMARK_GATEWAY) right?",
            ) from error
        except httpx.HTTPError as error:
            raise UpstreamError(f"{self.base_url} gave a broken answer", code="answer-malformed") from error


def checked_url(text: str, *, secret_parts: bool = False) -> str:
    """Return an address of a server without its trailing slash.

    Args:
        text: The address.
        secret_parts: Whether it may have a user and a query, as endpoints with a key in their address do.

    Errors: UsageError `gateway-url` unless it is http or https, with a host, without user, query and fragment.
    """
    try:
        parts = urlsplit(text)
        port_is_fine = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_fine = urlsplit(""), False
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_fine:
        raise UsageError(
            f"{text[:200]!r} is not an http address",
            code="gateway-url",
            hint="write it as http://127.0.0.1:8420 or https://gateway.example",
        )
    if parts.fragment or ((parts.username or parts.query) and not secret_parts):
        raise UsageError("a server's address has no user, query or fragment", code="gateway-url")
    return text.rstrip("/")


def problem_error(status: int, headers: Mapping[str, str], body: bytes) -> PlatemarkError:
    """Return the error that a failed answer stands for (not raised, so that a caller may add to it).

    The kind comes from the code when it is a registered one, else from the status; text from the server is cut to
    one line. Unknown or broken documents become errors by their status alone.
    """
    problem = _problem(body)
    code = _line(problem.get("code"), 64) or f"http-{status}"
    kind = _kind(code, status)
    message = _line(problem.get("detail"), 500) or _line(problem.get("title"), 200) or f"the server answered {status}"
    hint = _line(problem.get("hint"), 300)
    if kind is Kind.INTERNAL and (correlation := _line(problem.get("correlationId"), 100)):
        hint = f"tell the gateway's operator this number: {correlation}"
    retry_after = _retry_after(headers, problem)
    match kind:
        case Kind.MALFORMED:
            return MalformedError(message, code=code, hint=hint)
        case Kind.UNAUTHENTICATED | Kind.FORBIDDEN | Kind.NOT_FOUND | Kind.CONFLICT:
            known = {"type", "title", "status", "detail", "code", "hint", "instance"}
            details = {key: value for key, value in problem.items() if key not in known}
            return ServerProblemError(message, kind=kind, code=code, hint=hint, details=details)
        case Kind.LIMITED | Kind.UNCONFIRMED | Kind.UNAVAILABLE:
            seconds = retry_after or _DEFAULT_RETRY_SECONDS
            return TryLaterError(message, code=code, kind=kind, retry_after_seconds=seconds, hint=hint)
        case Kind.UPSTREAM:
            if retry_after is not None:
                return TryLaterError(message, code=code, kind=kind, retry_after_seconds=retry_after, hint=hint)
            return UpstreamError(message, code=code, kind=kind, hint=hint)
        case Kind.INTERNAL:
            return UpstreamError(message, code=code, kind=kind, hint=hint)


def _problem(body: bytes) -> Mapping[str, JsonValue]:
    try:
        value = canonical.parse(body, max_bytes=_MAX_PROBLEM_BYTES)
    except MalformedError:
        return {}
    return value if isinstance(value, Mapping) else {}


def _kind(code: str, status: int) -> Kind:
    from platemark.protocol.codes import CODES

    known = CODES.get(code)
    if known is not None:
        return known.kind
    return _STATUS_KINDS.get(status, Kind.INTERNAL if status >= 500 else Kind.MALFORMED)


def _line(value: object, limit: int) -> str | None:
    """Return text from a stranger as one line without control characters."""
    if not isinstance(value, str):
        return None
    cleaned = "".join(letter if letter.isprintable() else " " for letter in value[: limit * 2])
    return " ".join(cleaned.split())[:limit] or None


def _retry_after(headers: Mapping[str, str], problem: Mapping[str, JsonValue]) -> int | None:
    asked = problem.get("retryAfter")
    if isinstance(asked, int) and not isinstance(asked, bool):
        return max(1, min(asked, _MAX_RETRY_SECONDS))
    header = headers.get("retry-after", "")
    return max(1, min(int(header), _MAX_RETRY_SECONDS)) if header.isascii() and header.isdigit() else None
