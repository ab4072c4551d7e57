"""What a gateway promised this agent, held against what it anchored.

A release and a promise name a leaf and a time by which it stands in an anchored root. Once a root is anchored in a
block of that time or later and lacks the leaf, the gateway has hidden a print, and its own signature says so. While
nothing was anchored since, it is overdue. The log's files may come from anywhere: they are checked against the root.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from platemark.agent.machine import TokenMachine
from platemark.errors import UpstreamError, VerificationError
from platemark.protocol.digests import sha256
from platemark.protocol.outcome import Promise
from platemark.protocol.release import Release
from platemark.protocol.tiles import GetTile, LogReader
from platemark.protocol.units import Address, Digest32, TokenId, UnixSeconds, address_text, digest_text
from platemark.sdk.chain import ChainClient
from platemark.verify.keys import KeyHistory


@dataclass(frozen=True, slots=True)
class Anchored:
    """A gateway's newest root on chain, and the time of its block."""

    epoch: int
    size: int
    root: Digest32
    timestamp: UnixSeconds


class AnchorView(Protocol):
    """What following asks a chain endpoint."""

    def latest_anchor(self) -> Anchored | None:
        """Return the gateway's newest final anchor, or None when there is none yet."""
        ...


class LedgerAnchors:
    """A gateway's anchors as one endpoint shows them, compared with the ledger's storage."""

    def __init__(self, chain: ChainClient, *, ledger: Address, gateway: Address, first_block: int = 0) -> None:
        self._chain = chain
        self._ledger = ledger
        self._gateway = gateway
        self._first_block = first_block

    def latest_anchor(self) -> Anchored | None:
        """Return the newest final anchor.

        Errors: VerificationError `anchor-root` when event and storage differ; errors of the endpoint.
        """
        final = self._chain.final_block()
        gateway = address_text(self._gateway)
        events = self._chain.events(
            "PrintLedger",
            self._ledger,
            ["Anchored"],
            from_block=self._first_block,
            to_block=final.number,
            filters={"gateway": gateway},
        )
        last = None
        for event in events:
            last = event
        if last is None:
            return None
        epoch, size = int(last.arguments["epoch"]), int(last.arguments["size"])
        root, tiles = Digest32(bytes(last.arguments["root"])), bytes(last.arguments["tilesDigest"])
        stored = bytes(self._chain.read("PrintLedger", self._ledger, "anchorAt", gateway, epoch, size))
        if sha256(root, tiles) != stored:
            raise VerificationError(
                "the chain endpoint shows another anchor than the ledger stores",
                step="anchor",
                code="anchor-root",
                expected=digest_text(stored),
                found=digest_text(sha256(root, tiles)),
                hint="use another chain endpoint",
            )
        return Anchored(epoch, size, root, self._chain.block(last.block).timestamp)


class Standing(StrEnum):
    """How a promise stands."""

    MERGED = "merged"
    """The leaf is in an anchored root."""
    WAITING = "waiting"
    """Its time has not come."""
    OVERDUE = "overdue"
    """Its time is over and nothing was anchored since."""
    HIDDEN = "hidden"
    """A root of its time or later lacks it: the gateway is convicted."""


@dataclass(frozen=True, slots=True)
class Followed:
    """A promise and how it stands; `statement` is the JWS that proves it, `index` the leaf's place once merged."""

    token_id: TokenId
    sequence: int
    about: str
    merge_by: UnixSeconds
    leaf_hash: Digest32
    statement: str
    standing: Standing
    index: int | None


@dataclass(frozen=True, slots=True)
class _Claim:
    token_id: TokenId
    sequence: int
    about: str
    merge_by: UnixSeconds
    leaf_hash: Digest32
    statement: str


def follow(
    machines: Iterable[TokenMachine],
    *,
    keys: KeyHistory,
    anchors: AnchorView,
    get_tile: GetTile,
    now: UnixSeconds,
) -> list[Followed]:
    """Return how every release and promise of these tokens stands against the newest anchor.

    Reads the hash tiles of the whole log: 32 bytes an entry. What was promised under an older profile counts as merged
    when its leaf is in the log as it is now, also after a new epoch has begun.

    Errors: VerificationError `log-tile`, `log-root` for files that are not the anchored log's; `release-key`,
        `profile-replaced` for a promise under a key that was not the gateway's; UpstreamError `epoch-changed` when the
        log goes on in another epoch than was declared last.
    """
    claims = [claim for machine in machines for claim in _claims(machine, keys)]
    anchor = anchors.latest_anchor()
    if anchor is not None and [anchor.epoch] != [last.epoch for last in keys.gateway.declarations[-1:]]:
        raise UpstreamError(
            f"the gateway's log goes on in epoch {anchor.epoch}",
            code="epoch-changed",
            hint="check the gateway again on chain",
        )
    places = {} if anchor is None else _places({claim.leaf_hash for claim in claims}, anchor, get_tile)
    return [_stand(claim, places.get(claim.leaf_hash), anchor, now) for claim in claims]


def _claims(machine: TokenMachine, keys: KeyHistory) -> Iterator[_Claim]:
    """Yield what was promised, as far as the gateway's signature and this agent's own request bear it out."""
    for use in machine:
        since = use.request.signed.request.seen_block
        if use.answer is not None:
            text = use.answer.release
            release = Release.verify(text, keys.profiles_of(text, since=since)[0].release_key)
            yield _Claim(machine.token_id, use.sequence, "release", release.merge_by, release.leaf_hash, text)
        if use.acknowledgement is not None:
            text = use.acknowledgement.promise
            promise = Promise.verify(text, keys.profiles_of(text, since=since)[0].release_key)
            yield _Claim(machine.token_id, use.sequence, "outcome", promise.merge_by, promise.leaf_hash, text)


def _places(wanted: set[Digest32], anchor: Anchored, get_tile: GetTile) -> dict[Digest32, int]:
    reader = LogReader(anchor.size, anchor.root, get_tile)
    found: dict[Digest32, int] = {}
    for index in range(anchor.size):
        leaf = reader.leaf_hash(index)
        if leaf in wanted:
            found.setdefault(leaf, index)
            if len(found) == len(wanted):
                break
    return found


def _stand(claim: _Claim, index: int | None, anchor: Anchored | None, now: UnixSeconds) -> Followed:
    if index is not None:
        standing = Standing.MERGED
    elif anchor is not None and anchor.timestamp >= claim.merge_by:
        standing = Standing.HIDDEN
    elif now >= claim.merge_by:
        standing = Standing.OVERDUE
    else:
        standing = Standing.WAITING
    return Followed(
        claim.token_id,
        claim.sequence,
        claim.about,
        claim.merge_by,
        claim.leaf_hash,
        claim.statement,
        standing,
        index,
    )
