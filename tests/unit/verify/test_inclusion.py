"""Roots, tiles, checkpoints, profiles and releases: each check fails when its evidence is altered."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from platemark.errors import MalformedError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.checkpoint import Checkpoint, NoteSigner, sign_checkpoint
from platemark.protocol.cid import Block, Cid, raw_block
from platemark.protocol.digests import sha256
from platemark.protocol.jws import SigningKey
from platemark.protocol.log_entry import leaf_hash
from platemark.protocol.merkle import leaf_hash as data_leaf
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.tiles import LogReader
from platemark.verify.facts import AnchorFact, DeclarationFact, GatewayFact
from platemark.verify.inclusion import (
    check_anchor,
    check_anchored_root,
    check_checkpoint,
    check_continued,
    check_epoch,
    check_in_force,
    check_inclusion,
    check_not_behind,
    check_profile,
    check_release,
    check_tiles,
    covering_anchor,
    read_listing,
)
from sample_chain import CONTRACTS, GATEWAY_FACT, LOG, SampleLog, block, listing, redeemed
from sample_documents import LOG_KEY, OUTCOME_ENTRY, PROFILE, REDEEMED, RELEASE, contract, word

ANCHOR = LOG.anchor()
ORIGIN = PROFILE.log_origin


def blocks(*found: Block) -> Callable[[Cid], bytes]:
    return {block.cid: block.data for block in found}.__getitem__


def anchor_of(block: Block, anchor: AnchorFact = ANCHOR) -> AnchorFact:
    digest = block.cid.digest
    return replace(anchor, tiles_digest=digest, stored=sha256(anchor.root, digest))


def code_of(check: Callable[[], Any]) -> str:
    with pytest.raises((VerificationError, MalformedError)) as raised:
        check()
    return raised.value.code


def test_declared_profile_holds() -> None:
    check_profile(PROFILE, GATEWAY_FACT, CONTRACTS)


def test_profile_that_was_never_declared_fails() -> None:
    other = replace(PROFILE, url="https://other.example")
    assert code_of(lambda: check_profile(other, GATEWAY_FACT, CONTRACTS)) == "profile-undeclared"
    nobody = replace(GATEWAY_FACT, declarations=())
    assert code_of(lambda: check_profile(PROFILE, nobody, CONTRACTS)) == "profile-undeclared"


def test_profile_for_other_contracts_fails() -> None:
    other = replace(CONTRACTS, registry=contract("another registry"))
    assert code_of(lambda: check_profile(PROFILE, GATEWAY_FACT, other)) == "profile-contracts"


def declared(*profiles: tuple[GatewayProfile | None, int]) -> GatewayFact:
    """Return a gateway that declared these profiles in these blocks; None is one that nobody has."""
    facts = [DeclarationFact(1, word("?") if one is None else one.digest(), block(at)) for one, at in profiles]
    return replace(GATEWAY_FACT, declarations=tuple(facts))


def anchored_in(number: int) -> AnchorFact:
    return replace(ANCHOR, block=block(number))


def test_profile_that_was_declared_for_another_epoch_fails() -> None:
    other = replace(GATEWAY_FACT, declarations=(DeclarationFact(2, PROFILE.digest(), block(1)),))
    assert code_of(lambda: check_profile(PROFILE, other, CONTRACTS)) == "profile-undeclared"


MOVED = replace(PROFILE, url="https://moved.example")
REKEYED = replace(PROFILE, release_key=SigningKey(word("another release key")).public_bytes)


@pytest.mark.parametrize("number", [10, 15, 20])
def test_key_is_in_force_from_its_declaration_to_its_replacement(number: int) -> None:
    check_in_force(PROFILE, declared((None, 1), (PROFILE, 10), (None, 20)), anchored_in(number))


@pytest.mark.parametrize("number", [9, 21])
def test_key_is_not_in_force_before_its_declaration_nor_after_its_replacement(number: int) -> None:
    gateway = declared((None, 1), (PROFILE, 10), (None, 20))
    assert code_of(lambda: check_in_force(PROFILE, gateway, anchored_in(number))) == "profile-replaced"
    assert code_of(lambda: check_in_force(PROFILE, declared(), anchored_in(number))) == "profile-replaced"


def test_without_an_anchor_only_the_present_keys_are_in_force() -> None:
    check_in_force(PROFILE, declared((None, 1), (PROFILE, 10)), None)
    gateway = declared((PROFILE, 10), (None, 20))
    assert code_of(lambda: check_in_force(PROFILE, gateway, None)) == "profile-replaced"


def test_replacement_that_kept_the_key_is_no_replacement_of_the_key() -> None:
    at_hand = {one.digest(): one for one in (MOVED, REKEYED)}.get
    check_in_force(PROFILE, declared((PROFILE, 1), (MOVED, 10)), anchored_in(15), at_hand)
    gateway = declared((PROFILE, 1), (REKEYED, 10))
    assert code_of(lambda: check_in_force(PROFILE, gateway, anchored_in(15), at_hand)) == "profile-replaced"


def test_first_anchor_that_covers_an_entry_is_found() -> None:
    first, second = replace(ANCHOR, size=1), ANCHOR
    gateway = replace(GATEWAY_FACT, anchors=(second, first))
    assert covering_anchor(gateway, 1, 0) == first
    assert covering_anchor(gateway, 1, 1) == second
    assert covering_anchor(gateway, 1, 2) is None
    assert covering_anchor(gateway, 2, 0) is None


def test_checkpoint_of_the_log_holds() -> None:
    assert check_checkpoint(LOG.checkpoint, PROFILE).size == 2


def test_checkpoint_behind_the_last_anchor_fails() -> None:
    checkpoint = check_checkpoint(LOG.checkpoint, PROFILE)
    check_not_behind(checkpoint, 2)
    assert code_of(lambda: check_not_behind(checkpoint, 3)) == "checkpoint-behind"


def test_checkpoint_of_another_key_fails() -> None:
    signer = NoteSigner.from_seed(ORIGIN, word("another key"))
    forged = sign_checkpoint(Checkpoint(ORIGIN, 2, LOG.growth.root), signer)
    assert code_of(lambda: check_checkpoint(forged, PROFILE)) == "note-signature"


def test_checkpoint_of_another_log_fails() -> None:
    other = ORIGIN[:-1] + "2"
    forged = sign_checkpoint(Checkpoint(other, 2, LOG.growth.root), NoteSigner.from_seed(other, LOG_KEY.secret()))
    assert code_of(lambda: check_checkpoint(forged, PROFILE)) in {"note-signature", "checkpoint-origin"}


def test_anchor_in_storage_holds_and_an_altered_one_fails() -> None:
    check_anchor(ANCHOR)
    assert code_of(lambda: check_anchor(replace(ANCHOR, root=word("other")))) == "anchor-storage"


def reader(log: SampleLog) -> LogReader:
    return LogReader(log.growth.edge.size, log.growth.root, log.get)


def test_anchored_root_is_the_logs() -> None:
    check_anchored_root(ANCHOR, reader(LOG))
    longer = SampleLog([REDEEMED.to_bytes(), OUTCOME_ENTRY.to_bytes(), redeemed(2).to_bytes()])
    check_anchored_root(ANCHOR, reader(longer))


def test_rewritten_or_shortened_log_fails_its_anchor() -> None:
    rewritten = SampleLog([REDEEMED.to_bytes(), redeemed(2).to_bytes()])
    assert code_of(lambda: check_anchored_root(ANCHOR, reader(rewritten))) == "anchor-root"
    shortened = SampleLog([REDEEMED.to_bytes()])
    assert code_of(lambda: check_anchored_root(ANCHOR, reader(shortened))) == "anchor-root"


def test_listed_tiles_that_are_there_hold() -> None:
    assert check_tiles(ANCHOR, 0, ORIGIN, blocks(LOG.listing), LOG.get) == 2


def test_partial_tiles_are_read_from_the_full_ones_that_replaced_them() -> None:
    entries = [redeemed(1).to_bytes()] * 300
    first, all_of_them = SampleLog(entries[:200]), SampleLog(entries)
    assert check_tiles(first.anchor(), 0, ORIGIN, blocks(first.listing), all_of_them.get) == 2


def test_withheld_tile_fails() -> None:
    assert code_of(lambda: check_tiles(ANCHOR, 0, ORIGIN, blocks(LOG.listing), lambda _: None)) == "tile-withheld"


def test_altered_tile_fails() -> None:
    altered = {path: data[:-1] + bytes([data[-1] ^ 1]) for path, data in LOG.files.items()}
    assert code_of(lambda: check_tiles(ANCHOR, 0, ORIGIN, blocks(LOG.listing), altered.get)) == "tile-digest"


def test_listing_that_is_not_the_anchored_one_fails() -> None:
    assert code_of(lambda: check_tiles(ANCHOR, 0, ORIGIN, lambda _: b"{}", LOG.get)) == "tiles-listing"


def test_listing_of_fewer_tiles_fails() -> None:
    path = next(iter(LOG.files))
    short = listing({path: LOG.files[path]}, 2, ANCHOR.root)
    assert code_of(lambda: check_tiles(anchor_of(short), 0, ORIGIN, blocks(short), LOG.get)) == "tiles-listing"


def test_listing_of_another_log_fails() -> None:
    other = listing(LOG.files, 2, ANCHOR.root, origin="1/else")
    assert code_of(lambda: check_tiles(anchor_of(other), 0, ORIGIN, blocks(other), LOG.get)) == "tiles-listing"


def test_listing_that_names_a_tile_twice_is_malformed() -> None:
    found = canonical.decode(LOG.listing.data)
    assert isinstance(found, dict)
    tiles = found["tiles"]
    assert isinstance(tiles, list)
    twice = raw_block(canonical.encode({**found, "tiles": [*tiles, tiles[0]]}))
    assert code_of(lambda: read_listing(twice.data, origin=ORIGIN, size=2, root=ANCHOR.root)) == "tiles-listing"


def test_release_for_its_entry_holds() -> None:
    check_release(RELEASE, REDEEMED, PROFILE)


def test_release_for_another_entry_or_log_fails() -> None:
    assert code_of(lambda: check_release(RELEASE, redeemed(2), PROFILE)) == "release-mismatch"
    other = replace(PROFILE, url="https://other.example")
    assert code_of(lambda: check_release(RELEASE, REDEEMED, other)) == "release-origin"


def test_entry_under_the_anchored_root_holds() -> None:
    proof = reader(LOG).inclusion_proof(0)
    check_inclusion(leaf_hash(REDEEMED), 0, 2, proof, ANCHOR)


def test_entry_elsewhere_fails() -> None:
    proof = reader(LOG).inclusion_proof(0)
    other = data_leaf(b"something else")
    with pytest.raises(VerificationError):
        check_inclusion(other, 0, 2, proof, ANCHOR)
    assert code_of(lambda: check_inclusion(leaf_hash(REDEEMED), 0, 3, proof, ANCHOR)) == "anchor-root"


def test_log_of_the_gateways_last_epoch_holds_and_an_earlier_one_fails() -> None:
    check_epoch(GATEWAY_FACT, 1)
    later = replace(GATEWAY_FACT, declarations=(*GATEWAY_FACT.declarations, DeclarationFact(2, word("next"), block(9))))
    assert code_of(lambda: check_epoch(later, 1)) == "epoch-behind"


def test_log_of_a_new_epoch_begins_with_what_the_old_one_anchored() -> None:
    longer = SampleLog([REDEEMED.to_bytes(), OUTCOME_ENTRY.to_bytes(), redeemed(2).to_bytes()])
    check_continued(ANCHOR, reader(longer))
    other = SampleLog([REDEEMED.to_bytes(), redeemed(2).to_bytes(), redeemed(3).to_bytes()])
    assert code_of(lambda: check_continued(ANCHOR, reader(other))) == "epoch-not-continued"
