"""An embedded chain as a real process, plain JSON-RPC to it, and a small contract written by hand."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from platemark.cli.demo.processes import gateway_program
from platemark.protocol.accounts import AccountKey
from platemark.protocol.units import Address, address_text, parse_address
from platemark_gateway.chain.transactions import Fees, sign_transaction, transaction_hash
from trusted import authorities

COMMAND: Final = (sys.executable, "-c", "from platemark_gateway.cli import main; main()")


class RpcFailedError(Exception):
    def __init__(self, error: Mapping[str, Any]) -> None:
        super().__init__(error["message"])
        self.code: int = error["code"]
        self.data: str | None = error.get("data")


class ChainProcess:
    """A running `platemark-gateway chain`."""

    def __init__(self, process: "subprocess.Popen[str]", ready: Mapping[str, Any]) -> None:
        self.process = process
        self.url: str = ready["url"]
        self.chain_id: int = ready["chainId"]
        self._http = httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=authorities())

    def post(self, body: Any) -> Any:
        return self._http.post("/", json=body).json()

    def rpc(self, method: str, *params: Any) -> Any:
        answer = self.post({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        if "error" in answer:
            raise RpcFailedError(answer["error"])
        return answer["result"]

    def fund(self, address: Address, wei: int = 100 * 10**18) -> None:
        self.rpc("platemark_fund", address_text(address), hex(wei))

    def sign(
        self, key: AccountKey, to: Address | None, data: bytes = b"", *, value: int = 0, gas: int = 500_000
    ) -> bytes:
        nonce = int(self.rpc("eth_getTransactionCount", address_text(key.address), "latest"), 16)
        return sign_transaction(
            key.sign,
            chain_id=self.chain_id,
            nonce=nonce,
            fees=Fees(10**11, 10**9),
            gas=gas,
            to=to,
            value=value,
            data=data,
        )

    def send(self, key: AccountKey, to: Address | None, data: bytes = b"", *, value: int = 0) -> dict[str, Any]:
        raw = self.sign(key, to, data, value=value)
        self.rpc("eth_sendRawTransaction", "0x" + raw.hex())
        receipt: dict[str, Any] = self.rpc("eth_getTransactionReceipt", "0x" + transaction_hash(raw).hex())
        return receipt

    def create(self, key: AccountKey, code: bytes) -> Address:
        return parse_address(self.send(key, None, code)["contractAddress"])

    def hashes(self) -> list[str]:
        head = int(self.rpc("eth_blockNumber"), 16)
        return [self.rpc("eth_getBlockByNumber", hex(number), False)["hash"] for number in range(head + 1)]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(10)


def start_chain(directory: Path, *options: str) -> ChainProcess:
    process = program("chain", "--data", str(directory), *options)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        _, errors = process.communicate(timeout=10)
        raise AssertionError(f"the chain did not start: {errors}")
    return ChainProcess(process, json.loads(line))


def program(*arguments: str) -> "subprocess.Popen[str]":
    """Run `platemark-gateway`; `forked_programs` may fork it."""
    return _run(gateway_program(), *arguments)


def spawn(*arguments: str) -> "subprocess.Popen[str]":
    """Start `platemark-gateway` anew, with all that its start is."""
    return _run(*COMMAND, *arguments)


def _run(*argv: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        list(argv),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


@contextmanager
def running_chain(directory: Path, *options: str) -> Iterator[ChainProcess]:
    chain = start_chain(directory, *options)
    try:
        yield chain
    finally:
        close(chain)


def close(chain: ChainProcess) -> None:
    chain._http.close()
    if chain.process.poll() is None:
        chain.process.kill()
    chain.process.communicate(timeout=10)


# The contract's first byte of calldata says what it does: 0 reverts with the rest, 1 emits an event with two topics
# and the rest as data, 2 returns the rest, 3 stores a word, 4 returns that word.
REVERT: Final = b"\0"
EMIT: Final = b"\1"
ECHO: Final = b"\2"
STORE: Final = b"\3"
LOAD: Final = b"\4"

_OPS: Final = {
    "STOP": 0x00,
    "SUB": 0x03,
    "EQ": 0x14,
    "SHR": 0x1C,
    "CALLDATALOAD": 0x35,
    "CALLDATASIZE": 0x36,
    "CALLDATACOPY": 0x37,
    "CODECOPY": 0x39,
    "MSTORE": 0x52,
    "SLOAD": 0x54,
    "SSTORE": 0x55,
    "JUMPI": 0x57,
    "JUMPDEST": 0x5B,
    "DUP1": 0x80,
    "DUP3": 0x82,
    "LOG2": 0xA2,
    "RETURN": 0xF3,
    "REVERT": 0xFD,
}
_SOURCE: Final = """
0 CALLDATALOAD 248 SHR
DUP1 1 EQ @emit JUMPI  DUP1 2 EQ @echo JUMPI  DUP1 3 EQ @store JUMPI  DUP1 4 EQ @load JUMPI
1 CALLDATASIZE SUB DUP1 1 0 CALLDATACOPY 0 REVERT
:echo 1 CALLDATASIZE SUB DUP1 1 0 CALLDATACOPY 0 RETURN
:emit 65 CALLDATASIZE SUB DUP1 65 0 CALLDATACOPY 33 CALLDATALOAD 1 CALLDATALOAD DUP3 0 LOG2 STOP
:store 1 CALLDATALOAD 0 SSTORE STOP
:load 0 SLOAD 0 MSTORE 32 0 RETURN
"""


def _assemble(source: str) -> bytes:
    words = source.split()
    labels: dict[str, int] = {}
    code = bytearray()
    for final in (False, True):
        code = bytearray()
        for word in words:
            if word.startswith(":"):
                labels[word[1:]] = len(code)
                code.append(_OPS["JUMPDEST"])
            elif word.startswith("@"):
                code += bytes([0x60, labels[word[1:]] if final else 0])
            elif word.isdigit():
                code += bytes([0x60, int(word)])
            else:
                code.append(_OPS[word])
    return bytes(code)


RUNTIME: Final = _assemble(_SOURCE)
# Calls itself until its gas is gone: as deep as the machine goes.
ENDLESS: Final = bytes.fromhex("60006000600060006000305af100")
CREATION: Final = _assemble(f"{len(RUNTIME)} DUP1 12 0 CODECOPY 0 RETURN STOP") + RUNTIME
