"""The contracts get the same addresses on every chain, once, however often and by whomever they are deployed."""

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chain_flow import live
from chain_process import program, running_chain
from chain_stack import (
    ROOT,
    Anvil,
    Node,
    NodeDiedError,
    Wire,
    connected,
    die,
    fresh_contracts,
    running_anvil,
    running_geth,
    running_node,
)
from platemark.protocol.accounts import AccountKey
from platemark.protocol.deployment import (
    DEPLOYER,
    DEPLOYER_CODE,
    DEPLOYER_SIGNER,
    LEDGER,
    LICENSE,
    REGISTRY,
    SALTS,
    DeploymentRecord,
    contracts_of,
    deployer_call,
)
from platemark.protocol.units import address_text, keccak256, parse_address
from platemark_gateway.chain.client import ChainClient
from platemark_gateway.chain.deploy import DeployerRefusedError, deploy, deployment_of, verify_deployment
from platemark_gateway.chain.submitter import Signer
from platemark_gateway.errors import UnavailableError
from stack import Ended, command

pytestmark = pytest.mark.anyio

KEY = AccountKey(b"\x21" * 32)
OTHER = AccountKey(b"\x22" * 32)


@pytest.fixture(
    params=[
        "embedded",
        pytest.param("cancun", marks=pytest.mark.anvil),
        pytest.param("prague", marks=pytest.mark.anvil),
        pytest.param("geth", marks=pytest.mark.geth),
    ]
)
def node(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Node]:
    with running_node(request.param, tmp_path) as running:
        yield running


@asynccontextmanager
async def funded(node: Node, key: AccountKey = KEY, wire: Wire | None = None) -> AsyncIterator[ChainClient]:
    node.give(key.address)
    async with connected(node.url, wire) as client:
        yield client


async def deployed(
    client: ChainClient, key: AccountKey = KEY, *, own_deployer: bool = False, wait_seconds: float = 20
) -> DeploymentRecord:
    async def payer() -> Signer:
        return Signer(key.address, key.sign)

    return await deploy(client, payer, own_deployer=own_deployer, wait_seconds=wait_seconds)


async def nobody() -> Signer:
    raise AssertionError("nothing needs to be sent")


async def test_addresses_follow_from_the_code(node: Node) -> None:
    async with funded(node) as client:
        record = await deployed(client)
        assert record.contracts == contracts_of()
        assert await client.code(DEPLOYER) == DEPLOYER_CODE
        assert record.details is not None
        assert (record.details.deployer, record.details.salts) == (DEPLOYER, SALTS)
        assert record.block == record.details.contracts[REGISTRY].block
        assert record.details.contracts[LEDGER].transaction == record.details.contracts[LICENSE].transaction
        for name, placed in record.details.contracts.items():
            assert placed.transaction is not None
            receipt = await client.receipt(placed.transaction)
            assert receipt is not None
            assert (receipt.block_number, receipt.block_hash) == (placed.block, placed.block_hash)
            assert placed.block is not None
            assert not await client.code(record.contracts.address(name), placed.block - 1)
            assert placed.code_hash == keccak256(await client.code(record.contracts.address(name), placed.block))


async def test_deploying_again_sends_nothing_and_finds_where_everything_came_from(node: Node) -> None:
    async with funded(node) as client:
        record = await deployed(client)
        head = await client.header("latest")
        assert await deploy(client, nobody) == record
        assert await client.header("latest") == head


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("sends", range(1, 6))
async def test_interrupted_deployment_goes_on(node: Node, sends: int, before: bool) -> None:
    """The process dies at its first, second… sending, before the node has it or before it learns that it has."""
    wire = Wire()
    left = iter(range(1, sends))

    def count() -> None:
        if next(left, None) is None:
            die()

    (wire.before if before else wire.after)["eth_sendRawTransaction"] = count
    async with funded(node, wire=wire) as client:
        try:
            await deployed(client)
        except NodeDiedError:
            died = True
        else:
            died = False
    async with funded(node, OTHER) as client:
        record = await deployed(client, OTHER)
        assert record.contracts == contracts_of()
        await verify_deployment(client, deployment_of(record))
        sent = (await client.nonce(KEY.address), await client.nonce(OTHER.address))
        assert sum(sent) == len({"funds", "registry", "license"}) - (node.kind in {"cancun", "prague"})
        assert died or sent[1] == 0


@asynccontextmanager
async def mining(anvil: Anvil) -> AsyncIterator[None]:
    """Make a block now and then, as chains do that wait for nobody."""

    async def mine() -> None:
        while True:
            await asyncio.sleep(0.3)
            anvil.mine()

    task = asyncio.create_task(mine())
    try:
        yield
    finally:
        task.cancel()


@pytest.mark.anvil
@pytest.mark.parametrize("tip", ["0x1", "0x77359400"], ids=["same-transaction", "other-fees"])
async def test_transaction_of_an_earlier_run_is_waited_for(tip: str) -> None:
    with running_anvil("--no-mining") as anvil:
        node, wire = Node("anvil", anvil.url), Wire()
        async with funded(node) as client:
            wire.answers["eth_maxPriorityFeePerGas"] = lambda _: {"result": "0x1"}
            async with connected(node.url, wire) as first:
                with pytest.raises(UnavailableError) as caught:
                    await deployed(first, wait_seconds=0.5)
            assert caught.value.code == "deployment-unmined"
            wire = Wire()
            wire.answers["eth_maxPriorityFeePerGas"] = lambda _: {"result": tip}
            async with connected(node.url, wire) as second, mining(anvil):
                record = await deployed(second)
            assert record.contracts == contracts_of()
            assert await client.nonce(KEY.address) == 2


@pytest.mark.anvil
async def test_two_who_deploy_at_once_agree() -> None:
    with running_anvil("--no-mining") as anvil:
        node = Node("anvil", anvil.url)
        async with funded(node) as one, funded(node, OTHER) as other, mining(anvil):
            records = await asyncio.gather(deployed(one), deployed(other, OTHER))
        assert records[0] == records[1]
        assert records[0].contracts == contracts_of()


async def test_somebody_quicker_is_no_failure(tmp_path: Path) -> None:
    wire = Wire()
    with running_chain(tmp_path / "chain") as chain:
        chain.fund(OTHER.address)
        calls = iter([deployer_call(REGISTRY), deployer_call(LICENSE, contracts_of().registry)])

        def be_quicker() -> None:
            if chain.rpc("eth_getCode", address_text(DEPLOYER), "latest") != "0x":
                raw = chain.sign(OTHER, DEPLOYER, next(calls), gas=10_000_000)
                chain.rpc("eth_sendRawTransaction", "0x" + raw.hex())

        wire.before["eth_estimateGas"] = be_quicker
        async with funded(Node("embedded", chain.url), wire=wire) as client:
            record = await deployed(client)
            assert await client.nonce(KEY.address) == 1, "only the deployer's signer was paid"
            assert record.details is not None
            placed = record.details.contracts[LICENSE]
            assert placed.transaction is not None
            receipt = await client.receipt(placed.transaction)
            assert receipt is not None
            assert receipt.block_hash == placed.block_hash


async def test_node_without_old_states_leaves_the_record_open(tmp_path: Path) -> None:
    wire = Wire()

    def only_latest(body: dict[str, list[str]]) -> dict[str, dict[str, object]] | None:
        pruned = {"code": -32000, "message": "missing trie node"}
        return None if body["params"][1] == "latest" else {"error": pruned}

    with running_chain(tmp_path / "chain") as chain:
        node = Node("embedded", chain.url)
        async with funded(node) as client:
            whole = await deployed(client)
        wire.answers["eth_getCode"] = only_latest
        async with connected(node.url, wire) as client:
            record = await deploy(client, nobody)
        assert (record.contracts, record.block) == (whole.contracts, 0)
        assert whole.details is not None
        assert record.details is not None
        for name, placed in record.details.contracts.items():
            assert (placed.transaction, placed.block, placed.block_hash) == (None, None, None)
            assert placed.code_hash == whole.details.contracts[name].code_hash


async def test_node_that_refuses_the_deployer_is_named_or_gets_a_copy_of_it(tmp_path: Path) -> None:
    wire = Wire()
    refused = {"error": {"code": -32000, "message": "only replay-protected (EIP-155) transactions allowed over RPC"}}

    def refuse_unprotected(body: dict[str, list[str]]) -> dict[str, dict[str, object]] | None:
        return refused if body["params"][0].startswith("0xf8a5") else None

    wire.answers["eth_sendRawTransaction"] = refuse_unprotected
    with running_chain(tmp_path / "chain") as chain:
        async with funded(Node("embedded", chain.url), wire=wire) as client:
            with pytest.raises(DeployerRefusedError):
                await deployed(client)
            assert await client.nonce(KEY.address) == 0, "nothing was spent"
            assert await client.balance_of(DEPLOYER_SIGNER) == 0
            record = await deployed(client, own_deployer=True)
            assert record.details is not None
            assert record.details.deployer != DEPLOYER
            assert record.contracts == contracts_of(record.details.deployer)
            nonce = await client.nonce(KEY.address)
            assert await deployed(client, own_deployer=True) == record
            assert await client.nonce(KEY.address) == nonce


async def test_a_print_lives_on_the_chain(node: Node) -> None:
    async with funded(node) as client:
        state = await live(client, deployment_of(await deployed(client)), KEY)
        assert (state.prints, state.burned, state.voided) == (3, 2, 0)


@pytest.mark.geth
async def test_geth_as_it_comes_gets_a_copy_of_the_deployer() -> None:
    with running_geth() as url:
        async with funded(Node("geth", url)) as client:
            with pytest.raises(DeployerRefusedError):
                await deployed(client)
            record = await deployed(client, own_deployer=True)
            assert record.contracts != contracts_of()
            assert await deployed(client, own_deployer=True) == record


# --- the commands: what one writes, the other verifies -------------------------------------------------------


def gateway_deploy(folder: Path, rpc: str, *options: str) -> "subprocess.CompletedProcess[str]":
    (folder / "passphrase").write_text("a passphrase for tests\n")
    where = ["--data", str(folder / "data"), "--rpc", rpc, "--passphrase-file", str(folder / "passphrase")]
    process = program("deploy", *where, *options)
    output, errors = process.communicate(timeout=120)
    return subprocess.CompletedProcess(where, process.returncode, output, errors)


def audit_command(rpc: str, *options: str) -> Ended:
    return command(f"--rpc={rpc}", "--json", "audit", "deployment", *options)


def paid_deploy(folder: Path, node: Node, *options: str) -> dict[str, Any]:
    """Deploy with the gateway's account, which gets coins after it said who it is."""
    told = gateway_deploy(folder, node.url, *options)
    if told.returncode != 0:
        account = next(word for word in told.stderr.split() if word.startswith("0x"))
        node.give(parse_address(account))
        told = gateway_deploy(folder, node.url, *options)
    assert told.returncode == 0, told.stderr
    found: dict[str, Any] = json.loads(told.stdout)
    return found


def test_record_is_written_and_the_audit_of_it_holds(node: Node, tmp_path: Path) -> None:
    record = paid_deploy(tmp_path, node, "--deployments", str(tmp_path / "deployments"))
    written = tmp_path / "deployments" / f"{record['chainId']}.json"
    assert json.loads(written.read_text()) == record
    assert json.loads((tmp_path / "data" / "deployment.json").read_text()) == record
    assert audit_command(node.url, "--deployment", str(written)).exit_code == 0
    without = audit_command(node.url)
    assert (without.exit_code, without.value["facts"]["PrintLedger"]) == (0, record["ledger"])
    addresses = [f"--{name}={record[name]}" for name in ("registry", "license", "ledger")]
    assert audit_command(node.url, *addresses).exit_code == 0
    record["ledger"] = record["registry"]
    written.write_text(json.dumps(record))
    lied = audit_command(node.url, "--deployment", str(written))
    assert lied.exit_code == 3
    found = {finding["code"] for finding in lied.value["findings"] if finding["verdict"] == "fails"}
    expected = {"contract-code", "contract-immutable", "contract-address", "contracts-unrelated", "deployment-record"}
    assert found == expected


def test_record_of_contracts_that_stand_needs_no_key(tmp_path: Path) -> None:
    with running_chain(tmp_path / "chain") as chain:
        node = Node("embedded", chain.url)
        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        record = paid_deploy(tmp_path / "one", node)
        assert paid_deploy(tmp_path / "two", node, "--deployments", str(tmp_path / "two")) == record
        assert not (tmp_path / "two" / "data" / "vault").exists()


def test_audit_takes_a_record_or_addresses_and_says_which_is_wrong(tmp_path: Path) -> None:
    with running_chain(tmp_path / "chain") as chain:
        assert audit_command(chain.url).exit_code == 3, "nothing stands there yet"
        assert audit_command(chain.url, "--ledger", address_text(DEPLOYER)).exit_code == 2
        both = ("--deployment", str(tmp_path / "x.json"), "--deployer", address_text(DEPLOYER))
        assert audit_command(chain.url, *both).exit_code == 2
        (tmp_path / "x.json").write_text("{")
        assert audit_command(chain.url, *both[:2]).exit_code == 1


@pytest.mark.forge
@pytest.mark.slow
def test_source_compiles_to_what_is_shipped(tmp_path: Path) -> None:
    with running_chain(tmp_path / "chain") as chain:
        paid_deploy(tmp_path, Node("embedded", chain.url))
        ended = audit_command(chain.url, "--source", str(ROOT))
        assert ended.exit_code == 0, ended.stdout
        told = [finding["detail"] for finding in ended.value["findings"] if finding["source"] == "source"]
        assert len(told) == 15
        nothing = audit_command(chain.url, "--source", str(tmp_path))
        assert (nothing.exit_code, nothing.error_code) == (1, "source-unbuildable")


@pytest.mark.forge
@pytest.mark.anvil
@pytest.mark.slow
def test_forge_script_gives_the_same_addresses_and_its_record_is_written(tmp_path: Path) -> None:
    # It takes the contracts from the artefacts: their source need not be compiled beside it.
    script = ["script/Deploy.s.sol", "--skip", "src/**", "--broadcast", "--private-key", f"0x{KEY.secret().hex()}"]
    folders = {f"FOUNDRY_{name}": str(tmp_path / name.lower()) for name in ("OUT", "CACHE_PATH", "BROADCAST")}
    with running_anvil() as anvil:
        anvil.fund(KEY.address)
        told: dict[str, str] = {}
        for _ in range(2):
            ended = subprocess.run(
                [ROOT / "contracts/node_modules/.bin/forge", "script", *script, "--rpc-url", anvil.url],
                cwd=ROOT / "contracts",
                env={**os.environ, **folders},
                capture_output=True,
                text=True,
                check=False,
                timeout=200,
            )
            assert ended.returncode == 0, ended.stderr
            told = {
                line.split(": address ")[0]: line.split()[-1]
                for line in ended.stdout.splitlines()
                if ": address " in line
            }
            assert told == {
                name: address_text(getattr(contracts_of(), name)) for name in ("registry", "license", "ledger")
            }
            assert anvil.rpc("eth_getTransactionCount", address_text(KEY.address), "latest") == "0x2"
        record = paid_deploy(tmp_path, Node("anvil", anvil.url), "--deployments", str(tmp_path))
        assert not (tmp_path / "data" / "vault").exists()
        assert {name: record[name] for name in told} == told
        assert all(placed["transaction"] for placed in record["contracts"].values())
        assert audit_command(anvil.url, "--deployment", str(tmp_path / "31337.json")).exit_code == 0


def test_folder_of_another_version_is_told_so(tmp_path: Path) -> None:
    with running_chain(tmp_path / "chain") as chain:
        record = paid_deploy(tmp_path, Node("embedded", chain.url))
        chain.fund(KEY.address)
        # What another version would have left: contracts of other code, and a record of the form before this one.
        code = bytes.fromhex("600a600c600039600a6000f3") + b"\xfe" * 10
        other = [address_text(chain.create(KEY, code)) for _ in range(3)]
        older = {"chainId": record["chainId"], "block": 1}
        older |= dict(zip(("registry", "license", "ledger"), other, strict=True))
        (tmp_path / "data" / "deployment.json").write_text(json.dumps(older))
        refused = gateway_deploy(tmp_path, chain.url)
        assert refused.returncode == 1
        assert "deployment-mismatch" in refused.stderr
        assert "another version of Platemark may have made this folder" in refused.stderr
        assert "new data folder" in refused.stderr


async def test_contracts_that_an_earlier_version_placed_elsewhere_are_kept(tmp_path: Path) -> None:
    with running_chain(tmp_path / "chain") as chain:
        async with connected(chain.url) as client:
            chain.fund(KEY.address)
            earlier = await fresh_contracts(client, KEY)
        (tmp_path / "data").mkdir()
        names = ("registry", "license", "ledger")
        record: dict[str, Any] = {"chainId": earlier.chain_id, "block": earlier.block}
        record |= {name: address_text(getattr(earlier, name)) for name in names}
        (tmp_path / "data" / "deployment.json").write_text(json.dumps(record))
        assert paid_deploy(tmp_path, Node("embedded", chain.url)) == record
        ended = audit_command(chain.url, *(f"--{name}={record[name]}" for name in names))
        assert ended.exit_code == 3
        failed = [finding["code"] for finding in ended.value["findings"] if finding["verdict"] == "fails"]
        assert failed == ["contract-code"] + ["contract-address"] * 3, "no deployer, and not its addresses"
