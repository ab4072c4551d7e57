"""The life of one print on any chain: the gateway's account sends what designer, holder and agent signed."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from platemark.protocol.accounts import AccountKey, to_compact
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.typed_data import Acceptance, Mint, Offer, Redemption, Registration, Reservation, Terms
from platemark.protocol.units import (
    ZERO_ADDRESS,
    BasisPoints,
    DesignId,
    Digest32,
    LicenseId,
    TokenId,
    UnixSeconds,
    Wei,
    digest32,
)
from platemark_gateway.chain.client import ChainClient, ContractReader
from platemark_gateway.chain.contracts import AbiCalls
from platemark_gateway.chain.transactions import Fees, sign_transaction, transaction_hash
from platemark_gateway.ports import Contract, Deployment, ReservationState

DESIGNER: Final = AccountKey(b"\x31" * 32)
HOLDER: Final = AccountKey(b"\x32" * 32)
AGENT: Final = AccountKey(b"\x33" * 32)
_DAY: Final = 86_400
_SALT: Final = digest32(b"\x34" * 32)


async def live(client: ChainClient, deployment: Deployment, gateway: AccountKey) -> ReservationState:
    """Register, offer, mint, reserve and settle two prints; return the reservation afterwards."""
    head = await client.header("latest")
    assert head is not None
    soon, late = UnixSeconds(head.timestamp + _DAY), UnixSeconds(head.timestamp + 30 * _DAY)
    files_root = digest32(b"\x35" * 32)
    registration = Registration(
        registrant=DESIGNER.address,
        commitment=commitment(DESIGNER.address, _SALT, files_root),
        manifest_digest=sha256(b"manifest"),
        is_private=False,
        parent_id=DesignId(0),
        resale_share=BasisPoints(0),
        derivative_share=BasisPoints(0),
        edition=0,
    )
    digest = registration.digest(deployment.registry_domain())
    sender = _Sender(client, deployment, gateway)
    await sender.send(Contract.REGISTRY, "registerBySig", registration.arguments(), DESIGNER.sign(digest))
    await sender.send(Contract.LEDGER, "declareGateway", sha256(b"profile"), False)
    design_id = DesignId(int.from_bytes(digest, "big"))
    terms = Terms(
        design_id=design_id,
        terms_digest=sha256(b"terms"),
        currency=ZERO_ADDRESS,
        price=Wei(0),
        gateway=gateway.address,
        cap=10,
        not_before=UnixSeconds(0),
        not_after=late,
        spares_flat=0,
        spares_per_hundred=0,
        smallest_reservation=1,
        transferable=False,
        payout=0,
        salt=_SALT,
    )
    domain = deployment.license_domain()
    offer = Offer(terms, on_sale=False, deadline=soon)
    acceptance = Acceptance(gateway.address, design_id, 1, sha256(b"key"), terms.terms_digest, soon)
    signatures = (DESIGNER.sign(offer.digest(domain)), gateway.sign(acceptance.digest(domain)))
    offered = (terms.arguments(), False, soon, signatures[0], acceptance.arguments(), signatures[1])
    await sender.send(Contract.LICENSE, "offerBySig", *offered)
    license_id = LicenseId(int.from_bytes(terms.digest(domain), "big"))
    mint = Mint(DESIGNER.address, license_id, HOLDER.address, 5, 1, soon)
    await sender.send(Contract.LICENSE, "mintBySig", mint.arguments(), DESIGNER.sign(mint.digest(domain)))
    reservation = Reservation(
        holder=HOLDER.address,
        gateway=gateway.address,
        agent=AGENT.address,
        license_id=license_id,
        revision=1,
        prints=3,
        expires_at=UnixSeconds(soon + 4 * _DAY),
        deadline=soon,
        salt=_SALT,
    )
    domain = deployment.ledger_domain()
    token_digest = reservation.digest(domain)
    await sender.send(Contract.LEDGER, "reserve", reservation.arguments(), HOLDER.sign(token_digest))
    token_id = TokenId(int.from_bytes(token_digest, "big"))
    request = Redemption(token_id, 2, Digest32(sha256(b"request")))
    r, vs = to_compact(AGENT.sign(request.digest(domain)))
    use = (token_id, request.sequence, 0, request.request_digest, r, vs)
    await sender.send(Contract.LEDGER, "settle", gateway.address, [(license_id, [use])])
    found = await ContractReader(client, deployment).reservation(gateway.address, license_id, token_id)
    assert found is not None
    return found


class _Sender:
    """Sends calls of the contracts with one account, each after the one before stands in a block."""

    def __init__(self, client: ChainClient, deployment: Deployment, key: AccountKey) -> None:
        self._client = client
        self._deployment = deployment
        self._key = key

    async def send(self, contract: Contract, function: str, *arguments: Any) -> None:
        to, data = self._deployment.address(contract), _encoded(contract, function, arguments)
        gas = await self._client.estimate_gas(self._key.address, to, data, 0)
        raw = sign_transaction(
            self._key.sign,
            chain_id=self._deployment.chain_id,
            nonce=await self._client.nonce(self._key.address),
            fees=Fees(10**11, 10**9),
            gas=gas * 5 // 4,
            to=to,
            value=0,
            data=data,
        )
        await self._client.send(raw)
        for _ in range(1000):
            receipt = await self._client.receipt(transaction_hash(raw))
            if receipt is not None:
                assert receipt.succeeded, function
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{function} is in no block")


def _encoded(contract: Contract, function: str, arguments: Sequence[Any]) -> bytes:
    return AbiCalls().encode(contract, function, arguments)
