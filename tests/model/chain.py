"""The deployed contracts on anvil, one call a block: what it emitted, or why it reverted, and everything it left."""

import itertools
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from chain_stack import ROOT, Anvil, running_anvil
from model.reference import Event, Refused
from platemark.protocol import abi
from platemark.protocol.units import Address, address_text, digest32, parse_address
from platemark_gateway.chain.contracts import AbiCalls, RawLog, decode_event
from platemark_gateway.chain.errors import decode_revert
from platemark_gateway.ports import BlockRef, Contract, Deployment
from trusted import authorities

GAS: Final = 12_000_000
CHAIN_ID: Final = 31_337
_TOKENS: Final = ROOT / "tests" / "corpus" / "tokens.json"
_BLOCK: Final = BlockRef(0, digest32(bytes(32)), 0)  # type: ignore[arg-type]


class Chain:
    """Contracts on a running anvil; every account is impersonated, so that nothing is signed but statements."""

    def __init__(self, anvil: Anvil) -> None:
        self.anvil = anvil
        self.calls = AbiCalls()
        self._http = httpx.Client(trust_env=False, timeout=60, verify=authorities())
        self._ids = itertools.count(1)
        anvil.rpc("anvil_autoImpersonateAccount", True)

    def close(self) -> None:
        self._http.close()

    def deploy(self, sender: Address) -> tuple[Deployment, Address]:
        """Create the three contracts and an ERC-20, and return where they stand."""
        registry = self._create(sender, self.calls.creation(Contract.REGISTRY, []))
        print_license = self._create(sender, self.calls.creation(Contract.LICENSE, [address_text(registry)]))
        (ledger,) = self._view(print_license, Contract.LICENSE, "ledger", [])
        deployment = Deployment(CHAIN_ID, registry, print_license, ledger, 0)
        return deployment, self._create(sender, token_code())

    def send(
        self,
        deployment: Deployment,
        sender: Address,
        contract: Contract,
        function: str,
        arguments: Sequence[Any],
        *,
        coins: int = 0,
        at: int,
    ) -> list[Event]:
        """Send a call in a block at `at` (Unix seconds) and return its events; errors Refused."""
        data = self.calls.encode(contract, function, arguments)
        receipt = self.raw(sender, deployment.address(contract), data, coins=coins, at=at)
        if receipt["status"] != "0x1":
            trace = self.anvil.rpc("debug_traceTransaction", receipt["transactionHash"], {"tracer": "callTracer"})
            revert = decode_revert(bytes.fromhex(trace.get("output", "0x")[2:]))
            raise Refused(revert.name, *revert.args.values())
        return [
            (found.name, tuple(found.args.values()))
            for found in (decode_event(deployment, _raw_log(log), _BLOCK) for log in receipt["logs"])
            if found is not None and found.name in OURS
        ]

    def raw(
        self, sender: Address, to: Address | None, data: bytes, *, coins: int = 0, at: int | None = None
    ) -> dict[str, Any]:
        """Send a transaction and return its receipt."""
        if at is not None:
            self.anvil.rpc("evm_setNextBlockTimestamp", at)
        call = {"from": address_text(sender), "data": "0x" + data.hex(), "value": hex(coins), "gas": hex(GAS)}
        if to is not None:
            call["to"] = address_text(to)
        sent = self.anvil.rpc("eth_sendTransaction", call)
        for _ in range(200):
            receipt = self.anvil.rpc("eth_getTransactionReceipt", sent)
            if receipt is not None:
                return dict(receipt)
            time.sleep(0.02)
        raise AssertionError("the transaction is in no block")

    def views(self, asked: Sequence[tuple[Address, Contract, str, Sequence[Any]]]) -> list[tuple[Any, ...]]:
        """Return what many views say, in one request."""
        body = [
            self._body(
                "eth_call", {"to": address_text(to), "data": "0x" + self.calls.encode(contract, name, args).hex()}
            )
            for to, contract, name, args in asked
        ]
        answers = {each["id"]: each for each in self._http.post(self.anvil.url, json=body).json()} if body else {}
        found = []
        for call, (_, contract, name, _) in zip(body, asked, strict=True):
            answer = answers[call["id"]]
            assert "result" in answer, (name, answer)
            found.append(self.calls.decode(contract, name, bytes.fromhex(answer["result"][2:])))
        return found

    def balance(self, account: Address) -> int:
        return int(self.anvil.rpc("eth_getBalance", address_text(account), "latest"), 16)

    def token_balance(self, token: Address, account: Address) -> int:
        data = bytes.fromhex("70a08231") + bytes(12) + account
        answer = self.anvil.rpc("eth_call", {"to": address_text(token), "data": "0x" + data.hex()}, "latest")
        return int(answer, 16)

    def _view(self, to: Address, contract: Contract, name: str, arguments: Sequence[Any]) -> tuple[Any, ...]:
        return self.views([(to, contract, name, arguments)])[0]

    def _body(self, method: str, *params: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": [*params, "latest"]}

    def _create(self, sender: Address, code: bytes) -> Address:
        receipt = self.raw(sender, None, code)
        assert receipt["status"] == "0x1", receipt
        return parse_address(receipt["contractAddress"])


def token_code() -> bytes:
    """Return the creation code of the tests' ERC-20."""
    return bytes.fromhex(json.loads(_TOKENS.read_text(encoding="utf-8"))["creation"]["Token"])


def _own_events() -> frozenset[str]:
    """Return the names of the events that Platemark's interfaces define, the standards' left out."""
    standards = {
        "Transfer",
        "Approval",
        "ApprovalForAll",
        "TransferSingle",
        "TransferBatch",
        "URI",
        "EIP712DomainChanged",
    }
    return (
        frozenset(str(entry["name"]) for contract in Contract for entry in abi.load(contract).events().values())
        - standards
    )


OURS: Final = _own_events()


def _raw_log(log: Mapping[str, Any]) -> RawLog:
    return RawLog(
        address=bytes.fromhex(log["address"][2:]),
        topics=tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
        data=bytes.fromhex(log["data"][2:]),
        block_number=0,
        block_hash=digest32(bytes(32)),
        transaction_hash=digest32(bytes.fromhex(log["transactionHash"][2:])),
        log_index=int(log["logIndex"], 16),
    )


@contextmanager
def running_chain() -> Iterator[Chain]:
    """Run anvil while the block lasts."""
    with running_anvil("--hardfork", "prague", "--gas-limit", "60000000") as anvil:
        chain = Chain(anvil)
        try:
            yield chain
        finally:
            chain.close()
