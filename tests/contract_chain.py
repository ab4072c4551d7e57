"""The three contracts on an EVM in this process: eth-tester behind web3, the package's artefacts."""

import ast
import warnings
from typing import Any, Final

from platemark.protocol import abi
from platemark.protocol.accounts import AccountKey
from platemark.protocol.typed_data import (
    Acceptance,
    Domain,
    EditionLimit,
    Mint,
    MintBatch,
    Move,
    Offer,
    Publication,
    Recall,
    Registration,
    RegistrationBatch,
    Return,
    Sale,
    Struct,
    Terms,
    Withdrawal,
    ledger_domain,
    license_domain,
    registry_domain,
)
from platemark.protocol.units import address_text, parse_address

DAY: Final = 86_400
GAS: Final = 3_000_000
DESIGNER: Final = AccountKey(b"\x01" * 32)
HOLDER: Final = AccountKey(b"\x02" * 32)
GATEWAY: Final = AccountKey(b"\x03" * 32)


class RevertError(Exception):
    """A contract's custom error, by name and arguments."""

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        super().__init__(f"{name}{arguments}")
        self.name = name
        self.arguments = arguments


class Chain:
    """eth-tester behind web3, and the three contracts."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of the libraries, while they are imported
            from eth_tester import EthereumTester, PyEVMBackend
            from web3 import EthereumTesterProvider, Web3

        self.tester = EthereumTester(PyEVMBackend())
        self.web3: Any = Web3(EthereumTesterProvider(self.tester))
        self.anybody: str = self.web3.eth.accounts[0]
        for key in (DESIGNER, HOLDER, GATEWAY):
            self.tester.add_account(f"0x{key.secret().hex()}")
            gift: Any = {"from": self.anybody, "to": address_text(key.address), "value": 10**18}
            self.web3.eth.send_transaction(gift)
        self.registry = self._create("DesignRegistry")
        self.license = self._create("PrintLicense", self.registry.address)
        self.ledger = self._at("PrintLedger", self.license.functions.ledger().call())

    def _create(self, name: str, *arguments: Any) -> Any:
        artifact = abi.load(name)
        factory = self.web3.eth.contract(abi=list(artifact.abi), bytecode=artifact.bytecode)
        transaction = factory.constructor(*arguments).transact({"from": self.anybody})
        return self._at(name, str(self.web3.eth.get_transaction_receipt(transaction)["contractAddress"]))

    def _at(self, name: str, address: str) -> Any:
        return self.web3.eth.contract(address=address, abi=list(abi.load(name).abi), decode_tuples=True)

    def domain(self, struct: Struct) -> Domain:
        chain_id = self.web3.eth.chain_id
        if isinstance(struct, Registration | RegistrationBatch | EditionLimit | Publication | Recall):
            return registry_domain(chain_id, parse_address(self.registry.address))
        if isinstance(struct, Terms | Acceptance | Offer | Mint | MintBatch | Sale | Move | Return | Withdrawal):
            return license_domain(chain_id, parse_address(self.license.address))
        return ledger_domain(chain_id, parse_address(self.ledger.address))

    def sign(self, key: AccountKey, struct: Struct) -> bytes:
        return key.sign(struct.digest(self.domain(struct)))

    def id(self, struct: Struct) -> int:
        return int.from_bytes(struct.digest(self.domain(struct)), "big")

    def now(self) -> int:
        return int(self.web3.eth.get_block("latest")["timestamp"])

    def travel(self, timestamp: int) -> None:
        self.tester.time_travel(timestamp)
        self.tester.mine_block()  # calls see the head's time

    def refusal(self, function: Any, sender: str | None = None, value: int = 0) -> RevertError | None:
        """Return with what a contract would refuse a call at the head's time, None when it would not."""
        from eth_tester.exceptions import TransactionFailed

        try:
            function.call({"from": sender or self.anybody, "value": value, "gas": GAS})
        except TransactionFailed as error:
            return self._named(error)
        return None

    def send(self, function: Any, sender: str | None = None, value: int = 0) -> dict[str, list[dict[str, Any]]]:
        """Send and return the events of our contracts, by name; raise RevertError with what a contract said."""
        from web3.logs import DISCARD

        refused = self.refusal(function, sender, value)
        if refused is not None:
            raise refused
        options: Any = {"from": sender or self.anybody, "value": value, "gas": GAS}
        receipt = self.web3.eth.get_transaction_receipt(function.transact(options))
        assert receipt["status"] == 1
        found: dict[str, list[dict[str, Any]]] = {}
        for contract in (self.registry, self.license, self.ledger):
            logs = {**receipt, "logs": [log for log in receipt["logs"] if log["address"] == contract.address]}
            for event in contract.events:
                for decoded in event().process_receipt(logs, errors=DISCARD):
                    found.setdefault(decoded["event"], []).append(dict(decoded["args"]))
        return found

    @staticmethod
    def _named(error: BaseException) -> RevertError:
        from eth_abi.abi import decode

        data = _revert_data(error)
        for name in abi.NAMES:
            entry = abi.load(name).errors().get(data[:4])
            if entry is not None:
                types = [member["type"] for member in entry["inputs"]]
                return RevertError(entry["name"], tuple(decode(types, data[4:])))
        return RevertError(data.hex(), ())


def _revert_data(error: BaseException) -> bytes:
    """Return the bytes that the EVM gave back; eth-tester hands them over as Python writes them."""
    found = ast.literal_eval(str(error).removeprefix("execution reverted: "))
    assert isinstance(found, bytes)
    return found
