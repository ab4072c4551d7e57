"""What the chain says of the sample documents, and a log with their entries; tests change what they need."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from platemark.protocol import canonical
from platemark.protocol.checkpoint import Checkpoint, NoteSigner, sign_checkpoint
from platemark.protocol.cid import Block, raw_block
from platemark.protocol.digests import sha256
from platemark.protocol.log_entry import ClosedEntry, CloseReason, OutcomeEntry, RedeemedEntry, Result, leaf_hash
from platemark.protocol.manifest import Manifest
from platemark.protocol.passport import Anchor, LoggedEntry, Passport
from platemark.protocol.tiles import Edge, Growth, grow
from platemark.protocol.units import Digest32, UnixSeconds, digest_text
from platemark.verify.facts import (
    AnchorFact,
    BlockFact,
    ChainFacts,
    Contracts,
    DeclarationFact,
    DesignFact,
    GatewayFact,
    LicenseFact,
    ReservationFact,
    RevisionFact,
)
from sample_documents import (
    AGENT,
    CHAIN_ID,
    CONTENT_SALT,
    DESIGN_ID,
    DESIGNER,
    GATEWAY,
    HOLDER,
    LEDGER,
    LEDGER_DOMAIN,
    LICENSE,
    LICENSE_ID,
    LOG_KEY,
    MANIFEST,
    NOW,
    OUTCOME_ENTRY,
    PACKAGE,
    PASSPORT,
    PROFILE,
    REDEEMED,
    REGISTRATION,
    REGISTRY,
    RELEASE,
    RELEASE_KEY,
    RESERVATION,
    TERMS,
    TOKEN_ID,
    word,
)

CONTRACTS: Final = Contracts(CHAIN_ID, REGISTRY, LICENSE, LEDGER)


def block(number: int) -> BlockFact:
    """Return the sample chain's block of a number."""
    return BlockFact(number, word(f"block {number}"), UnixSeconds(NOW + number))


def block_hash(number: int) -> Digest32 | None:
    """Return the hash of a block of the sample chain, which has blocks 0 to 30."""
    return block(number).hash if 0 <= number <= 30 else None


REVISION: Final = RevisionFact(
    revision=1,
    commitment=REGISTRATION.commitment,
    manifest_digest=REGISTRATION.manifest_digest,
    block=block(3),
    files_root=PACKAGE.files_root,
    salt=Digest32(CONTENT_SALT),
)
DESIGN: Final = DesignFact(DESIGN_ID, REGISTRATION, DESIGNER.address, {1: REVISION}, REGISTRATION.edition)
LICENSE_FACT: Final = LicenseFact(
    license_id=LICENSE_ID,
    terms=TERMS,
    accepted={1: (MANIFEST.key_commitment,)},
    minted=10,
    sold=5,
    minted_in_storage=15,
    block=block(5),
    balances={RESERVATION.holder: 5},
    escrowed=10,
    paid=5 * TERMS.price,
    credited=5 * TERMS.price,
)
RESERVATION_FACT: Final = ReservationFact(
    token_id=TOKEN_ID,
    permission=RESERVATION,
    spares=TERMS.spares(RESERVATION.prints),
    block=block(7),
    agent_in_storage=AGENT.address,
    prints_in_storage=RESERVATION.prints,
    burned=0,
    voided=0,
    settled_sequence=0,
)


def redeemed(sequence: int, **changes: Any) -> RedeemedEntry:
    """Return the entry of a redemption, signed by the sample agent after `changes`."""
    entry = replace(REDEEMED, sequence=sequence, print_id=word(f"print {sequence}")[:16])
    entry = replace(entry, **changes)
    return replace(entry, signature=AGENT.sign(entry.redemption().digest(LEDGER_DOMAIN)))


def ended(sequence: int, result: Result = Result.COMPLETED, *, spare_used: bool = False) -> OutcomeEntry:
    """Return the entry of an outcome, signed by the sample agent."""
    entry = replace(OUTCOME_ENTRY, sequence=sequence, result=result, spare_used=spare_used)
    return replace(entry, signature=AGENT.sign(entry.outcome().digest(LEDGER_DOMAIN)))


def closed(released: int, voided: int) -> ClosedEntry:
    """Return the entry of a closing."""
    return ClosedEntry(TOKEN_ID, released, voided, CloseReason.AGREED)


class SampleLog:
    """A print log in memory: files, checkpoint, and the listing block of one anchor of all its entries."""

    def __init__(self, entries: Iterable[bytes]) -> None:
        self.growth: Growth = grow(Edge.empty(), list(entries))
        self.files: dict[str, bytes] = dict(self.growth.files)
        self.checkpoint = sign_checkpoint(
            Checkpoint(PROFILE.log_origin, self.growth.edge.size, self.growth.root),
            NoteSigner.from_seed(PROFILE.log_origin, LOG_KEY.secret()),
        )
        self.listing: Block = listing(self.files, self.growth.edge.size, self.growth.root)

    def get(self, path: str) -> bytes | None:
        """Return a file of the log."""
        return self.files.get(path)

    def anchor(self) -> AnchorFact:
        """Return the anchor of the whole log."""
        root, tiles_digest = self.growth.root, self.listing.cid.digest
        size = self.growth.edge.size
        stored = sha256(root, tiles_digest)
        return AnchorFact(1, size, root, tiles_digest, stored, block(21), word("transaction"))


def listing(files: Mapping[str, bytes], size: int, root: Digest32, *, origin: str = PROFILE.log_origin) -> Block:
    """Return the block that lists tiles."""
    tiles = [{"path": path, "sha256": digest_text(sha256(data))} for path, data in sorted(files.items())]
    fields: dict[str, canonical.JsonValue] = {
        "version": 1,
        "origin": origin,
        "size": size,
        "root": digest_text(root),
        "tiles": tiles,
    }
    return raw_block(canonical.encode(fields))


LOG: Final = SampleLog([REDEEMED.to_bytes(), OUTCOME_ENTRY.to_bytes()])
GATEWAY_FACT: Final = GatewayFact(GATEWAY.address, (DeclarationFact(1, PROFILE.digest(), block(1)),), (LOG.anchor(),))
FACTS: Final = ChainFacts(
    contracts=CONTRACTS,
    final=block(30),
    designs={DESIGN_ID: DESIGN},
    licenses={LICENSE_ID: LICENSE_FACT},
    reservations={TOKEN_ID: RESERVATION_FACT},
    gateways={GATEWAY.address: GATEWAY_FACT},
)


def anchored(passport: Passport = PASSPORT) -> Passport:
    """Return the sample passport under the anchor of the sample log."""
    anchor = LOG.anchor()
    return replace(
        passport,
        chain_proof=None,
        anchor=Anchor(
            gateway=GATEWAY.address,
            epoch=1,
            size=anchor.size,
            root=anchor.root,
            tiles_digest=anchor.tiles_digest,
            block_number=anchor.block.number,
            block_hash=anchor.block.hash,
            transaction=word("transaction"),
        ),
    )


def of_second_revision(manifest: Manifest) -> Passport:
    """Return a print of a second revision, permitted and released for it, that is not anchored yet."""
    permission = replace(RESERVATION, revision=2)
    token_id = permission.token_id(LEDGER_DOMAIN)
    entry = redeemed(1, token_id=token_id)
    release = replace(
        RELEASE,
        token_id=token_id,
        print_id=entry.print_id,
        leaf_hash=leaf_hash(entry),
        manifest_digest=manifest.digest(),
    )
    return replace(
        anchored(),
        revision=2,
        manifest=manifest,
        permission=permission,
        permission_signature=HOLDER.sign(permission.digest(LEDGER_DOMAIN)),
        redeemed=LoggedEntry(entry.to_bytes(), 0, ()),
        release=release.sign(RELEASE_KEY),
        outcome=None,
        receipt=None,
        anchor=None,
    )


Blocks = Callable[[Any], bytes]
