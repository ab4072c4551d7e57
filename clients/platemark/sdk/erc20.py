"""Tokens that licences are paid in: what ERC-20, ERC-2612 and ERC-5267 let one ask of them, and a permit to sign.

A token is a stranger: what it says of itself is shown, never computed with, except its decimals, which only turn what
a person typed into its smallest unit. A permit is signed only for the very domain that the token's own name, version,
chain and address give, so that a token cannot have one signed for another token.

Source: ERC-20, ERC-2612, ERC-5267.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from platemark.errors import PlatemarkError, RefusedError, UpstreamError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.typed_data import Struct
from platemark.protocol.units import Address, Digest32, UnixSeconds, address_text, digest32, keccak256
from platemark.sdk.chain import ChainClient

MAX_DECIMALS: Final = 36
_DOMAIN_TYPE: Final = b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"


def _function(name: str, inputs: Sequence[str], outputs: Sequence[str], *, view: bool = True) -> dict[str, Any]:
    return {
        "type": "function",
        "name": name,
        "inputs": [{"name": f"a{index}", "type": kind} for index, kind in enumerate(inputs)],
        "outputs": [{"name": f"r{index}", "type": kind} for index, kind in enumerate(outputs)],
        "stateMutability": "view" if view else "nonpayable",
    }


ABI: Final[Sequence[Mapping[str, Any]]] = (
    _function("name", [], ["string"]),
    _function("symbol", [], ["string"]),
    _function("version", [], ["string"]),
    _function("decimals", [], ["uint8"]),
    _function("balanceOf", ["address"], ["uint256"]),
    _function("allowance", ["address", "address"], ["uint256"]),
    _function("nonces", ["address"], ["uint256"]),
    _function("DOMAIN_SEPARATOR", [], ["bytes32"]),
    # Tokens of the first years return nothing, so nothing is expected.
    _function("approve", ["address", "uint256"], [], view=False),
    _function("permit", ["address", "address", "uint256", "uint256", "uint8", "bytes32", "bytes32"], [], view=False),
)


@dataclass(frozen=True, slots=True)
class Permit(Struct):
    """A holder of tokens lets `spender` take `value` of them until `deadline` (ERC-2612)."""

    TYPE: ClassVar[str] = "Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)"
    owner: Address
    spender: Address
    value: int
    nonce: int
    deadline: UnixSeconds


@dataclass(frozen=True, slots=True)
class SignedPermit:
    """A permit with its signature, as contracts take it: v (27 or 28), r and s (32 bytes each)."""

    permit: Permit
    v: int
    r: bytes
    s: bytes


@dataclass(frozen=True, slots=True)
class Token:
    """One token on one chain."""

    chain: ChainClient
    chain_id: int
    address: Address

    def decimals(self) -> int:
        """Return how many decimal places its amounts are shown with.

        Errors: UpstreamError `token-decimals` when it does not say, or says nonsense.
        """
        found = self._maybe("decimals")
        if not isinstance(found, int) or not 0 <= found <= MAX_DECIMALS:
            raise UpstreamError(
                "the token does not say how many decimal places it has",
                code="token-decimals",
                hint="give amounts in its smallest unit: 1500000 units",
            )
        return found

    def symbol(self) -> str:
        """Return what it calls itself, at most 16 characters; its address when it does not."""
        found = self._maybe("symbol")
        return found[:16] if isinstance(found, str) and found.strip() else address_text(self.address)

    def balance(self, holder: Address) -> int:
        """Return how much an account has, in the smallest unit."""
        return int(self._read("balanceOf", address_text(holder)))

    def allowance(self, owner: Address, spender: Address) -> int:
        """Return how much `spender` may take from `owner`."""
        return int(self._read("allowance", address_text(owner), address_text(spender)))

    def approve(self, account: AccountKey, spender: Address, value: int) -> Digest32:
        """Send the account's transaction that lets `spender` take `value`, and return its hash."""
        return self.chain.transact(
            account, "ERC20", self.address, "approve", address_text(spender), value, chain_id=self.chain_id
        )

    def permit(self, account: AccountKey, spender: Address, value: int, deadline: UnixSeconds) -> SignedPermit | None:
        """Return a signed permit that the token takes (it was tried), or None where the token has none like it."""
        separator = self._separator()
        nonce = self._maybe("nonces", address_text(account.address))
        if separator is None or not isinstance(nonce, int):
            return None
        permit = Permit(account.address, spender, value, nonce, deadline)
        signature = account.sign(keccak256(b"\x19\x01" + separator + permit.struct_hash()))
        made = SignedPermit(permit, signature[64], signature[:32], signature[32:64])
        owner, to = address_text(permit.owner), address_text(spender)
        try:
            self._read("permit", owner, to, value, deadline, made.v, made.r, made.s)
        except RefusedError:
            return None  # a permit of another kind, such as DAI's first one
        return made

    def _separator(self) -> Digest32 | None:
        """Return the token's domain separator when it is that of its own name, version, chain and address."""
        stated, name = self._maybe("DOMAIN_SEPARATOR"), self._maybe("name")
        if not isinstance(stated, bytes) or not isinstance(name, str):
            return None
        versions = dict.fromkeys((self._maybe("version"), "1", "2"))
        for version in versions:
            if isinstance(version, str) and _separator_of(name, version, self.chain_id, self.address) == stated:
                return digest32(stated)
        return None

    def _read(self, function: str, *arguments: Any) -> Any:
        return self.chain.read("ERC20", self.address, function, *arguments)

    def _maybe(self, function: str, *arguments: Any) -> Any:
        """Return what an optional function answers, or None where the token has no such function."""
        try:
            return self._read(function, *arguments)
        except RefusedError:
            return None
        except PlatemarkError as error:
            if error.code in {"contract-missing", "rpc-malformed"}:  # an empty or an impossible answer
                return None
            raise


def _separator_of(name: str, version: str, chain_id: int, token: Address) -> bytes:
    return keccak256(
        keccak256(_DOMAIN_TYPE)
        + keccak256(name.encode())
        + keccak256(version.encode())
        + chain_id.to_bytes(32, "big")
        + bytes(12)
        + token
    )
