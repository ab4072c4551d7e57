import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from platemark.errors import PlatemarkError, UpstreamError
from platemark.protocol import abi
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, address_text, digest32
from platemark_gateway.chain.client import MAX_ANSWER_BYTES, ChainClient, ContractReader, Rpc, WrongChainError
from platemark_gateway.chain.errors import NodeError, NodeUnreachableError, RevertedError
from platemark_gateway.ports import Contract, Deployment

pytestmark = pytest.mark.anyio

HERE = Address(b"\x01" * 20)
DEPLOYMENT = Deployment(5, Address(b"\x11" * 20), Address(b"\x22" * 20), Address(b"\x33" * 20), 1)
HASH = "0x" + "ab" * 32
HEADER = {"number": "0x5", "hash": HASH, "parentHash": HASH, "timestamp": "0x10", "logsBloom": "0x0"}


def client(answer: Callable[[Any], Any]) -> ChainClient:
    """Return a client of a node that answers each request with what `answer` makes of it."""

    def handle(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        found = answer(body)
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    return ChainClient(Rpc("http://node.test", timeout_seconds=2, transport=httpx.MockTransport(handle)))


def result(value: Any) -> Callable[[Any], Any]:
    return lambda body: {"jsonrpc": "2.0", "id": body["id"], "result": value}


def error(value: Any) -> Callable[[Any], Any]:
    return lambda body: {"jsonrpc": "2.0", "id": body["id"], "error": value}


@pytest.mark.parametrize(
    "answer",
    [
        lambda _body: [],
        lambda _body: "text",
        lambda _body: {},
        lambda _body: httpx.Response(200, content=b"{"),
        lambda _body: httpx.Response(200, content=b"[" * 50_000),
        lambda _body: httpx.Response(404, content=b"<html>"),
        error("text"),
        error({"message": "no code"}),
        result(None),
        result("zz"),
        result({}),
    ],
)
async def test_nonsense_is_named_as_such(answer: Callable[[Any], Any]) -> None:
    with pytest.raises(UpstreamError) as caught:
        await client(answer).chain_id()
    assert caught.value.code == "rpc-nonsense"


@pytest.mark.parametrize(
    "header",
    [
        [],
        {},
        {**HEADER, "hash": "0x12"},
        {**HEADER, "hash": None},
        {**HEADER, "number": None},
        {**HEADER, "logsBloom": "x"},
    ],
)
async def test_broken_header_is_nonsense(header: Any) -> None:
    with pytest.raises(UpstreamError):
        await client(result(header)).header("latest")


@pytest.mark.parametrize(
    "change", [{"topics": ["0x12"]}, {"topics": None}, {"address": "0x12"}, {"data": "0x1"}, {"blockHash": None}]
)
async def test_broken_log_is_nonsense(change: dict[str, Any]) -> None:
    log = {
        "address": "0x" + "11" * 20,
        "topics": [HASH],
        "data": "0x",
        "blockNumber": "0x1",
        "blockHash": HASH,
        "transactionHash": HASH,
        "logIndex": "0x0",
    }
    assert len(await client(result([log])).logs([HERE], 0, 1)) == 1
    with pytest.raises(UpstreamError):
        await client(result([log | change])).logs([HERE], 0, 1)


async def test_answer_beyond_the_limit_is_cut_off() -> None:
    huge = httpx.Response(200, content=b" " * (MAX_ANSWER_BYTES + 1))
    with pytest.raises(UpstreamError, match="too much"):
        await client(lambda _body: huge).chain_id()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_node_that_is_busy_is_tried_twice(status: int) -> None:
    calls = []

    def answer(body: Any) -> Any:
        calls.append(body)
        return httpx.Response(status)

    with pytest.raises(NodeUnreachableError) as caught:
        await client(answer).chain_id()
    assert caught.value.retry_after_seconds == 5
    assert len(calls) == 2


async def test_sending_is_never_repeated_by_itself() -> None:
    calls = []

    def answer(body: Any) -> Any:
        calls.append(body)
        return httpx.Response(503)

    with pytest.raises(NodeUnreachableError):
        await client(answer).send(b"\x02")
    assert len(calls) == 1


async def test_batch_is_put_in_order_and_must_be_whole() -> None:
    def turned(body: Any) -> Any:
        answers = [
            {"jsonrpc": "2.0", "id": each["id"], "result": {**HEADER, "number": each["params"][0]}} for each in body
        ]
        return answers[::-1]

    headers = await client(turned).headers(3, 120)
    assert [each.number for each in headers] == list(range(3, 121))
    with pytest.raises(UpstreamError):
        await client(lambda body: turned(body)[:-1]).headers(3, 5)
    with pytest.raises(UpstreamError):
        await client(lambda body: [turned(body)[0]] * len(body)).headers(3, 5)


async def test_headers_end_before_the_first_that_is_missing() -> None:
    def answer(body: Any) -> Any:
        return [
            {
                "id": each["id"],
                "result": None if each["params"][0] == "0x5" else {**HEADER, "number": each["params"][0]},
            }
            for each in body
        ]

    assert [each.number for each in await client(answer).headers(3, 8)] == [3, 4]


@pytest.mark.parametrize(
    "found, kind",
    [
        ({"code": 3, "message": "execution reverted", "data": "0xdeadbeef"}, RevertedError),
        ({"code": -32000, "message": "execution reverted"}, RevertedError),
        ({"code": 3, "message": "execution reverted", "data": {"data": "0xdeadbeef"}}, RevertedError),
        ({"code": -32000, "message": "nonce too low"}, NodeError),
    ],
)
async def test_reverts_are_told_from_refusals(found: Any, kind: type[PlatemarkError]) -> None:
    with pytest.raises(kind):
        await client(error(found)).execute(HERE, b"")


async def test_error_text_of_a_node_stays_out_of_messages() -> None:
    with pytest.raises(NodeError) as caught:
        await client(error({"code": -32000, "message": "secret"})).chain_id()
    assert "secret" not in str(caught.value)
    assert caught.value.rpc_message == "secret"


async def test_other_chain_is_refused() -> None:
    node = client(result("0x5"))
    await node.require_chain(5)
    with pytest.raises(WrongChainError):
        await node.require_chain(6)


@pytest.mark.parametrize(
    "code, answer, expected",
    [
        ("0x", "0x", False),
        ("0x60", "0x1626ba7e" + "00" * 28, True),
        ("0x60", "0x1626ba7e" + "01" * 28, False),
        ("0x60", "0x" + "00" * 32, False),
        ("0x60", "0x", False),
    ],
)
async def test_contract_wallets_are_asked(code: str, answer: str, expected: bool) -> None:
    def node(body: Any) -> Any:
        return result(code if body["method"] == "eth_getCode" else answer)(body)

    reader = ContractReader(client(node), Deployment(1, HERE, HERE, HERE, 1))
    assert await reader.is_signed_by(HERE, digest32(b"\x07" * 32), b"any form") is expected


async def test_key_of_a_delegated_account_needs_no_contract() -> None:
    def node(_body: Any) -> Any:
        raise AssertionError("the chain is not asked")

    key = AccountKey(b"\x09" * 32)
    digest = digest32(b"\x07" * 32)
    reader = ContractReader(client(node), Deployment(1, HERE, HERE, HERE, 1))
    assert await reader.is_signed_by(key.address, digest, key.sign(digest))


@pytest.mark.parametrize("word, expected", [("00" * 32, None), ("5a" * 32, digest32(b"\x5a" * 32))])
async def test_a_free_number_has_no_statement(word: str, expected: bytes | None) -> None:
    assert await ContractReader(client(result("0x" + word)), DEPLOYMENT).statement(HERE, 7) == expected


async def test_what_is_owed_is_read_from_the_licence_contract() -> None:
    asked: list[Any] = []

    def answer(body: Any) -> Any:
        asked.append(body["params"][0]["to"])
        return result("0x" + (17).to_bytes(32, "big").hex())(body)

    assert await ContractReader(client(answer), DEPLOYMENT).owed(HERE, HERE) == 17
    assert asked == [address_text(DEPLOYMENT.license)]


async def test_a_call_is_tried_by_estimating_it() -> None:
    methods: list[str] = []

    def answer(body: Any) -> Any:
        methods.append(body["method"])
        return result(hex(1_000_000))(body)

    reader = ContractReader(client(answer), DEPLOYMENT)
    await reader.try_call(Contract.LICENSE, "withdrawFor", [HERE, HERE])
    with pytest.raises(PlatemarkError) as caught:
        await reader.try_call(Contract.LICENSE, "withdrawFor", [HERE, HERE], most_gas=999_999)
    assert caught.value.code == "gas-excessive"
    assert set(methods) == {"eth_estimateGas"}


async def test_a_call_that_would_revert_is_refused_with_the_contracts_code() -> None:
    entry = abi.load(Contract.LICENSE).entry("error", "NotReturnable")
    data = "0x" + (abi.selector(entry) + (7).to_bytes(32, "big")).hex()
    reader = ContractReader(client(error({"code": 3, "message": "execution reverted", "data": data})), DEPLOYMENT)
    with pytest.raises(RevertedError) as caught:
        await reader.try_call(Contract.LICENSE, "returnPrints", [7, 1])
    assert caught.value.code == "not-returnable"
