"""What a print centre is refused, by its own agent and by the gateway: one line, an exit code, and nothing counted."""

import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from evidence_copy import flip
from life import A_WEEK, Life
from lying_rpc import answer, block_field, lying_rpc
from platemark.agent.spool import Spool
from platemark.errors import RefusedError
from platemark.protocol import canonical
from platemark.protocol.accounts import AccountKey
from platemark.protocol.digests import token_digest
from platemark.protocol.passport import Passport
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.units import TokenId
from platemark.protocol.voucher import RedemptionRequest
from platemark.sdk.chain import ChainClient
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.ipfs import FolderSource
from stack import Ended, Person, Stack, dead_url

FIFTY_DAYS = 50 * 86_400


@dataclass(frozen=True)
class Live:
    """The life before its end: chain and gateway run again, on copies."""

    life: Life
    stack: Stack
    centre: Person

    def refused(self, ended: Ended, exit_code: int, code: str) -> None:
        """Pass when a command was refused so, in one line, and neither gateway nor agent counted anything."""
        assert (ended.exit_code, ended.error_code) == (exit_code, code), (ended.stdout, ended.stderr)
        assert len(ended.complaints) == 1
        assert "Traceback" not in ended.stderr
        assert counts(self.centre, self.life.unsettled.token_id) == (3, 1, 1)

    def print(self, who: Person, *options: str, token: str | None = None, **where: str) -> Ended:
        given = ("--printer", "ada", "--slicer", "basic", "--material", "PLA")
        return who.attempt("print", token or self.life.unsettled.token_id, *given, *options, **where)


def counts(person: Person, token: str) -> tuple[int, int, int]:
    """Return the released, voided and remaining prints of a token."""
    found = person.run("token", "show", token)
    return found["released"], found["voided"], found["printsLeft"]


@contextmanager
def running_again(life: Life, folder: Path) -> Iterator[Live]:
    chain = life.stack.running_chain.copy(folder / "chain")
    stack = Stack(folder, chain.url, chain=chain)
    try:
        shutil.copytree(life.folder / "saved", stack.data)
        shutil.copytree(life.folder / "centre", folder / "centre")
        stack.start_gateway(SETTLE_SECONDS=A_WEEK)
        yield Live(life, stack, person(life, stack, folder / "centre"))
    finally:
        stack.close()


@pytest.fixture(scope="module")
def live(life: Life, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A life that all refusals share: none of them may change it."""
    with running_again(life, tmp_path_factory.mktemp("live")) as found:
        yield found


@pytest.fixture
def own_live(life: Life, tmp_path: Path) -> Iterator[Live]:
    """A life of its own for a test that uses it up."""
    with running_again(life, tmp_path) as found:
        yield found


def person(life: Life, stack: Stack, home: Path) -> Person:
    return Person(home, life.folder / "passphrase", stack.rpc, stack.url)


def test_gateway_that_starts_again_goes_on_with_its_counts(live: Live) -> None:
    assert live.stack.url == live.life.stack.url
    assert counts(live.centre, live.life.settled.token_id) == (4, 1, 0)
    assert counts(live.centre, live.life.unsettled.token_id) == (3, 1, 1)


def test_product_beyond_the_count_is_refused(live: Live) -> None:
    ended = live.print(live.centre, token=live.life.settled.token_id)
    live.refused(ended, 4, "count-spent")
    assert counts(live.centre, live.life.settled.token_id) == (4, 1, 0)


@pytest.fixture
def stranger(live: Live, tmp_path: Path) -> Person:
    """Somebody with a key and an agent of their own, and everything that the centre's agent remembers."""
    home = tmp_path / "stranger"
    found = person(live.life, live.stack, home)
    found.run("keys", "new")
    shutil.copytree(live.centre.home / "agent" / "spool", home / "agent" / "spool")
    return found


def test_copied_token_is_of_no_use_to_a_strangers_agent(live: Live, stranger: Person) -> None:
    live.refused(live.print(stranger), 4, "signature-invalid")


def test_request_by_another_key_is_refused_by_the_gateway(live: Live, stranger: Person) -> None:
    with Spool(stranger.home / "agent" / "spool") as spool:
        record = spool.token(TokenId(int(live.life.unsettled.token_id, 16)))
    chain = ChainClient(live.stack.rpc)
    seen = chain.final_block()
    chain.close()
    recipient = RecipientKey.generate()
    request = RedemptionRequest(
        token_id=record.token_id,
        sequence=4,
        token_digest=token_digest(record.text),
        print_id=bytes(range(16)),
        recipient_digest=recipient.digest,
        seen_block=seen.number,
        seen_hash=seen.hash,
        detail=seen.hash,
    ).sign(AccountKey(b"\x01" * 32), record.domain)
    with GatewayClient(live.stack.url) as gateway, pytest.raises(RefusedError) as raised:
        gateway.redeem(canonical.encode(request.to_body(recipient.public_bytes)))
    assert raised.value.code == "signature-invalid"
    assert counts(live.centre, live.life.unsettled.token_id) == (3, 1, 1)


def test_flipped_byte_of_the_sealed_file_is_found_before_anything_is_redeemed(live: Live, tmp_path: Path) -> None:
    shutil.copytree(live.stack.data / "blocks", tmp_path / "blocks")
    passport = Passport.parse(live.life.passports[live.life.settled.serial(0)].read_bytes())
    sealed = FolderSource(tmp_path / "blocks").path(passport.manifest.files[0].sealed_cid)
    sealed.chmod(0o644)
    flip(sealed, at=sealed.stat().st_size // 2)
    live.refused(live.print(live.centre, "--ipfs", str(tmp_path / "blocks"), "--only-ipfs"), 3, "block-mismatch")


def test_endpoint_of_another_chain_is_refused(live: Live) -> None:
    with lying_rpc(live.stack.rpc, answer("eth_chainId", "0x1")) as rpc:
        live.refused(live.print(live.centre, rpc=rpc), 3, "wrong-chain")


def test_dead_chain_endpoint_is_said(live: Live) -> None:
    live.refused(live.print(live.centre, rpc=dead_url()), 75, "rpc-unreachable")


def test_dead_gateway_is_said(live: Live) -> None:
    live.refused(live.print(live.centre, gateway=dead_url()), 75, "gateway-unreachable")


def test_expired_token_is_refused(live: Live) -> None:
    late = hex(live.life.unsettled.expires_at + FIFTY_DAYS)
    with lying_rpc(live.stack.rpc, block_field("timestamp", late)) as rpc:
        live.refused(live.print(live.centre, rpc=rpc), 4, "token-expired")


def test_token_of_somebody_else_is_unknown_here(live: Live, tmp_path: Path) -> None:
    other = person(live.life, live.stack, tmp_path / "other")
    other.run("keys", "new")
    live.refused(live.print(other), 1, "token-unknown")


@pytest.mark.skipif(sys.platform != "linux", reason="the limits of another process are set on Linux only")
def test_gateway_whose_disk_is_full_counts_nothing_and_goes_on_when_there_is_space(
    own_live: Live,
) -> None:
    live = own_live
    gateway = live.stack.gateway
    assert gateway is not None
    pid = gateway.process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # every write fails
    try:
        ended = live.print(live.centre)
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
    live.refused(ended, 75, "database-unreachable")
    again = live.print(live.centre)
    assert (again.exit_code, again.value["sequence"]) == (0, 4), again.stderr
    assert counts(live.centre, live.life.unsettled.token_id) == (4, 1, 0)
