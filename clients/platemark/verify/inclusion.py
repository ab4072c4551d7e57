"""Steps 11 and 12: entries are in the log, and the log's roots are on chain and signed."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from platemark.errors import MalformedError
from platemark.protocol import canonical, merkle
from platemark.protocol.checkpoint import Checkpoint, NoteKey, open_checkpoint
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.digests import sha256
from platemark.protocol.log_entry import RedeemedEntry, leaf_hash
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.release import Release
from platemark.protocol.tiles import (
    ENTRIES,
    TILE_WIDTH,
    GetTile,
    LogReader,
    Tile,
    decode_entries,
    encode_entries,
    tiles_between,
)
from platemark.protocol.units import Digest32, address_text, digest_text, parse_digest
from platemark.verify.facts import AnchorFact, Contracts, DeclarationFact, GatewayFact
from platemark.verify.steps import Step, fail, require

GetProfile = Callable[[Digest32], GatewayProfile | None]
"""Returns the profile with this digest (32 bytes), or None where it is not at hand."""

MAX_TILES: Final = 100_000
_LISTING_BYTES: Final = 1 << 21


def check_profile(profile: GatewayProfile, gateway: GatewayFact, contracts: Contracts) -> None:
    """Pass when the gateway declared this very profile on chain, for these contracts and the epoch that it names.

    Errors: VerificationError `profile-undeclared`, `profile-contracts`.
    """
    declared = [found.profile_digest for found in gateway.declarations if found.epoch == profile.epoch]
    digest = profile.digest()
    require(
        digest in declared,
        Step.RELEASE,
        "the gateway never declared this profile",
        code="profile-undeclared",
        expected=" or ".join(map(digest_text, declared)) or "a declaration on chain",
        found=digest_text(digest),
    )
    expected = (contracts.chain_id, contracts.registry, contracts.print_license, contracts.ledger, gateway.gateway)
    found = (profile.chain_id, profile.registry, profile.license, profile.ledger, profile.gateway)
    require(
        expected == found,
        Step.RELEASE,
        "the profile is for other contracts or another gateway",
        code="profile-contracts",
        expected=_contracts_text(expected),
        found=_contracts_text(found),
    )


def declarations_at(gateway: GatewayFact, anchor: AnchorFact | None) -> tuple[DeclarationFact, ...]:
    """Return what was declared in the anchor's block; without an anchor, what is declared now.

    A block in which one declaration gave way to the next belongs to both.
    """
    if anchor is None:
        return gateway.declarations[-1:]
    block = anchor.block.number
    return tuple(found for found in declarations_since(gateway, block) if found.block.number <= block)


def declarations_since(gateway: GatewayFact, block: int) -> tuple[DeclarationFact, ...]:
    """Return what was declared in a block or later: all but what had given way before it, oldest first."""
    replaced = sum(later.block.number < block for later in gateway.declarations[1:])
    return gateway.declarations[replaced:]


def covering_anchor(gateway: GatewayFact, epoch: int, index: int) -> AnchorFact | None:
    """Return the first anchor whose root covers an entry."""
    found = [anchor for anchor in gateway.anchors if anchor.epoch == epoch and anchor.size > index]
    return min(found, key=lambda anchor: anchor.size, default=None)


def check_in_force(
    profile: GatewayProfile,
    gateway: GatewayFact,
    anchor: AnchorFact | None,
    get_profile: GetProfile = lambda _: None,
) -> None:
    """Pass when the profile's release key was declared in the block of the anchor that covers what the key signed.

    Keys are valid between the blocks of their declaration and of their replacement (docs/formats.md). Without an anchor
    the key must be declared now. A profile may have been replaced by one with the same key, a new address for example:
    that holds where `get_profile` has the other.

    Errors: VerificationError `profile-replaced`.
    """
    declared = declarations_at(gateway, anchor)
    digest = profile.digest()
    for found in declared:
        other = profile if found.profile_digest == digest else get_profile(found.profile_digest)
        if other is not None and (other.gateway, other.release_key) == (profile.gateway, profile.release_key):
            return
    when = "now" if anchor is None else f"in block {anchor.block.number}, which anchored the entry"
    fail(
        Step.RELEASE,
        f"the release is under keys that the gateway does not declare {when}: fetch the passport again",
        code="profile-replaced",
        expected=" or ".join(digest_text(found.profile_digest) for found in declared) or "a declaration before",
        found=digest_text(digest),
        hint="with --blocks a later profile is read, which may have kept the key",
    )


def check_checkpoint(data: bytes, profile: GatewayProfile) -> Checkpoint:
    """Return the checkpoint after its signature and its origin were checked.

    Errors: VerificationError `note-signature`, `checkpoint-origin`; MalformedError.
    """
    return open_checkpoint(data, NoteKey(profile.log_origin, profile.log_key))


def check_not_behind(checkpoint: Checkpoint, anchored_size: int) -> None:
    """Pass when the checkpoint covers what was anchored last: otherwise the log is an older or shortened one.

    Errors: VerificationError `checkpoint-behind`.
    """
    require(
        checkpoint.size >= anchored_size,
        Step.ANCHOR,
        f"this copy has {checkpoint.size} of the {anchored_size} entries that the newest anchor covers: "
        "if it is an old copy, get a newer one",
        code="checkpoint-behind",
        expected=f"{anchored_size} entries or more",
        found=checkpoint.size,
    )


def check_anchor(anchor: AnchorFact) -> None:
    """Pass when the ledger's storage holds this root and tiles digest for this epoch and size.

    Errors: VerificationError `anchor-storage`.
    """
    found = sha256(anchor.root, anchor.tiles_digest)
    require(
        anchor.stored == found,
        Step.ANCHOR,
        f"the ledger holds another root for {anchor.size} entries",
        code="anchor-storage",
        expected=digest_text(anchor.stored),
        found=digest_text(found),
    )


def check_anchored_root(anchor: AnchorFact, log: LogReader) -> None:
    """Pass when the log, at the anchor's size, has the anchored root.

    Errors: VerificationError `anchor-root`, or those of the tiles.
    """
    require(
        anchor.size <= log.size,
        Step.ANCHOR,
        "the log is shorter than what was anchored",
        code="anchor-root",
        expected=f"{anchor.size} entries or more",
        found=log.size,
    )
    found = log.old_root(anchor.size)
    require(
        found == anchor.root,
        Step.ANCHOR,
        f"the log's root at {anchor.size} entries is not the one on chain",
        code="anchor-root",
        expected=digest_text(anchor.root),
        found=digest_text(found),
    )


def check_epoch(gateway: GatewayFact, epoch: int) -> None:
    """Pass when the log is of the epoch that its gateway declared last: another would lack what came after it.

    Errors: VerificationError `epoch-behind`.
    """
    newest = max((found.epoch for found in gateway.declarations), default=0)
    require(
        epoch == newest,
        Step.ANCHOR,
        "the gateway keeps another log by now",
        code="epoch-behind",
        expected=f"the log of epoch {newest}",
        found=f"the log of epoch {epoch}",
    )


def check_continued(anchor: AnchorFact, log: LogReader) -> None:
    """Pass when the log begins with the entries that an earlier epoch anchored.

    After a leaked key or a ruined log an operator begins a new epoch with the entries up to the last honest anchor;
    what is said about the others must be said by people, so they fail here.

    Errors: VerificationError `epoch-not-continued`, or those of the tiles.
    """
    found = log.old_root(anchor.size) if anchor.size <= log.size else None
    require(
        found == anchor.root,
        Step.ANCHOR,
        f"the log does not begin with the {anchor.size} entries that epoch {anchor.epoch} anchored",
        code="epoch-not-continued",
        expected=digest_text(anchor.root),
        found=f"only {log.size} entries" if found is None else digest_text(found),
    )


def check_tiles(
    anchor: AnchorFact, previous_size: int, origin: str, get_block: Callable[[Cid], bytes], get_tile: GetTile
) -> int:
    """Return how many tiles an anchor lists, after each of them was had and hashed.

    A partial tile may have given way to the full one; then its part of the full one must be as listed.

    Errors: VerificationError `tiles-listing`, `tile-withheld`, `tile-digest`; MalformedError.
    """
    listing = get_block(block_of(anchor.tiles_digest))
    if sha256(listing) != anchor.tiles_digest:
        fail(
            Step.ANCHOR,
            "the list of tiles is not the one whose digest was anchored",
            code="tiles-listing",
            expected=digest_text(anchor.tiles_digest),
            found=digest_text(sha256(listing)),
        )
    tiles = read_listing(listing, origin=origin, size=anchor.size, root=anchor.root)
    expected = sorted(tile.path for tile in tiles_between(previous_size, anchor.size))
    require(
        sorted(tiles) == expected,
        Step.ANCHOR,
        "the anchor's list does not name exactly the tiles since the anchor before",
        code="tiles-listing",
        expected=f"{len(expected)} tiles",
        found=f"{len(tiles)} tiles, or others",
    )
    for path, digest in tiles.items():
        data = _tile_bytes(path, get_tile)
        if data is None:
            fail(
                Step.ANCHOR,
                f"the tile {path} is withheld",
                code="tile-withheld",
                expected="the tile's bytes",
                found="nothing",
            )
        require(
            sha256(data) == digest,
            Step.ANCHOR,
            f"the tile {path} is not the one that was anchored",
            code="tile-digest",
            expected=digest_text(digest),
            found=digest_text(sha256(data)),
        )
    return len(tiles)


def block_of(digest: Digest32) -> Cid:
    """Return the identifier of the raw block with this SHA-256: a listing of tiles, a profile, a manifest."""
    return Cid(Codec.RAW, digest)


def read_listing(data: bytes, *, origin: str, size: int, root: Digest32) -> Mapping[str, Digest32]:
    """Return the tiles that a listing names, by path.

    Errors: MalformedError for the format, VerificationError `tiles-listing` when it is for another log, size or root.
    """
    fields = frozenset({"version", "origin", "size", "root", "tiles"})
    found = canonical.object_of(canonical.decode(data, max_bytes=_LISTING_BYTES), fields=fields)
    canonical.integer_of(found["version"], low=1, high=1)
    expected = (origin, size, root)
    stated = (
        canonical.text_of(found["origin"]),
        canonical.integer_of(found["size"]),
        parse_digest(found["root"]),
    )
    require(
        stated == expected,
        Step.ANCHOR,
        "the list of tiles is for another log, size or root",
        code="tiles-listing",
        expected=f"{origin}, {size} entries",
        found=f"{stated[0]}, {stated[1]} entries",
    )
    tiles: dict[str, Digest32] = {}
    for item in canonical.list_of(found["tiles"], max_items=MAX_TILES):
        tile = canonical.object_of(item, fields=frozenset({"path", "sha256"}))
        path = Tile.parse(canonical.text_of(tile["path"])).path
        if path in tiles:
            raise MalformedError(f"the tile {path} is listed twice", code="tiles-listing")
        tiles[path] = parse_digest(tile["sha256"])
    return tiles


def check_release(release: Release, entry: RedeemedEntry, profile: GatewayProfile) -> None:
    """Pass when the release is for exactly this entry of this gateway's log (step 10).

    Errors: VerificationError `release-mismatch`, `release-origin`.
    """
    leaf = leaf_hash(entry)
    require(
        release.leaf_hash == leaf,
        Step.RELEASE,
        "the release is for another entry",
        code="release-mismatch",
        expected=digest_text(leaf),
        found=digest_text(release.leaf_hash),
    )
    require(
        release.origin == profile.log_origin and release.profile_digest == profile.digest(),
        Step.RELEASE,
        "the release is of another log or profile",
        code="release-origin",
        expected=profile.log_origin,
        found=release.origin,
    )


def check_inclusion(leaf: Digest32, index: int, size: int, proof: Sequence[Digest32], anchor: AnchorFact) -> None:
    """Pass when the leaf stands at `index` under the anchored root (step 11).

    Errors: VerificationError `merkle-proof`; `anchor-root` when the proof is for another size than the anchor's.
    """
    require(
        size == anchor.size,
        Step.INCLUSION,
        "the proof is for another size than the anchor",
        code="anchor-root",
        expected=anchor.size,
        found=size,
    )
    merkle.verify_inclusion(leaf, index, size, proof, anchor.root)


def _tile_bytes(path: str, get_tile: GetTile) -> bytes | None:
    """Return a tile's bytes, cut from the full tile where the partial one is gone."""
    data = get_tile(path)
    if data is not None:
        return data
    tile = Tile.parse(path)
    full = get_tile(Tile(tile.level, tile.number).path)
    if full is None:
        return None
    if tile.level == ENTRIES:
        return encode_entries(decode_entries(full, TILE_WIDTH)[: tile.width])
    return full[: 32 * tile.width]


def _contracts_text(values: tuple[int, bytes, bytes, bytes, bytes]) -> str:
    chain, *addresses = values
    return f"chain {chain}: " + ", ".join(map(address_text, addresses))
