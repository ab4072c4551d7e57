"""A chain endpoint, spoken to directly: reads of the three contracts, events, and raw transactions.

web3 is imported when a client is made, because it takes two seconds. "Final" is the block tag `finalized`. An
endpoint is trusted for what it says; whoever wants more compares two of them, or asks for storage proofs.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from platemark.errors import Kind, RefusedError, TryLaterError, UpstreamError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, Digest32, UnixSeconds, Wei, address_text, digest_text, parse_address

if TYPE_CHECKING:
    from requests import Session
    from web3 import Web3
    from web3.contract import Contract

    from platemark.protocol.abi import ContractArtifact

ContractName = Literal["DesignRegistry", "PrintLicense", "PrintLedger", "ERC20"]
"""The three contracts, and tokens that licences are paid in (`platemark.sdk.erc20`)."""
BlockTag = int | Literal["latest", "finalized"]

CONTRACTS: Final[tuple[ContractName, ...]] = ("DesignRegistry", "PrintLicense", "PrintLedger")
EMBEDDED_CHAIN_ID: Final = 480_215
"""The chain that `platemark-gateway dev` runs, unless it was told another number; it has a faucet."""
_TIMEOUT_SECONDS: Final = 20
_CONNECT_SECONDS: Final = 5
_TRIES: Final = 3
"""How often an endpoint is called that cannot be connected to."""
_FUND_SECONDS: Final = 60
_METHOD_NOT_FOUND: Final = -32601
_BUSY_STATUS: Final = 429
"""From here on a server says that it is busy or broken; below, and with 501, that it does not know what was asked."""
_POLL_SECONDS: Final = 1.0
_LONGEST_POLL_SECONDS: Final = 12.0
_LOG_BLOCKS: Final = 10_000
_LAST_BLOCK: Final = (1 << 63) - 1
"""What nodes keep a block's number in: they refuse to be asked for more, and nobody is to end an audit so."""
_GAS_MARGIN_PERCENT: Final = 20
_DEFAULT_TIP_WEI: Final = 1_000_000_000
_CAPITALS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


@dataclass(frozen=True, slots=True)
class BlockFacts:
    """A block: number, hash, timestamp."""

    number: int
    hash: Digest32
    timestamp: UnixSeconds


@dataclass(frozen=True, slots=True)
class ChainEvent:
    """An event of one of the contracts, decoded."""

    contract: ContractName
    name: str
    arguments: Mapping[str, Any]
    block: int
    block_hash: Digest32
    transaction: Digest32
    log_index: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction in a block."""

    hash: Digest32
    block: int
    gas_used: int


@dataclass(frozen=True, slots=True)
class MinedCall:
    """A transaction in a block: the account it calls (None: it creates a contract), its data, and how it ended."""

    to: Address | None
    data: bytes
    block: int
    succeeded: bool


class ChainClient:
    """One JSON-RPC endpoint."""

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = _TIMEOUT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url = url
        self._timeout = timeout_seconds
        self._sleep = sleep
        self._monotonic = monotonic
        self._web3: Web3 | None = None
        self._session: Session | None = None
        self._contracts: dict[tuple[ContractName, Address], Contract] = {}
        self._errors: dict[bytes, str] | None = None
        self._chain_id: int | None = None

    def __repr__(self) -> str:
        from urllib.parse import urlsplit

        return f"ChainClient({urlsplit(self.url).hostname})"

    def close(self) -> None:
        """Close connections; the next call opens them again."""
        if self._session is not None:
            self._session.close()

    # --- blocks ----------------------------------------------------------------------------------------

    def chain_id(self) -> int:
        """Return the chain's number."""
        with self._reached():
            self._chain_id = int(self._node().eth.chain_id)
        return self._chain_id

    def check_chain(self, chain_id: int) -> None:
        """Raise unless the endpoint serves this chain.

        Errors: VerificationError `wrong-chain`.
        """
        found = self.chain_id()
        if found != chain_id:
            raise VerificationError(
                f"the chain endpoint serves chain {found}, not {chain_id}",
                step="chain",
                code="wrong-chain",
                expected=str(chain_id),
                found=str(found),
                hint="is --rpc (or PLATEMARK_RPC) the endpoint of the gateway's chain?",
            )

    def head(self) -> BlockFacts:
        """Return the newest block."""
        return self.block("latest")

    def final_block(self) -> BlockFacts:
        """Return the newest final block."""
        return self.block("finalized")

    def block(self, number: BlockTag) -> BlockFacts:
        """Return a block by number or tag.

        Errors: UpstreamError `block-unknown` when the endpoint does not have it.
        """
        from web3.exceptions import BlockNotFound

        if isinstance(number, int) and number > _LAST_BLOCK:
            raise _block_unknown(number)
        with self._reached():
            try:
                found = self._node().eth.get_block(number)
            except BlockNotFound as error:
                raise _block_unknown(number) from error
            return BlockFacts(
                int(found["number"]), Digest32(bytes(found["hash"])), UnixSeconds(int(found["timestamp"]))
            )

    # --- contracts -------------------------------------------------------------------------------------

    def read(
        self,
        contract: ContractName,
        address: Address,
        function: str,
        *arguments: Any,
        block: BlockTag = "latest",
    ) -> Any:
        """Return what a view function answers, decoded: addresses as EIP-55 text, structs as mappings.

        Errors: RefusedError with the contract's error as code; UpstreamError `contract-missing`, `rpc-unreachable`.
        """
        with self._reached():
            call = self._contract(contract, address).functions[function](*arguments)
            return call.call(block_identifier=block)

    def code(self, address: Address) -> bytes:
        """Return the code at an address; empty for an ordinary account."""
        with self._reached():
            return bytes(self._node().eth.get_code(_checksummed(address)))

    def transaction(self, transaction: Digest32) -> MinedCall | None:
        """Return a transaction that stands in a block, or None when the endpoint does not have it."""
        from web3.exceptions import TransactionNotFound

        with self._reached():
            try:
                sent = self._node().eth.get_transaction(cast("Any", transaction))
                receipt = self._node().eth.get_transaction_receipt(cast("Any", transaction))
            except TransactionNotFound:
                return None
            to = sent.get("to")
            return MinedCall(
                to=None if to is None else parse_address(to),
                data=bytes(sent["input"]),
                block=int(receipt["blockNumber"]),
                succeeded=receipt["status"] == 1,
            )

    def balance(self, address: Address) -> Wei:
        """Return how much of the chain's coin an account has."""
        with self._reached():
            return Wei(int(self._node().eth.get_balance(_checksummed(address))))

    def check_code(self, contract: ContractName, address: Address) -> None:
        """Raise unless the code at `address` is this contract as it is shipped, whatever its immutable values.

        Errors: VerificationError `contract-code`.
        """
        from platemark.protocol import abi

        artifact = abi.load(contract)
        found = self.code(address)
        expected = artifact.deployed_bytecode
        if len(found) == len(expected) and _masked(found, artifact) == _masked(expected, artifact):
            return
        raise VerificationError(
            f"{address_text(address)} is not the {contract} that this version knows",
            step="contracts",
            code="contract-code",
            expected=f"the {len(expected)} bytes of {contract}",
            found="no contract" if not found else f"{len(found)} other bytes",
            hint="is --rpc the endpoint of the gateway's chain? another version of Platemark may have deployed this "
            "contract: then use the client of that version; otherwise do not use this gateway",
        )

    def events(
        self,
        contract: ContractName,
        address: Address,
        names: Sequence[str],
        *,
        from_block: int,
        to_block: int,
        filters: Mapping[str, Any] | None = None,
    ) -> Iterator[ChainEvent]:
        """Yield events in order of block and position; ranges are asked for in pieces, halved when refused."""
        low, span = from_block, _LOG_BLOCKS
        while low <= to_block:
            high = min(to_block, low + span - 1)
            try:
                found = self._events(contract, address, names, low, high, filters or {})
            except UpstreamError as error:
                if error.code != "rpc-refused" or span == 1:
                    raise
                span = max(1, span // 4)
                continue
            yield from sorted(found, key=lambda event: (event.block, event.log_index))
            low = high + 1

    def _events(
        self,
        contract: ContractName,
        address: Address,
        names: Sequence[str],
        low: int,
        high: int,
        filters: Mapping[str, Any],
    ) -> list[ChainEvent]:
        found: list[ChainEvent] = []
        with self._reached():
            events = self._contract(contract, address).events
            for name in names:
                logs = events[name]().get_logs(from_block=low, to_block=high, argument_filters=dict(filters) or None)
                found.extend(
                    ChainEvent(
                        contract=contract,
                        name=name,
                        arguments=dict(log["args"]),
                        block=int(log["blockNumber"]),
                        block_hash=Digest32(bytes(log["blockHash"])),
                        transaction=Digest32(bytes(log["transactionHash"])),
                        log_index=int(log["logIndex"]),
                    )
                    for log in logs
                )
        return found

    def ask(self, method: str, *params: Any) -> Any:
        """Return what a method of JSON-RPC gives, as JSON has it; None where the endpoint answers with an error."""
        with self._reached():
            return self._node().provider.make_request(cast("Any", method), list(params)).get("result")

    # --- transactions ----------------------------------------------------------------------------------

    def transact(
        self,
        account: AccountKey,
        contract: ContractName,
        address: Address,
        function: str,
        *arguments: Any,
        chain_id: int,
        value: Wei = Wei(0),  # noqa: B008 (an integer)
    ) -> Digest32:
        """Sign and send a transaction (EIP-1559) with the account's key and return its hash.

        The call is tried first, so that what a contract refuses costs nothing.

        Errors: RefusedError with the contract's error as code, `coin-missing`; VerificationError `wrong-chain`.
        """
        self.check_chain(chain_id)
        if self.balance(account.address) <= value:
            raise self._too_little_coin()
        with self._reached():
            node = self._node()
            sender = _checksummed(account.address)
            call = self._contract(contract, address).functions[function](*arguments)
            base_fee = int(node.eth.get_block("latest").get("baseFeePerGas", 0))
            tip = self._tip()
            limit = call.estimate_gas({"from": sender, "value": node.to_wei(value, "wei")})
            transaction = call.build_transaction(
                {
                    "from": sender,
                    "value": node.to_wei(value, "wei"),
                    "gas": limit * (100 + _GAS_MARGIN_PERCENT) // 100,
                    "nonce": node.eth.get_transaction_count(sender, "pending"),
                    "chainId": chain_id,
                    "maxFeePerGas": node.to_wei(2 * base_fee + tip, "wei"),
                    "maxPriorityFeePerGas": node.to_wei(tip, "wei"),
                }
            )
            from eth_account import Account

            signed = Account.sign_transaction(transaction, account.secret())
            return Digest32(bytes(node.eth.send_raw_transaction(signed.raw_transaction)))

    def fund(self, account: Address) -> Wei:
        """Ask the embedded chain's faucet for coins and return the account's balance afterwards.

        Errors: RefusedError `faucet-missing` on any other chain.
        """
        from web3.types import RPCEndpoint

        with self._reached():
            provider = cast("Any", self._node().provider)
            answer = provider.make_request(RPCEndpoint("platemark_fund"), [address_text(account)])
            error = answer.get("error")
            transaction = Digest32(bytes.fromhex(str(answer.get("result", "0x"))[2:]))
        if error is not None:
            if isinstance(error, Mapping) and error.get("code") != _METHOD_NOT_FOUND:
                raise UpstreamError("the chain's faucet refused", code="rpc-refused")
            raise RefusedError(
                "this chain has no faucet; only the embedded chain has one",
                kind=Kind.CONFLICT,
                code="faucet-missing",
                hint="send coins to the key from an account that has some",
            )
        self.wait(transaction, final=False, seconds=_FUND_SECONDS)
        return self.balance(account)

    def wait(
        self,
        transaction: Digest32,
        *,
        final: bool = True,
        seconds: float = 1800,
        on_wait: Callable[[], None] | None = None,
    ) -> Sent:
        """Return a transaction once it stands in a block, or in a final one.

        Errors: RefusedError `transaction-reverted`; TryLaterError `awaiting-finality` when `seconds` have passed.
        """
        from web3.exceptions import TransactionNotFound

        ends_at = self._monotonic() + seconds
        pause = _POLL_SECONDS
        while True:
            with self._reached():
                try:
                    receipt = self._node().eth.get_transaction_receipt(cast("Any", transaction))
                except TransactionNotFound:
                    receipt = None
            if receipt is not None and (not final or int(receipt["blockNumber"]) <= self.final_block().number):
                if receipt["status"] != 1:
                    raise RefusedError(
                        f"the chain refused the transaction {digest_text(transaction)}",
                        kind=Kind.CONFLICT,
                        code="transaction-reverted",
                    )
                return Sent(transaction, int(receipt["blockNumber"]), int(receipt["gasUsed"]))
            if self._monotonic() + pause > ends_at:
                raise TryLaterError(
                    f"the transaction {digest_text(transaction)} is not final yet",
                    code="awaiting-finality",
                    retry_after_seconds=60,
                    hint="it goes on by itself; ask again in a minute",
                )
            if on_wait is not None:
                on_wait()
            self._sleep(pause)
            pause = min(pause * 1.5, _LONGEST_POLL_SECONDS)

    def _tip(self) -> int:
        from web3.exceptions import Web3RPCError
        from web3.types import RPCEndpoint

        try:
            return int(self._node().manager.request_blocking(RPCEndpoint("eth_maxPriorityFeePerGas"), []), 16)
        except Web3RPCError:  # endpoints need not have the method
            return _DEFAULT_TIP_WEI

    # --- inside ----------------------------------------------------------------------------------------

    def _node(self) -> "Web3":
        if self._web3 is None:
            from requests import ConnectionError as NotReached
            from requests import Session
            from web3 import Web3
            from web3.providers.rpc.utils import ExceptionRetryConfiguration

            self._session = Session()
            # One that hangs is not asked again and again: each time would be as long as the first.
            retrying = ExceptionRetryConfiguration([NotReached], retries=_TRIES)
            timeouts = {"timeout": (min(_CONNECT_SECONDS, self._timeout), self._timeout)}
            provider = Web3.HTTPProvider(self.url, timeouts, self._session, exception_retry_configuration=retrying)
            decode = provider.decode_rpc_response

            def decode_object(raw: bytes) -> Any:
                found: object = decode(raw)
                if not isinstance(found, dict):  # web3 takes it for one
                    raise ValueError("an answer of JSON-RPC is an object")  # noqa: TRY004 (of what was read)
                return found

            cast("Any", provider).decode_rpc_response = decode_object
            self._web3 = Web3(provider)
            self._web3.middleware_onion.remove("validation")  # it asks for the chain's id before every call
        return self._web3

    def _contract(self, contract: ContractName, address: Address) -> "Contract":
        known = self._contracts.get((contract, address))
        if known is None:
            known = self._node().eth.contract(
                address=_checksummed(address), abi=cast("Any", _abi(contract)), decode_tuples=True
            )
            self._contracts[contract, address] = known
        return known

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Turn what web3 and its transport raise into errors of ours; a test holds the list."""
        from requests import HTTPError, RequestException
        from web3.exceptions import (
            BadFunctionCallOutput,
            ContractCustomError,
            ContractLogicError,
            Web3Exception,
            Web3RPCError,
        )

        try:
            yield
        except (ContractCustomError, ContractLogicError) as error:
            raise self._refusal(error.data) from error
        except BadFunctionCallOutput as error:
            raise UpstreamError(
                "there is no such contract at the address that the gateway named",
                code="contract-missing",
                hint="is --rpc (or PLATEMARK_RPC) the endpoint of the gateway's chain?",
            ) from error
        except Web3RPCError as error:
            if "insufficient funds" in str(error).lower():
                raise self._too_little_coin() from error
            raise UpstreamError("the chain endpoint refused a request", code="rpc-refused") from error
        except HTTPError as error:
            status = None if error.response is None else error.response.status_code
            if status is None or (status >= _BUSY_STATUS and status != HTTPStatus.NOT_IMPLEMENTED):
                raise _unreachable() from error
            raise self._foreign() from error
        except JSONDecodeError as error:
            raise self._foreign() from error
        except (RequestException, OSError) as error:
            raise _unreachable() from error
        except (Web3Exception, ValueError) as error:
            raise UpstreamError("the chain endpoint gave a broken answer", code="rpc-malformed") from error

    def _foreign(self) -> UpstreamError:
        return UpstreamError(
            f"{_host(self.url)} answers, but is no chain endpoint",
            code="rpc-foreign",
            hint="is --rpc (or PLATEMARK_RPC) the address of a gateway or a website? "
            "it names a chain's JSON-RPC endpoint",
        )

    def _too_little_coin(self) -> RefusedError:
        embedded = self._chain_id == EMBEDDED_CHAIN_ID
        return RefusedError(
            "the account has too little of the chain's coin for price and gas",
            kind=Kind.CONFLICT,
            code="coin-missing",
            hint="this is the embedded chain, whose faucet gives some: platemark keys fund"
            if embedded
            else "send it some, then try again",
        )

    def _refusal(self, data: object) -> RefusedError:
        """Return the error that a contract's revert stands for; its code is the error's name in kebab-case."""
        name = self._error_name(data)
        if name is None:
            return RefusedError("the contract refuses this", kind=Kind.CONFLICT, code="contract-refused")
        words = _CAPITALS.sub(" ", name).lower()
        return RefusedError(f"the contract refuses this: {words}", kind=Kind.CONFLICT, code=words.replace(" ", "-"))

    def _error_name(self, data: object) -> str | None:
        if not isinstance(data, str) or len(data) < 10:
            return None
        try:
            selector = bytes.fromhex(data[2:10])
        except ValueError:
            return None
        if self._errors is None:
            self._errors = _error_names()
        return self._errors.get(selector)


def _abi(contract: ContractName) -> Sequence[Mapping[str, Any]]:
    if contract == "ERC20":
        from platemark.sdk.erc20 import ABI

        return ABI
    from platemark.protocol import abi

    return abi.load(contract).abi


def _block_unknown(number: BlockTag) -> UpstreamError:
    return UpstreamError(f"the chain endpoint has no block {number}", code="block-unknown")


def _unreachable() -> UpstreamError:
    return UpstreamError(
        "the chain endpoint cannot be reached",
        code="rpc-unreachable",
        hint="is it running, and is --rpc (or PLATEMARK_RPC) right?",
    )


def _host(url: str) -> str:
    """Return where an endpoint is, without the user, path and query, which may hold a key."""
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")


def _error_names() -> dict[bytes, str]:
    from platemark.protocol import abi

    return {selector: str(entry["name"]) for name in CONTRACTS for selector, entry in abi.load(name).errors().items()}


def _masked(code: bytes, artifact: "ContractArtifact") -> bytes:
    """Return code with its immutable values blanked."""
    blank = bytearray(code)
    for ranges in artifact.immutable_references.values():
        for place in ranges:
            blank[place["start"] : place["start"] + place["length"]] = bytes(place["length"])
    return bytes(blank)


def _checksummed(address: Address) -> Any:
    return address_text(address)
