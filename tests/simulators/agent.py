"""A print centre's agent and its holder: they sign as the protocol says, or as a test wants it otherwise.

agent = Agent(gateway, designer)
await agent.reserved(prints=3)
answer = await agent.redeem()
"""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import httpx

from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url, parse_base64url, signature_text
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.log_entry import Result
from platemark.protocol.outcome import SignedOutcome, sign_outcome
from platemark.protocol.permission import AgentSeed
from platemark.protocol.receipt import (
    Attempt,
    Envelope,
    Material,
    ObjectOutcome,
    Printer,
    Quantities,
    Quantity,
    Receipt,
    Source,
    sign_receipt,
)
from platemark.protocol.release import Release, check_answers, open_package
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.token import PrintToken, digest, open_token, sign_request
from platemark.protocol.typed_data import Close, Reservation, Stop
from platemark.protocol.units import Digest32, TokenId, UnixSeconds, id_text
from platemark.protocol.voucher import IntendedPrint, RedemptionRequest, SignedRequest
from simulators.gateway import SimulatedGateway
from simulators.people import Designer

DAY = 86_400


@dataclass
class Agent:
    """One agent with one permission; `holder` is who owns the prints."""

    gateway: SimulatedGateway
    designer: Designer
    holder: AccountKey = field(default_factory=lambda: AccountKey(b"\x55" * 32))
    seed: AgentSeed = field(default_factory=lambda: AgentSeed(b"\x66" * 32))
    salt: Digest32 = field(default_factory=lambda: Digest32(b"\x01" * 32))
    prints: int = 3
    lifetime_seconds: int = 30 * DAY
    token_text: str = ""
    receipt_salt: bytes = b"\x0b" * 32

    # --- what is signed ---------------------------------------------------------------------------------

    def __post_init__(self) -> None:
        self.expires_at = UnixSeconds(self.gateway.clock.now() + self.lifetime_seconds)
        self.deadline = UnixSeconds(self.gateway.clock.now() + 3600)

    @property
    def key(self) -> AccountKey:
        """The agent's account key for this permission."""
        return self.seed.agent_key(
            self.gateway.chain.deployment.chain_id, self.gateway.chain.deployment.ledger, self.salt
        )

    @property
    def recipient(self) -> RecipientKey:
        """The key to which token and releases are sealed."""
        return self.seed.recipient_key(
            self.gateway.chain.deployment.chain_id, self.gateway.chain.deployment.ledger, self.salt
        )

    def permission(self, **changes: Any) -> Reservation:
        """Return the holder's permission."""
        made = Reservation(
            holder=self.holder.address,
            gateway=self.gateway.container.vault.account,
            agent=self.key.address,
            license_id=self.designer.license_id,
            revision=1,
            prints=self.prints,
            expires_at=self.expires_at,
            deadline=self.deadline,
            salt=self.salt,
        )
        return replace(made, **changes)

    @property
    def token_id(self) -> TokenId:
        """The print token's id."""
        return self.permission().token_id(self.gateway.chain.deployment.ledger_domain())

    def request(self, sequence: int, **changes: Any) -> SignedRequest:
        """Return a signed redemption; the same sequence gives the same bytes."""
        block = self.gateway.chain.blocks[self.gateway.chain.final_number]
        made = RedemptionRequest(
            token_id=self.token_id,
            sequence=sequence,
            token_digest=digest(self.token_text),
            print_id=bytes(10) + self.salt[:2] + sequence.to_bytes(4, "big"),
            recipient_digest=self.recipient.digest,
            seen_block=block.number,
            seen_hash=block.hash,
            detail=IntendedPrint("printer one").digest(b"\x03" * 32),
        )
        return replace(made, **changes).sign(self.key, self.gateway.chain.deployment.ledger_domain())

    def receipt(self, sequence: int, result: Result, /, **changes: Any) -> Receipt:
        """Return the receipt of a print."""
        started = UnixSeconds(self.gateway.clock.now())
        made = Receipt(
            design_id=self.designer.design_id,
            revision=1,
            license_id=self.designer.license_id,
            token_id=self.token_id,
            sequence=sequence,
            result=result,
            slicer="basic",
            slicer_version="1",
            profile_sha256=Digest32(b"\x08" * 32),
            attempts=(
                Attempt(
                    Printer("printer one", "simulated", "simulated"),
                    Digest32(b"\x0a" * 32),
                    started,
                    UnixSeconds(started + 60),
                    result,
                ),
            ),
            objects=(ObjectOutcome("cube", 0, result),),
            quantities=Quantities(in_part=Quantity(Decimal("12.5"), Source.SLICER)),
            material=Material("PLA"),
        )
        return replace(made, **changes)

    def report(self, sequence: int, result: Result = Result.COMPLETED, /, **changes: Any) -> dict[str, Any]:
        """Return the body of an outcome; `changes` alter the receipt."""
        receipt = self.receipt(sequence, result, **changes)
        salt = self.receipt_salt
        signed: SignedOutcome = sign_outcome(
            self.token_id,
            sequence,
            result,
            receipt.digest(salt),
            agent=self.key,
            domain=self.gateway.chain.deployment.ledger_domain(),
        )
        envelope: Envelope = sign_receipt(receipt, self.key)
        return {
            "outcome": signed.outcome.to_json(),
            "signature": signature_text(signed.signature),
            "statement": base64url(envelope.statement),
            "salt": base64url(salt),
            "envelopeSignature": signature_text(envelope.agent_signature),
        }

    # --- steps ------------------------------------------------------------------------------------------

    async def post(self, path: str, body: Any) -> httpx.Response:
        """POST as nobody in particular."""
        return await self.gateway.client.post(path, json=body)

    async def reserve(self, permission: Reservation | None = None, signature: bytes | None = None) -> httpx.Response:
        """Have the permission relayed."""
        made = permission or self.permission()
        signed = signature or self.holder.sign(made.digest(self.gateway.chain.deployment.ledger_domain()))
        return await self.post("/v1/reservations", {"reservation": made.to_json(), "signature": signature_text(signed)})

    async def state(self) -> dict[str, Any]:
        """Return what the gateway says of the token."""
        found: dict[str, Any] = (await self.gateway.client.get(f"/v1/reservations/{id_text(self.token_id)}")).json()
        return found

    async def order_token(self, **changes: Any) -> httpx.Response:
        """Ask for the print token; `changes` alter the body after it was signed."""
        deadline = UnixSeconds(self.gateway.clock.now() + 600)
        request, signature = sign_request(
            self.token_id,
            self.recipient.public_bytes,
            deadline,
            agent=self.key,
            domain=self.gateway.chain.deployment.ledger_domain(),
        )
        body = {
            "request": request.to_json(),
            "recipientKey": base64url(self.recipient.public_bytes),
            "signature": signature_text(signature),
        }
        return await self.post("/v1/tokens", body | changes)

    async def take_token(self) -> PrintToken:
        """Fetch, open and verify the print token."""
        answer = await self.order_token()
        assert answer.status_code == 200, answer.text
        sealed = _bytes(answer.json()["token"])
        self.token_text = open_token(sealed, self.token_id, self.recipient)
        return PrintToken.verify(self.token_text, self.gateway.container.profile.release_key)

    async def reserved(self, prints: int | None = None) -> "Agent":
        """Reserve, let it be final, and take the token; the designer licensed enough prints to the holder."""
        if prints is not None:
            self.prints = prints
        answer = await self.reserve()
        assert answer.status_code == 202, answer.text
        await self.gateway.chain.mine()
        await self.take_token()
        return self

    def body(self, signed: SignedRequest) -> dict[str, Any]:
        """Return the body of a redemption."""
        return dict(signed.to_body(self.recipient.public_bytes))

    async def send(self, signed: SignedRequest, **changes: Any) -> httpx.Response:
        """Send a redemption; `changes` alter the body after it was signed."""
        return await self.post("/v1/prints", self.body(signed) | changes)

    async def redeem(self, sequence: int) -> dict[str, Any]:
        """Redeem a print, verify release and key as an agent does, and return the answer."""
        signed = self.request(sequence)
        answer = await self.send(signed)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        self.verify(signed, found)
        return found

    def verify(self, signed: SignedRequest, answer: dict[str, Any]) -> tuple[Release, KeyPackage]:
        """Pass when an answer releases the key for this very request."""
        release = Release.verify(answer["release"], self.gateway.container.profile.release_key)
        check_answers(release, signed.request)
        package = open_package(_bytes(answer["sealedKey"]), answer["release"], release, self.recipient)
        assert package == self.designer.package
        return release, package

    async def send_report(self, body: dict[str, Any]) -> httpx.Response:
        """Send an outcome to the address that it names."""
        outcome = body["outcome"]
        return await self.post(f"/v1/prints/{outcome['tokenId']}/{outcome['sequence']}/outcome", body)

    async def finish(self, sequence: int, result: Result = Result.COMPLETED) -> dict[str, Any]:
        """Report how a print ended and return the answer."""
        answer = await self.send_report(self.report(sequence, result))
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def stop(self, **changes: Any) -> httpx.Response:
        """Have the holder stop the token."""
        made = replace(Stop(self.token_id, UnixSeconds(self.gateway.clock.now() + 600)), **changes)
        signature = self.holder.sign(made.digest(self.gateway.chain.deployment.ledger_domain()))
        body = {"stop": made.to_json(), "signature": signature_text(signature)}
        return await self.post(f"/v1/tokens/{id_text(self.token_id)}/stop", body)

    async def offer_close(self, deadline: int) -> httpx.Response:
        """Ask, as the holder, on which counts the gateway would close."""
        session = await self.gateway.sign_in(self.holder)
        return await self.gateway.client.post(
            f"/v1/tokens/{id_text(self.token_id)}/close", json={"deadline": deadline}, headers=session
        )

    async def close(self, offered: dict[str, Any]) -> httpx.Response:
        """Close on offered counts."""
        close = Close.from_json(offered["close"])
        signature = self.holder.sign(close.digest(self.gateway.chain.deployment.ledger_domain()))
        body = {"deadline": close.deadline, "holderSignature": signature_text(signature)}
        return await self.post(f"/v1/tokens/{id_text(self.token_id)}/close", body)


def _bytes(text: str) -> bytes:
    return parse_base64url(text, max_bytes=65_536)
