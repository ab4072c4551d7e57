"""A chain endpoint that lies: it passes JSON-RPC on to an honest one and changes some of the answers."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from platemark.protocol import abi
from trusted import authorities

Lie = Callable[[str, Sequence[Any], Any], Any]
"""Given a method, its parameters and the honest result, returns what is answered."""
Log = dict[str, Any]


@contextmanager
def lying_rpc(honest: str, *lies: Lie) -> Iterator[str]:
    """Serve an endpoint that tells these lies, one after the other; give its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # otherwise each answer waits 40 ms

        def handle(self) -> None:
            with suppress(ConnectionError):  # who asked has left, or the lie is that there is no answer
                super().handle()

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = client.post(honest, json=body).json()
            pairs = zip(body, answer, strict=True) if isinstance(body, list) else [(body, answer)]
            for asked, told in pairs:
                if "result" in told:
                    for lie in lies:
                        told["result"] = lie(asked["method"], asked.get("params", []), told["result"])
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    with (
        httpx.Client(trust_env=False, timeout=30, verify=authorities()) as client,
        ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server,
    ):
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def other_code(address: str) -> Lie:
    """Answer with other code at an address: one bit of its first byte is flipped."""

    def lie(method: str, params: Sequence[Any], result: Any) -> Any:
        if method == "eth_getCode" and params[0].lower() == address.lower():
            return f"0x{int(result[2:4], 16) ^ 1:02x}{result[4:]}"
        return result

    return lie


def events(contract: str, name: str, change: Callable[[list[Log]], list[Log]]) -> Lie:
    """Change the list of a contract's events of one name."""
    topic = "0x" + abi.topic(abi.load(contract).entry("event", name)).hex()

    def lie(method: str, params: Sequence[Any], result: Any) -> Any:
        return change(result) if method == "eth_getLogs" and params[0]["topics"][0] == topic else result

    return lie


def hidden(contract: str, name: str, at: int = -1) -> Lie:
    """Leave out one of a contract's events, by default the last."""

    def change(found: list[Log]) -> list[Log]:
        kept = list(found)
        if kept:
            del kept[at]
        return kept

    return events(contract, name, change)


def event_word(contract: str, name: str, index: int, value: int) -> Lie:
    """Put another value into a word of the last such event's data, behind the indexed arguments."""

    def change(found: list[Log]) -> list[Log]:
        return [*found[:-1], {**found[-1], "data": with_word(found[-1]["data"], index, value)}] if found else found

    return events(contract, name, change)


def call_word(contract: str, name: str, index: int, value: int) -> Lie:
    """Put another value into a word of what a view function answers, that is: lie about storage."""
    selector = "0x" + abi.selector(abi.load(contract).entry("function", name)).hex()

    def lie(method: str, params: Sequence[Any], result: Any) -> Any:
        if method != "eth_call" or not _calldata(params[0]).startswith(selector):
            return result
        return with_word(result, index, value)

    return lie


def block_field(name: str, value: str, *, number: str | None = None) -> Lie:
    """Answer with blocks that have another field, all of them or one by its number."""

    def lie(method: str, params: Sequence[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and result and number in {None, result["number"]}:
            return result | {name: value}
        return result

    return lie


def after(contract: str, name: str, lie: Lie) -> Lie:
    """Begin to lie when a view function was called."""
    selector = "0x" + abi.selector(abi.load(contract).entry("function", name)).hex()
    begun = False

    def later(method: str, params: Sequence[Any], result: Any) -> Any:
        nonlocal begun
        begun = begun or (method == "eth_call" and _calldata(params[0]).startswith(selector))
        return lie(method, params, result) if begun else result

    return later


def answer(wanted: str, value: Any) -> Lie:
    """Answer a method with this value, whatever is asked."""
    return lambda method, _, result: value if method == wanted else result


def with_word(data: str, index: int, value: int) -> str:
    start = 2 + 64 * index
    assert len(data) >= start + 64
    return f"{data[:start]}{value:064x}{data[start + 64 :]}"


def _calldata(call: Mapping[str, Any]) -> str:
    return str(call.get("data") or call.get("input") or "")
