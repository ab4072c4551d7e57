"""One print's documents from registration to passport, the same on every run; tests change what they need."""

from decimal import Decimal
from typing import Final

from platemark.protocol import log_entry
from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import raw_cid
from platemark.protocol.content_key import ContentKey, KeyPackage
from platemark.protocol.digests import sha256, token_digest
from platemark.protocol.jws import SigningKey
from platemark.protocol.license_terms import Protection
from platemark.protocol.log_entry import OutcomeEntry, RedeemedEntry
from platemark.protocol.manifest import Constraints, Estimate, Manifest, ManifestFile, Part, Process
from platemark.protocol.merkle import files_root, leaf_hash, node_hash
from platemark.protocol.outcome import Promise, Result, SignedOutcome, sign_outcome
from platemark.protocol.passport import (
    AccountProof,
    Anchor,
    ChainProof,
    Content,
    Detail,
    LoggedEntry,
    Passport,
    ReceiptPart,
    Responsible,
    SlotProof,
)
from platemark.protocol.permission import AgentSeed
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.receipt import (
    Attempt,
    Material,
    ObjectOutcome,
    Printer,
    Quantities,
    Quantity,
    Receipt,
    Source,
    sign_receipt,
)
from platemark.protocol.release import Release
from platemark.protocol.sealed_file import sealed_bytes
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.token import PrintToken
from platemark.protocol.typed_data import Registration, Reservation, ledger_domain, license_domain, registry_domain
from platemark.protocol.units import Address, DesignId, Digest32, UnixSeconds, Wei, address_text
from platemark.protocol.voucher import IntendedPrint, RedemptionRequest, SignedRequest

CHAIN_ID: Final = 31_337
NOW: Final = UnixSeconds(1_790_000_000)


def word(name: str) -> Digest32:
    """Return 32 bytes that stand for `name`."""
    return sha256(b"platemark sample: ", name.encode())


def contract(name: str) -> Address:
    """Return an address that stands for `name`."""
    return Address(word(name)[:20])


REGISTRY: Final = contract("registry")
LICENSE: Final = contract("license")
LEDGER: Final = contract("ledger")
REGISTRY_DOMAIN: Final = registry_domain(CHAIN_ID, REGISTRY)
LICENSE_DOMAIN: Final = license_domain(CHAIN_ID, LICENSE)
LEDGER_DOMAIN: Final = ledger_domain(CHAIN_ID, LEDGER)

DESIGNER: Final = AccountKey(word("designer"))
HOLDER: Final = AccountKey(word("holder"))
GATEWAY: Final = AccountKey(word("gateway"))
LOG_KEY: Final = SigningKey(word("log key"))
RELEASE_KEY: Final = SigningKey(word("release key"))
DEPOSIT_KEY: Final = RecipientKey(word("deposit key"))
AGENT_SEED: Final = AgentSeed(word("agent seed"))

CONTENT_SALT: Final = word("content salt")
RECEIPT_SALT: Final = word("receipt salt")
DETAIL_SALT: Final = word("detail salt")
PERMISSION_SALT: Final = word("permission salt")

PLAINTEXTS: Final = (b"solid body", b"solid lid")
CIPHERTEXTS: Final = tuple(word(f"sealed {index}") * 10 for index in range(2))
CONTENT_KEY: Final = ContentKey(word("content key"))
PACKAGE: Final = KeyPackage(CONTENT_KEY, CONTENT_SALT, files_root([sha256(plain) for plain in PLAINTEXTS]))

FILES: Final = tuple(
    ManifestFile(
        index=index,
        name=name,
        media_type="model/stl",
        size_bytes=len(PLAINTEXTS[index]),
        sha256=sha256(PLAINTEXTS[index]),
        sealed_cid=raw_cid(CIPHERTEXTS[index]),
        sealed_bytes=sealed_bytes(len(PLAINTEXTS[index])),
        sealed_sha256=sha256(CIPHERTEXTS[index]),
    )
    for index, name in enumerate(("body.stl", "lid.stl"))
)
PARTS: Final = (
    Part(
        name="body",
        file=0,
        quantity=1,
        orientation=(0, 0, 90),
        bounding_box_mm=(Decimal(60), Decimal(40), Decimal("35.5")),
        volume_mm3=Decimal("21715.7"),
    ),
    Part(
        name="lid",
        file=1,
        quantity=2,
        orientation=(180, 0, 0),
        bounding_box_mm=(Decimal(60), Decimal(40), Decimal(2)),
        volume_mm3=Decimal(4800),
    ),
)
MANIFEST: Final = Manifest(
    title="Box with two lids",
    registrant=DESIGNER.address,
    private=False,
    files=FILES,
    key_commitment=CONTENT_KEY.commitment(),
    parts=PARTS,
    constraints=Constraints(
        process=Process.FDM,
        materials=("PLA", "PETG"),
        infill_percent=Decimal(15),
        resolution_mm=Decimal("0.2"),
        supports=False,
        nozzle_mm=Decimal("0.4"),
    ),
    estimates=(Estimate("prusa-slicer", "2.5.0", word("slicer profile"), Decimal("12.38"), Decimal("73.4")),),
    previews=(raw_cid(b"a picture"),),
    warnings=("Not for food.",),
)
REGISTRATION: Final = Registration(
    registrant=DESIGNER.address,
    commitment=PACKAGE.commitment(DESIGNER.address),
    manifest_digest=MANIFEST.digest(),
    is_private=False,
    parent_id=DesignId(0),
    resale_share=500,
    derivative_share=1000,
    edition=0,
)
DESIGN_ID: Final = DesignId(int.from_bytes(REGISTRATION.digest(REGISTRY_DOMAIN), "big"))

PROFILE: Final = GatewayProfile(
    chain_id=CHAIN_ID,
    registry=REGISTRY,
    license=LICENSE,
    ledger=LEDGER,
    gateway=GATEWAY.address,
    url="https://prints.example",
    log_key=LOG_KEY.public_bytes,
    release_key=RELEASE_KEY.public_bytes,
    deposit_key=DEPOSIT_KEY.public_bytes,
    log_origin=f"{CHAIN_ID}/{address_text(LEDGER)}/{address_text(GATEWAY.address)}/1",
    merge_delay_seconds=3600,
)
TERMS_DOCUMENT: Final = TermsDocument(
    title="Box with two lids, 100 prints",
    design_id=DESIGN_ID,
    gateway=GATEWAY.address,
    protection=Protection.STREAM,
    cap=100,
    price=Wei(12_300_000_000_000_000),
    not_before=UnixSeconds(NOW - 86_400),
    not_after=UnixSeconds(NOW + 30 * 86_400),
    spares_flat=1,
    spares_per_hundred=5,
    smallest_reservation=2,
    materials=("PLA", "PETG"),
    commercial=False,
    attribution=True,
    clauses=("The print centre inspects every part.",),
)
TERMS: Final = TERMS_DOCUMENT.terms(word("terms salt"))
LICENSE_ID: Final = TERMS.license_id(LICENSE_DOMAIN)

AGENT: Final = AGENT_SEED.agent_key(CHAIN_ID, LEDGER, PERMISSION_SALT)
RECIPIENT: Final = AGENT_SEED.recipient_key(CHAIN_ID, LEDGER, PERMISSION_SALT)
RESERVATION: Final = Reservation(
    holder=HOLDER.address,
    gateway=GATEWAY.address,
    agent=AGENT.address,
    license_id=LICENSE_ID,
    revision=1,
    prints=10,
    expires_at=UnixSeconds(NOW + 14 * 86_400),
    deadline=UnixSeconds(NOW + 3600),
    salt=PERMISSION_SALT,
)
TOKEN_ID: Final = RESERVATION.token_id(LEDGER_DOMAIN)
TOKEN: Final = PrintToken(
    token_id=TOKEN_ID,
    chain_id=CHAIN_ID,
    ledger=LEDGER,
    license_id=LICENSE_ID,
    design_id=DESIGN_ID,
    revision=1,
    manifest=MANIFEST.cid(),
    agent=AGENT.address,
    recipient_digest=RECIPIENT.digest,
    prints=10,
    spares=TERMS.spares(10),
    not_before=NOW,
    expires_at=RESERVATION.expires_at,
    gateway_url=PROFILE.url,
    profile_digest=PROFILE.digest(),
)
TOKEN_JWS: Final = TOKEN.sign(RELEASE_KEY)

INTENDED: Final = IntendedPrint("bay 4", ("body", "lid"), ("order 2026-118",))
REQUEST: Final = RedemptionRequest(
    token_id=TOKEN_ID,
    sequence=1,
    token_digest=token_digest(TOKEN_JWS),
    print_id=word("print id")[:16],
    recipient_digest=RECIPIENT.digest,
    seen_block=17,
    seen_hash=word("block 17"),
    detail=INTENDED.digest(DETAIL_SALT),
)
SIGNED_REQUEST: Final[SignedRequest] = REQUEST.sign(AGENT, LEDGER_DOMAIN)
REDEEMED: Final = RedeemedEntry(
    token_id=TOKEN_ID,
    sequence=1,
    token_digest=REQUEST.token_digest,
    print_id=REQUEST.print_id,
    recipient_digest=REQUEST.recipient_digest,
    seen_block=REQUEST.seen_block,
    seen_hash=REQUEST.seen_hash,
    detail=REQUEST.detail,
    signature=SIGNED_REQUEST.signature,
)
RELEASE: Final = Release(
    origin=PROFILE.log_origin,
    leaf_hash=log_entry.leaf_hash(REDEEMED),
    token_id=TOKEN_ID,
    sequence=1,
    print_id=REQUEST.print_id,
    key_commitment=MANIFEST.key_commitment,
    manifest_digest=MANIFEST.digest(),
    merge_by=UnixSeconds(NOW + 3600),
    profile_digest=PROFILE.digest(),
)
RELEASE_JWS: Final = RELEASE.sign(RELEASE_KEY)

PRINTER: Final = Printer("bay 4", "Simulated 250", "simulated")
RECEIPT: Final = Receipt(
    design_id=DESIGN_ID,
    revision=1,
    license_id=LICENSE_ID,
    token_id=TOKEN_ID,
    sequence=1,
    result=Result.COMPLETED,
    slicer="prusa-slicer",
    slicer_version="2.5.0",
    profile_sha256=word("slicer profile"),
    attempts=(
        Attempt(PRINTER, word("gcode 1"), NOW, UnixSeconds(NOW + 600), Result.FAILED, "first layer came loose"),
        Attempt(PRINTER, word("gcode 2"), UnixSeconds(NOW + 700), UnixSeconds(NOW + 5000), Result.COMPLETED),
    ),
    objects=(
        ObjectOutcome("body", 0, Result.COMPLETED),
        ObjectOutcome("lid", 0, Result.COMPLETED),
        ObjectOutcome("lid", 1, Result.COMPLETED),
    ),
    quantities=Quantities(
        in_part=Quantity(Decimal("11.9"), Source.SLICER),
        failed=Quantity(Decimal("1.2"), Source.OPERATOR),
        duration=Quantity(Decimal("71.667"), Source.PRINTER),
    ),
    material=Material("PLA", "lot 7", Decimal(40), word("recycling certificate")),
)
ENVELOPE: Final = sign_receipt(RECEIPT, AGENT).countersign(RELEASE_KEY)
OUTCOME: Final[SignedOutcome] = sign_outcome(
    TOKEN_ID, 1, Result.COMPLETED, RECEIPT.digest(RECEIPT_SALT), agent=AGENT, domain=LEDGER_DOMAIN
)
OUTCOME_ENTRY: Final = OutcomeEntry(
    token_id=TOKEN_ID,
    sequence=1,
    result=Result.COMPLETED,
    spare_used=False,
    receipt_digest=OUTCOME.outcome.receipt_digest,
    signature=OUTCOME.signature,
)
PROMISE: Final = Promise(
    origin=PROFILE.log_origin,
    leaf_hash=log_entry.leaf_hash(OUTCOME_ENTRY),
    token_id=TOKEN_ID,
    sequence=1,
    result=Result.COMPLETED,
    spare_used=False,
    merge_by=UnixSeconds(NOW + 9000),
    profile_digest=PROFILE.digest(),
)

_LEAVES: Final = (leaf_hash(REDEEMED.to_bytes()), leaf_hash(OUTCOME_ENTRY.to_bytes()))
ANCHOR: Final = Anchor(
    gateway=GATEWAY.address,
    epoch=1,
    size=2,
    root=node_hash(*_LEAVES),
    tiles_digest=word("tiles"),
    block_number=21,
    block_hash=word("block 21"),
    transaction=word("transaction"),
)
PASSPORT: Final = Passport(
    registration=REGISTRATION,
    revision=1,
    manifest=MANIFEST,
    terms=TERMS,
    profile=PROFILE,
    permission=RESERVATION,
    permission_signature=HOLDER.sign(RESERVATION.digest(LEDGER_DOMAIN)),
    token_digest=REQUEST.token_digest,
    release=RELEASE_JWS,
    sequence=1,
    redeemed=LoggedEntry(REDEEMED.to_bytes(), 0, (_LEAVES[1],)),
    outcome=LoggedEntry(OUTCOME_ENTRY.to_bytes(), 1, (_LEAVES[0],)),
    receipt=ReceiptPart(ENVELOPE, RECEIPT_SALT),
    anchor=ANCHOR,
    chain_proof=ChainProof(
        b"\xf9" + word("header"),
        (AccountProof(LEDGER, (word("node"),), (SlotProof(word("slot"), word("value"), (word("leaf"),)),)),),
    ),
    content=Content(CONTENT_SALT, PACKAGE.files_root),
    detail=Detail(DETAIL_SALT, INTENDED),
    responsible=Responsible("Print centre North", "prints@north.example"),
    material="PLA",
    warnings=("Not for food.",),
)
