"""Puts the three contracts on a chain, at the addresses that follow from their code, and checks that they are ours.

The flow; a step whose result stands on chain already is done, so an interrupted deployment goes on where it was, and
a second one changes nothing:

1. the deterministic deployer; where the chain lacks it, its one-time signer gets coins and its transaction is sent
2. the registry, through the deployer
3. the licence, through the deployer; its constructor creates the ledger
4. all of their code is compared, byte by byte
5. the record is drawn up: in which transaction and block each contract came to stand

Anybody may have done a step: who creates the contracts has no part in them.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.errors import Kind, LocalError, MalformedError, UpstreamError
from platemark.protocol import abi
from platemark.protocol.deployment import (
    DEPLOYER,
    DEPLOYER_CODE,
    DEPLOYER_CREATION,
    DEPLOYER_FUNDS,
    DEPLOYER_SIGNER,
    DEPLOYER_TRANSACTION,
    LEDGER,
    LICENSE,
    MAX_BYTES,
    REGISTRY,
    SALTS,
    Contracts,
    DeploymentRecord,
    Details,
    Placed,
    contracts_of,
    deployed_code,
    deployer_call,
)
from platemark.protocol.units import Address, Digest32, keccak256
from platemark_gateway.chain.client import ChainClient, Receipt
from platemark_gateway.chain.errors import NodeError, RevertedError
from platemark_gateway.chain.files import write_atomically
from platemark_gateway.chain.submitter import Signer
from platemark_gateway.chain.transactions import Fees, contract_address, sign_transaction, transaction_hash
from platemark_gateway.errors import GatewayError, UnavailableError
from platemark_gateway.ports import Contract, Deployment

FILE_NAME: Final = "deployment.json"
WAIT_SECONDS: Final = 180
_POLL_SECONDS: Final = 0.5
_TRIES: Final = 10
_MOST_COPIES: Final = 256

Payer = Callable[[], Awaitable[Signer]]
"""Returns an account that has coins; called only when a transaction must be sent."""


class DeploymentMismatchError(GatewayError):
    """What stands at the deployment's addresses is not these contracts."""

    def __init__(self, message: str, *, hint: str = "check deployment.json and the RPC address") -> None:
        super().__init__(message, kind=Kind.UNAVAILABLE, code="deployment-mismatch", hint=hint)


class DeployerRefusedError(GatewayError):
    """The chain lacks the deterministic deployer and does not take the transaction that creates it."""

    def __init__(self) -> None:
        super().__init__(
            "this chain has no deterministic deployer and its node refuses the transaction that creates it",
            kind=Kind.UNAVAILABLE,
            code="deployer-refused",
            hint="let the node take transactions without a chain id (geth: --rpc.allow-unprotected-txs), "
            "or deploy with --own-deployer, which gives other addresses than on other chains",
        )


# --- the record ---------------------------------------------------------------------------------------------


def read_record(path: Path) -> DeploymentRecord | None:
    """Return the record in a file, or None when there is no file.

    Errors: LocalError `deployment-damaged`.
    """
    try:
        with path.open("rb") as handle:
            return DeploymentRecord.parse(handle.read(MAX_BYTES + 1))
    except FileNotFoundError:
        return None
    except MalformedError as error:
        raise LocalError(
            f"{path.name} cannot be read: {error.message}",
            code="deployment-damaged",
            hint="restore it, or remove it to deploy again",
        ) from error


def read_deployment(path: Path) -> Deployment | None:
    """Return where a file says that the contracts stand, or None when there is no file; errors as `read_record`."""
    record = read_record(path)
    return None if record is None else deployment_of(record)


def write_record(path: Path, record: DeploymentRecord) -> None:
    """Write a record so that it is there whole or not at all."""
    write_atomically(path, json.dumps(record.to_json(), indent=1) + "\n")


def deployment_of(record: DeploymentRecord) -> Deployment:
    """Return where a record's contracts stand."""
    contracts = record.contracts
    return Deployment(record.chain_id, contracts.registry, contracts.license, contracts.ledger, record.block)


# --- deploying ----------------------------------------------------------------------------------------------


async def deploy(
    client: ChainClient, payer: Payer, *, own_deployer: bool = False, wait_seconds: float = WAIT_SECONDS
) -> DeploymentRecord:
    """Bring the contracts to their places and return the record; what stands already is left as it is.

    Args:
        client: The chain's node.
        payer: Who pays, if anything must be sent.
        own_deployer: Where the chain refuses the deterministic deployer, whether the account may create a copy of
            it; the addresses then follow from the copy's, which is another on each chain.
        wait_seconds: How long a transaction may take to be mined.

    Errors: DeployerRefusedError; UnavailableError `deployment-unmined` when a transaction stays out of blocks;
        UpstreamError `deployment-failed`; DeploymentMismatchError; RevertedError.
    """
    work = _Work(client, payer, await client.chain_id(), wait_seconds)
    deployer = await work.deployer(own=own_deployer)  # step 1
    contracts = contracts_of(deployer)
    registry = await work.create(contracts.registry, deployer, deployer_call(REGISTRY))  # step 2
    call = deployer_call(LICENSE, contracts.registry)
    print_license = await work.create(contracts.license, deployer, call)  # step 3
    deployment = Deployment(work.chain_id, contracts.registry, contracts.license, contracts.ledger, 0)
    await verify_deployment(client, deployment)  # step 4
    return await record_of(client, work.chain_id, contracts, deployer, [registry, print_license])  # step 5


async def verify_deployment(client: ChainClient, deployment: Deployment) -> None:
    """Return when the node serves the deployment's chain and exactly our code stands at its addresses.

    The code's immutable values are compared too: they say how the contracts point at each other.

    Errors: WrongChainError; DeploymentMismatchError.
    """
    await client.require_chain(deployment.chain_id)
    contracts = Contracts(deployment.registry, deployment.license, deployment.ledger)
    for contract in Contract:
        artifact = abi.load(contract)
        found = await client.code(deployment.address(contract))
        if found == deployed_code(contract, deployment.chain_id, contracts):
            continue
        if not found:
            raise DeploymentMismatchError(f"no code stands at the address of {contract}")
        if mask_immutables(artifact, found) == mask_immutables(artifact, artifact.deployed_bytecode):
            raise DeploymentMismatchError(f"{contract} belongs to other contracts than these")
        raise DeploymentMismatchError(
            f"{contract} on chain is not the one that this version of Platemark has",
            hint="another version of Platemark may have made this folder: run that version with it, "
            "or start this one with a new data folder; otherwise check deployment.json and the RPC address",
        )


async def record_of(
    client: ChainClient, chain_id: int, contracts: Contracts, deployer: Address, known: list[Receipt | None]
) -> DeploymentRecord:
    """Return the record of contracts that stand on chain.

    `known` are the receipts of the registry's and the licence's creation, None where somebody else created it: the
    block and the transaction are then searched for, which needs a node that still has the states of that time.
    """
    calls = {REGISTRY: deployer_call(REGISTRY), LICENSE: deployer_call(LICENSE, contracts.registry)}
    placed: dict[str, Placed] = {}
    for (name, call), receipt in zip(calls.items(), known, strict=True):
        code_hash = keccak256(await client.code(contracts.address(name)))
        if receipt is not None:
            placed[name] = Placed(receipt.transaction_hash, receipt.block_number, receipt.block_hash, code_hash)
        else:
            placed[name] = await _search(client, contracts.address(name), code_hash, deployer, call)
    of_license = placed[LICENSE]
    code_hash = keccak256(await client.code(contracts.ledger))
    placed[LEDGER] = Placed(of_license.transaction, of_license.block, of_license.block_hash, code_hash)
    details = Details(deployer, SALTS, placed, dict(abi.load(REGISTRY).metadata))
    return DeploymentRecord(chain_id, contracts, placed[REGISTRY].block or 0, details)


async def is_current(client: ChainClient, record: DeploymentRecord) -> bool:
    """Return whether the blocks that a record names are those of the chain as it is now."""
    if record.details is None:
        return False
    for placed in record.details.contracts.values():
        if placed.block is None:
            return False
        header = await client.header(placed.block)
        if header is None or header.hash != placed.block_hash:
            return False
    return True


def mask_immutables(artifact: abi.ContractArtifact, code: bytes) -> bytes:
    """Return deployed code with the places that a constructor fills in set to zero."""
    masked = bytearray(code)
    for places in artifact.immutable_references.values():
        for place in places:
            start, length = place["start"], place["length"]
            if start + length <= len(masked):
                masked[start : start + length] = bytes(length)
    return bytes(masked)


@dataclass(slots=True)
class _Work:
    """One run of `deploy`."""

    client: ChainClient
    payer: Payer
    chain_id: int
    wait_seconds: float
    _account: Signer | None = None

    async def account(self) -> Signer:
        """Return who pays, asked once."""
        if self._account is None:
            self._account = await self.payer()
        return self._account

    async def deployer(self, *, own: bool) -> Address:
        """Return where the deployer stands, after creating it if need be."""
        if await self._is_deployer(DEPLOYER):
            return DEPLOYER
        copy = await self._copy() if own else None
        if copy is not None:
            return copy
        try:
            await self._place()
        except DeployerRefusedError:
            if not own:
                raise
            return await self._create_copy()
        return DEPLOYER

    async def create(self, address: Address, deployer: Address, call: bytes) -> Receipt | None:
        """Let the deployer create a contract unless it stands; return the receipt when this run's transaction did."""
        if await self.client.code(address):
            return None
        sent: Digest32 | None = None
        try:
            sent = await self._send(deployer, call)
        except (NodeError, RevertedError) as error:
            if not await self._is_under_way(address, error):
                raise
        receipt = await self._until(address, sent)
        if receipt is not None and receipt.succeeded:
            return receipt
        if not await self.client.code(address):
            raise UpstreamError("creating a contract failed on chain", code="deployment-failed")
        return None

    async def _is_under_way(self, address: Address, error: NodeError | RevertedError) -> bool:
        """Return whether a creation was refused because an earlier run, or somebody else, is doing it already."""
        if isinstance(error, NodeError) and _is_known(error):
            return True
        if await self.client.code(address) or await self.client.code(address, "pending"):
            return True
        account = (await self.account()).address  # whose earlier transaction waits for its block
        return await self.client.nonce(account, "pending") > await self.client.nonce(account)

    async def _is_deployer(self, address: Address) -> bool:
        found = await self.client.code(address)
        if found and found != DEPLOYER_CODE and address == DEPLOYER:
            raise DeploymentMismatchError(
                "other code stands where the deterministic deployer should be",
                hint="this chain gives other meanings to addresses; Platemark cannot be deployed on it",
            )
        return found == DEPLOYER_CODE

    async def _place(self) -> None:
        """Create the deployer at its own address: its one-time signer gets coins, then its transaction is sent.

        The transaction is tried first: some nodes refuse the kind, and then the coins would be lost.
        """
        if not await self._send_deployer():
            missing = DEPLOYER_FUNDS - await self.client.balance_of(DEPLOYER_SIGNER)
            if missing > 0:
                await self._sent(await self._send(DEPLOYER_SIGNER, b"", value=missing))
            for _ in range(_TRIES):  # a node's pool learns of the signer's coins a moment after its state
                if await self._send_deployer():
                    break
                await asyncio.sleep(_POLL_SECONDS)
            else:
                raise DeployerRefusedError
        receipt = await self._until(DEPLOYER, transaction_hash(DEPLOYER_TRANSACTION))
        if receipt is not None and not receipt.succeeded:
            raise DeployerRefusedError

    async def _send_deployer(self) -> bool:
        """Return whether the node took the deployer's transaction, or had it.

        Errors: DeployerRefusedError when it takes no transaction without a chain id.
        """
        try:
            await self.client.send(DEPLOYER_TRANSACTION)
        except NodeError as error:
            if "replay-protected" in error.rpc_message or "EIP-155" in error.rpc_message:
                raise DeployerRefusedError from error
            return _is_known(error)
        return True

    async def _copy(self) -> Address | None:
        """Return the copy of the deployer that this account created before, if it did."""
        account = (await self.account()).address
        for nonce in range(min(await self.client.nonce(account), _MOST_COPIES)):
            address = contract_address(account, nonce)
            if await self._is_deployer(address):
                return address
        return None

    async def _create_copy(self) -> Address:
        receipt = await self._sent(await self._send(None, DEPLOYER_CREATION))
        if receipt.contract is None or not await self._is_deployer(receipt.contract):
            raise UpstreamError("creating a copy of the deployer failed on chain", code="deployment-failed")
        return receipt.contract

    # --- sending --------------------------------------------------------------------------------------------

    async def _send(self, to: Address | None, data: bytes, *, value: int = 0) -> Digest32:
        signer = await self.account()
        gas = await self.client.estimate_gas(signer.address, to, data, value)
        head = await self.client.header("latest")
        if head is None:
            raise UpstreamError("the chain's node has no latest block", code="rpc-nonsense")
        priority = await self.client.priority_fee()
        raw = sign_transaction(
            signer.sign,
            chain_id=self.chain_id,
            nonce=await self.client.nonce(signer.address),
            fees=Fees(2 * head.base_fee + priority, priority),
            gas=gas * 11 // 10,  # blocks of some chains hold little more than the licence takes
            to=to,
            value=value,
            data=data,
        )
        await self.client.send(raw)
        return transaction_hash(raw)

    async def _sent(self, sent: Digest32) -> Receipt:
        receipt = await self._until(None, sent)
        if receipt is None or not receipt.succeeded:
            raise UpstreamError("a transaction of the deployment failed on chain", code="deployment-failed")
        return receipt

    async def _until(self, address: Address | None, sent: Digest32 | None) -> Receipt | None:
        """Wait for a transaction's receipt, or until a contract stands, whoever created it."""
        waited = 0.0
        while waited <= self.wait_seconds:
            receipt = None if sent is None else await self.client.receipt(sent)
            if receipt is not None:
                return receipt
            if address is not None and await self.client.code(address):
                return None if sent is None else await self.client.receipt(sent)
            await asyncio.sleep(_POLL_SECONDS)
            waited += _POLL_SECONDS
        raise UnavailableError(
            "a transaction of the deployment stays out of blocks",
            code="deployment-unmined",
            hint="run it again: it goes on where it was",
        )


def _is_known(error: NodeError) -> bool:
    """Whether a node refused a transaction because it has it."""
    return "already known" in error.rpc_message or "already imported" in error.rpc_message


# --- where contracts came from --------------------------------------------------------------------------------


async def _search(client: ChainClient, address: Address, code_hash: Digest32, deployer: Address, call: bytes) -> Placed:
    """Return the block in which a contract first stood, and the transaction if it was a plain call of the deployer."""
    header = await client.header("latest")
    low, high = 0, 0 if header is None else header.number
    try:
        while low < high:
            middle = (low + high) // 2
            if await client.code(address, middle):
                high = middle
            else:
                low = middle + 1
    except NodeError:  # the node does not keep states that old
        return Placed(None, None, None, code_hash)
    found = await client.header(low)
    if found is None:
        return Placed(None, None, None, code_hash)
    sent = next((each.hash for each in await client.calls_in(low) if (each.to, each.data) == (deployer, call)), None)
    return Placed(sent, found.number, found.hash, code_hash)
