"""The embedded chain as a real process: what clients see, and what survives."""

import json
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from chain_process import (
    CREATION,
    ECHO,
    EMIT,
    ENDLESS,
    LOAD,
    REVERT,
    RUNTIME,
    STORE,
    ChainProcess,
    RpcFailedError,
    close,
    running_chain,
    spawn,
    start_chain,
)
from platemark.protocol.accounts import AccountKey
from platemark.protocol.deployment import (
    DEPLOYER,
    DEPLOYER_CODE,
    DEPLOYER_FUNDS,
    DEPLOYER_SIGNER,
    DEPLOYER_TRANSACTION,
)
from platemark.protocol.units import Address, address_text, keccak256
from trusted import authorities

TOPIC_A = b"\xaa" * 32
TOPIC_B = b"\xbb" * 32


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChainProcess]:
    with running_chain(tmp_path_factory.mktemp("chain") / "data", "--time-travel") as running:
        yield running


@pytest.fixture
def account(chain: ChainProcess) -> AccountKey:
    key = AccountKey(secrets.token_bytes(32))
    chain.fund(key.address)
    return key


@pytest.fixture
def contract(chain: ChainProcess, account: AccountKey) -> Address:
    return chain.create(account, CREATION)


def call(chain: ChainProcess, to: Address, data: bytes, tag: Any = "latest") -> bytes:
    return bytes.fromhex(chain.rpc("eth_call", {"to": address_text(to), "data": "0x" + data.hex()}, tag)[2:])


def refusal(chain: ChainProcess, method: str, *params: Any) -> RpcFailedError:
    with pytest.raises(RpcFailedError) as caught:
        chain.rpc(method, *params)
    return caught.value


# --- what clients see -------------------------------------------------------------------------------------


def test_web3_deploys_calls_and_reads_events(chain: ChainProcess, account: AccountKey) -> None:
    from web3 import Web3
    from web3.exceptions import ContractLogicError

    web3 = Web3(Web3.HTTPProvider(chain.url))
    assert web3.is_connected()
    assert web3.eth.chain_id == chain.chain_id
    address = web3.to_checksum_address(address_text(account.address))
    transaction: Any = {
        "from": address,
        "data": "0x" + CREATION.hex(),
        "nonce": web3.eth.get_transaction_count(address, "pending"),
        "chainId": web3.eth.chain_id,
        "maxFeePerGas": web3.eth.gas_price * 2,
        "maxPriorityFeePerGas": web3.eth.max_priority_fee,
        "value": 0,
    }
    transaction["gas"] = web3.eth.estimate_gas(transaction)
    signed = web3.eth.account.sign_transaction(transaction, account.secret())
    receipt = web3.eth.wait_for_transaction_receipt(web3.eth.send_raw_transaction(signed.raw_transaction))
    assert receipt["status"] == 1
    assert receipt["contractAddress"] is not None
    assert bytes(web3.eth.get_code(receipt["contractAddress"])) == RUNTIME
    assert bytes(web3.eth.call({"to": receipt["contractAddress"], "data": b"\x02\xc0\xff\xee"})) == b"\xc0\xff\xee"
    with pytest.raises(ContractLogicError):
        web3.eth.call({"to": receipt["contractAddress"], "data": b"\0"})
    block = web3.eth.get_block(receipt["blockNumber"], full_transactions=True)
    assert block["hash"] == receipt["blockHash"]
    found: Any = block["transactions"][0]
    assert found["from"] == address
    assert web3.eth.get_transaction(receipt["transactionHash"])["hash"] == receipt["transactionHash"]
    assert web3.eth.get_block("finalized")["number"] == web3.eth.get_block("latest")["number"]
    assert web3.eth.fee_history(2, "latest", [50.0])["reward"]


def test_block_hash_is_the_hash_of_its_header(chain: ChainProcess, account: AccountKey) -> None:
    import rlp  # type: ignore[import-untyped]

    chain.send(account, account.address, value=1)
    block = chain.rpc("eth_getBlockByNumber", "latest", False)
    words = [
        "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
    ]  # fmt: skip
    numbers = ["difficulty", "number", "gasLimit", "gasUsed", "timestamp"]
    fields: list[object] = [bytes.fromhex(block[name][2:]) for name in words]
    fields += [int(block[name], 16) for name in numbers]
    fields += [bytes.fromhex(block[name][2:]) for name in ("extraData", "mixHash", "nonce")]
    fields += [int(block["baseFeePerGas"], 16), bytes.fromhex(block["withdrawalsRoot"][2:])]
    fields += [int(block["blobGasUsed"], 16), int(block["excessBlobGas"], 16)]
    fields += [bytes.fromhex(block["parentBeaconBlockRoot"][2:])]
    assert "0x" + keccak256(rlp.encode(fields)).hex() == block["hash"]


def test_revert_data_passes_through_call_and_estimate(chain: ChainProcess, contract: Address) -> None:
    custom = bytes.fromhex("deadbeef") + (7).to_bytes(32, "big")
    request = {"to": address_text(contract), "data": "0x" + (REVERT + custom).hex()}
    for method in ("eth_call", "eth_estimateGas"):
        error = refusal(chain, method, request)
        assert (error.code, error.data) == (3, "0x" + custom.hex())


def test_error_string_is_worded_as_nodes_do(chain: ChainProcess, contract: Address) -> None:
    text = b"no more"
    data = bytes.fromhex("08c379a0") + (32).to_bytes(32, "big") + len(text).to_bytes(32, "big") + text.ljust(32, b"\0")
    error = refusal(chain, "eth_call", {"to": address_text(contract), "data": "0x" + (REVERT + data).hex()})
    assert str(error) == "execution reverted: no more"


def test_transaction_that_reverts_is_mined_with_status_0(
    chain: ChainProcess, account: AccountKey, contract: Address
) -> None:
    receipt = chain.send(account, contract, REVERT + b"\1\2\3\4")
    assert receipt["status"] == "0x0"
    assert receipt["logs"] == []


def test_state_is_read_as_it_was_at_a_block(chain: ChainProcess, account: AccountKey, contract: Address) -> None:
    first = chain.send(account, contract, STORE + (1).to_bytes(32, "big"))
    chain.send(account, contract, STORE + (2).to_bytes(32, "big"))
    assert int.from_bytes(call(chain, contract, LOAD)) == 2
    assert int.from_bytes(call(chain, contract, LOAD, first["blockNumber"])) == 1
    assert int.from_bytes(call(chain, contract, LOAD, {"blockHash": first["blockHash"]})) == 1
    assert int(chain.rpc("eth_getStorageAt", address_text(contract), "0x0", first["blockNumber"]), 16) == 1


def test_logs_are_filtered_by_range_address_topics_and_block(
    chain: ChainProcess, account: AccountKey, contract: Address
) -> None:
    other = chain.create(account, CREATION)
    first = chain.send(account, contract, EMIT + TOPIC_A + TOPIC_B + b"one")
    second = chain.send(account, contract, EMIT + TOPIC_B + TOPIC_A + b"two")
    chain.send(account, other, EMIT + TOPIC_A + TOPIC_A + b"three")
    a, b = "0x" + TOPIC_A.hex(), "0x" + TOPIC_B.hex()
    everything = {"fromBlock": first["blockNumber"], "toBlock": "latest"}

    def data(**query: Any) -> list[bytes]:
        return [bytes.fromhex(each["data"][2:]) for each in chain.rpc("eth_getLogs", query)]

    assert data(**everything) == [b"one", b"two", b"three"]
    assert data(**everything, address=address_text(contract)) == [b"one", b"two"]
    assert data(**everything, address=[address_text(other), address_text(contract)], topics=[a]) == [b"one", b"three"]
    assert data(**everything, topics=[None, a]) == [b"two", b"three"]
    assert data(**everything, topics=[[a, b], [b]]) == [b"one"]
    assert data(**everything, topics=[a, b, a]) == []
    assert data(blockHash=second["blockHash"]) == [b"two"]
    assert data(fromBlock=first["blockNumber"], toBlock=first["blockNumber"]) == [b"one"]
    assert str(refusal(chain, "eth_getLogs", {"blockHash": "0x" + "00" * 32})) == "unknown block"
    log = chain.rpc("eth_getLogs", {"blockHash": second["blockHash"]})[0]
    assert log["transactionHash"] == second["transactionHash"]
    assert log["logIndex"] == "0x0"
    assert log["removed"] is False


def test_estimate_is_enough_and_not_much_more(chain: ChainProcess, account: AccountKey, contract: Address) -> None:
    data = STORE + secrets.token_bytes(32)
    request = {"from": address_text(account.address), "to": address_text(contract), "data": "0x" + data.hex()}
    estimate = int(chain.rpc("eth_estimateGas", request), 16)
    raw = chain.sign(account, contract, data, gas=estimate)
    chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    receipt = chain.rpc("eth_getTransactionReceipt", "0x" + keccak256(raw).hex())
    assert receipt["status"] == "0x1"
    assert int(receipt["gasUsed"], 16) <= estimate <= int(receipt["gasUsed"], 16) * 1.06


@pytest.mark.parametrize(
    "change, message",
    [
        ({"chain_id": 1}, "invalid chain id"),
        ({"nonce": 99}, "nonce too high"),
        ({"gas": 20_000}, "intrinsic gas too low"),
        ({"gas": 10**9}, "exceeds block gas limit"),
        ({"value": 10**24}, "insufficient funds"),
        ({"most": 1, "priority": 1}, "less than block base fee"),
        ({"priority": 10**12}, "max priority fee per gas higher"),
    ],
)
def test_unacceptable_transaction_is_refused_in_a_nodes_words(
    chain: ChainProcess, account: AccountKey, change: dict[str, int], message: str
) -> None:
    from platemark_gateway.chain.transactions import Fees, sign_transaction

    fields = {"chain_id": chain.chain_id, "nonce": 0, "gas": 21_000, "value": 1, "most": 10**11, "priority": 10**9}
    fields |= change
    raw = sign_transaction(
        account.sign,
        chain_id=fields["chain_id"],
        nonce=fields["nonce"],
        fees=Fees(fields["most"], fields["priority"]),
        gas=fields["gas"],
        to=account.address,
        value=fields["value"],
        data=b"",
    )
    head = chain.rpc("eth_blockNumber")
    assert message in str(refusal(chain, "eth_sendRawTransaction", "0x" + raw.hex()))
    assert chain.rpc("eth_blockNumber") == head
    assert chain.send(account, account.address, value=1)["status"] == "0x1"


def test_same_transaction_twice_is_already_known(chain: ChainProcess, account: AccountKey) -> None:
    raw = chain.sign(account, account.address, value=1)
    chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
    assert str(refusal(chain, "eth_sendRawTransaction", "0x" + raw.hex())) == "already known"


def test_only_the_deployers_transaction_may_lack_a_chain_id(chain: ChainProcess, account: AccountKey) -> None:
    from eth_account import Account

    order = {
        "nonce": 0,
        "gasPrice": 10**11,
        "gas": 21_000,
        "to": address_text(account.address),
        "value": 1,
        "data": b"",
    }
    raw = bytes(Account.sign_transaction(order, account.secret()).raw_transaction)
    assert "only replay-protected" in str(refusal(chain, "eth_sendRawTransaction", "0x" + raw.hex()))
    chain.fund(DEPLOYER_SIGNER, DEPLOYER_FUNDS)
    sent = chain.rpc("eth_sendRawTransaction", "0x" + DEPLOYER_TRANSACTION.hex())
    assert sent == "0x" + keccak256(DEPLOYER_TRANSACTION).hex()
    found = chain.rpc("eth_getTransactionByHash", sent)
    assert "chainId" not in found
    assert (found["from"], found["v"]) == (address_text(DEPLOYER_SIGNER), "0x1b")
    assert chain.rpc("eth_getTransactionReceipt", sent)["contractAddress"] == address_text(DEPLOYER)
    assert chain.rpc("eth_getCode", address_text(DEPLOYER), "latest") == "0x" + DEPLOYER_CODE.hex()
    assert str(refusal(chain, "eth_sendRawTransaction", "0x" + DEPLOYER_TRANSACTION.hex())) == "already known"


@pytest.mark.parametrize("cached", [True, False])
def test_deployer_survives_a_restart(tmp_path: Path, cached: bool) -> None:
    with running_chain(tmp_path) as first:
        first.fund(DEPLOYER_SIGNER, DEPLOYER_FUNDS)
        first.rpc("eth_sendRawTransaction", "0x" + DEPLOYER_TRANSACTION.hex())
        hashes = first.hashes()
        assert first.stop() == 0
    if not cached:
        (tmp_path / "chain.state").unlink()
    with running_chain(tmp_path) as second:
        assert second.hashes() == hashes
        assert second.rpc("eth_getCode", address_text(DEPLOYER), "latest") == "0x" + DEPLOYER_CODE.hex()


def test_node_has_no_accounts_of_its_own(chain: ChainProcess) -> None:
    assert chain.rpc("eth_accounts") == []
    well_known = "0x7E5F4552091A69125d5DfCb7b8C2659029395Bdf"  # the account of private key 1
    assert chain.rpc("eth_getBalance", well_known, "latest") == "0x0"


def test_proofs_lead_from_the_state_root_to_account_and_storage(
    chain: ChainProcess, account: AccountKey, contract: Address
) -> None:
    import rlp
    from trie.hexary import HexaryTrie

    receipt = chain.send(account, contract, STORE + (777).to_bytes(32, "big"))
    chain.send(account, contract, STORE + (1).to_bytes(32, "big"))
    found = chain.rpc("eth_getProof", address_text(contract), ["0x0", "0x5"], receipt["blockNumber"])
    root = bytes.fromhex(chain.rpc("eth_getBlockByNumber", receipt["blockNumber"], False)["stateRoot"][2:])

    def proven(root: bytes, key: bytes, nodes: list[str]) -> bytes:
        decoded = [rlp.decode(bytes.fromhex(node[2:])) for node in nodes]
        return bytes(HexaryTrie.get_from_proof(root, keccak256(key), decoded))  # type: ignore[no-untyped-call]

    nonce, balance, storage_root, code_hash = rlp.decode(proven(root, contract, found["accountProof"]))
    assert (int.from_bytes(nonce), int.from_bytes(balance)) == (1, 0)
    assert "0x" + storage_root.hex() == found["storageHash"]
    assert "0x" + code_hash.hex() == found["codeHash"] == "0x" + keccak256(RUNTIME).hex()
    stored, absent = found["storageProof"]
    assert int.from_bytes(rlp.decode(proven(storage_root, bytes(32), stored["proof"]))) == 777
    assert (stored["value"], absent["value"]) == (hex(777), "0x0")
    assert proven(storage_root, (5).to_bytes(32, "big"), absent["proof"]) == b""
    nobody = chain.rpc("eth_getProof", "0x" + "99" * 20, [], "latest")
    assert (nobody["balance"], nobody["storageProof"]) == ("0x0", [])


def test_deepest_recursion_is_an_answer_not_the_end_of_the_process(chain: ChainProcess, account: AccountKey) -> None:
    endless = chain.create(account, bytes.fromhex("600e600c600039600e6000f3") + ENDLESS)
    chain.rpc("eth_call", {"to": address_text(endless), "gas": hex(30_000_000)}, "latest")
    assert chain.rpc("eth_chainId") == hex(chain.chain_id)


# --- bad input --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, params, code",
    [
        ("eth_unknown", [], -32601),
        ("eth_sendTransaction", [{}], -32601),
        ("eth_getBalance", [], -32602),
        ("eth_getBalance", ["0x12", "latest"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, "newest"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, "0x01"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, "0xffffff"], -32000),
        ("eth_getBalance", ["0x" + "11" * 20, "latest", "latest"], -32602),
        ("eth_getBalance", ["0x" + "11" * 20, ["latest"]], -32602),
        ("eth_getBlockByNumber", ["latest", "yes"], -32602),
        ("eth_getBlockByHash", ["0x12", False], -32602),
        ("eth_call", ["0x", "latest"], -32602),
        ("eth_call", [{"data": "0x1"}, "latest"], -32602),
        ("eth_call", [{"data": "0x01", "input": "0x02"}, "latest"], -32602),
        ("eth_getLogs", [[]], -32602),
        ("eth_getLogs", [{"topics": [1]}], -32602),
        ("eth_getLogs", [{"topics": [None] * 5}], -32602),
        ("eth_getLogs", [{"fromBlock": "0x2", "toBlock": "0x1"}], -32602),
        ("eth_getLogs", [{"blockHash": "0x" + "00" * 32, "fromBlock": "0x1"}], -32602),
        ("eth_sendRawTransaction", ["zz"], -32602),
        ("eth_sendRawTransaction", ["0x"], -32000),
        ("eth_sendRawTransaction", ["0x02c0"], -32000),
        ("eth_sendRawTransaction", ["0x03" + "00" * 40], -32000),
        ("eth_feeHistory", ["0x1", "latest", "x"], -32602),
        ("eth_feeHistory", [100_000, "latest", []], -32602),
        ("platemark_fund", ["0x" + "11" * 20, "0x0"], -32000),
        ("evm_increaseTime", [-1], -32602),
        ("evm_mine", ["0x1"], -32000),
    ],
)
def test_bad_input_is_a_json_rpc_error(chain: ChainProcess, method: str, params: list[Any], code: int) -> None:
    error = refusal(chain, method, *params)
    assert error.code == code
    assert "Traceback" not in str(error)
    assert str(error) != "internal error"


def test_absent_things_are_null(chain: ChainProcess) -> None:
    nothing = "0x" + "77" * 32
    assert chain.rpc("eth_getTransactionByHash", nothing) is None
    assert chain.rpc("eth_getTransactionReceipt", nothing) is None
    assert chain.rpc("eth_getBlockByHash", nothing, False) is None
    assert chain.rpc("eth_getBlockByNumber", "0xffffff", False) is None


def test_batch_answers_each_call_in_order(chain: ChainProcess) -> None:
    answers = chain.post(
        [
            {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []},
            {"jsonrpc": "2.0", "method": "eth_chainId"},
            {"jsonrpc": "2.0", "id": "x", "method": "eth_nothing"},
            7,
        ]
    )
    assert [each.get("id") for each in answers] == [1, "x", None]
    assert answers[0]["result"] == hex(chain.chain_id)
    assert [each["error"]["code"] for each in answers[1:]] == [-32601, -32600]


def test_malformed_requests_are_answered_as_json_rpc_says(chain: ChainProcess) -> None:
    with httpx.Client(base_url=chain.url, trust_env=False, verify=authorities()) as http:
        assert http.post("/", content=b"{").json()["error"]["code"] == -32700
        assert http.post("/", content=b"[" * 100_000).json()["error"]["code"] == -32700
        assert http.post("/", content=b"[]").json()["error"]["code"] == -32600
        assert http.post("/", json=[{}] * 1001).json()["error"]["code"] == -32600
        assert http.post("/", content=b" " * (6 << 20)).status_code == 413
        assert http.post("/", json={"method": "eth_chainId"}).status_code == 204
        assert http.get("/").status_code == 405


@pytest.mark.parametrize(
    "body, code",
    [
        (b'{"jsonrpc":"2.0","id":NaN,"method":"eth_chainId"}', -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"eth_call","params":[{"gas":Infinity}]}', -32700),
        (b'{"jsonrpc":"2.0","id":1e999,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":{"a":1},"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"eth_chainId"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', -32601),
    ],
)
def test_values_that_json_cannot_carry_back_are_errors(chain: ChainProcess, body: bytes, code: int) -> None:
    answer = httpx.post(chain.url, content=body, trust_env=False, verify=authorities())
    assert (answer.status_code, answer.json()["error"]["code"]) == (200, code)


def test_half_a_surrogate_pair_comes_back_as_the_id(chain: ChainProcess) -> None:
    body = b'{"jsonrpc":"2.0","id":"\\ud800","method":"eth_chainId"}'
    assert b'"id":"\\ud800"' in httpx.post(chain.url, content=body, trust_env=False, verify=authorities()).content


def test_other_host_names_are_refused(chain: ChainProcess) -> None:
    with httpx.Client(base_url=chain.url, trust_env=False, verify=authorities()) as http:
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId"}
        assert http.post("/", json=body, headers={"Host": "evil.example:80"}).status_code == 403


def test_pages_of_any_origin_may_read(chain: ChainProcess) -> None:
    with httpx.Client(base_url=chain.url, trust_env=False, verify=authorities()) as http:
        answer = http.post("/", json={"id": 1, "method": "eth_chainId"}, headers={"Origin": "http://127.0.0.1:8420"})
        assert answer.headers["access-control-allow-origin"] == "*"


# --- time -------------------------------------------------------------------------------------------------


def test_time_travel_moves_later_blocks(chain: ChainProcess) -> None:
    before = int(chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    chain.rpc("evm_increaseTime", 86_400)
    chain.rpc("evm_mine")
    after = int(chain.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
    assert after >= before + 86_400


def test_each_block_is_later_than_its_parent(chain: ChainProcess, account: AccountKey) -> None:
    times = []
    for _ in range(4):
        receipt = chain.send(account, account.address, value=1)
        times.append(int(chain.rpc("eth_getBlockByNumber", receipt["blockNumber"], False)["timestamp"], 16))
    assert times == sorted(set(times))


def test_time_travel_is_off_by_default(tmp_path: Path) -> None:
    with running_chain(tmp_path) as plain:
        assert refusal(plain, "evm_mine").code == -32601
        assert refusal(plain, "evm_increaseTime", 1).code == -32601


# --- what survives ----------------------------------------------------------------------------------------


def test_restart_keeps_every_block_and_the_address(tmp_path: Path) -> None:
    key = AccountKey(secrets.token_bytes(32))
    with running_chain(tmp_path, "--time-travel", "--chain-id", "99", "--fund", address_text(key.address)) as first:
        contract = first.create(key, CREATION)
        first.rpc("evm_increaseTime", 1000)
        first.send(key, contract, STORE + (5).to_bytes(32, "big"))
        hashes, url = first.hashes(), first.url
        assert first.stop() == 0
    with running_chain(tmp_path) as second:
        assert second.hashes() == hashes
        assert (second.url, second.chain_id) == (url, 99)
        assert json.loads((tmp_path / "chain.json").read_text())["url"] == url
        assert int.from_bytes(call(second, contract, LOAD)) == 5
        moved = int(second.rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        receipt = second.send(key, contract, STORE + (6).to_bytes(32, "big"))
        later = int(second.rpc("eth_getBlockByNumber", receipt["blockNumber"], False)["timestamp"], 16)
        assert later > moved


def test_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    key = AccountKey(secrets.token_bytes(32))
    answered: list[str] = []
    for round_ in range(3):
        chain = start_chain(tmp_path)
        try:
            if round_ == 0:
                chain.fund(key.address)
            for known in answered:
                assert chain.rpc("eth_getTransactionReceipt", known)["status"] == "0x1"
            answered += [chain.send(key, key.address, value=1)["transactionHash"] for _ in range(5)]
            # One more request is under way while the process dies.
            raw = chain.sign(key, key.address, value=2)
            with httpx.Client(
                base_url=chain.url, timeout=0.002 * round_ + 0.001, trust_env=False, verify=authorities()
            ) as http:
                try:
                    body = {"id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + raw.hex()]}
                    answered.append(http.post("/", json=body).json()["result"])
                except httpx.TimeoutException:
                    pass
            chain.kill()
        finally:
            close(chain)
    with running_chain(tmp_path) as last:
        for known in answered:
            assert last.rpc("eth_getTransactionReceipt", known)["status"] == "0x1"


@pytest.fixture
def stopped(tmp_path: Path) -> Path:
    """A folder with a chain of four blocks, stopped."""
    key = AccountKey(secrets.token_bytes(32))
    with running_chain(tmp_path / "data") as chain:
        chain.fund(key.address)
        for _ in range(3):
            chain.send(key, key.address, value=1)
        assert chain.stop() == 0
    return tmp_path / "data"


def failure(*arguments: str) -> str:
    process = spawn(*arguments)
    output, errors = process.communicate(timeout=30)
    assert process.returncode == 1
    assert output == ""
    assert "Traceback" not in errors
    return errors


def test_torn_last_line_is_dropped_with_a_notice(stopped: Path) -> None:
    journal = stopped / "chain.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-40])
    process = spawn("chain", "--data", str(stopped))
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["head"] == 3
    process.terminate()
    _, errors = process.communicate(timeout=10)
    assert "torn" in errors
    assert journal.read_bytes() == whole[: whole.rstrip(b"\n").rindex(b"\n") + 1]


def test_whole_last_line_without_its_end_is_kept(stopped: Path) -> None:
    journal = stopped / "chain.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-1])
    with running_chain(stopped) as chain:
        assert int(chain.rpc("eth_blockNumber"), 16) == 4
    assert journal.read_bytes() == whole


@pytest.mark.parametrize("damage", ["flip", "drop-line", "swap-lines", "double-line", "garbage", "edit-time"])
def test_damaged_journal_is_refused_with_its_line(stopped: Path, damage: str) -> None:
    journal = stopped / "chain.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    match damage:
        case "flip":
            lines[2] = lines[2].replace(b'"0x02', b'"0x03', 1)
        case "drop-line":
            del lines[2]
        case "swap-lines":
            lines[1], lines[2] = lines[2], lines[1]
        case "double-line":
            lines.insert(2, lines[2])
        case "garbage":
            lines[2] = b"\0" * 10 + b"\n"
        case _:
            fields = json.loads(lines[1])
            fields["timestamp"] += 1
            lines[1] = json.dumps(fields).encode() + b"\n"
    journal.write_bytes(b"".join(lines))
    before = journal.read_bytes()
    errors = failure("chain", "--data", str(stopped))
    assert "journal-damaged" in errors
    assert "line" in errors
    assert journal.read_bytes() == before


@pytest.mark.parametrize("keep", ["empty", "none"])
def test_journal_that_is_gone_is_not_replaced_by_a_new_chain(stopped: Path, keep: str) -> None:
    journal = stopped / "chain.jsonl"
    journal.unlink()
    if keep == "empty":
        journal.touch()
    assert "journal-missing" in failure("chain", "--data", str(stopped))
    assert not journal.exists() or journal.read_bytes() == b""


def test_journal_of_another_version_is_refused(stopped: Path) -> None:
    from platemark_gateway.chain.journal import Journal

    journal = stopped / "chain.jsonl"
    journal.unlink()
    fresh = Journal(journal)
    assert list(fresh.read()) == []
    fresh.append({"kind": "genesis", "version": 99})
    fresh.close()
    assert "journal-version" in failure("chain", "--data", str(stopped))


def test_two_processes_cannot_share_a_folder(stopped: Path) -> None:
    with running_chain(stopped):
        assert "chain-in-use" in failure("chain", "--data", str(stopped))


def test_other_chain_id_is_refused(stopped: Path) -> None:
    assert "chain-foreign" in failure("chain", "--data", str(stopped), "--chain-id", "5")


def test_port_in_use_is_said_in_one_line(stopped: Path, tmp_path: Path) -> None:
    with running_chain(stopped) as chain:
        port = chain.url.rpartition(":")[2]
        errors = failure("chain", "--data", str(tmp_path / "other"), "--port", port)
    assert "port-in-use" in errors


def test_unusable_folder_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "directory-unwritable" in failure("chain", "--data", str(tmp_path / "file"))


def test_faucet_key_is_private(stopped: Path) -> None:
    assert (stopped / "faucet.key").stat().st_mode & 0o777 == 0o600


def test_full_disk_refuses_the_transaction_and_keeps_the_chain(tmp_path: Path) -> None:
    if shutil.which("prlimit") is None:
        pytest.skip("needs prlimit (util-linux)")
    key = AccountKey(secrets.token_bytes(32))
    with running_chain(tmp_path) as chain:
        chain.fund(key.address)
        size = (tmp_path / "chain.jsonl").stat().st_size
        limit = ["prlimit", f"--pid={chain.process.pid}"]
        subprocess.run([*limit, f"--fsize={size + 10}:unlimited"], check=True)
        raw = chain.sign(key, key.address, value=1)
        assert "journal cannot be written" in str(refusal(chain, "eth_sendRawTransaction", "0x" + raw.hex()))
        assert int(chain.rpc("eth_blockNumber"), 16) == 1
        subprocess.run([*limit, "--fsize=unlimited:unlimited"], check=True)
        chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        hashes = chain.hashes()
        chain.kill()
    with running_chain(tmp_path) as again:
        assert again.hashes() == hashes
        assert len(hashes) == 3


def test_no_read_waits_for_nagles_delay(chain: ChainProcess, contract: Address) -> None:
    took = []
    for _ in range(40):
        started = time.monotonic()
        call(chain, contract, ECHO + b"hello")
        took.append(time.monotonic() - started)
    assert min(took) < 0.04, "the delay would add 40 ms to each"


# --- the cache of executed blocks -------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["none", "gone", "empty", "torn", "flip", "foreign"])
def test_state_cache_is_only_a_cache(stopped: Path, tmp_path: Path, damage: str) -> None:
    cache = stopped / "chain.state"
    whole = cache.read_bytes()
    match damage:
        case "gone":
            cache.unlink()
        case "empty":
            cache.write_bytes(b"")
        case "torn":
            cache.write_bytes(whole[:-100])
        case "flip":
            cache.write_bytes(whole[: len(whole) // 2] + b"\xff" + whole[len(whole) // 2 + 1 :])
        case "foreign":
            with running_chain(tmp_path / "other") as other:
                other.fund(Address(b"\x01" * 20))
            cache.write_bytes((tmp_path / "other" / "chain.state").read_bytes() + whole)
        case _:
            assert damage == "none"
    with running_chain(stopped) as chain:
        hashes = chain.hashes()
        assert len(hashes) == 5
        journal = [json.loads(line) for line in (stopped / "chain.jsonl").read_text().splitlines()]
        assert hashes == [line["hash"] for line in journal]
        sent = chain.rpc("eth_getBlockByNumber", "latest", True)["transactions"][0]
        assert chain.rpc("eth_getTransactionReceipt", sent["hash"])["status"] == "0x1"
        assert chain.rpc("eth_getTransactionCount", sent["from"], "latest") == "0x3"
        chain.fund(Address(b"\x02" * 20), 5)
    with running_chain(stopped) as chain:
        assert chain.hashes()[:5] == hashes
        assert chain.rpc("eth_getBalance", "0x" + "02" * 20, "latest") == "0x5"


def test_restored_blocks_answer_as_executed_ones(tmp_path: Path) -> None:
    key = AccountKey(secrets.token_bytes(32))

    def answers(chain: ChainProcess) -> list[Any]:
        found: list[Any] = []
        for number in range(len(chain.hashes())):
            found.append(chain.rpc("eth_getBlockByNumber", hex(number), True))
            found.append(chain.rpc("eth_getBlockReceipts", hex(number)))
        return [
            *found,
            chain.rpc("eth_getLogs", {"fromBlock": "0x0"}),
            chain.rpc("eth_feeHistory", "0x5", "latest", [50]),
        ]

    with running_chain(tmp_path) as chain:
        chain.fund(key.address)
        contract = chain.create(key, CREATION)
        chain.send(key, contract, EMIT + TOPIC_A + TOPIC_B + b"one")
        chain.send(key, contract, REVERT)
        chain.send(key, contract, STORE + (5).to_bytes(32, "big"))
        before = answers(chain)
    with running_chain(tmp_path) as restored:
        assert answers(restored) == before
        assert int.from_bytes(call(restored, contract, LOAD)) == 5
    (tmp_path / "chain.state").unlink()
    with running_chain(tmp_path) as executed:
        assert answers(executed) == before
