"""A primary and its replica as one store, in memory."""

from dataclasses import dataclass, field

import pytest

from platemark.errors import PlatemarkError
from platemark.protocol.cid import raw_block
from platemark_gateway.blobs.nodes import NodeBlocks
from platemark_gateway.errors import NotFoundError, UnavailableError
from platemark_gateway.metrics import Metrics
from simulators.blocks import MemoryBlocks
from simulators.clock import ManualClock

pytestmark = pytest.mark.anyio

BLOCK = raw_block(b"a block")


@dataclass
class Pair:
    primary: MemoryBlocks = field(default_factory=MemoryBlocks)
    replica: MemoryBlocks = field(default_factory=lambda: MemoryBlocks("replica"))
    clock: ManualClock = field(default_factory=ManualClock)
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.blocks = NodeBlocks([self.primary, self.replica], self.clock, self.metrics)


@pytest.fixture
def pair() -> Pair:
    return Pair()


async def test_what_is_written_is_on_both(pair: Pair) -> None:
    await pair.blocks.put(BLOCK.cid, BLOCK.data)
    await pair.blocks.pin(BLOCK.cid)
    for node in (pair.primary, pair.replica):
        assert node.blocks == {BLOCK.cid.text: BLOCK.data}
        assert node.pinned == {BLOCK.cid.text}


async def test_a_write_needs_only_the_primary(pair: Pair) -> None:
    pair.replica.is_away = True
    await pair.blocks.put(BLOCK.cid, BLOCK.data)
    await pair.blocks.pin(BLOCK.cid)
    assert pair.primary.pinned == {BLOCK.cid.text}
    assert dict(await pair.blocks.states()) == {"primary": "ok", "replica": "ipfs-unreachable"}


async def test_a_write_is_refused_without_the_primary(pair: Pair) -> None:
    pair.primary.is_away = True
    with pytest.raises(UnavailableError) as caught:
        await pair.blocks.put(BLOCK.cid, BLOCK.data)
    assert caught.value.code == "ipfs-unreachable"
    assert pair.primary.blocks == {}


@pytest.mark.parametrize("fault", ["away", "missing", "damaged"])
async def test_a_read_goes_on_to_the_replica(pair: Pair, fault: str) -> None:
    await pair.blocks.put(BLOCK.cid, BLOCK.data)
    match fault:
        case "away":
            pair.primary.is_away = True
        case "missing":
            pair.primary.blocks.clear()
        case _:
            pair.primary.blocks[BLOCK.cid.text] = b"a lie"
    assert await pair.blocks.get(BLOCK.cid) == BLOCK.data
    code = {"away": "ipfs-unreachable", "missing": "block-not-found", "damaged": "block-damaged"}[fault]
    failures = f'platemark_blobs_failures_total{{node="primary",call="get",reason="{code}"}} 1'
    assert failures in list(pair.metrics.lines())


async def test_a_node_that_was_away_is_asked_last_for_a_while_and_then_again_by_itself(pair: Pair) -> None:
    await pair.blocks.put(BLOCK.cid, BLOCK.data)
    pair.primary.is_away = True
    await pair.blocks.get(BLOCK.cid)
    pair.primary.is_away = False
    await pair.blocks.get(BLOCK.cid)
    assert (pair.primary.reads, pair.replica.reads) == (0, 2)
    pair.clock.forward(10)
    await pair.blocks.get(BLOCK.cid)
    assert (pair.primary.reads, pair.replica.reads) == (1, 2)


@pytest.mark.parametrize(
    "primary, replica, expected",
    [
        ("missing", "missing", "block-not-found"),
        ("missing", "away", "ipfs-unreachable"),  # the replica may have it
        ("away", "missing", "ipfs-unreachable"),
        ("damaged", "missing", "block-damaged"),
        ("damaged", "away", "ipfs-unreachable"),
    ],
)
async def test_a_read_that_fails_says_what_may_still_change(
    pair: Pair, primary: str, replica: str, expected: str
) -> None:
    for node, state in ((pair.primary, primary), (pair.replica, replica)):
        node.is_away = state == "away"
        if state == "damaged":
            node.blocks[BLOCK.cid.text] = b"a lie"
    with pytest.raises(PlatemarkError) as caught:
        await pair.blocks.get(BLOCK.cid)
    assert caught.value.code == expected


async def test_a_pin_of_what_the_primary_lost_is_to_be_tried_again(pair: Pair) -> None:
    with pytest.raises(UnavailableError) as caught:
        await pair.blocks.pin(BLOCK.cid)
    assert caught.value.code == "ipfs-unreachable"


class FullBlocks(MemoryBlocks):
    """A node that answers and cannot store."""

    async def put(self, cid: object, data: bytes) -> None:
        raise UnavailableError("the IPFS node cannot store anything now", code="ipfs-unreachable")


async def test_a_full_node_is_seen_until_it_stores_again() -> None:
    full = FullBlocks()
    blocks = NodeBlocks([full], ManualClock(), Metrics())
    with pytest.raises(UnavailableError):
        await blocks.put(BLOCK.cid, BLOCK.data)
    assert await blocks.states() == {"primary": "ipfs-unreachable"}
    with pytest.raises(NotFoundError):
        await blocks.get(BLOCK.cid)
    full.blocks[BLOCK.cid.text] = BLOCK.data
    await blocks.pin(BLOCK.cid)
    assert await blocks.states() == {"primary": "ok"}
