import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from platemark.errors import (
    Kind,
    MalformedError,
    PlatemarkError,
    RefusedError,
    TryLaterError,
    UpstreamError,
    UsageError,
)
from platemark.protocol.codes import CODES
from platemark.sdk.transport import (
    Deadlines,
    Retries,
    ServerProblemError,
    Transport,
    checked_url,
    problem_error,
)

Answering = Callable[[BaseHTTPRequestHandler, int], None]
QUICK = Deadlines(connect_seconds=0.5, silence_seconds=0.3, total_seconds=2)


@contextmanager
def server(answering: Answering) -> Iterator[tuple[str, list[tuple[str, str, bytes]]]]:
    """Run a small HTTP server; `answering` gets the handler and the number of the request, from 1."""
    seen: list[tuple[str, str, bytes]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            seen.append((self.command, self.path, self.rfile.read(length)))
            answering(self, len(seen))

        do_GET = do_POST = handle_any  # noqa: N815 (http.server's names)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}", seen
        finally:
            running.shutdown()
            thread.join()


def reply(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"{}", **headers: str) -> None:
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body)))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


def _transport(url: str, *, attempts: int = 3, deadlines: Deadlines = QUICK) -> tuple[Transport, list[float]]:
    slept: list[float] = []
    made = Transport(url, deadlines=deadlines, retries=Retries(attempts=attempts), sleep=slept.append, jitter=lambda: 1)
    return made, slept


def test_an_answer_is_read_as_json() -> None:
    with server(lambda handler, _: reply(handler, 200, b'{"a": 1}')) as (url, seen):
        transport, _ = _transport(url)
        with transport:
            assert transport.call("GET", "/x", params={"q": "1 2"}).json() == {"a": 1}
    assert seen == [("GET", "/x?q=1+2", b"")]


def test_an_idempotent_call_is_repeated_with_growing_pauses_until_it_works() -> None:
    def answering(handler: BaseHTTPRequestHandler, number: int) -> None:
        reply(handler, 503 if number < 3 else 200, b"{}", Retry_After="1")

    with server(answering) as (url, seen):
        transport, slept = _transport(url)
        with transport:
            transport.call("GET", "/x")
    assert len(seen) == 3
    assert slept == [1, 1]


def test_a_post_without_an_idempotency_key_is_never_repeated() -> None:
    with server(lambda handler, _: reply(handler, 503)) as (url, seen):
        transport, slept = _transport(url)
        with transport, pytest.raises(TryLaterError):
            transport.call("POST", "/x", json={})
    assert len(seen) == 1
    assert not slept


def test_a_post_with_an_idempotency_key_is_repeated_with_the_same_bytes_and_key() -> None:
    def answering(handler: BaseHTTPRequestHandler, number: int) -> None:
        reply(handler, 502 if number == 1 else 200)

    with server(answering) as (url, seen):
        transport, _ = _transport(url)
        with transport:
            transport.call("POST", "/x", json={"n": 1}, headers={"Idempotency-Key": "k"})
    assert seen == [("POST", "/x", b'{"n":1}')] * 2


def test_a_streamed_body_begins_anew_for_each_attempt() -> None:
    begun = []

    def content() -> Iterator[bytes]:
        begun.append(1)
        yield from (b"a" * 10, b"b" * 10)

    def answering(handler: BaseHTTPRequestHandler, number: int) -> None:
        reply(handler, 502 if number == 1 else 200)

    with server(answering) as (url, seen):
        transport, _ = _transport(url)
        with transport:
            transport.call("POST", "/x", content=content, headers={"Content-Length": "20"}, idempotent=True)
    assert [body for _, _, body in seen] == [b"a" * 10 + b"b" * 10] * 2
    assert len(begun) == 2


def test_what_the_chain_has_not_settled_is_not_asked_again_here() -> None:
    body = json.dumps({"code": "awaiting-finality", "detail": "not final", "retryAfter": 2}).encode()
    with server(lambda handler, _: reply(handler, 409, body)) as (url, seen):
        transport, _ = _transport(url)
        with transport, pytest.raises(TryLaterError) as caught:
            transport.call("GET", "/x")
    assert caught.value.retry_after_seconds == 2
    assert len(seen) == 1


def test_nobody_waits_for_a_server_that_asks_for_an_hour() -> None:
    with server(lambda handler, _: reply(handler, 429, b"{}", Retry_After="3600")) as (url, seen):
        transport, slept = _transport(url)
        with transport, pytest.raises(TryLaterError) as caught:
            transport.call("GET", "/x")
    assert caught.value.retry_after_seconds == 3600
    assert (len(seen), slept) == (1, [])


def test_a_silent_server_is_given_up() -> None:
    hold = threading.Event()

    def silent(handler: BaseHTTPRequestHandler, _: int) -> None:
        hold.wait(5)
        handler.close_connection = True

    with server(silent) as (url, _):
        transport, _slept = _transport(url, attempts=1)
        started = time.monotonic()
        with transport, pytest.raises(UpstreamError) as caught:
            transport.call("GET", "/x")
        hold.set()
    assert caught.value.code == "gateway-timeout"
    assert time.monotonic() - started < 3


def test_a_server_that_drips_is_cut_off_at_the_deadline() -> None:
    def drip(handler: BaseHTTPRequestHandler, _: int) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            for _ in range(50):
                handler.wfile.write(b"x")
                time.sleep(0.05)
        except OSError:
            pass

    with server(drip) as (url, _):
        transport, _slept = _transport(url, attempts=1, deadlines=Deadlines(0.5, 0.3, 0.4))
        started = time.monotonic()
        with transport, pytest.raises(UpstreamError) as caught:
            transport.call("GET", "/x")
    assert caught.value.code == "gateway-timeout"
    assert time.monotonic() - started < 3


def test_an_answer_above_the_limit_is_not_read_to_its_end() -> None:
    with server(lambda handler, _: reply(handler, 200, b"x" * 100_000)) as (url, _):
        transport, _slept = _transport(url, attempts=1)
        with transport, pytest.raises(UpstreamError) as caught:
            transport.call("GET", "/x", max_bytes=1000)
    assert caught.value.code == "answer-too-large"


def test_nobody_at_the_address_is_one_line_with_a_hint() -> None:
    transport, slept = _transport("http://127.0.0.1:9")
    with transport, pytest.raises(UpstreamError) as caught:
        transport.call("GET", "/x")
    assert caught.value.code == "gateway-unreachable"
    assert caught.value.message == "http://127.0.0.1:9 cannot be reached"
    assert caught.value.hint is not None
    assert slept == [0.25, 0.5]


def test_a_redirect_is_not_followed() -> None:
    with server(lambda handler, _: reply(handler, 302, b"", Location="http://127.0.0.1:9/")) as (url, seen):
        transport, _ = _transport(url, attempts=1)
        with transport, pytest.raises(PlatemarkError):
            transport.call("GET", "/x")
    assert len(seen) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1", b'{"a":1.5}', b'{"a":1,"a":2}', b"\xff"])
def test_an_answer_that_is_no_json_is_an_upstream_error(body: bytes) -> None:
    transport = Transport(
        "http://gateway.test", transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    )
    with transport, pytest.raises(UpstreamError) as caught:
        transport.call("GET", "/x").json()
    assert caught.value.code == "answer-malformed"


EXPECTED = {
    Kind.MALFORMED: MalformedError,
    Kind.UNAUTHENTICATED: RefusedError,
    Kind.FORBIDDEN: RefusedError,
    Kind.NOT_FOUND: RefusedError,
    Kind.CONFLICT: RefusedError,
    Kind.LIMITED: TryLaterError,
    Kind.UNCONFIRMED: TryLaterError,
    Kind.UPSTREAM: UpstreamError,
    Kind.UNAVAILABLE: TryLaterError,
    Kind.INTERNAL: UpstreamError,
}


@pytest.mark.parametrize("code", sorted(CODES))
def test_every_code_becomes_the_exception_of_its_kind(code: str) -> None:
    body = json.dumps({"code": code, "title": "T", "detail": "what happened", "hint": "do this"}).encode()
    error = problem_error(400, {}, body)
    assert type(error) in {EXPECTED[CODES[code].kind], ServerProblemError}
    assert isinstance(error, EXPECTED[CODES[code].kind])
    assert (error.code, error.message) == (code, "what happened")
    assert error.kind is CODES[code].kind


@pytest.mark.parametrize(
    "status, kind",
    [
        (400, Kind.MALFORMED),
        (401, Kind.UNAUTHENTICATED),
        (403, Kind.FORBIDDEN),
        (404, Kind.NOT_FOUND),
        (409, Kind.CONFLICT),
        (418, Kind.MALFORMED),
        (422, Kind.MALFORMED),
        (429, Kind.LIMITED),
        (500, Kind.INTERNAL),
        (502, Kind.UPSTREAM),
        (503, Kind.UNAVAILABLE),
        (599, Kind.INTERNAL),
    ],
)
def test_without_a_problem_document_the_status_decides(status: int, kind: Kind) -> None:
    error = problem_error(status, {}, b"<html>proxy</html>")
    assert (error.kind, error.code) == (kind, f"http-{status}")
    assert error.message == f"the server answered {status}"


def test_a_problems_extra_members_are_kept() -> None:
    error = problem_error(409, {}, b'{"code":"sequence-expected","detail":"d","status":409,"expected":7}')
    assert isinstance(error, ServerProblemError)
    assert error.details == {"expected": 7}


def test_text_of_a_server_is_one_short_line() -> None:
    body = json.dumps({"detail": "first\nsecond\x1b[31m red" + "x" * 9000, "code": "y\n"}).encode()
    error = problem_error(409, {}, body)
    assert error.message.startswith("first second [31m red")
    assert len(error.message) <= 500
    assert error.code == "y"


@pytest.mark.parametrize(
    "headers, member, expected",
    [({"retry-after": "7"}, None, 7), ({}, 9, 9), ({"retry-after": "soon"}, None, 5), ({}, 10**9, 3600), ({}, 0, 1)],
)
def test_the_time_to_wait_is_taken_within_reason(headers: dict[str, str], member: int | None, expected: int) -> None:
    body = json.dumps({"code": "limit-requests", "retryAfter": member}).encode()
    error = problem_error(429, headers, body)
    assert isinstance(error, TryLaterError)
    assert error.retry_after_seconds == expected


def test_an_internal_error_passes_on_the_number_to_tell() -> None:
    error = problem_error(500, {}, b'{"code":"internal","detail":"d","correlationId":"abc"}')
    assert error.hint == "tell the gateway's operator this number: abc"


@pytest.mark.parametrize(
    "url", ["", "gateway", "ftp://x", "http://", "http://x?y=1", "http://u:p@x", "http://x#f", "http://x:99999", "/x"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        checked_url(url)
    assert caught.value.code == "gateway-url"


def test_an_address_loses_its_last_slash() -> None:
    assert checked_url("https://gateway.example:8443/base/") == "https://gateway.example:8443/base"
    assert checked_url("https://rpc.example/v1?key=1", secret_parts=True) == "https://rpc.example/v1?key=1"
