"""The gateway's view of a chain: JSON-RPC with deadlines, and the contracts' state (implements `ports.ChainReader`)."""

import asyncio
import contextlib
import itertools
import json
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import structlog

from platemark.errors import Kind, MalformedError, UpstreamError
from platemark.protocol import accounts
from platemark.protocol.units import (
    ZERO_ADDRESS,
    Address,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    address_text,
    digest32,
    digest_text,
    parse_address,
)
from platemark_gateway import outgoing
from platemark_gateway.chain.contracts import AbiCalls, RawLog
from platemark_gateway.chain.errors import (
    EndpointContradictsError,
    NodeError,
    NodeUnreachableError,
    RevertedError,
    decode_revert,
)
from platemark_gateway.chain.proofs import UnprovableError, is_proven, receipts_root
from platemark_gateway.errors import ConflictError, GatewayError
from platemark_gateway.ports import (
    RELAY_GAS,
    BlockRef,
    Contract,
    Deployment,
    DesignState,
    EndpointHealth,
    GatewayState,
    LicenseState,
    ReservationState,
)

T = TypeVar("T")

MAX_ANSWER_BYTES: Final = 32 << 20
_INDEXING: Final = "indexing is in progress"
"""What geth says of a transaction that it does not know, for a moment after its start."""
_REVERTED: Final = 3
_BATCH: Final = 50
_MAGIC_1271: Final = bytes.fromhex("1626ba7e")
_TRIES: Final = 2

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class WrongChainError(GatewayError):
    """The node serves another chain than the one this gateway belongs to."""

    def __init__(self, expected: int, found: int) -> None:
        super().__init__(
            f"the node serves chain {found}, this gateway belongs to chain {expected}",
            kind=Kind.UNAVAILABLE,
            code="chain-foreign",
            hint="check the RPC address and deployment.json",
            expected=expected,
        )


@dataclass(frozen=True, slots=True)
class Header:
    """What the indexer needs of a block."""

    number: int
    hash: Digest32
    parent_hash: Digest32
    timestamp: UnixSeconds
    base_fee: int
    bloom: int
    receipts_root: Digest32 | None
    is_proven: bool | None
    """Whether the hash follows from the header's fields, so that it commits to parent, time, filter and receipts.

    None where that cannot be told; False on chains that hash otherwise, or when the node lies.
    """

    @property
    def ref(self) -> BlockRef:
        """Number, hash and timestamp."""
        return BlockRef(self.number, self.hash, self.timestamp)


@dataclass(frozen=True, slots=True)
class Receipt:
    """A mined transaction."""

    transaction_hash: Digest32
    block_number: int
    block_hash: Digest32
    succeeded: bool
    gas_used: int
    paid: int
    """What the sender paid for gas, wei; on rollups with what the chain below cost, where the node says it."""
    contract: Address | None


@dataclass(frozen=True, slots=True)
class SentCall:
    """What a transaction calls: its hash, the account (None: it creates a contract) and the calldata."""

    hash: Digest32
    to: Address | None
    data: bytes


class Caller(Protocol):
    """Who answers JSON-RPC: one node (`Rpc`), or several of which one answers (`Endpoints`)."""

    @property
    def name(self) -> str:
        """A name for logs and metrics, without the secrets that an address may hold."""
        ...

    @property
    def quorum(self) -> int:
        """How many nodes must say the same before it permits anything: 2, or 1 where there is only one."""
        ...

    async def call(self, method: str, *params: Any, retry: bool = True) -> Any:
        """Return a method's result; errors as `Rpc.call`."""
        ...

    async def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the results of one method for several parameters, in order."""
        ...

    async def send(self, raw: bytes) -> None:
        """Broadcast a signed transaction; errors as `Rpc.call`."""
        ...

    async def callers(self) -> "Sequence[Caller]":
        """Return the single nodes that can be asked now, the preferred one first."""
        ...

    def accuse(self, fact: str) -> None:
        """Note that this node contradicts what is proven or agreed."""
        ...

    def health(self) -> Sequence[EndpointHealth]:
        """Return how each node does."""
        ...


class Rpc:
    """JSON-RPC over HTTP; each call has a deadline, reads are tried twice, answers are bounded. Its node is trusted."""

    quorum: int = 1

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 10,
        transport: httpx.AsyncBaseTransport | None = None,
        tries: int = _TRIES,
    ) -> None:
        self.url = url
        self.name = urlsplit(url).netloc.rpartition("@")[2]
        self._tries = tries
        self._client = outgoing.client(url, timeout_seconds=timeout_seconds, transport=transport)
        self._timeout = timeout_seconds
        self._ids = itertools.count(1)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def call(self, method: str, *params: Any, retry: bool = True) -> Any:
        """Return a method's result.

        Errors: NodeUnreachableError; RevertedError when a contract reverted; NodeError for any other error object;
            UpstreamError `rpc-nonsense` when the answer is no JSON-RPC.
        """
        identifier = next(self._ids)
        body = {"jsonrpc": "2.0", "id": identifier, "method": method, "params": params}
        answer = await self._post(body, tries=self._tries if retry else 1)
        if not isinstance(answer, dict):
            raise _nonsense()
        return _result(method, answer)

    async def batch(self, method: str, params: Sequence[Sequence[Any]]) -> list[Any]:
        """Return the results of one method for several parameters, in order; errors as `call`."""
        results: list[Any] = []
        for start in range(0, len(params), _BATCH):
            calls = [
                {"jsonrpc": "2.0", "id": at, "method": method, "params": each}
                for at, each in enumerate(params[start : start + _BATCH])
            ]
            answer = await self._post(calls, tries=self._tries)
            if not isinstance(answer, list) or len(answer) != len(calls):
                raise _nonsense()
            by_id = {each.get("id"): each for each in answer if isinstance(each, dict)}
            if set(by_id) != set(range(len(calls))):
                raise _nonsense()
            results += [_result(method, by_id[at]) for at in range(len(calls))]
        return results

    async def send(self, raw: bytes) -> None:
        """Broadcast a signed transaction; errors as `call`. Never repeated by itself."""
        await self.call("eth_sendRawTransaction", "0x" + raw.hex(), retry=False)

    async def callers(self) -> Sequence[Caller]:
        """Return this node."""
        return [self]

    def accuse(self, fact: str) -> None:
        """Log what the node contradicts; there is no other one to turn to."""
        log.error("chain.endpoint.contradicts", endpoint=self.name, fact=fact)

    def health(self) -> Sequence[EndpointHealth]:
        """Return that the node is trusted, whatever it says."""
        return [EndpointHealth(self.name, "trusted", 0)]

    async def _post(self, body: Any, *, tries: int) -> Any:
        for attempt in range(1, tries + 1):
            try:
                async with asyncio.timeout(self._timeout):
                    return await self._post_once(body)
            except (httpx.HTTPError, TimeoutError, NodeUnreachableError) as error:
                if attempt == tries:
                    raise NodeUnreachableError from error
                await asyncio.sleep(random.uniform(0.05, 0.25))  # noqa: S311 (jitter, not a secret)
        raise AssertionError("unreachable: the last try returns or raises")

    async def _post_once(self, body: Any) -> Any:
        chunks: list[bytes] = []
        total = 0
        async with self._client.stream("POST", self.url, json=body) as response:
            if response.status_code == 429 or response.status_code >= 500:
                raise NodeUnreachableError
            async for chunk in response.aiter_bytes():
                total += len(chunk)
                if total > MAX_ANSWER_BYTES:
                    raise UpstreamError("the chain's node answers with too much", code="rpc-nonsense")
                chunks.append(chunk)
        try:
            return json.loads(b"".join(chunks))
        except (ValueError, RecursionError) as error:
            raise _nonsense() from error


class ChainClient:
    """Typed calls of one node, or of several as one, before any contract is known.

    Args:
        rpc: Who answers.
        final_depth: How many blocks on top make one final; None: the node says which are (`finalized`).
    """

    def __init__(self, rpc: Caller, *, final_depth: int | None = None) -> None:
        self.rpc = rpc
        self._final_depth = final_depth

    async def each(self) -> list[Self]:
        """Return a client of each single node that can be asked now, the preferred one first."""
        return [type(self)(caller, final_depth=self._final_depth) for caller in await self.rpc.callers()]

    async def agree(self, fact: str, value: T, ask: Callable[[Self], Awaitable[T | None]]) -> bool:
        """Return whether as many nodes as the quorum asks for give this value; a node that gives another is logged.

        Nodes that do not answer, or answer None, are no witnesses. A node alone is trusted.
        """
        if self.rpc.quorum == 1:
            return True
        witnesses = 0
        for client in await self.each():
            with contextlib.suppress(NodeUnreachableError, UpstreamError):
                found = await ask(client)
                witnesses += found == value
                if found not in {None, value}:
                    log.error("chain.endpoints.disagree", endpoint=client.rpc.name, fact=fact)
        return witnesses >= self.rpc.quorum

    async def head_and_final(self) -> tuple[Header, Header] | None:
        """Return the latest block and the latest final one; None while the node has no such blocks."""
        head = await self.header("latest")
        if head is None:
            return None
        depth = self._final_depth
        final = await self.header("finalized" if depth is None else max(0, head.number - depth))
        return None if final is None else (head, final)

    async def chain_id(self) -> int:
        """Return the chain's id."""
        return _int(await self.rpc.call("eth_chainId"))

    async def require_chain(self, expected: int) -> None:
        """Return when the node serves the expected chain; errors WrongChainError."""
        found = await self.chain_id()
        if found != expected:
            raise WrongChainError(expected, found)

    async def header(self, tag: int | str) -> Header | None:
        """Return a block's header by number or tag, or None when the node has none."""
        found = await self.rpc.call("eth_getBlockByNumber", _tag(tag), False)
        return None if found is None else _header(found)

    async def headers(self, first: int, last: int) -> list[Header]:
        """Return the headers of blocks `first` to `last`; shorter when the node lacks one, then nothing follows it."""
        found = await self.headers_at(range(first, last + 1))
        return [each for each in itertools.takewhile(lambda header: header is not None, found) if each is not None]

    async def headers_at(self, numbers: Iterable[int]) -> list[Header | None]:
        """Return the headers of some blocks, in their order; None for those that the node does not have."""
        found = await self.rpc.batch("eth_getBlockByNumber", [(hex(number), False) for number in numbers])
        return [None if each is None else _header(each) for each in found]

    async def logs(self, addresses: Sequence[Address], first: int, last: int) -> list[RawLog]:
        """Return the logs of some contracts in blocks `first` to `last`, in order."""
        return await self._logs({"fromBlock": hex(first), "toBlock": hex(last)}, addresses)

    async def logs_of_block(self, addresses: Sequence[Address], block_hash: Digest32) -> list[RawLog]:
        """Return the logs of some contracts in one block; errors NodeError when the node does not know the block."""
        return await self._logs({"blockHash": digest_text(block_hash)}, addresses)

    async def proven_logs(self, addresses: Sequence[Address], header: Header) -> list[RawLog] | None:
        """Return the logs of some contracts in a block, all of them, as the header's receipts root proves.

        None where that cannot be told: the header's hash does not follow from its fields, the node does not give all
        receipts of a block, or some are of a kind that is not known here.

        Errors: EndpointContradictsError when the receipts are not the header's.
        """
        if not header.is_proven or header.receipts_root is None:
            return None
        try:
            found = await self.rpc.call("eth_getBlockReceipts", digest_text(header.hash))
            root = await asyncio.to_thread(receipts_root, found)
        except (NodeError, UnprovableError):
            return None
        if root != header.receipts_root:
            raise EndpointContradictsError(self.rpc.name, f"the receipts of block {header.number}")
        logs = [_log(each) for receipt in found for each in receipt["logs"]]
        wanted = frozenset(addresses)
        # A receipt's place in its block is not part of what is proven: the order is.
        return [
            replace(each, block_number=header.number, block_hash=header.hash, log_index=at)
            for at, each in enumerate(logs)
            if each.address in wanted
        ]

    async def receipt(self, transaction_hash: Digest32) -> Receipt | None:
        """Return a transaction's receipt, or None while it is in no block, or the node still looks for it."""
        try:
            found = await self.rpc.call("eth_getTransactionReceipt", digest_text(transaction_hash))
        except NodeError as error:
            if _INDEXING not in error.rpc_message:
                raise
            return None
        return None if found is None or found.get("blockHash") is None else _receipt(found)

    async def nonce(self, account: Address, tag: int | str = "latest") -> int:
        """Return how many transactions an account has sent."""
        return _int(await self.rpc.call("eth_getTransactionCount", address_text(account), _tag(tag)))

    async def balance_of(self, account: Address) -> Wei:
        """Return an account's coins, wei."""
        return Wei(_int(await self.rpc.call("eth_getBalance", address_text(account), "latest")))

    async def code(self, address: Address, tag: int | str = "latest") -> bytes:
        """Return the code at an address; errors NodeError when the node has no state as old as the block."""
        return _bytes(await self.rpc.call("eth_getCode", address_text(address), _tag(tag)))

    async def calls_in(self, block: int) -> list[SentCall]:
        """Return what the transactions of a block call."""
        found = await self.rpc.call("eth_getBlockByNumber", _tag(block), True)
        return [] if found is None else [_sent_call(each) for each in found["transactions"]]

    async def priority_fee(self) -> int:
        """Return what the node suggests to pay a block's maker for a unit of gas, wei."""
        try:
            return _int(await self.rpc.call("eth_maxPriorityFeePerGas"))
        except NodeError:  # an optional method: some nodes lack it
            return 10**9

    async def estimate_gas(self, sender: Address, to: Address | None, data: bytes, value: int) -> int:
        """Return the gas a transaction needs; errors RevertedError when it would revert."""
        call = _call(to, data) | {"from": address_text(sender), "value": hex(value)}
        return _int(await self.rpc.call("eth_estimateGas", call))

    async def execute(
        self, to: Address, data: bytes, *, sender: Address = ZERO_ADDRESS, value: int = 0, tag: int | str = "latest"
    ) -> bytes:
        """Return what a call returns; errors RevertedError."""
        call = _call(to, data) | {"from": address_text(sender), "value": hex(value)}
        return _bytes(await self.rpc.call("eth_call", call, _tag(tag)))

    async def send(self, raw: bytes) -> None:
        """Broadcast a signed transaction; errors NodeError with the node's own words. Never repeated by itself."""
        await self.rpc.send(raw)

    async def fund(self, account: Address) -> Digest32:
        """Ask the embedded chain's faucet for coins; errors NodeError on any other chain."""
        return digest32(_bytes(await self.rpc.call("platemark_fund", address_text(account), retry=False)))

    async def _logs(self, where: Mapping[str, Any], addresses: Sequence[Address]) -> list[RawLog]:
        query = {**where, "address": [address_text(each) for each in addresses]}
        found = await self.rpc.call("eth_getLogs", query)
        if not isinstance(found, list):
            raise _nonsense()
        logs = [_log(each) for each in found if not each.get("removed")]
        return sorted(logs, key=lambda log: (log.block_number, log.log_index))


class ContractReader:
    """The three contracts' state on one chain; implements `ports.ChainReader`."""

    def __init__(self, client: ChainClient, deployment: Deployment) -> None:
        self._client = client
        self._deployment = deployment
        self._calls = AbiCalls()

    @property
    def deployment(self) -> Deployment:
        """The contracts that are read."""
        return self._deployment

    async def head(self) -> BlockRef:
        """Return the latest block."""
        header = await self._client.header("latest")
        if header is None:
            raise UpstreamError("the chain's node has no latest block", code="rpc-nonsense")
        return header.ref

    async def final_block(self) -> BlockRef:
        """Return the latest final block."""
        found = await self._client.head_and_final()
        if found is None:
            raise UpstreamError("the chain's node has no final block", code="rpc-nonsense")
        return found[1].ref

    def endpoints(self) -> Sequence[EndpointHealth]:
        """Return how each of the chain's nodes does."""
        return self._client.rpc.health()

    async def block_at(self, number: int) -> BlockRef | None:
        """Return a block of the present chain, or None above its head."""
        header = await self._client.header(number)
        return None if header is None else header.ref

    async def design(self, design_id: DesignId, *, block: int | None = None) -> DesignState | None:
        """Return a design, or None when it is not registered."""
        found = await self._ask(Contract.REGISTRY, block, "designOf", design_id)
        if found is None or found["registrant"] == ZERO_ADDRESS:
            return None
        owner = await self._ask(Contract.REGISTRY, block, "ownerOf", design_id)
        return DesignState(
            registrant=found["registrant"],
            owner=owner,
            latest_revision=found["latestRevision"],
            is_private=found["isPrivate"],
            edition=found["edition"],
        )

    async def is_printable(self, design_id: DesignId, revision: int, *, block: int | None = None) -> bool:
        """Return whether a revision was published and not recalled."""
        return bool(await self._ask(Contract.REGISTRY, block, "isPrintable", design_id, revision))

    async def license(self, license_id: LicenseId, *, block: int | None = None) -> LicenseState | None:
        """Return a licence, or None when it was never offered."""
        found = await self._ask(Contract.LICENSE, block, "termsOf", license_id)
        if found is None or found["designId"] == 0:
            return None
        return LicenseState(
            design_id=DesignId(found["designId"]),
            gateway=found["gateway"],
            revision=found["revision"],
            cap=found["cap"],
            minted=found["minted"],
            price=Wei(found["price"]),
            not_before=UnixSeconds(found["notBefore"]),
            not_after=UnixSeconds(found["notAfter"]),
            spares_flat=found["sparesFlat"],
            spares_per_hundred=found["sparesPerHundred"],
            smallest_reservation=found["smallestReservation"],
            transferable=found["transferable"],
            payout=found["payout"],
            on_sale=found["onSale"],
        )

    async def balance(self, license_id: LicenseId, holder: Address, *, block: int | None = None) -> int:
        """Return how many prints of a licence an account holds."""
        return int(await self._ask(Contract.LICENSE, block, "balanceOf", holder, license_id) or 0)

    async def reservation(
        self, gateway: Address, license_id: LicenseId, token_id: TokenId, *, block: int | None = None
    ) -> ReservationState | None:
        """Return a reservation, or None when the ledger does not know it."""
        found = await self._ask(Contract.LEDGER, block, "reservationOf", gateway, license_id, token_id)
        if found is None or found["agent"] == ZERO_ADDRESS:
            return None
        return ReservationState(
            agent=found["agent"],
            expires_at=UnixSeconds(found["expiresAt"]),
            prints=found["prints"],
            burned=found["burned"],
            voided=found["voided"],
            spares=found["spares"],
            closed=found["closed"],
        )

    async def gateway(self, gateway: Address, *, block: int | None = None) -> GatewayState:
        """Return what a gateway declared; all zero when it declared nothing."""
        digest, epoch, size = await self._all(Contract.LEDGER, block, "gateways", gateway)
        return GatewayState(digest, epoch, size)

    async def is_operator(self, gateway: Address, who: Address, *, block: int | None = None) -> bool:
        """Return whether an account may act for a gateway."""
        return bool(await self._ask(Contract.LEDGER, block, "isOperator", gateway, who))

    async def anchor(self, gateway: Address, epoch: int, size: int, *, block: int | None = None) -> Digest32 | None:
        """Return SHA-256(root, tilesDigest) anchored at a size, or None."""
        found = await self._ask(Contract.LEDGER, block, "anchorAt", gateway, epoch, size)
        return None if found is None or not any(found) else digest32(found)

    async def statement(self, signer: Address, nonce: int, *, block: int | None = None) -> Digest32 | None:
        """Return the digest that PrintLicense took under a signer's number (1 for a cancelled one), or None."""
        found = await self._ask(Contract.LICENSE, block, "statementOf", signer, nonce)
        return None if found is None or not any(found) else digest32(found)

    async def owed(self, payee: Address, currency: Address, *, block: int | None = None) -> Wei:
        """Return what PrintLicense owes an account, in a currency's smallest unit."""
        return Wei(int(await self._ask(Contract.LICENSE, block, "owed", payee, currency) or 0))

    async def try_call(
        self, contract: Contract, function: str, arguments: Sequence[Any], *, most_gas: int = RELAY_GAS
    ) -> None:
        """Pass when a call would succeed on the latest state with at most so much gas; nothing is sent.

        Errors: RevertedError; ConflictError `gas-excessive`; NodeUnreachableError.
        """
        data = self._calls.encode(contract, function, arguments)
        gas = await self._client.estimate_gas(ZERO_ADDRESS, self._deployment.address(contract), data, 0)
        if gas > most_gas:
            raise ConflictError(
                f"this call needs {gas} gas, more than the gateway pays for", code="gas-excessive", expected=most_gas
            )

    async def is_signed_by(self, account: Address, digest: Digest32, signature: bytes) -> bool:
        """Return whether an account signed a digest: ECDSA first, then ERC-1271 where it has code."""
        try:
            if accounts.recover(digest, signature) == account:
                return True
        except MalformedError:
            pass  # a contract wallet's signature has any form
        from eth_abi.abi import encode

        data = _MAGIC_1271 + bytes(encode(["bytes32", "bytes"], [digest, signature]))

        async def accepts(client: ChainClient) -> bool:
            if not await client.code(account):
                return False
            try:
                answer = await client.execute(account, data)
            except (RevertedError, NodeError):
                return False
            return answer[:32] == _MAGIC_1271.ljust(32, b"\0")

        return await accepts(self._client) and await self._client.agree("a wallet's signature", True, accepts)

    async def _ask(self, contract: Contract, block: int | None, function: str, *arguments: Any) -> Any:
        """Return a view's only result, or None when the contract reverts because it does not know the id."""
        try:
            (value,) = await self._all(contract, block, function, *arguments)
        except RevertedError:
            return None
        return value

    async def _all(self, contract: Contract, block: int | None, function: str, *arguments: Any) -> tuple[Any, ...]:
        data = self._calls.encode(contract, function, arguments)
        address = self._deployment.address(contract)
        returned = await self._client.execute(address, data, tag="latest" if block is None else block)
        return self._calls.decode(contract, function, returned)


# --- parsing ----------------------------------------------------------------------------------------------


def _nonsense() -> UpstreamError:
    return UpstreamError("the chain's node answers something that is no JSON-RPC", code="rpc-nonsense")


def _result(method: str, answer: Mapping[str, Any]) -> Any:
    error = answer.get("error")
    if error is None:
        if "result" not in answer:
            raise _nonsense()
        return answer["result"]
    if not isinstance(error, dict) or not isinstance(error.get("code"), int):
        raise _nonsense()
    data = error.get("data")
    if isinstance(data, dict):  # some nodes wrap it once more
        data = data.get("data")
    message = str(error.get("message", ""))
    if error["code"] == _REVERTED or "revert" in message.lower():
        text = data if isinstance(data, str) and data.startswith("0x") else "0x"
        raise RevertedError(decode_revert(_bytes(text)))
    raise NodeError(method, error["code"], message)


def _call(to: Address | None, data: bytes) -> dict[str, str]:
    call = {"data": "0x" + data.hex()}
    return call if to is None else call | {"to": address_text(to)}


def _tag(tag: int | str) -> str:
    return hex(tag) if isinstance(tag, int) else tag


def _int(text: Any) -> int:
    try:
        return int(text, 16)
    except (TypeError, ValueError) as error:
        raise _nonsense() from error


def _bytes(text: Any) -> bytes:
    try:
        return bytes.fromhex(text.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise _nonsense() from error


def _digest(text: Any) -> Digest32:
    try:
        return digest32(_bytes(text))
    except MalformedError as error:
        raise _nonsense() from error


def _header(found: Any) -> Header:
    if not isinstance(found, dict):
        raise _nonsense()
    try:
        digest = _digest(found["hash"])
        root = found.get("receiptsRoot")
        return Header(
            number=_int(found["number"]),
            hash=digest,
            parent_hash=_digest(found["parentHash"]),
            timestamp=UnixSeconds(_int(found["timestamp"])),
            base_fee=_int(found.get("baseFeePerGas", "0x0")),
            bloom=_int(found["logsBloom"]),
            receipts_root=None if root is None else _digest(root),
            is_proven=is_proven(found, digest),
        )
    except KeyError as error:
        raise _nonsense() from error


def _receipt(found: Mapping[str, Any]) -> Receipt:
    try:
        contract, gas_used = found.get("contractAddress"), _int(found["gasUsed"])
        return Receipt(
            transaction_hash=_digest(found["transactionHash"]),
            block_number=_int(found["blockNumber"]),
            block_hash=_digest(found["blockHash"]),
            succeeded=_int(found["status"]) == 1,
            gas_used=gas_used,
            paid=gas_used * _int(found.get("effectiveGasPrice") or "0x0") + _int(found.get("l1Fee") or "0x0"),
            contract=None if contract is None else parse_address(contract),
        )
    except (KeyError, MalformedError) as error:
        raise _nonsense() from error


def _sent_call(found: Mapping[str, Any]) -> SentCall:
    try:
        to = found["to"]
        return SentCall(_digest(found["hash"]), None if to is None else parse_address(to), _bytes(found["input"]))
    except (KeyError, TypeError, MalformedError) as error:
        raise _nonsense() from error


def _log(found: Mapping[str, Any]) -> RawLog:
    try:
        return RawLog(
            address=parse_address(found["address"]),
            topics=tuple(_digest(each) for each in found["topics"]),
            data=_bytes(found["data"]),
            block_number=_int(found["blockNumber"]),
            block_hash=_digest(found["blockHash"]),
            transaction_hash=_digest(found["transactionHash"]),
            log_index=_int(found["logIndex"]),
        )
    except (KeyError, TypeError, MalformedError) as error:
        raise _nonsense() from error
