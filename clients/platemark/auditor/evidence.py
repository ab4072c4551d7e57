"""Where an audit reads from: chain endpoints, blocks, and the log's static files; never a gateway's word."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from platemark.auditor.collect import collect, find_contracts
from platemark.errors import LocalError, MalformedError, RefusedError, UpstreamError, UsageError, VerificationError
from platemark.protocol.checkpoint import Checkpoint, Note
from platemark.protocol.cid import Cid
from platemark.protocol.tiles import GetTile
from platemark.protocol.units import Address, Digest32, parse_address
from platemark.sdk.chain import ChainClient
from platemark.sdk.files import read_regular
from platemark.sdk.ipfs import BlockSource, ExportedSource, FolderSource, GatewaySource, SeveralSources
from platemark.sdk.transport import Transport
from platemark.verify.facts import ChainFacts, Contracts
from platemark.verify.inclusion import block_of
from platemark.verify.policy import Policy
from platemark.verify.steps import Step, evidence_of

ANOTHER_MIRROR: Final = "ask another mirror of the log: --tiles"
MAX_FILE_BYTES: Final = 256 * (2 + 0xFFFF)
MAX_CHECKPOINT_BYTES: Final = 64 << 10
_MAX_HASHES: Final = 10_000
_CHAIN_ID: Final = re.compile(r"[1-9][0-9]{0,15}")
_ON_IPFS: Final = re.compile(r"(?i:ipfs://)(?P<address>.*?)/?|/ipfs/(?P<path>[^/]*)/?", re.DOTALL)
_EPOCH: Final = re.compile(r"[1-9][0-9]{0,9}")

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Origin:
    """The parts of a log's origin: chain, ledger, gateway, epoch."""

    chain_id: int
    ledger: Address
    gateway: Address
    epoch: int

    @property
    def text(self) -> str:
        """The origin as checkpoints have it."""
        from platemark.protocol.units import address_text

        return f"{self.chain_id}/{address_text(self.ledger)}/{address_text(self.gateway)}/{self.epoch}"

    @classmethod
    def parse(cls, text: str) -> "Origin":
        """Return the parts of `chainId/ledger/gateway/epoch`.

        Errors: MalformedError `checkpoint`.
        """
        parts = text.split("/")
        if len(parts) != 4 or not _CHAIN_ID.fullmatch(parts[0]) or not _EPOCH.fullmatch(parts[3]):
            raise MalformedError("the log's origin is not chain/ledger/gateway/epoch", code="checkpoint")
        found = cls(int(parts[0]), parse_address(parts[1]), parse_address(parts[2]), int(parts[3]))
        if found.text != text:
            raise MalformedError("the log's origin is not chain/ledger/gateway/epoch", code="checkpoint")
        return found


class LogFiles:
    """The static files of a print log: a folder or an address that serves it."""

    def __init__(self, place: str) -> None:
        """`place` is a folder or an http(s) address; nothing is read yet."""
        self.place = place
        self._transport = Transport(place.rstrip("/")) if _is_address(place) else None

    def __repr__(self) -> str:
        return f"LogFiles({self.place})"

    def close(self) -> None:
        """Close connections."""
        if self._transport is not None:
            self._transport.close()

    def get(self, path: str) -> bytes | None:
        """Return a file of the log, or None when it is not there.

        Errors: UpstreamError when the address cannot be reached; LocalError when the disk does not tell; MalformedError
            `too-large`.
        """
        return self._read(path, MAX_FILE_BYTES)

    def checkpoint(self) -> bytes:
        """Return the signed checkpoint.

        Errors: VerificationError `checkpoint-missing`.
        """
        data = self._read("checkpoint", MAX_CHECKPOINT_BYTES)
        if data is None:
            raise VerificationError(
                "there is no checkpoint",
                step=Step.ANCHOR.label,
                code="checkpoint-missing",
                expected=f"{self.place}/checkpoint",
                found="nothing",
                hint="name the log's folder or address: --tiles",
            )
        return data

    def _read(self, path: str, max_bytes: int) -> bytes | None:
        try:
            return self._found(path, max_bytes)
        except (LocalError, UpstreamError) as error:
            if error.code not in {"file-too-large", "answer-too-large"}:
                raise
            raise MalformedError(f"{path} is larger than such a file can be", code="too-large") from error

    def _found(self, path: str, max_bytes: int) -> bytes | None:
        if self._transport is None:
            return read_regular(f"{self.place}/{path}", max_bytes=max_bytes)
        try:
            return self._transport.call("GET", f"/{path}", max_bytes=max_bytes).body
        except RefusedError:
            return None


def log_files(place: str, blocks: str | None) -> LogFiles:
    """Return the log at a folder, an address, or on IPFS: `ipfs://CID` of its directory, read where `blocks` is.

    A folder that has its log in `log`, as an archive and a gateway's data folder do, stands for that.

    Errors: MalformedError `cid`; UsageError for a log on IPFS without the address of an IPFS gateway.
    """
    named = _ON_IPFS.fullmatch(place)
    if named is None:
        return LogFiles(_log_in(place))
    if blocks is None or not _is_address(blocks):
        raise UsageError("a log on IPFS is read from an IPFS gateway", hint="give its address: --blocks URL")
    return LogFiles(f"{blocks.rstrip('/')}/ipfs/{Cid.parse(named['address'] or named['path'] or '')}")


@dataclass(slots=True)
class Evidence:
    """Everything that one audit may read."""

    chains: list[ChainClient]
    blocks: BlockSource
    log: LogFiles
    policy: Policy = field(default_factory=Policy)
    on_progress: Progress = lambda _: None
    _hashes: dict[int, Digest32 | None] = field(default_factory=dict)

    @property
    def chain(self) -> ChainClient:
        """The endpoint that is read; the others are compared with it."""
        return self.chains[0]

    def close(self) -> None:
        """Close connections."""
        for chain in self.chains:
            chain.close()
        self.log.close()
        for source in self.blocks.sources if isinstance(self.blocks, SeveralSources) else (self.blocks,):
            if isinstance(source, GatewaySource):
                source.close()

    @property
    def get_tile(self) -> GetTile:
        """What reads the log's files."""
        return self.log.get

    def origin(self) -> Origin:
        """Return what the checkpoint says it is of; unverified, a hint where to look on chain.

        Errors: VerificationError `checkpoint-missing`, or the code of what is wrong with its form.
        """
        return self.stated()[0]

    def stated(self) -> tuple[Origin, int]:
        """Return what the checkpoint says it is of, and of how many entries; unverified.

        Errors: as `origin`.
        """
        with evidence_of(Step.ANCHOR, "the checkpoint", hint=ANOTHER_MIRROR):
            checkpoint = Checkpoint.parse(Note.parse(self.log.checkpoint()).text)
            return Origin.parse(checkpoint.origin), checkpoint.size

    def contracts(self, chain_id: int, ledger: Address) -> Contracts:
        """Return the contracts behind a ledger, after their code was compared.

        Errors: VerificationError `wrong-chain`, `contract-code`, `chain-not-accepted`, `endpoints-disagree`.
        """
        if not self.policy.accepts_chain(chain_id):
            raise VerificationError(
                "the policy does not accept this chain",
                step=Step.CONTRACTS.label,
                code="chain-not-accepted",
                expected=" or ".join(map(str, sorted(self.policy.chain_ids))),
                found=str(chain_id),
            )
        found = find_contracts(self.chain, ledger, chain_id=chain_id)
        for other in self.chains[1:]:
            again = find_contracts(other, ledger, chain_id=chain_id)
            _agree("the contracts", found.ledger.hex(), again.ledger.hex(), same=found == again)
        return found

    def facts(self, contracts: Contracts) -> ChainFacts:
        """Return the chain's facts, after every endpoint gave the same ones at the same final block.

        Errors: VerificationError `endpoints-disagree`, `endpoint-contradicts`; UpstreamError.
        """
        facts = collect(self.chain, contracts, on_progress=self.on_progress)
        for other in self.chains[1:]:
            found = other.block(facts.final.number).hash
            _agree(f"block {facts.final.number}", facts.final.hash.hex(), found.hex(), same=found == facts.final.hash)
            again = collect(other, contracts, final=facts.final, on_progress=self.on_progress)
            for what in ("designs", "licenses", "reservations", "gateways"):
                ours, theirs = getattr(facts, what), getattr(again, what)
                _agree(
                    f"the {what}", f"{len(ours)} as {self.chain!r} says", f"others at {other!r}", same=ours == theirs
                )
        return facts

    def block_hash(self, number: int) -> Digest32 | None:
        """Return a block's hash, or None when the chain has no such block.

        Errors: VerificationError `endpoints-disagree`; UpstreamError.
        """
        if number not in self._hashes:
            found = [_hash_of(chain, number) for chain in self.chains]
            _agree(f"block {number}", repr(found[0]), repr(found[-1]), same=len(set(found)) == 1)
            if len(self._hashes) >= _MAX_HASHES:
                del self._hashes[next(iter(self._hashes))]  # the one that was asked for first
            self._hashes[number] = found[0]
        return self._hashes[number]

    def block(self, digest: Digest32) -> bytes | None:
        """Return the raw block with this SHA-256, or None when nobody who was asked has it.

        Errors: VerificationError `block-mismatch` for other bytes under its identifier.
        """
        try:
            return self.blocks.get(block_of(digest))
        except UpstreamError as error:
            if error.code != "block-unavailable":
                raise
            return None

    def trusted(self, *, has_facts: bool = True) -> str:
        """Return whose word is taken for the chain; several endpoints' is not where `facts` raised."""
        if len(self.chains) == 1:
            return "this RPC endpoint"
        if has_facts:
            return f"{len(self.chains)} chain endpoints that agree on the chain's facts"
        return f"nobody: {len(self.chains)} chain endpoints gave no facts that agree"


def _hash_of(chain: ChainClient, number: int) -> Digest32 | None:
    try:
        return chain.block(number).hash
    except UpstreamError as error:
        if error.code != "block-unknown":
            raise
        return None


def _agree(what: str, expected: str, found: str, *, same: bool) -> None:
    if not same:
        raise VerificationError(
            f"two chain endpoints disagree about {what}",
            step=Step.CONTRACTS.label,
            code="endpoints-disagree",
            expected=expected,
            found=found,
            hint="one of them lies, or is on another fork",
        )


def block_source(place: str) -> BlockSource:
    """Return blocks from a folder, a gateway's or one with an exported log, or from a trustless IPFS gateway.

    Errors: UsageError `blocks-missing` when it is neither.
    """
    if _is_address(place):
        return GatewaySource(place)
    if not Path(place).is_dir():
        raise UsageError(f"there is no folder of blocks {place}", code="blocks-missing", hint="name it with --blocks")
    folder = Path(place)
    return ExportedSource(folder) if (folder / "ipfs").is_dir() else FolderSource(folder)


def blocks_beside(log: str) -> BlockSource:
    """Return the blocks that lie where a log is read, for whoever names no other place.

    An export and a mirror of it have them in the log's own folder; a gateway's address, its data folder and an
    archive have them beside `log`.
    """
    place = log.rstrip("/")
    if _is_address(place):
        above = place.removesuffix("/log")
        own = GatewaySource(place)
        return own if above == place else SeveralSources((GatewaySource(above), own))
    folder = Path(_log_in(log))
    beside = folder.parent / "blocks"
    if (folder / "ipfs").is_dir():
        return ExportedSource(folder)
    return FolderSource(beside if beside.is_dir() else folder)


def _is_address(place: str) -> bool:
    return place.startswith(("http://", "https://"))


def _log_in(place: str) -> str:
    if _is_address(place) or (Path(place) / "checkpoint").is_file():
        return place
    inner = Path(place) / "log"
    return str(inner) if (inner / "checkpoint").is_file() else place
