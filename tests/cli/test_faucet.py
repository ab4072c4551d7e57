"""Coins for a key: from the embedded chain's faucet, and from no other chain."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from stack import PASSPHRASE, Stack, command


class _OtherChain(BaseHTTPRequestHandler):
    """An endpoint that knows no method."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        error = {"code": -32601, "message": "the method does not exist"}
        body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002 (the name is the library's)
        """Say nothing."""


@pytest.fixture
def other_chain() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _OtherChain)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_no_other_chain_has_a_faucet(
    other_chain: str, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATEMARK_PASSPHRASE", PASSPHRASE)
    home = f"--home={tmp_path_factory.mktemp('home')}"
    assert command(home, "keys", "new").exit_code == 0
    ended = command(home, "keys", "fund", "--rpc", other_chain, "--json")
    assert (ended.exit_code, ended.error_code) == (4, "faucet-missing")


@pytest.mark.slow
def test_the_embedded_chain_gives_coins_and_a_refusal_says_so(stack: Stack) -> None:
    person = stack.person("poor")
    other = stack.person("maker", coins=True)
    funded = person.run("keys", "fund")
    assert int(funded["balance"]) >= 10**18
    assert int(other.run("keys", "fund")["balance"]) > int(funded["balance"])


@pytest.mark.slow
def test_a_gateways_address_is_said_to_be_no_chain_endpoint(stack: Stack) -> None:
    ended = stack.person("mistaken").attempt("keys", "fund", rpc=stack.url)
    assert (ended.exit_code, ended.error_code) == (1, "rpc-foreign")
    assert ended.complaints == [f"platemark: {stack.url} answers, but is no chain endpoint [rpc-foreign]"]
