"""The JSON-RPC methods of the embedded chain: parameters in, results out, errors as geth words them.

No HTTP in here (`server.py`). Quantities are hexadecimal without leading zeros, data is hexadecimal of whole bytes.

Source: the Ethereum execution API specification; JSON-RPC 2.0; EIP-1474, EIP-1898.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from platemark.errors import LocalError, MalformedError
from platemark.protocol.units import Address, address_text, keccak256, parse_address
from platemark_gateway.chain.embedded import PRIORITY_FEE, Block, Call, EmbeddedChain, Log, Mined, RejectedError

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
SERVER_ERROR: Final = -32000
LIMIT_EXCEEDED: Final = -32005
REVERTED: Final = 3

MAX_LOGS: Final = 10_000
MAX_FEE_HISTORY: Final = 1024
MAX_PROOF_SLOTS: Final = 1024
_GIFT: Final = 100 * 10**18
_QUANTITY: Final = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA: Final = re.compile(r"0x([0-9a-fA-F]{2})*")
_TAGS: Final = frozenset({"latest", "finalized", "safe", "pending", "earliest"})

Json = Any


class RpcError(Exception):
    """An error object of JSON-RPC: a code, a message, perhaps data."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> dict[str, Json]:
        """Return the error object."""
        body: dict[str, Json] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


class Methods:
    """All methods of one chain; `run` is called from one thread at a time."""

    def __init__(self, chain: EmbeddedChain, *, time_travel: bool) -> None:
        self._chain = chain
        self._methods: dict[str, Callable[..., Json]] = {
            "eth_accounts": _accounts,
            "eth_blockNumber": lambda: hex(chain.head.number),
            "eth_call": self._call,
            "eth_chainId": lambda: hex(chain.chain_id),
            "eth_estimateGas": self._estimate_gas,
            "eth_feeHistory": self._fee_history,
            "eth_gasPrice": lambda: hex(chain.base_fee() + PRIORITY_FEE),
            "eth_getBalance": self._balance,
            "eth_getBlockByHash": self._block_by_hash,
            "eth_getBlockByNumber": self._block_by_number,
            "eth_getBlockReceipts": self._block_receipts,
            "eth_getBlockTransactionCountByHash": lambda text: _count(self._known(text)),
            "eth_getBlockTransactionCountByNumber": lambda tag: _count(self._tagged(tag)),
            "eth_getCode": self._code,
            "eth_getLogs": self._logs,
            "eth_getProof": self._proof,
            "eth_getStorageAt": self._storage,
            "eth_getTransactionByBlockHashAndIndex": lambda text, at: self._transaction_at(self._known(text), at),
            "eth_getTransactionByBlockNumberAndIndex": lambda tag, at: self._transaction_at(self._tagged(tag), at),
            "eth_getTransactionByHash": self._transaction,
            "eth_getTransactionCount": self._nonce,
            "eth_getTransactionReceipt": self._receipt,
            "eth_maxPriorityFeePerGas": lambda: hex(PRIORITY_FEE),
            "eth_sendRawTransaction": self._send,
            "eth_syncing": lambda: False,
            "net_listening": lambda: True,
            "net_version": lambda: str(chain.chain_id),
            "platemark_fund": self._fund,
            "web3_clientVersion": lambda: f"platemark-chain/{version('platemark-gateway')}/py-evm",
            "web3_sha3": lambda data: _hex(keccak256(_data(data))),
        }
        if time_travel:
            self._methods |= {"evm_increaseTime": self._increase_time, "evm_mine": self._mine}

    def run(self, method: str, params: Sequence[Json] | Mapping[str, Json]) -> Json:
        """Return a method's result.

        Errors: RpcError for everything that is not a result.
        """
        found = self._methods.get(method)
        if found is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {method[:100]} does not exist/is not available")
        if isinstance(params, Mapping):
            raise RpcError(INVALID_PARAMS, "parameters are an array")
        try:
            _fit(found, params)
            return found(*params)
        except RejectedError as error:
            if error.data is not None:
                raise RpcError(REVERTED, error.message, _hex(error.data)) from error
            raise RpcError(SERVER_ERROR, error.message) from error
        except LocalError as error:
            raise RpcError(SERVER_ERROR, error.message) from error

    # --- state --------------------------------------------------------------------------------------------

    def _balance(self, address: Json, tag: Json = "latest") -> str:
        return hex(self._chain.balance(_address(address), self._at(tag)))

    def _nonce(self, address: Json, tag: Json = "latest") -> str:
        return hex(self._chain.nonce(_address(address), self._at(tag)))

    def _code(self, address: Json, tag: Json = "latest") -> str:
        return _hex(self._chain.code(_address(address), self._at(tag)))

    def _storage(self, address: Json, slot: Json, tag: Json = "latest") -> str:
        return _hex(self._chain.storage(_address(address), _slot(slot), self._at(tag)))

    def _proof(self, address: Json, slots: Json, tag: Json = "latest") -> Json:
        wanted = [_slot(each) for each in _list(slots, MAX_PROOF_SLOTS)]
        account = _address(address)
        found = self._chain.proof(account, wanted, self._at(tag) or self._chain.head)
        return {
            "address": address_text(account),
            "accountProof": [_hex(node) for node in found.proof],
            "balance": hex(found.balance),
            "codeHash": _hex(found.code_hash),
            "nonce": hex(found.nonce),
            "storageHash": _hex(found.storage_root),
            "storageProof": [
                {"key": hex(each.slot), "value": hex(each.value), "proof": [_hex(node) for node in each.proof]}
                for each in found.slots
            ],
        }

    def _call(self, call: Json, tag: Json = "latest", *overrides: Json) -> str:
        _no_overrides(overrides)
        block = self._at(tag)
        header = self._chain.pending_header() if tag == "pending" or block is None else block.header
        return _hex(self._chain.call(_parse_call(call), header))

    def _estimate_gas(self, call: Json, tag: Json = "pending", *overrides: Json) -> str:
        _no_overrides(overrides)
        block = self._at(tag)
        # The block that would hold the transaction: an idle chain's head may be hours old.
        latest = block is None or block is self._chain.head
        header = self._chain.pending_header() if latest or block is None else block.header
        return hex(self._chain.estimate_gas(_parse_call(call), header))

    # --- blocks -------------------------------------------------------------------------------------------

    def _block_by_number(self, tag: Json, full: Json = False) -> Json:
        if tag == "pending":
            return self._pending_block()
        block = self._tagged(tag)
        return None if block is None else block_json(block, full=_flag(full))

    def _block_by_hash(self, text: Json, full: Json = False) -> Json:
        block = self._known(text)
        return None if block is None else block_json(block, full=_flag(full))

    def _block_receipts(self, tag: Json) -> Json:
        block = self._known(tag) if isinstance(tag, str) and len(tag) == 66 else self._tagged(tag)
        return None if block is None else [_receipt_json(block, index) for index in range(len(block.transactions))]

    def _fee_history(self, count: Json, newest: Json, percentiles: Json = None) -> Json:
        number = count if isinstance(count, int) and not isinstance(count, bool) else _quantity(count)
        if not 0 <= number <= MAX_FEE_HISTORY:
            raise RpcError(INVALID_PARAMS, f"at most {MAX_FEE_HISTORY} blocks")
        steps = percentiles or []
        if not isinstance(steps, list) or len(steps) > 100:
            raise RpcError(INVALID_PARAMS, "percentiles are an array of at most 100 numbers")
        last = self._tagged(newest)
        if last is None:
            raise RpcError(SERVER_ERROR, "request beyond head block")
        blocks = self._chain.blocks[max(0, last.number + 1 - number) : last.number + 1]
        following = self._chain.base_fee() if last is self._chain.head else self._chain.blocks[last.number + 1].base_fee
        history: dict[str, Json] = {
            "oldestBlock": hex(blocks[0].number if blocks else last.number),
            "baseFeePerGas": [hex(block.base_fee) for block in blocks] + [hex(following)],
            "gasUsedRatio": [block.header.gas_used / block.header.gas_limit for block in blocks],
        }
        if steps:
            history["reward"] = [[_tip(block)] * len(steps) for block in blocks]
        return history

    def _pending_block(self) -> Json:
        header = self._chain.pending_header()
        return _header_json(header) | {
            "hash": None,
            "nonce": None,
            "logsBloom": None,
            "size": "0x0",
            "transactions": [],
        }

    # --- transactions -------------------------------------------------------------------------------------

    def _send(self, raw: Json) -> str:
        return _hex(self._chain.send(_data(raw)))

    def _fund(self, address: Json, wei: Json = None) -> str:
        amount = _GIFT if wei is None else _quantity(wei)
        return _hex(self._chain.fund(_address(address), amount))

    def _transaction(self, text: Json) -> Json:
        found = self._chain.transactions.get(_hash(text))
        return None if found is None else _transaction_json(*found)

    def _transaction_at(self, block: Block | None, at: Json) -> Json:
        index = _quantity(at)
        if block is None or index >= len(block.transactions):
            return None
        return _transaction_json(block, index)

    def _receipt(self, text: Json) -> Json:
        found = self._chain.transactions.get(_hash(text))
        return None if found is None else _receipt_json(*found)

    # --- logs ---------------------------------------------------------------------------------------------

    def _logs(self, query: Json) -> Json:
        if not isinstance(query, dict):
            raise RpcError(INVALID_PARAMS, "a filter is an object")
        head = self._chain.head.number
        if "blockHash" in query:
            if "fromBlock" in query or "toBlock" in query:
                raise RpcError(
                    INVALID_PARAMS, "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other"
                )
            block = self._known(query["blockHash"])
            if block is None:
                raise RpcError(SERVER_ERROR, "unknown block")
            first = last = block.number
        else:
            first = self._number(query.get("fromBlock", "latest"))
            last = self._number(query.get("toBlock", "latest"))
            if first > last:
                raise RpcError(INVALID_PARAMS, "invalid block range params")
        addresses = _alternatives(query.get("address"), _address)
        topics = [_alternatives(options, _hash) for options in _list(query.get("topics") or [], 4)]
        found = []
        for block, index, log in self._chain.logs(first, min(last, head), addresses, topics):
            found.append(_log_json(block, index, log))
            if len(found) > MAX_LOGS:
                raise RpcError(LIMIT_EXCEEDED, f"query returned more than {MAX_LOGS} results")
        return found

    # --- time ---------------------------------------------------------------------------------------------

    def _increase_time(self, seconds: Json) -> Json:
        number = seconds if isinstance(seconds, int) and not isinstance(seconds, bool) else _quantity(seconds)
        if not 0 <= number <= 10**9:
            raise RpcError(INVALID_PARAMS, "seconds are between 0 and 1000000000")
        return self._chain.increase_time(number)

    def _mine(self, options: Json = None) -> str:
        timestamp = options.get("timestamp") if isinstance(options, dict) else options
        if timestamp is not None and (isinstance(timestamp, bool) or not isinstance(timestamp, int)):
            timestamp = _quantity(timestamp)
        self._chain.mine(timestamp)
        return "0x0"

    # --- which block --------------------------------------------------------------------------------------

    def _tagged(self, tag: Json) -> Block | None:
        number = self._number(tag)
        return self._chain.blocks[number] if number < len(self._chain.blocks) else None

    def _number(self, tag: Json) -> int:
        if isinstance(tag, str) and tag in _TAGS:
            return 0 if tag == "earliest" else self._chain.head.number
        return _quantity(tag)

    def _known(self, text: Json) -> Block | None:
        return self._chain.by_hash.get(_hash(text))

    def _at(self, tag: Json) -> Block | None:
        """Return the block whose state is meant (EIP-1898); None for one that is still being made."""
        if tag == "pending":
            return None
        if isinstance(tag, dict):
            block = self._known(tag["blockHash"]) if "blockHash" in tag else self._tagged(tag.get("blockNumber"))
        else:
            block = self._tagged(tag)
        if block is None:
            raise RpcError(SERVER_ERROR, "header not found")
        return block


# --- results ----------------------------------------------------------------------------------------------


def block_json(block: Block, *, full: bool) -> dict[str, Json]:
    """Return a block as the API shows it, with its transactions or only their hashes."""
    transactions: list[Json] = [
        _transaction_json(block, index) if full else _hex(mined.hash) for index, mined in enumerate(block.transactions)
    ]
    return _header_json(block.header) | {
        "hash": _hex(block.hash),
        "size": hex(block.bytes),
        "transactions": transactions,
    }


def _header_json(header: Any) -> dict[str, Json]:
    return {
        "number": hex(header.block_number),
        "parentHash": _hex(header.parent_hash),
        "nonce": _hex(header.nonce),
        "sha3Uncles": _hex(header.uncles_hash),
        "logsBloom": _hex(int(header.bloom).to_bytes(256, "big")),
        "transactionsRoot": _hex(header.transaction_root),
        "stateRoot": _hex(header.state_root),
        "receiptsRoot": _hex(header.receipt_root),
        "miner": address_text(header.coinbase),
        "difficulty": hex(header.difficulty),
        "totalDifficulty": "0x0",
        "extraData": _hex(header.extra_data),
        "gasLimit": hex(header.gas_limit),
        "gasUsed": hex(header.gas_used),
        "timestamp": hex(header.timestamp),
        "mixHash": _hex(header.mix_hash),
        "baseFeePerGas": hex(header.base_fee_per_gas),
        "withdrawalsRoot": _hex(header.withdrawals_root),
        "withdrawals": [],
        "blobGasUsed": hex(header.blob_gas_used),
        "excessBlobGas": hex(header.excess_blob_gas),
        "parentBeaconBlockRoot": _hex(header.parent_beacon_block_root),
        "uncles": [],
    }


def _transaction_json(block: Block, index: int) -> dict[str, Json]:
    mined = block.transactions[index]
    transaction: Any = mined.transaction
    kind = int(getattr(transaction, "type_id", None) or 0)
    body: dict[str, Json] = {
        "blockHash": _hex(block.hash),
        "blockNumber": hex(block.number),
        "transactionIndex": hex(index),
        "hash": _hex(mined.hash),
        "type": hex(kind),
        "nonce": hex(transaction.nonce),
        "from": address_text(mined.sender),
        "to": address_text(transaction.to) if transaction.to else None,
        "value": hex(transaction.value),
        "gas": hex(transaction.gas),
        "gasPrice": hex(mined.gas_price),
        "input": _hex(transaction.data),
        "r": hex(transaction.r),
        "s": hex(transaction.s),
        "v": hex(transaction.y_parity if kind else transaction.v),
    }
    if transaction.chain_id is not None:
        body["chainId"] = hex(transaction.chain_id)
    if kind:
        body["yParity"] = body["v"]
        body["accessList"] = [
            {"address": address_text(address), "storageKeys": [f"0x{slot:064x}" for slot in slots]}
            for address, slots in transaction.access_list
        ]
    if kind == 2:
        body["maxFeePerGas"] = hex(transaction.max_fee_per_gas)
        body["maxPriorityFeePerGas"] = hex(transaction.max_priority_fee_per_gas)
    return body


def _receipt_json(block: Block, index: int) -> dict[str, Json]:
    mined: Mined = block.transactions[index]
    transaction: Any = mined.transaction
    return {
        "blockHash": _hex(block.hash),
        "blockNumber": hex(block.number),
        "transactionIndex": hex(index),
        "transactionHash": _hex(mined.hash),
        "type": hex(int(getattr(transaction, "type_id", None) or 0)),
        "from": address_text(mined.sender),
        "to": address_text(transaction.to) if transaction.to else None,
        "contractAddress": address_text(mined.contract) if mined.contract and mined.succeeded else None,
        "status": "0x1" if mined.succeeded else "0x0",
        "gasUsed": hex(mined.gas_used),
        "cumulativeGasUsed": hex(mined.cumulative_gas_used),
        "effectiveGasPrice": hex(mined.gas_price),
        "logsBloom": _hex(mined.bloom.to_bytes(256, "big")),
        "logs": [_log_json(block, index, log) for log in mined.logs],
    }


def _log_json(block: Block, index: int, log: Log) -> dict[str, Json]:
    return {
        "address": address_text(log.address),
        "topics": [_hex(topic) for topic in log.topics],
        "data": _hex(log.data),
        "blockNumber": hex(block.number),
        "blockHash": _hex(block.hash),
        "blockTimestamp": hex(block.header.timestamp),
        "transactionHash": _hex(block.transactions[index].hash),
        "transactionIndex": hex(index),
        "logIndex": hex(log.index),
        "removed": False,
    }


def _accounts() -> list[str]:
    return []  # keys are the wallets' own


def _count(block: Block | None) -> str | None:
    return None if block is None else hex(len(block.transactions))


def _tip(block: Block) -> str:
    return hex(block.transactions[0].gas_price - block.base_fee) if block.transactions else "0x0"


def _hex(value: bytes) -> str:
    return "0x" + value.hex()


# --- parameters -------------------------------------------------------------------------------------------


def _fit(found: Callable[..., Json], params: Sequence[Json]) -> None:
    import inspect

    try:
        inspect.signature(found).bind(*params)
    except TypeError as error:
        raise RpcError(INVALID_PARAMS, "too few or too many parameters") from error


def _quantity(text: Json) -> int:
    if not isinstance(text, str) or not _QUANTITY.fullmatch(text):
        raise RpcError(
            INVALID_PARAMS, "a quantity is hexadecimal without leading zeros, or one of " + ", ".join(sorted(_TAGS))
        )
    return int(text, 16)


def _data(text: Json) -> bytes:
    if not isinstance(text, str) or not _DATA.fullmatch(text):
        raise RpcError(INVALID_PARAMS, "data is 0x and whole hexadecimal bytes")
    return bytes.fromhex(text[2:])


def _hash(text: Json) -> bytes:
    value = _data(text)
    if len(value) != 32:
        raise RpcError(INVALID_PARAMS, "a hash has 32 bytes")
    return value


def _slot(text: Json) -> int:
    if not isinstance(text, str) or not re.fullmatch(r"0x[0-9a-fA-F]{1,64}", text):
        raise RpcError(INVALID_PARAMS, "a storage slot is hexadecimal of at most 32 bytes")
    return int(text, 16)


def _address(text: Json) -> Address:
    try:
        return parse_address(text)
    except MalformedError as error:
        raise RpcError(INVALID_PARAMS, error.message) from error


def _flag(value: Json) -> bool:
    if not isinstance(value, bool):
        raise RpcError(INVALID_PARAMS, "true or false was expected")
    return value


def _list(value: Json, most: int) -> list[Json]:
    if not isinstance(value, list) or len(value) > most:
        raise RpcError(INVALID_PARAMS, f"an array of at most {most} was expected")
    return value


def _alternatives(value: Json, parse: Callable[[Json], bytes]) -> frozenset[bytes]:
    if value is None:
        return frozenset()
    return frozenset(parse(each) for each in (_list(value, 1000) if isinstance(value, list) else [value]))


def _no_overrides(overrides: Sequence[Json]) -> None:
    if any(overrides):
        raise RpcError(INVALID_PARAMS, "state overrides are not supported")


def _parse_call(call: Json) -> Call:
    if not isinstance(call, dict):
        raise RpcError(INVALID_PARAMS, "a call is an object")
    data, given = call.get("data"), call.get("input")
    if data is not None and given is not None and data != given:
        raise RpcError(INVALID_PARAMS, 'both "data" and "input" are set and not equal')
    to = call.get("to")
    gas = call.get("gas")
    listed = tuple(
        (bytes(_address(entry["address"])), tuple(int.from_bytes(_hash(key), "big") for key in entry["storageKeys"]))
        for entry in _list(call.get("accessList") or [], 1000)
        if isinstance(entry, dict) and "address" in entry and isinstance(entry.get("storageKeys"), list)
    )
    return Call(
        sender=_address(call.get("from") or "0x" + "00" * 20),
        to=_address(to) if to is not None else b"",
        data=_data(given if given is not None else data if data is not None else "0x"),
        value=_quantity(call.get("value") or "0x0"),
        gas=None if gas is None else _quantity(gas),
        access_list=listed,
    )
