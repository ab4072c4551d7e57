"""A designer who speaks to a gateway over HTTP, as the client does; each step can be altered by a test."""

import hashlib
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import httpx

from platemark.protocol import sealed_file
from platemark.protocol.accounts import AccountKey
from platemark.protocol.byte_text import base64url
from platemark.protocol.cid import Cid
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.deposit import make_deposit
from platemark.protocol.digests import commitment, sha256
from platemark.protocol.license_terms import Protection
from platemark.protocol.manifest import Constraints, Manifest, ManifestFile, Part, Process, named_hash
from platemark.protocol.merkle import files_root
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Acceptance, Mint, Offer, Publication, Recall, Registration, Struct, Terms
from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, UnixSeconds, digest_text, id_text
from simulators.gateway import SimulatedGateway

CUBE = b"solid cube\n" + bytes(range(256)) * 8 + b"endsolid cube\n"


def signature_text(signature: bytes) -> str:
    """Return a signature as it travels."""
    return "0x" + signature.hex()


@dataclass
class Designer:
    """One account with one design of one file; sealed bytes are made once and kept."""

    gateway: SimulatedGateway
    account: AccountKey = field(default_factory=lambda: AccountKey(b"\x42" * 32))
    plaintext: bytes = CUBE
    private: bool = False
    salt: bytes = b"\x07" * 32
    key: ContentKey = field(default_factory=lambda: ContentKey(b"\x09" * 32))
    session: dict[str, str] = field(default_factory=dict)
    cid: Cid | None = None
    sealed: bytes = b""

    # --- what is signed ---------------------------------------------------------------------------------

    @property
    def package(self) -> KeyPackage:
        """The key package of the design."""
        return KeyPackage(self.key, self.salt, self.root)

    @property
    def root(self) -> Digest32:
        """The files root."""
        return files_root([sha256(self.plaintext)])

    @property
    def commitment(self) -> Digest32:
        """What the registration commits to."""
        return commitment(self.account.address, self.salt, self.root)

    def manifest(self, **changes: Any) -> Manifest:
        """Return the manifest of the uploaded file."""
        assert self.cid is not None
        plain = Digest32(hashlib.sha256(self.plaintext).digest())
        file = ManifestFile(
            index=0,
            name="cube.stl",
            media_type="model/stl",
            size_bytes=len(self.plaintext),
            sha256=named_hash(plain, private=self.private, salt=self.salt),
            sealed_cid=self.cid,
            sealed_bytes=len(self.sealed),
            sealed_sha256=Digest32(hashlib.sha256(self.sealed).digest()),
        )
        one = Decimal(10)
        made = Manifest(
            title="A cube",
            registrant=self.account.address,
            private=self.private,
            files=(file,),
            key_commitment=self.key.commitment(),
            parts=(Part("cube", 0, 1, (0, 0, 0), (one, one, one), Decimal(1000)),),
            constraints=Constraints(Process.FDM),
        )
        return replace(made, **changes)

    def registration(self, **changes: Any) -> Registration:
        """Return the design's registration."""
        made = Registration(
            registrant=self.account.address,
            commitment=self.commitment,
            manifest_digest=self.manifest().digest(),
            is_private=self.private,
            parent_id=DesignId(0),
            resale_share=500,
            derivative_share=0,
            edition=0,
        )
        return replace(made, **changes)

    @property
    def design_id(self) -> DesignId:
        """The design's id."""
        return DesignId(
            int.from_bytes(self.registration().digest(self.gateway.chain.deployment.registry_domain()), "big")
        )

    def document(self, **changes: Any) -> TermsDocument:
        """Return the terms document of the design's licence."""
        made = TermsDocument(
            title="A cube, printed",
            design_id=self.design_id,
            gateway=self.gateway.container.vault.account,
            protection=Protection.FILE,
            cap=100,
            spares_per_hundred=10,
            smallest_reservation=1,
        )
        return replace(made, **changes)

    def terms(self, **changes: Any) -> Terms:
        """Return the licence's terms."""
        return replace(self.document().terms(Digest32(b"\x05" * 32)), **changes)

    @property
    def license_id(self) -> LicenseId:
        """The licence's id."""
        return self.terms().license_id(self.gateway.chain.deployment.license_domain())

    def deadline(self, seconds: int = 3600) -> UnixSeconds:
        """Return a time that has not come."""
        return UnixSeconds(self.gateway.clock.now() + seconds)

    def registry_signature(self, struct: Struct) -> str:
        """Return the designer's signature for the registry."""
        return signature_text(self.account.sign(struct.digest(self.gateway.chain.deployment.registry_domain())))

    def license_signature(self, struct: Struct) -> str:
        """Return the designer's signature for the licence contract."""
        return signature_text(self.account.sign(struct.digest(self.gateway.chain.deployment.license_domain())))

    # --- steps ------------------------------------------------------------------------------------------

    async def post(self, path: str, body: Any = None, **extra: Any) -> httpx.Response:
        """POST as the designer."""
        return await self.gateway.client.post(path, json=body, headers=self.session, **extra)

    def path(self, rest: str = "") -> str:
        """Return an address below the design."""
        return f"/v1/designs/{id_text(self.design_id)}{rest}"

    async def upload(self) -> httpx.Response:
        """Sign in and upload the ciphertext."""
        if not self.session:
            self.session = await self.gateway.sign_in(self.account)
        if not self.sealed:
            self.sealed = b"".join(sealed_file.seal(self.key.file_key(0), [self.plaintext]))
        answer = await self.gateway.client.post("/v1/blobs", content=self.sealed, headers=self.session)
        assert answer.status_code == 200, answer.text
        self.cid = Cid.parse(answer.json()["cid"])
        return answer

    async def register(self, **changes: Any) -> httpx.Response:
        """Register the design."""
        registration = self.registration(**changes)
        return await self.post(
            "/v1/designs",
            {"registration": registration.to_json(), "signature": self.registry_signature(registration)},
        )

    async def publish_manifest(self, data: bytes | None = None, number: int = 1) -> httpx.Response:
        """Publish the manifest."""
        content = self.manifest().encode() if data is None else data
        return await self.gateway.client.post(
            self.path(f"/revisions/{number}/manifest"), content=content, headers=self.session
        )

    async def deposit(
        self, package: KeyPackage | None = None, *, public: bytes | None = None, **changes: Any
    ) -> httpx.Response:
        """Deposit the key, sealed to a `public` key of the gateway; `changes` alter the body after it was signed."""
        made = make_deposit(
            package or self.package,
            domain=self.gateway.chain.deployment.registry_domain(),
            design_id=self.design_id,
            revision=1,
            gateway=self.gateway.container.vault.account,
            deposit_public=public or self.gateway.container.profile.deposit_key,
            deadline=self.deadline(),
            account=self.account,
        )
        body = {
            "deposit": made.deposit.to_json(),
            "signature": signature_text(made.signature),
            "sealed": base64url(made.sealed),
        }
        return await self.post(self.path("/revisions/1/deposit"), body | changes)

    async def reveal(self) -> httpx.Response:
        """Reveal the content."""
        return await self.post(
            self.path("/revisions/1/reveal"), {"salt": digest_text(self.salt), "filesRoot": digest_text(self.root)}
        )

    async def publish_revision(self, publication: Publication) -> httpx.Response:
        """Publish a later revision."""
        body = {"publication": publication.to_json(), "signature": self.registry_signature(publication)}
        return await self.post(self.path("/revisions"), body)

    async def recall(self, number: int = 1) -> httpx.Response:
        """Recall a revision."""
        recall = Recall(self.design_id, number, Digest32(b"\x01" * 32), self.deadline())
        body = {"recall": recall.to_json(), "signature": self.registry_signature(recall)}
        return await self.post(self.path(f"/revisions/{number}/recall"), body)

    async def accept(self, **changes: Any) -> httpx.Response:
        """Ask for the gateway's acceptance of the terms."""
        body = {
            "designId": id_text(self.design_id),
            "revision": 1,
            "terms": self.terms().to_json(),
            "termsDocument": self.document().to_json(),
        }
        return await self.post("/v1/licenses/acceptances", body | changes)

    async def offer_body(self) -> dict[str, Any]:
        """Return the body of an offer, with an acceptance that was asked for."""
        answer = await self.accept()
        assert answer.status_code == 200, answer.text
        offer = Offer(self.terms(), on_sale=False, deadline=self.deadline())
        Acceptance.from_json(answer.json()["acceptance"])
        return {
            "terms": self.terms().to_json(),
            "onSale": False,
            "deadline": offer.deadline,
            "signature": self.license_signature(offer),
            "acceptance": answer.json()["acceptance"],
            "acceptanceSignature": answer.json()["signature"],
            "termsDocument": self.document().to_json(),
        }

    async def offer(self, **changes: Any) -> httpx.Response:
        """Offer the licence."""
        return await self.post("/v1/licenses", await self.offer_body() | changes)

    async def mint(self, to: Address, prints: int = 10, nonce: int = 1) -> httpx.Response:
        """Mint prints to an account."""
        mint = Mint(self.account.address, self.license_id, to, prints, nonce, self.deadline())
        body = {"mint": mint.to_json(), "signature": self.license_signature(mint)}
        return await self.post(f"/v1/licenses/{id_text(self.license_id)}/mints", body)

    # --- longer ways ------------------------------------------------------------------------------------

    async def registered(self) -> "Designer":
        """Bring the design on chain, final."""
        await self.upload()
        _ok(await self.register())
        await self.gateway.chain.mine()
        return self

    async def deposited(self) -> "Designer":
        """Bring the design so far that its key is deposited."""
        await self.registered()
        _ok(await self.publish_manifest())
        _ok(await self.deposit())
        return self

    async def licensed(self, holder: Address | None = None, prints: int = 10) -> "Designer":
        """Offer a licence and mint prints to `holder`."""
        await self.deposited()
        _ok(await self.offer())
        await self.gateway.chain.mine()
        if holder is not None:
            _ok(await self.mint(holder, prints))
            await self.gateway.chain.mine()
        return self


def _ok(answer: httpx.Response) -> None:
    assert answer.is_success, answer.text
