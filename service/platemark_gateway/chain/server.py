"""The embedded chain behind JSON-RPC over HTTP: one path, batches, limits; answers are errors, never tracebacks."""

import asyncio
import json
import logging
import math
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from platemark.protocol.units import Address
from platemark_gateway.chain.embedded import EmbeddedChain
from platemark_gateway.chain.files import write_atomically
from platemark_gateway.chain.jsonrpc import INVALID_REQUEST, PARSE_ERROR, SERVER_ERROR, Methods, RpcError
from platemark_gateway.chain.listening import listen, run_server
from platemark_gateway.clock import SystemClock

MAX_BODY_BYTES: Final = 5 << 20
MAX_BATCH: Final = 1000
MAX_DEPTH: Final = 32
_TEXTS: Final = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_log = logging.getLogger(__name__)


def serve(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    chain_id: int | None = None,
    time_travel: bool = False,
    fund: tuple[Address, ...] = (),
) -> None:
    """Run the chain kept in `directory` until SIGTERM or SIGINT.

    Prints one line of JSON when it answers, and writes the same to `directory`/chain.json. Port 0 takes the port of
    the last run when it is free, else any free one.

    Errors: LocalError `port-in-use`, `directory-unwritable`, `chain-in-use`, `journal-damaged`, `chain-foreign`.
    """
    chain = EmbeddedChain.open(directory, SystemClock(), chain_id=chain_id, notice=_notice)
    try:
        with listen(host, port, _last_port(directory) if port == 0 else None) as listener:
            for address in fund:
                if chain.balance(address) == 0:
                    chain.fund(address, 100 * 10**18)
            url = _url(host, listener.getsockname()[1])
            ready = {"ready": True, "url": url, "chainId": chain.chain_id, "head": chain.head.number}
            app = application(chain, time_travel=time_travel, loopback=host in _LOOPBACK)

            def announce() -> None:
                write_atomically(directory / "chain.json", json.dumps(ready) + "\n")
                sys.stdout.write(json.dumps(ready) + "\n")
                sys.stdout.flush()

            asyncio.run(run_server(app, listener, announce))
    finally:
        chain.close()


class _Answer(JSONResponse):
    """JSON in ASCII: an id or a message may hold half of a surrogate pair, which UTF-8 cannot carry."""

    def render(self, content: Any) -> bytes:
        """Return the answer's bytes."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


class Endpoint:
    """Answers HTTP requests for one chain; its methods run in one thread, in the order they came."""

    def __init__(self, chain: EmbeddedChain, *, time_travel: bool, loopback: bool) -> None:
        """With `loopback`, requests that name another host are refused: a page on the web cannot rebind its name."""
        self._methods = Methods(chain, time_travel=time_travel)
        self._loopback = loopback
        self._machine = ThreadPoolExecutor(1, "chain")

    async def answer(self, request: Request) -> Response:
        """Answer one HTTP request, which carries a call or a batch of calls."""
        if self._loopback and request.url.hostname not in _LOOPBACK:
            return _Answer({"error": "this chain answers on its own machine only"}, 403)
        try:
            body = await _read(request)
            parsed = _parse(body)
        except ClientDisconnect:
            return Response(status_code=400)
        except RpcError as error:
            return _Answer(_error(None, error), 413)
        except ValueError:
            return _Answer(_error(None, RpcError(PARSE_ERROR, "parse error")))
        if not isinstance(parsed, list):
            answers = await self._answer_one(parsed)
        elif 0 < len(parsed) <= MAX_BATCH:
            answers = [each for each in [await self._answer_one(call) for call in parsed] if each] or None
        else:
            answers = _error(None, RpcError(INVALID_REQUEST, f"a batch has 1 to {MAX_BATCH} calls"))
        return Response(status_code=204) if answers is None else _Answer(answers)

    async def _answer_one(self, call: Any) -> Any:
        if not isinstance(call, dict) or not isinstance(call.get("method"), str):
            return _error(None, RpcError(INVALID_REQUEST, "invalid request"))
        identifier = call.get("id")
        if not _is_identifier(identifier):
            return _error(None, RpcError(INVALID_REQUEST, "invalid request"))
        params = call.get("params") or []
        if not isinstance(params, list | dict):
            return _error(identifier, RpcError(INVALID_REQUEST, "invalid request"))
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(self._machine, self._methods.run, call["method"], params)
        except RpcError as error:
            body = _error(identifier, error)
        except Exception:  # noqa: BLE001 (whatever the machine below raises is logged, and is a plain error outside)
            _log.exception("chain.method.failed")
            body = _error(identifier, RpcError(SERVER_ERROR, "internal error"))
        else:
            body = {"jsonrpc": "2.0", "id": identifier, "result": result}
        return body if "id" in call else None


def application(chain: EmbeddedChain, *, time_travel: bool, loopback: bool) -> Starlette:
    """Return the ASGI application of a chain; pages of any origin may read it, as with any public node."""
    endpoint = Endpoint(chain, time_travel=time_travel, loopback=loopback)
    app = Starlette(routes=[Route("/", endpoint.answer, methods=["POST"])])
    app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_methods=["POST"], allow_headers=["content-type"])
    return app


async def _read(request: Request) -> bytes:
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MAX_BODY_BYTES:
            raise RpcError(INVALID_REQUEST, "request entity too large")
        chunks.append(chunk)
    return b"".join(chunks)


def _parse(body: bytes) -> Any:
    """Return the JSON in `body`; ValueError when it is none, or nested too deeply.

    The machine raises Python's recursion limit so far that a deeply nested text would overflow the C stack.
    """
    depth = deepest = 0
    for bracket in _TEXTS.sub(b"", body).translate(None, _NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return json.loads(body, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    """Refuse NaN and Infinity, which Python reads and JSON does not have."""
    raise ValueError(f"{name} is not JSON")


def _is_identifier(value: Any) -> bool:
    """Return whether a call may have this id: a text, a finite number or null."""
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or (isinstance(value, str | int) and not isinstance(value, bool))


def _error(identifier: Any, error: RpcError) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": identifier, "error": error.to_json()}


def _last_port(directory: Path) -> int | None:
    try:
        url = json.loads((directory / "chain.json").read_text("utf-8"))["url"]
        return int(str(url).rpartition(":")[2].rstrip("/"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _notice(text: str) -> None:
    sys.stderr.write(f"platemark-gateway chain: {text}\n")
