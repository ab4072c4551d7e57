"""How a chain endpoint's answers and failures become values and errors; a small server plays the endpoint."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from platemark.errors import PlatemarkError, RefusedError, TryLaterError, UpstreamError, VerificationError
from platemark.protocol import abi
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, Digest32, Wei, address_text
from platemark.sdk.chain import ChainClient, MinedCall

LICENSE = Address(b"\x21" * 20)
ACCOUNT = AccountKey(b"\x42" * 32)
Answers = dict[str, Any]


class RpcError(Exception):
    """What an endpoint refuses."""

    def __init__(self, message: str, data: str | None = None, code: int = 3) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message} | ({} if data is None else {"data": data})


@contextmanager
def endpoint(answers: Answers) -> Iterator[tuple[ChainClient, list[tuple[str, list[Any]]]]]:
    """Serve JSON-RPC from a mapping of methods to values or functions of the parameters."""
    asked: list[tuple[str, list[Any]]] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((call["method"], call.get("params", [])))
            body: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
            try:
                found = answers[call["method"]]
                body["result"] = found(*call["params"]) if callable(found) else found
            except RpcError as error:
                body["error"] = error.body
            except KeyError:
                body["error"] = {"code": -32601, "message": "no such method"}
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.block_on_close = False
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        chain = ChainClient(f"http://127.0.0.1:{server.server_port}", timeout_seconds=5, sleep=lambda _: None)
        try:
            yield chain, asked
        finally:
            chain.close()
            server.shutdown()
            thread.join()


def _block(number: int) -> dict[str, Any]:
    return {
        "number": hex(number),
        "hash": f"0x{number:064x}",
        "timestamp": hex(1_800_000_000 + number),
        "baseFeePerGas": hex(7),
    }


def _word(value: int) -> str:
    return f"0x{value:064x}"


def _raise(error: Exception) -> Callable[..., Any]:
    def raising(*_: Any) -> Any:
        raise error

    return raising


def test_blocks_have_number_hash_and_time() -> None:
    answers = {"eth_chainId": "0x5", "eth_getBlockByNumber": lambda tag, _: _block({"finalized": 7, "latest": 9}[tag])}
    with endpoint(answers) as (chain, _):
        assert chain.chain_id() == 5
        assert (chain.head().number, chain.final_block().number) == (9, 7)
        assert chain.final_block().hash == (7).to_bytes(32)
        assert chain.head().timestamp == 1_800_000_009


@pytest.mark.parametrize("number", [8, (1 << 63) - 1, 1 << 63, (1 << 64) - 1])
def test_block_that_no_chain_can_have_is_unknown_and_no_refusal_of_the_endpoint(number: int) -> None:
    """As go-ethereum answers: null for what it has not, an error for what does not fit its numbers."""

    def answer(stated: str, _: bool) -> None:
        if int(stated, 16) >= 1 << 63:
            raise RpcError("invalid argument 0: block number larger than int64", code=-32602)

    with endpoint({"eth_getBlockByNumber": answer}) as (chain, _), pytest.raises(UpstreamError) as caught:
        chain.block(number)
    assert caught.value.code == "block-unknown"


def test_another_chain_is_refused() -> None:
    with endpoint({"eth_chainId": "0x5"}) as (chain, _):
        chain.check_chain(5)
        with pytest.raises(VerificationError) as caught:
            chain.check_chain(6)
    assert (caught.value.code, caught.value.found) == ("wrong-chain", "5")


@pytest.mark.parametrize(
    "answer,code",
    [
        (
            _raise(
                RpcError(
                    "execution reverted",
                    "0x" + abi.selector(abi.load("PrintLicense").entry("error", "NotOnSale")).hex() + "00" * 32,
                )
            ),
            "not-on-sale",
        ),
        (_raise(RpcError("execution reverted", "0x12345678")), "contract-refused"),
        (_raise(RpcError("execution reverted", "0x")), "contract-refused"),
        (_raise(RpcError("too many blocks", code=-32005)), "rpc-refused"),
        ("0x", "contract-missing"),
        ("nonsense", "rpc-malformed"),
    ],
)
def test_what_a_call_may_meet(answer: Any, code: str) -> None:
    with (
        endpoint({"eth_call": answer, "eth_chainId": "0x5", "eth_getCode": "0x"}) as (chain, _),
        pytest.raises(PlatemarkError) as caught,
    ):
        chain.read("PrintLicense", LICENSE, "balanceOf", address_text(ACCOUNT.address), 1)
    assert caught.value.code == code


PAGE = b"<!doctype html>"


@pytest.mark.parametrize(
    "status,body,code",
    [
        (200, PAGE, "rpc-foreign"),
        (404, PAGE, "rpc-foreign"),
        (501, PAGE, "rpc-foreign"),
        (429, PAGE, "rpc-unreachable"),
        (503, PAGE, "rpc-unreachable"),
        (200, b"[]", "rpc-malformed"),
        (200, b"null", "rpc-malformed"),
        (200, b'"0x1"', "rpc-malformed"),
        (200, b"{}", "rpc-malformed"),
    ],
)
def test_web_server_that_answers_is_no_chain_endpoint_unless_it_is_busy(status: int, body: bytes, code: str) -> None:
    class Website(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (http.server's name)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Website) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        chain = ChainClient(f"http://127.0.0.1:{server.server_port}", timeout_seconds=5, sleep=lambda _: None)
        with closing(chain), pytest.raises(UpstreamError) as caught:
            chain.chain_id()
        server.shutdown()
        thread.join()
    assert caught.value.code == code


def test_every_error_of_the_contracts_becomes_a_refusal_with_its_name() -> None:
    chain = ChainClient("http://127.0.0.1:9")
    for name in abi.NAMES:
        for selector, entry in abi.load(name).errors().items():
            refusal = chain._refusal("0x" + selector.hex() + "00" * 96)
            assert refusal.code.replace("-", "") == entry["name"].lower()
            assert isinstance(refusal, RefusedError)


def test_nobody_at_the_address_is_an_upstream_error_without_the_address_secrets() -> None:
    chain = ChainClient("http://127.0.0.1:9/v3/secret-key", timeout_seconds=0.5)
    with pytest.raises(UpstreamError) as caught:
        chain.chain_id()
    assert caught.value.code == "rpc-unreachable"
    assert "secret-key" not in f"{caught.value.message} {caught.value.hint} {chain!r}"


def test_an_endpoint_that_hangs_is_waited_for_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        chain = ChainClient(f"http://127.0.0.1:{server.getsockname()[1]}", timeout_seconds=0.2)
        with pytest.raises(UpstreamError) as caught:
            chain.chain_id()
        chain.close()
        assert caught.value.code == "rpc-unreachable"
        called = [server.accept()[0]]
        with pytest.raises(TimeoutError):
            called.append(server.accept()[0])
        for connection in called:
            connection.close()


SENDING: Answers = {
    "eth_chainId": "0x5",
    "eth_getBalance": hex(10**18),
    "eth_getBlockByNumber": lambda *_: _block(3),
    "eth_maxPriorityFeePerGas": hex(2),
    "eth_estimateGas": hex(100_000),
    "eth_getTransactionCount": hex(4),
    "eth_sendRawTransaction": _word(0xAB),
}


def _buy(chain: ChainClient, value: int = 10**15) -> Digest32:
    return chain.transact(
        ACCOUNT, "PrintLicense", LICENSE, "purchase", 1, address_text(ACCOUNT.address), 2, chain_id=5, value=Wei(value)
    )


def test_a_transaction_is_signed_here_and_sent_raw() -> None:
    from eth_account import Account
    from eth_account.typed_transactions.typed_transaction import TypedTransaction
    from hexbytes import HexBytes

    with endpoint(SENDING) as (chain, asked):
        assert _buy(chain) == (0xAB).to_bytes(32)
    methods = [method for method, _ in asked]
    assert "eth_sendTransaction" not in methods
    (raw,) = next(params for method, params in asked if method == "eth_sendRawTransaction")
    assert Account.recover_transaction(raw) == address_text(ACCOUNT.address)
    fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    assert (fields["chainId"], fields["nonce"], fields["value"]) == (5, 4, 10**15)
    assert (fields["gas"], fields["maxFeePerGas"], fields["maxPriorityFeePerGas"]) == (120_000, 16, 2)
    assert bytes(fields["to"]) == LICENSE


def test_nothing_is_signed_for_another_chain_or_without_coin() -> None:
    with endpoint(SENDING | {"eth_chainId": "0x6"}) as (chain, asked), pytest.raises(VerificationError):
        _buy(chain)
    with endpoint(SENDING | {"eth_getBalance": hex(10**15)}) as (chain, others), pytest.raises(RefusedError) as caught:
        _buy(chain)
    assert caught.value.code == "coin-missing"
    assert not any(method == "eth_sendRawTransaction" for method, _ in (*asked, *others))


def test_what_the_contract_would_refuse_is_never_sent() -> None:
    data = "0x" + abi.selector(abi.load("PrintLicense").entry("error", "NotOnSale")).hex() + "00" * 32
    with (
        endpoint(SENDING | {"eth_estimateGas": _raise(RpcError("execution reverted", data))}) as (chain, asked),
        pytest.raises(RefusedError) as caught,
    ):
        _buy(chain)
    assert caught.value.code == "not-on-sale"
    assert not any(method == "eth_sendRawTransaction" for method, _ in asked)


def test_too_little_coin_for_gas_is_told_as_such() -> None:
    error = RpcError("insufficient funds for gas * price + value", code=-32000)
    with (
        endpoint(SENDING | {"eth_sendRawTransaction": _raise(error)}) as (chain, _),
        pytest.raises(RefusedError) as caught,
    ):
        _buy(chain)
    assert caught.value.code == "coin-missing"


def test_an_endpoint_that_suggests_no_tip_is_enough() -> None:
    without = {name: value for name, value in SENDING.items() if name != "eth_maxPriorityFeePerGas"}
    with endpoint(without) as (chain, _):
        assert _buy(chain) == (0xAB).to_bytes(32)


def _receipt(block: int, status: int = 1) -> dict[str, Any]:
    return {
        "transactionHash": _word(0xAB),
        "transactionIndex": "0x0",
        "blockHash": _word(block),
        "blockNumber": hex(block),
        "from": address_text(ACCOUNT.address),
        "to": address_text(LICENSE),
        "cumulativeGasUsed": "0x5208",
        "gasUsed": "0x5208",
        "contractAddress": None,
        "logs": [],
        "logsBloom": "0x" + "00" * 256,
        "status": hex(status),
        "type": "0x2",
        "effectiveGasPrice": "0x1",
    }


def test_a_transaction_is_followed_until_its_block_is_final() -> None:
    finals = iter([4, 5, 6])
    receipts: Iterator[Any] = iter([None, _receipt(6), _receipt(6), _receipt(6)])
    answers = {
        "eth_getTransactionReceipt": lambda _: next(receipts),
        "eth_getBlockByNumber": lambda *_: _block(next(finals)),
    }
    waits = []
    with endpoint(answers) as (chain, _):
        sent = chain.wait(Digest32((0xAB).to_bytes(32)), on_wait=lambda: waits.append(1))
    assert (sent.block, sent.gas_used) == (6, 21_000)
    assert len(waits) == 3


def test_a_reverted_transaction_and_the_end_of_patience_are_told_apart() -> None:
    final = {"eth_getBlockByNumber": lambda *_: _block(9)}
    with endpoint(final | {"eth_getTransactionReceipt": _receipt(6, 0)}) as (chain, _), pytest.raises(RefusedError):
        chain.wait(Digest32((0xAB).to_bytes(32)))
    with endpoint(final | {"eth_getTransactionReceipt": None}) as (chain, _), pytest.raises(TryLaterError) as caught:
        chain.wait(Digest32((0xAB).to_bytes(32)), seconds=0)
    assert caught.value.code == "awaiting-finality"


def test_ranges_of_events_are_asked_for_in_pieces_that_shrink_when_refused() -> None:
    ranges: list[tuple[int, int]] = []

    def logs(query: dict[str, Any]) -> list[Any]:
        low, high = int(query["fromBlock"], 16), int(query["toBlock"], 16)
        if high - low >= 3000:
            raise RpcError("too many blocks", code=-32005)
        ranges.append((low, high))
        return []

    with endpoint({"eth_getLogs": logs, "eth_chainId": "0x5"}) as (chain, _):
        assert not list(chain.events("PrintLicense", LICENSE, ["PrintsSold"], from_block=0, to_block=6000))
    assert ranges == [(0, 2499), (2500, 4999), (5000, 6000)]


def test_shipped_code_is_recognised_whatever_its_immutable_values() -> None:
    artifact = abi.load("PrintLedger")
    code = bytearray(artifact.deployed_bytecode)
    for places in artifact.immutable_references.values():
        for place in places:
            code[place["start"] : place["start"] + place["length"]] = b"\x5a" * place["length"]
    with endpoint({"eth_getCode": "0x" + code.hex(), "eth_chainId": "0x5"}) as (chain, _):
        chain.check_code("PrintLedger", LICENSE)
    code[4] ^= 1  # among the first instructions, before any immutable value
    for other in ("0x" + code.hex(), "0x", "0x" + code[:-1].hex()):
        with (
            endpoint({"eth_getCode": other, "eth_chainId": "0x5"}) as (chain, _),
            pytest.raises(VerificationError) as caught,
        ):
            chain.check_code("PrintLedger", LICENSE)
        assert caught.value.code == "contract-code"
        assert "another version of Platemark" in (caught.value.hint or "")


@pytest.mark.parametrize("to", [address_text(LICENSE), None])
@pytest.mark.parametrize("status", [0, 1])
def test_transaction_is_shown_with_its_block_and_how_it_ended(to: str | None, status: int) -> None:
    place: Answers = {"blockNumber": "0x7", "blockHash": "0x" + "07" * 32, "transactionIndex": "0x0"}
    place |= {"from": address_text(ACCOUNT.address), "to": to}
    sent = place | {"hash": "0x" + "09" * 32, "input": "0xc0ffee", "nonce": "0x0", "value": "0x0", "gas": "0x1"}
    receipt = place | {"transactionHash": "0x" + "09" * 32, "status": hex(status), "gasUsed": "0x1", "logs": []}
    answers = {"eth_getTransactionByHash": sent, "eth_getTransactionReceipt": receipt, "eth_chainId": "0x5"}
    with endpoint(answers) as (chain, _):
        found = chain.transaction(Digest32(b"\x09" * 32))
    assert found == MinedCall(None if to is None else LICENSE, b"\xc0\xff\xee", 7, succeeded=status == 1)


@pytest.mark.parametrize("missing", ["eth_getTransactionByHash", "eth_getTransactionReceipt"])
def test_transaction_that_the_endpoint_lacks_is_none(missing: str) -> None:
    sent = {"hash": "0x" + "09" * 32, "input": "0x", "nonce": "0x0", "value": "0x0", "gas": "0x1", "to": None}
    answers: Answers = {"eth_getTransactionByHash": sent, "eth_getTransactionReceipt": {}, "eth_chainId": "0x5"}
    answers |= {missing: None}
    with endpoint(answers) as (chain, _):
        assert chain.transaction(Digest32(b"\x09" * 32)) is None
