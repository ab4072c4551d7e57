"""An honest gateway, chain and IPFS in memory, and ways to make them dishonest or fail."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import sample_documents as sample
from platemark.agent.registered import RegisteredRevision
from platemark.agent.spool import TokenRecord
from platemark.errors import Kind, UpstreamError, VerificationError
from platemark.geometry.mesh import check_mesh, read_mesh
from platemark.protocol import canonical, log_entry
from platemark.protocol.byte_text import parse_base64url, parse_signature
from platemark.protocol.cid import Cid, unixfs_blocks
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.digests import sha256
from platemark.protocol.license_terms import Protection
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry
from platemark.protocol.manifest import Constraints, Manifest, ManifestFile, Part, Process, named_hash
from platemark.protocol.merkle import files_root
from platemark.protocol.outcome import Promise, SignedOutcome
from platemark.protocol.permission import AgentSeed
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import Envelope, Receipt
from platemark.protocol.release import Release, seal_package
from platemark.protocol.sealed_file import seal
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.typed_data import Outcome, Registration, Reservation, Terms
from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, TokenId, UnixSeconds
from platemark.protocol.voucher import SignedRequest
from platemark.sdk.answers import LicenseState, OutcomeAnswer, PrintAnswer
from platemark.sdk.chain import BlockFacts
from platemark.sdk.transport import ServerProblemError
from platemark.verify.facts import BlockFact, DeclarationFact, GatewayFact

Nothing = Callable[[], None]


@dataclass
class FixedClock:
    seconds: int = sample.NOW

    def now(self) -> UnixSeconds:
        return UnixSeconds(self.seconds)


@dataclass
class Blocks:
    """IPFS; `damage` changes a byte of a block, `lost` lacks it."""

    blocks: dict[Cid, bytes] = field(default_factory=dict)
    asked: list[Cid] = field(default_factory=list)

    def get(self, cid: Cid) -> bytes:
        self.asked.append(cid)
        if cid not in self.blocks:
            raise UpstreamError("nobody has the block", code="block-unavailable")
        return self.blocks[cid]

    def damage(self, cid: Cid) -> None:
        data = bytearray(self.blocks[cid])
        data[len(data) // 2] ^= 1
        self.blocks[cid] = bytes(data)


@dataclass
class World:
    """A design on sale, a reservation, its token, and a gateway that counts."""

    manifest: Manifest
    registration: Registration
    package: KeyPackage
    terms: Terms
    record: TokenRecord
    seed: AgentSeed
    blocks: Blocks
    plaintexts: Sequence[bytes]
    requests: list[SignedRequest] = field(default_factory=list)
    answers: list[PrintAnswer] = field(default_factory=list)
    outcomes: dict[int, OutcomeAnswer] = field(default_factory=dict)
    reports: dict[int, bytes] = field(default_factory=dict)
    recalled: Digest32 | None = None
    """The reason's digest, where the design's owner recalled the revision."""
    sent: list[bytes] = field(default_factory=list)
    permitted: list[tuple[Reservation, bytes]] = field(default_factory=list)
    before_count: Nothing = lambda: None
    after_count: Nothing = lambda: None
    change_release: Callable[[Release], Release] = lambda release: release
    change_package: Callable[[KeyPackage], KeyPackage] = lambda package: package
    change_promise: Callable[[Promise], Promise] = lambda promise: promise
    declared: Sequence[tuple[GatewayProfile, int]] = ((sample.PROFILE, 1),)
    """What the gateway declared, and in which block."""

    @property
    def released(self) -> int:
        return len(self.answers)

    # --- the gateway

    def license(self, license_id: LicenseId) -> LicenseState:
        design_id = DesignId(int.from_bytes(self.registration.digest(sample.REGISTRY_DOMAIN), "big"))
        gateway = self.terms.gateway
        return LicenseState(license_id, design_id, gateway, 1, self.terms, 10, False, "final", None, None)

    def reserve(self, reservation: Reservation, signature: bytes) -> None:
        self.permitted.append((reservation, signature))

    def redeem(self, request: bytes) -> PrintAnswer:
        self.sent.append(request)
        signed, public = SignedRequest.from_body(canonical.parse(request))
        signed.verify(self.record.reservation.agent, self.record.domain)
        self.before_count()
        sequence = signed.request.sequence
        if sequence <= self.released:
            if self.requests[sequence - 1] != signed:
                raise self._expected()
            return self.answers[sequence - 1]
        if sequence != self.released + 1:
            raise self._expected()
        token = self.record.token()
        if self.released - self._voided() >= token.prints or self.released >= token.prints + token.spares:
            raise ServerProblemError("spent", kind=Kind.CONFLICT, code="count-spent", hint=None, details={})
        self.requests.append(signed)
        self.answers.append(self._release(signed, public))
        self.after_count()
        return self.answers[-1]

    def _voided(self) -> int:
        return sum(answer.spare_used for answer in self.outcomes.values())

    def _expected(self) -> ServerProblemError:
        return ServerProblemError(
            "another sequence",
            kind=Kind.CONFLICT,
            code="sequence-expected",
            hint=None,
            details={"expected": self.released + 1},
        )

    def _release(self, signed: SignedRequest, public: bytes) -> PrintAnswer:
        wanted = signed.request
        entry = RedeemedEntry(
            wanted.token_id,
            wanted.sequence,
            wanted.token_digest,
            wanted.print_id,
            wanted.recipient_digest,
            wanted.seen_block,
            wanted.seen_hash,
            wanted.detail,
            signed.signature,
        )
        release = Release(
            origin=sample.PROFILE.log_origin,
            leaf_hash=log_entry.leaf_hash(entry),
            token_id=wanted.token_id,
            sequence=wanted.sequence,
            print_id=wanted.print_id,
            key_commitment=self.manifest.key_commitment,
            manifest_digest=self.manifest.digest(),
            merge_by=UnixSeconds(sample.NOW + 3600),
            profile_digest=sample.PROFILE.digest(),
        )
        text = self.change_release(release).sign(sample.RELEASE_KEY)
        return PrintAnswer(text, seal_package(self.change_package(self.package), text, public), wanted.sequence, 0, 0)

    def outcome(self, token_id: TokenId, sequence: int, report: bytes) -> OutcomeAnswer:
        if sequence in self.outcomes:
            if self.reports[sequence] != report:
                raise ServerProblemError("final", kind=Kind.CONFLICT, code="outcome-final", hint=None, details={})
            return self.outcomes[sequence]
        found = canonical.object_of(
            canonical.parse(report),
            fields=frozenset({"outcome", "signature", "statement", "salt", "envelopeSignature"}),
        )
        signed = SignedOutcome(Outcome.from_json(found["outcome"]), parse_signature(found["signature"]))
        agent = self.record.reservation.agent
        signed.verify(agent, self.record.domain)
        statement = parse_base64url(found["statement"], max_bytes=1 << 20)
        salt = parse_base64url(found["salt"], max_bytes=32)
        receipt = Receipt.parse(statement)
        assert receipt.digest(salt) == signed.outcome.receipt_digest
        assert (receipt.token_id, receipt.sequence) == (token_id, sequence)
        envelope = Envelope(statement, agent, parse_signature(found["envelopeSignature"]))
        envelope.verify_agent(agent)
        self.before_count()
        spare = signed.outcome.result != 1 and self._voided() < self.record.token().spares
        entry = OutcomeEntry(
            token_id, sequence, signed.result(), spare, signed.outcome.receipt_digest, signed.signature
        )
        promise = Promise(
            origin=sample.PROFILE.log_origin,
            leaf_hash=log_entry.leaf_hash(entry),
            token_id=token_id,
            sequence=sequence,
            result=signed.result(),
            spare_used=spare,
            merge_by=UnixSeconds(sample.NOW + 7200),
            profile_digest=sample.PROFILE.digest(),
        )
        receipt_json = envelope.countersign(sample.RELEASE_KEY).to_json()
        text = self.change_promise(promise).sign(sample.RELEASE_KEY)
        self.reports[sequence] = report
        self.outcomes[sequence] = OutcomeAnswer(text, receipt_json, spare, 0, 0)
        self.after_count()
        return self.outcomes[sequence]

    # --- the chain

    def final_block(self) -> BlockFacts:
        return BlockFacts(17, sample.word("block 17"), UnixSeconds(sample.NOW - 60))

    def revision(self, design_id: DesignId, revision: int) -> RegisteredRevision:
        found = self.registration
        assert int.from_bytes(found.digest(sample.REGISTRY_DOMAIN), "big") == design_id
        if self.recalled is not None:
            raise VerificationError("no longer", step="revision", code="revision-recalled", expected="", found="")
        return RegisteredRevision(found.registrant, found.commitment, found.manifest_digest)

    def recall_reason(self, design_id: DesignId, revision: int) -> Digest32 | None:
        token = self.record.token()
        return self.recalled if (token.design_id, token.revision) == (design_id, revision) else None

    def gateway(self, profile: GatewayProfile) -> GatewayFact:
        return gateway_fact(profile.gateway, self.declared)


def gateway_fact(gateway: Address, declared: Sequence[tuple[GatewayProfile | None, int]]) -> GatewayFact:
    """Return what a gateway declared in these blocks; None withdraws."""
    facts = (
        DeclarationFact(
            profile.epoch if profile else 1,
            profile.digest() if profile else Digest32(bytes(32)),
            BlockFact(number, sample.word(f"block {number}"), UnixSeconds(number)),
        )
        for profile, number in declared
    )
    return GatewayFact(gateway, tuple(facts), anchors=())


def make_world(
    files: Sequence[tuple[str, bytes]],
    *,
    quantities: Sequence[int] = (1,),
    turns: Sequence[tuple[int, int, int]] = ((0, 0, 0), (0, 0, 0)),
    private: bool = False,
    protection: Protection = Protection.STREAM,
    materials: Sequence[str] = (),
    prints: int = 3,
    spares: int = 1,
    constraints: Constraints | None = None,
    attachments: Sequence[tuple[str, bytes]] = (),
) -> World:
    """Return a world in which `files` (name, mesh) are on sale; attachments are files that are no parts."""
    blocks = Blocks()
    everything = [*files, *attachments]
    package = KeyPackage(
        sample.CONTENT_KEY, sample.CONTENT_SALT, files_root([sha256(plain) for _, plain in everything])
    )
    listed: list[ManifestFile] = []
    for index, (name, plain) in enumerate(everything):
        sealed = b"".join(seal(package.key.file_key(index), [plain], random_bytes=secrets.token_bytes))
        cid: Cid | None = None
        for block in unixfs_blocks([sealed]):
            blocks.blocks[block.cid] = block.data
            cid = block.cid
        assert cid is not None
        hashed = named_hash(sha256(plain), private=private, salt=package.salt)
        kind = "model/stl" if index < len(files) else "text/plain"
        listed.append(ManifestFile(index, name, kind, len(plain), hashed, cid, len(sealed), sha256(sealed)))
    parts = tuple(_part(index, name, plain, quantities, turns) for index, (name, plain) in enumerate(files))
    manifest = Manifest(
        title="Angle bracket",
        registrant=sample.DESIGNER.address,
        private=private,
        files=tuple(listed),
        key_commitment=package.key.commitment(),
        parts=parts,
        constraints=constraints or Constraints(Process.FDM),
    )
    blocks.blocks[manifest.cid()] = manifest.encode()
    registration = replace(
        sample.REGISTRATION,
        commitment=package.commitment(sample.DESIGNER.address),
        manifest_digest=manifest.digest(),
        is_private=private,
    )
    design_id = DesignId(int.from_bytes(registration.digest(sample.REGISTRY_DOMAIN), "big"))
    document = TermsDocument(
        title="Three prints",
        design_id=design_id,
        gateway=sample.GATEWAY.address,
        protection=protection,
        materials=tuple(materials),
        cap=100,
        spares_flat=spares,
        smallest_reservation=2,
    )
    blocks.blocks[document.cid()] = document.encode()
    terms = document.terms(sample.word("terms salt"))
    reservation = replace(sample.RESERVATION, license_id=terms.license_id(sample.LICENSE_DOMAIN), prints=prints)
    token = replace(
        sample.TOKEN,
        token_id=reservation.token_id(sample.LEDGER_DOMAIN),
        license_id=reservation.license_id,
        design_id=design_id,
        manifest=manifest.cid(),
        prints=prints,
        spares=spares,
    )
    holder_signature = sample.HOLDER.sign(reservation.digest(sample.LEDGER_DOMAIN))
    record = TokenRecord(reservation, holder_signature, token.sign(sample.RELEASE_KEY), sample.PROFILE)
    plaintexts = [plain for _, plain in everything]
    return World(manifest, registration, package, terms, record, sample.AGENT_SEED, blocks, plaintexts)


def _part(
    index: int, name: str, plain: bytes, quantities: Sequence[int], turns: Sequence[tuple[int, int, int]]
) -> Part:
    facts = check_mesh(read_mesh(plain, name=name))
    return Part(
        name=name.rpartition(".")[0],
        file=index,
        quantity=quantities[index],
        orientation=turns[index],
        bounding_box_mm=facts.size_mm,
        volume_mm3=facts.volume_mm3,
    )
