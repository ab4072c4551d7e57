"""The embedded chain: an Ethereum chain of one process, kept by a journal (only module that imports eth-tester).

It mines each transaction at once into a block of its own and finalises at once; there are no reorganisations.
Rules are Cancun's. A block's time is the later of the clock and its parent's time plus one second. Before a block
is answered for, its line in the journal is on disk (`journal.py`); at start the journal is executed again,
as far as `state_cache.py` does not hold the result, and each block must come out with the hash that was recorded.

It is for one machine: demonstrations, development, tests. Its coins are worth nothing.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from eth.abc import BlockAPI, BlockHeaderAPI, ComputationAPI, SignedTransactionAPI
from eth.db.atomic import AtomicDB
from eth.db.backends.base import BaseDB
from eth.exceptions import InsufficientFunds, Revert
from eth.vm.forks.cancun import CancunVM
from eth.vm.spoof import SpoofTransaction
from eth_tester.backends.pyevm.main import PyEVMBackend
from eth_utils.exceptions import ValidationError

from platemark.errors import LocalError, PlatemarkError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.deployment import DEPLOYER_TRANSACTION
from platemark.protocol.units import Address, Digest32, digest_text, keccak256, parse_address, parse_digest
from platemark_gateway.chain.files import sync_directory, write_atomically
from platemark_gateway.chain.journal import (
    VERSION,
    FolderLock,
    Journal,
    JournalDamagedError,
    JournalMissingError,
    Line,
)
from platemark_gateway.chain.state_cache import Changes, StateCache
from platemark_gateway.chain.transactions import Fees, contract_address, sign_transaction
from platemark_gateway.clock import Clock

DEFAULT_CHAIN_ID: Final = 480215
GAS_LIMIT: Final = 30_000_000
PRIORITY_FEE: Final = 10**9
FAUCET_BALANCE: Final = 10**30
MAX_GIFT: Final = 10_000 * 10**18
_RULES: Final = "cancun"
_CALL_STIPEND: Final = 2300
_EMPTY_TRIE: Final = keccak256(b"\x80")
_DEPLOYER_HASH: Final = keccak256(DEPLOYER_TRANSACTION)
"""The only transaction without a chain id that is taken: nobody can sign another one for that account."""


class RejectedError(Exception):
    """A transaction or a call cannot be executed; the message is what a node would say."""

    def __init__(self, message: str, *, data: bytes | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        """What the contract returned when it reverted; None when it was no revert."""


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the machine wrote it; `index` counts within the block."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes
    index: int


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction in its block."""

    transaction: SignedTransactionAPI
    raw: bytes
    hash: bytes
    sender: bytes
    contract: bytes | None
    succeeded: bool
    gas_used: int
    cumulative_gas_used: int
    gas_price: int
    bloom: int
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Block:
    """A block with everything that is asked about it."""

    header: BlockHeaderAPI
    hash: bytes
    bytes: int
    transactions: tuple[Mined, ...]

    @property
    def number(self) -> int:
        """The block's number; genesis is 0."""
        return int(self.header.block_number)

    @property
    def base_fee(self) -> int:
        """The block's base fee, wei for a unit of gas."""
        return int(self.header.base_fee_per_gas or 0)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that is executed and forgotten; `gas` None is as much as a block holds."""

    sender: bytes
    to: bytes
    data: bytes
    value: int = 0
    gas: int | None = None
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class SlotProof:
    """A storage slot's value, and the trie nodes (RLP) from the account's storage root to it."""

    slot: int
    value: int
    proof: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class AccountProof:
    """An account, and the trie nodes (RLP) from the block's state root to it."""

    nonce: int
    balance: int
    storage_root: bytes
    code_hash: bytes
    proof: tuple[bytes, ...]
    slots: tuple[SlotProof, ...]


class _Store(BaseDB):
    """A key-value store whose writes since the last `keep` can be taken back."""

    def __init__(self) -> None:
        self._kept: dict[bytes, bytes] = {}
        self._fresh: dict[bytes, bytes | None] = {}

    def __getitem__(self, key: bytes) -> bytes:
        if key in self._fresh:
            value = self._fresh[key]
            if value is None:
                raise KeyError(key)
            return value
        return self._kept[key]

    def __setitem__(self, key: bytes, value: bytes) -> None:
        self._fresh[key] = value

    def __delitem__(self, key: bytes) -> None:
        if key not in self:
            raise KeyError(key)
        self._fresh[key] = None

    def _exists(self, key: bytes) -> bool:
        return self._fresh[key] is not None if key in self._fresh else key in self._kept

    def keep(self) -> Changes:
        """Make the writes since the last `keep` or `forget` permanent and return them."""
        for key, value in self._fresh.items():
            if value is None:
                self._kept.pop(key, None)
            else:
                self._kept[key] = value
        changes, self._fresh = self._fresh, {}
        return changes

    def change(self, changes: Changes) -> None:
        """Write what another store's `keep` returned."""
        self._fresh.update(changes)

    def forget(self) -> None:
        """Take back the writes since the last `keep` or `forget`."""
        self._fresh.clear()


class EmbeddedChain:
    """A chain in a folder; everything here is synchronous and belongs to one thread at a time."""

    def __init__(self, directory: Path, clock: Clock, *, notice: Callable[[str], None]) -> None:
        """Use `open`."""
        self._directory = directory
        self._clock = clock
        self._notice = notice
        self._journal = Journal(directory / "chain.jsonl")
        self._cache = StateCache(directory / "chain.state")
        self._lock = FolderLock(directory)
        self._store = _Store()
        self._offset = 0
        self.blocks: list[Block] = []
        self.by_hash: dict[bytes, Block] = {}
        self.transactions: dict[bytes, tuple[Block, int]] = {}
        self.chain_id = 0
        self._faucet: AccountKey
        self._chain: Any

    @classmethod
    def open(
        cls, directory: Path, clock: Clock, *, chain_id: int | None, notice: Callable[[str], None]
    ) -> "EmbeddedChain":
        """Return the chain kept in `directory`, all of its blocks executed and checked; makes it at first start.

        Errors: DataFolderBusyError; JournalDamagedError; JournalMissingError; LocalError `chain-foreign` when
            `chain_id` is given and the folder holds another chain, `directory-unwritable` when the folder cannot be
            used.
        """
        try:
            directory.mkdir(parents=True, exist_ok=True)
            chain = cls(directory, clock, notice=notice)
        except OSError as error:
            raise LocalError(
                f"the folder {directory} cannot be used: {error.strerror}",
                code="directory-unwritable",
                hint="choose another with --data",
            ) from error
        try:
            chain._load(chain_id)
        except BaseException:
            chain.close()
            raise
        return chain

    def close(self) -> None:
        """Close the journal and leave the folder to others."""
        self._journal.close()
        self._cache.close()
        self._lock.close()

    # --- starting -----------------------------------------------------------------------------------------

    def _load(self, chain_id: int | None) -> None:
        lines = self._journal.read()
        first = next(lines, None)
        if first is None:
            if self._cache.exists():
                raise JournalMissingError(self._journal.path)
            self._create(chain_id or DEFAULT_CHAIN_ID)
            return
        self._genesis(first, chain_id)
        cached: Iterator[tuple[Digest32, Changes]] | None = self._cache.read()
        for line in lines:
            if line.fields.get("kind") != "block":
                self._replay_other(line)
            elif cached is None or (block := self._restored(line, next(cached, None))) is None:
                self._end_of_cache(cached)
                cached = None
                self._cache.append(*self._admit(self._replayed(line)))
            else:
                self._admit(block)
        self._end_of_cache(cached)
        if self._journal.dropped_bytes:
            self._notice(
                f"the journal's last line was torn ({self._journal.dropped_bytes} bytes): "
                "it was never answered and is dropped"
            )

    def _end_of_cache(self, cached: object) -> None:
        """From here on blocks are executed, and added to the cache."""
        if cached is not None:
            self._cache.open_after(self.head.number)
            self._take_back()

    def _create(self, chain_id: int) -> None:
        key_file = self._directory / "faucet.key"
        if not key_file.exists():
            write_atomically(key_file, secrets.token_bytes(32).hex() + "\n", mode=0o600)
        self._faucet = self._read_faucet()
        timestamp = int(self._clock.now())
        block = self._start(chain_id, timestamp, self._faucet.address)
        self._journal.append(
            {
                "kind": "genesis",
                "version": VERSION,
                "rules": _RULES,
                "chainId": chain_id,
                "timestamp": timestamp,
                "faucet": "0x" + self._faucet.address.hex(),
                "hash": digest_text(block.hash),
            }
        )
        sync_directory(self._directory)
        self._admit(block)
        self._cache.open_after(0)

    def _genesis(self, line: Line, chain_id: int | None) -> None:
        fields = line.fields
        if fields.get("kind") != "genesis" or fields.get("version") != VERSION or fields.get("rules") != _RULES:
            raise LocalError(
                "the chain in this folder was made by another version",
                code="journal-version",
                hint="start a new chain in another folder",
            )
        if chain_id is not None and fields["chainId"] != chain_id:
            raise LocalError(
                f"the folder holds chain {fields['chainId']}, not {chain_id}",
                code="chain-foreign",
                hint="leave out --chain-id, or choose another folder",
            )
        self._faucet = self._read_faucet()
        if parse_address(fields["faucet"]) != self._faucet.address:
            raise LocalError(
                "faucet.key is not this chain's", code="chain-foreign", hint="put the chain's own key back"
            )
        block = self._start(fields["chainId"], fields["timestamp"], self._faucet.address)
        self._expect(line, block)
        self._admit(block)

    def _read_faucet(self) -> AccountKey:
        try:
            return AccountKey(bytes.fromhex((self._directory / "faucet.key").read_text("ascii").strip()))
        except (OSError, ValueError, PlatemarkError) as error:
            raise LocalError(
                "the faucet's key cannot be read", code="journal-damaged", hint="put faucet.key back into the folder"
            ) from error

    def _start(self, chain_id: int, timestamp: int, faucet: Address) -> Block:
        state = {faucet: {"balance": FAUCET_BALANCE, "nonce": 0, "code": b"", "storage": {}}}
        parameters = PyEVMBackend.generate_genesis_params({"timestamp": timestamp, "gas_limit": GAS_LIMIT})
        rules = ((0, CancunVM),)
        kind = type(PyEVMBackend(parameters, state, rules).chain)
        kind.chain_id = chain_id
        self.chain_id = chain_id
        self._chain = kind.from_genesis(AtomicDB(self._store), parameters, state)
        return _block(self._chain.get_canonical_block_by_number(0), ())

    def _replay_other(self, line: Line) -> None:
        kind = line.fields.get("kind")
        if kind != "clock":
            raise JournalDamagedError(self._journal.path, line.number, f"it is of the unknown kind {kind!r}")
        self._offset = line.fields["offset"]

    def _replayed(self, line: Line) -> Block:
        """Execute a journalled block again; it must come out with the hash that was recorded."""
        try:
            block = self._build(_raws(line), line.fields["timestamp"])
        except RejectedError as error:
            raise JournalDamagedError(self._journal.path, line.number, error.message) from error
        self._expect(line, block)
        return block

    def _restored(self, line: Line, frame: tuple[Digest32, Changes] | None) -> Block | None:
        """Return a journalled block as the cache has it; None when the cache does not fit the journal."""
        if frame is None or frame[0] != parse_digest(line.fields["hash"]):
            return None
        self._store.change(frame[1])
        try:
            return self._loaded(frame[0], _raws(line))
        except Exception:  # noqa: BLE001 (whatever is wrong with a cache, the answer is to execute the block)
            self._store.forget()
            return None

    def _loaded(self, block_hash: Digest32, raws: Sequence[bytes]) -> Block:
        """Return a block out of the state database; ValueError when it is not the next one, with these transactions."""
        header = self._chain.get_block_header_by_hash(block_hash)
        found = self._chain.get_block_by_header(header)
        mined: list[Mined] = []
        for transaction, raw, receipt in zip(
            found.transactions, raws, found.get_receipts(self._chain.chaindb), strict=True
        ):
            mined.append(_mined(transaction, raw, receipt, mined, header))
        block = _block(found, mined)
        if (block.hash, header.parent_hash) != (block_hash, self.head.hash):
            raise ValueError("the cached block is not the next one")
        if any(each.hash != keccak256(each.raw) for each in mined):
            raise ValueError("the cached block has other transactions")
        return block

    def _expect(self, line: Line, block: Block) -> None:
        if parse_digest(line.fields["hash"]) != block.hash:
            raise JournalDamagedError(
                self._journal.path, line.number, f"block {block.number} has another hash when executed again"
            )

    # --- mining -------------------------------------------------------------------------------------------

    @property
    def head(self) -> Block:
        """The latest block."""
        return self.blocks[-1]

    def next_timestamp(self) -> int:
        """Return the time the next block will have, Unix seconds."""
        return max(int(self._clock.now()) + self._offset, int(self.head.header.timestamp) + 1)

    def send(self, raw: bytes) -> bytes:
        """Mine a signed transaction into a block of its own and return its hash, 32 bytes.

        When this returns, the block survives any crash. A transaction whose execution reverts is mined as well.

        Errors: RejectedError when it is not acceptable as it stands; LocalError when the journal cannot be written.
        """
        block = self._mine((raw,), self.next_timestamp())
        return block.transactions[0].hash

    def mine(self, timestamp: int | None = None) -> Block:
        """Mine an empty block; `timestamp` must be later than the head's.

        Errors: RejectedError for a time that is not later than the head's.
        """
        wanted = self.next_timestamp() if timestamp is None else timestamp
        if wanted <= self.head.header.timestamp:
            raise RejectedError(f"timestamp {wanted} is not later than the head's")
        return self._mine((), wanted)

    def increase_time(self, seconds: int) -> int:
        """Put the chain's clock forward: later blocks are at least `seconds` after the head.

        Returns by how many seconds the chain's clock is now ahead of the machine's.
        """
        ahead_of_head = int(self.head.header.timestamp) + seconds - int(self._clock.now())
        offset = max(self._offset + seconds, ahead_of_head)
        self._journal.append({"kind": "clock", "offset": offset})
        self._offset = offset
        return offset

    def fund(self, address: Address, wei: int) -> bytes:
        """Give coins from the faucet to an account and return the transaction's hash."""
        if not 0 < wei <= MAX_GIFT:
            raise RejectedError(f"a gift is between 1 and {MAX_GIFT} wei")
        base = int(self._chain.header.base_fee_per_gas)
        raw = sign_transaction(
            self._faucet.sign,
            chain_id=self.chain_id,
            nonce=self.nonce(self._faucet.address),
            fees=Fees(base + PRIORITY_FEE, PRIORITY_FEE),
            gas=100_000 if self.code(address) else 21_000,
            to=address,
            value=wei,
            data=b"",
        )
        return self.send(raw)

    def _mine(self, raws: Sequence[bytes], timestamp: int) -> Block:
        block = self._build(raws, timestamp)
        fields = {
            "kind": "block",
            "number": block.number,
            "timestamp": timestamp,
            "hash": digest_text(block.hash),
            "transactions": ["0x" + raw.hex() for raw in raws],
        }
        try:
            self._journal.append(fields)
        except BaseException:
            self._take_back()
            raise
        self._cache.append(*self._admit(block))
        return block

    def _build(self, raws: Sequence[bytes], timestamp: int) -> Block:
        self._chain.header = self._chain.header.copy(timestamp=timestamp)
        mined: list[Mined] = []
        try:
            for raw in raws:
                transaction = self._decode(raw)
                self._check(transaction)
                _, receipt, _ = self._chain.apply_transaction(transaction)
                mined.append(_mined(transaction, raw, receipt, mined, self._chain.header))
            built = self._chain.mine_block()
        except ValidationError as error:
            self._take_back()
            raise RejectedError(f"invalid transaction: {error}") from error
        except BaseException:
            self._take_back()
            raise
        return _block(built, mined)

    def _decode(self, raw: bytes) -> SignedTransactionAPI:
        try:
            transaction: SignedTransactionAPI = self._chain.get_transaction_builder().decode(raw)
        except Exception as error:  # the decoders raise whatever they meet: rlp, struct, type and value errors
            raise RejectedError("the raw transaction cannot be decoded") from error
        return transaction

    def _check(self, transaction: SignedTransactionAPI) -> None:
        """Refuse in a node's own words what py-evm would refuse in others."""
        self._check_form(transaction)
        self._check_fees(transaction)
        state = self._chain.get_vm().state
        nonce = state.get_nonce(transaction.sender)
        if transaction.nonce < nonce:
            raise RejectedError(f"nonce too low: next nonce {nonce}, tx nonce {transaction.nonce}")
        if transaction.nonce > nonce:
            raise RejectedError(
                f"nonce too high: next nonce {nonce}, tx nonce {transaction.nonce}; this chain keeps no queue"
            )
        cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
        balance = state.get_balance(transaction.sender)
        if balance < cost:
            raise RejectedError(f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}")

    def _check_form(self, transaction: SignedTransactionAPI) -> None:
        if _type(transaction) not in {0, 1, 2}:
            raise RejectedError("transaction type not supported")
        if transaction.chain_id is None and bytes(transaction.hash) != _DEPLOYER_HASH:
            raise RejectedError("only replay-protected (EIP-155) transactions allowed over RPC")
        if transaction.chain_id not in {None, self.chain_id}:
            raise RejectedError(f"invalid chain id for signer: have {transaction.chain_id} want {self.chain_id}")
        if transaction.hash in self.transactions:
            raise RejectedError("already known")
        try:
            transaction.validate()
            transaction.get_sender()
        except Exception as error:  # a signature that fits no key surfaces as one of several libraries' errors
            raise RejectedError("invalid sender") from error

    def _check_fees(self, transaction: SignedTransactionAPI) -> None:
        base_fee = self.base_fee()
        if transaction.max_fee_per_gas < transaction.max_priority_fee_per_gas:
            raise RejectedError("max priority fee per gas higher than max fee per gas")
        if transaction.max_fee_per_gas < base_fee:
            raise RejectedError(
                f"max fee per gas less than block base fee: maxFeePerGas: {transaction.max_fee_per_gas}, "
                f"baseFee: {base_fee}"
            )
        if transaction.gas > GAS_LIMIT:
            raise RejectedError("exceeds block gas limit")
        if transaction.gas < transaction.intrinsic_gas:
            raise RejectedError(
                f"intrinsic gas too low: gas {transaction.gas}, minimum needed {transaction.intrinsic_gas}"
            )

    def _take_back(self) -> None:
        self._store.forget()
        self._chain.header = self._chain.create_header_from_parent(self.head.header)

    def _admit(self, block: Block) -> tuple[Digest32, Changes]:
        changes = self._store.keep()
        self.blocks.append(block)
        self.by_hash[block.hash] = block
        for index, mined in enumerate(block.transactions):
            self.transactions[mined.hash] = (block, index)
        return Digest32(block.hash), changes

    # --- reading ------------------------------------------------------------------------------------------

    def pending_header(self) -> BlockHeaderAPI:
        """Return the header under which the next block would be executed."""
        header: BlockHeaderAPI = self._chain.header.copy(timestamp=self.next_timestamp())
        return header

    def base_fee(self) -> int:
        """Return the base fee of the next block, wei."""
        return int(self._chain.header.base_fee_per_gas)

    def nonce(self, address: bytes, block: Block | None = None) -> int:
        """Return how many transactions an account had sent after a block (None: the latest)."""
        return int(self._state(block).get_nonce(Address(address)))

    def balance(self, address: bytes, block: Block | None = None) -> int:
        """Return an account's balance after a block, wei."""
        return int(self._state(block).get_balance(Address(address)))

    def code(self, address: bytes, block: Block | None = None) -> bytes:
        """Return the code at an address after a block."""
        return bytes(self._state(block).get_code(Address(address)))

    def storage(self, address: bytes, slot: int, block: Block | None = None) -> Digest32:
        """Return a storage slot after a block, 32 bytes."""
        return Digest32(int(self._state(block).get_storage(Address(address), slot)).to_bytes(32, "big"))

    def proof(self, address: bytes, slots: Sequence[int], block: Block) -> AccountProof:
        """Return an account and some of its storage after a block, with proofs that lead from its state root."""
        from trie.hexary import HexaryTrie

        state = self._state(block)
        account = state._account_db._get_account(Address(address))  # noqa: SLF001 (py-evm offers no other way)
        nodes = self._chain.chaindb.db
        storage = HexaryTrie(nodes, account.storage_root)
        return AccountProof(
            nonce=int(account.nonce),
            balance=int(account.balance),
            storage_root=bytes(account.storage_root),
            code_hash=bytes(account.code_hash),
            proof=_proof(HexaryTrie(nodes, block.header.state_root), keccak256(address)),
            slots=tuple(
                SlotProof(
                    slot,
                    int(state.get_storage(Address(address), slot)),
                    _proof(storage, keccak256(slot.to_bytes(32, "big"))),
                )
                for slot in slots
            ),
        )

    def call(self, call: Call, header: BlockHeaderAPI) -> bytes:
        """Return what a call returns when executed under `header`; nothing is kept.

        Errors: RejectedError, with `data` when the contract reverted.
        """
        computation = self._execute(call, header, call.gas or GAS_LIMIT)
        if computation.is_error:
            raise _failure(computation)
        return bytes(computation.output)

    def estimate_gas(self, call: Call, header: BlockHeaderAPI) -> int:
        """Return a gas limit with which the call succeeds under `header`, at most 1.5 % above the least.

        Errors: RejectedError, with `data` when the contract reverts whatever the limit.
        """
        if not call.data and call.to and not self.code(call.to):
            return 21_000
        high = min(call.gas or GAS_LIMIT, GAS_LIMIT)
        first = self._execute(call, header, high)
        if first.is_error:
            raise _failure(first)
        spent = high - int(first.get_gas_remaining())
        refund = min(int(first.get_gas_refund()), spent // 5)
        low = max(spent - refund - 1, 20_999)
        likely = (spent + _CALL_STIPEND) * 64 // 63
        if likely < high:
            if self._succeeds(call, header, likely):
                high = likely
            else:
                low = likely
        while low + 1 < high and (high - low) * 1000 > high * 15:
            middle = min((low + high) // 2, low * 2)
            if self._succeeds(call, header, middle):
                high = middle
            else:
                low = middle
        return high

    def logs(
        self, first: int, last: int, addresses: frozenset[bytes], topics: Sequence[frozenset[bytes]]
    ) -> Iterator[tuple[Block, int, Log]]:
        """Yield the events of blocks `first` to `last` by `addresses` (empty: all), with their transaction's index.

        `topics` are the alternatives at each position; an empty set accepts anything.
        """
        for block in self.blocks[max(first, 0) : last + 1]:
            for index, mined in enumerate(block.transactions):
                for log in mined.logs:
                    if (not addresses or log.address in addresses) and _topics_match(log.topics, topics):
                        yield block, index, log

    def _state(self, block: Block | None) -> Any:
        return self._chain.get_vm(self._chain.header if block is None else block.header).state

    def _succeeds(self, call: Call, header: BlockHeaderAPI, gas: int) -> bool:
        try:
            return not self._execute(call, header, gas).is_error
        except RejectedError:
            return False

    def _execute(self, call: Call, header: BlockHeaderAPI, gas: int) -> ComputationAPI:
        state = self._chain.get_vm(header).state
        unsigned = self._chain.get_transaction_builder().new_unsigned_dynamic_fee_transaction(
            chain_id=self.chain_id,
            nonce=0,
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=min(gas, GAS_LIMIT),
            to=Address(call.to),
            value=call.value,
            data=call.data,
            access_list=call.access_list,
        )
        transaction: Any = SpoofTransaction(unsigned, from_=Address(call.sender))
        if transaction.gas < transaction.intrinsic_gas:
            raise RejectedError("intrinsic gas too low")
        if state.get_balance(Address(call.sender)) < call.value:
            raise RejectedError("insufficient funds for transfer")
        executor = state.get_transaction_executor()
        computation: ComputationAPI = executor.build_computation(executor.build_evm_message(transaction), transaction)
        return computation


def _failure(computation: ComputationAPI) -> RejectedError:
    error = computation.error
    if isinstance(error, Revert):
        data = bytes(computation.output)
        return RejectedError("execution reverted" + revert_text(data), data=data)
    if isinstance(error, InsufficientFunds):
        return RejectedError("insufficient funds for transfer")
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type(error).__name__)
    return RejectedError(words.strip())


def revert_text(data: bytes) -> str:
    """Return `: ` and the text when `data` is Solidity's Error(string), or its name for a panic; else nothing."""
    if data[:4] == b"\x08\xc3\x79\xa0" and len(data) >= 68:
        length = int.from_bytes(data[36:68], "big")
        return ": " + data[68 : 68 + min(length, 1024)].decode("utf-8", "replace")
    if data[:4] == b"\x4e\x48\x7b\x71" and len(data) == 36:
        return f": panic 0x{int.from_bytes(data[4:], 'big'):02x}"
    return ""


def _topics_match(found: Sequence[bytes], wanted: Sequence[frozenset[bytes]]) -> bool:
    if len(found) < len(wanted):
        return False
    return all(not options or topic in options for topic, options in zip(found, wanted, strict=False))


def _type(transaction: Any) -> int:
    return int(getattr(transaction, "type_id", None) or 0)


def _proof(trie: Any, key: bytes) -> tuple[bytes, ...]:
    """Return the nodes on the way to `key`, root first; nodes below 32 bytes lie inside their parent already."""
    import rlp  # type: ignore[import-untyped]

    if trie.root_hash == _EMPTY_TRIE:
        return ()
    nodes = [bytes(rlp.encode(node)) for node in trie.get_proof(key)]
    return tuple(node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32)


def _raws(line: Line) -> tuple[bytes, ...]:
    return tuple(bytes.fromhex(raw[2:]) for raw in line.fields["transactions"])


def _block(block: BlockAPI, mined: Iterable[Mined]) -> Block:
    import rlp

    return Block(block.header, bytes(block.hash), len(rlp.encode(block)), tuple(mined))


def _mined(
    transaction: SignedTransactionAPI,
    raw: bytes,
    receipt: Any,
    earlier: Sequence[Mined],
    header: Any,
) -> Mined:
    before = earlier[-1].cumulative_gas_used if earlier else 0
    first = sum(len(each.logs) for each in earlier)
    price = min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas + int(header.base_fee_per_gas))
    return Mined(
        transaction=transaction,
        raw=raw,
        hash=bytes(transaction.hash),
        sender=bytes(transaction.sender),
        contract=contract_address(transaction.sender, transaction.nonce) if transaction.to == b"" else None,
        succeeded=receipt.state_root == b"\x01",  # since Byzantium the field holds the status
        gas_used=int(receipt.gas_used) - before,
        cumulative_gas_used=int(receipt.gas_used),
        gas_price=price,
        bloom=int(receipt.bloom),
        logs=tuple(
            Log(
                bytes(log.address),
                tuple(int(topic).to_bytes(32, "big") for topic in log.topics),
                bytes(log.data),
                index,
            )
            for index, log in enumerate(receipt.logs, start=first)
        ),
    )
