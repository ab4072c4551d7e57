"""Config, agent's seed, recovery kits, blocks: what lies in a home, whole and checked."""

import dataclasses
import json
from pathlib import Path

import httpx
import pytest

from platemark.errors import (
    Kind,
    LocalError,
    MalformedError,
    RefusedError,
    TryLaterError,
    UpstreamError,
    UsageError,
    VerificationError,
)
from platemark.protocol.cid import Cid, raw_cid, unixfs_blocks
from platemark.sdk.agent_seed import read_or_make_seed, read_seed
from platemark.sdk.answers import TransactionState
from platemark.sdk.config import Home, home_path, read_config, settings, write_config
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.ipfs import FolderSource, GatewaySource, SeveralSources, read_sealed
from platemark.sdk.transport import Retries, Transport
from platemark.sdk.waiting import Patience, final_in

# --- config ---------------------------------------------------------------------------------------------


def test_an_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    write_config(Home(tmp_path), gateway="http://file.example", rpc="http://rpc.example/v3/key?x=1")
    environment = {"PLATEMARK_HOME": str(tmp_path), "PLATEMARK_GATEWAY": "http://env.example/"}
    assert settings({"PLATEMARK_HOME": str(tmp_path)}).gateway == "http://file.example"
    assert settings(environment).gateway == "http://env.example"
    assert settings(environment, gateway="http://option.example").gateway == "http://option.example"
    assert settings(environment).rpc == "http://rpc.example/v3/key?x=1"
    assert settings(environment, home=str(tmp_path / "other")).rpc is None


def test_what_was_not_named_is_asked_for_with_a_hint(tmp_path: Path) -> None:
    found = settings({}, home=str(tmp_path))
    for call in (found.gateway_url, found.rpc_url):
        with pytest.raises(UsageError) as caught:
            call()
        assert "platemark gateway use" in str(caught.value.hint)


def test_the_home_is_the_systems_place_for_such_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/somewhere")
    monkeypatch.setenv("HOME", "/me")
    assert home_path({}).name == "platemark"
    assert home_path({"PLATEMARK_HOME": "~/p"}) == Path("/me/p")


@pytest.mark.parametrize("text", ["", "[]", '{"gateway": 1}', '{"other": "x"}', "{"])
def test_a_broken_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(MalformedError) as caught:
        read_config(Home(tmp_path))
    assert caught.value.code == "config"
    assert "config.json" in caught.value.message


def test_pins_of_two_gateways_do_not_meet() -> None:
    home = Home(Path("/h"))
    assert home.pinned("http://a.example") != home.pinned("http://b.example")


# --- the agent's seed -----------------------------------------------------------------------------------


def test_a_seed_is_made_once_and_kept_encrypted(tmp_path: Path) -> None:
    path = tmp_path / "agent" / "seed.json"
    made = read_or_make_seed(path, "passphrase")
    assert read_or_make_seed(path, "passphrase").secret() == made.secret()
    assert read_seed(path, "passphrase").secret() == made.secret()
    assert made.secret().hex() not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LocalError) as caught:
        read_seed(path, "another")
    assert caught.value.code == "passphrase-wrong"


@pytest.mark.parametrize("text", ["", "{}", '{"version": 2, "crypto": {}}', '{"version": 1, "crypto": {}}'])
def test_a_file_that_is_no_seed_is_never_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "seed.json"
    path.write_text(text)
    with pytest.raises(MalformedError) as caught:
        read_or_make_seed(path, "passphrase")
    assert caught.value.code == "agent-seed"
    assert path.read_text() == text


# --- blocks ---------------------------------------------------------------------------------------------

DATA = b"a block"
CID = raw_cid(DATA)


def _gateway(content: bytes, status: int = 200) -> GatewaySource:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=content))
    return GatewaySource(
        "http://ipfs.test", transport=Transport("http://ipfs.test", transport=transport, retries=Retries(1))
    )


def test_a_folder_keeps_blocks_where_gateways_and_auditors_look(tmp_path: Path) -> None:
    folder = FolderSource(tmp_path)
    folder.put(CID, DATA)
    assert (tmp_path / CID.text[-3:-1] / CID.text).read_bytes() == DATA
    assert folder.get(CID) == DATA
    with pytest.raises(VerificationError):
        folder.put(CID, b"another")


def test_a_block_that_was_altered_in_the_folder_is_found_out(tmp_path: Path) -> None:
    folder = FolderSource(tmp_path)
    folder.put(CID, DATA)
    folder.path(CID).write_bytes(b"altered")
    with pytest.raises(VerificationError) as caught:
        folder.get(CID)
    assert caught.value.code == "block-mismatch"


def test_what_nobody_has_is_told_in_one_way(tmp_path: Path) -> None:
    missing = b'{"code": "block-unknown", "status": 404}'
    for source in (FolderSource(tmp_path), _gateway(b"", 404), SeveralSources([FolderSource(tmp_path)])):
        with pytest.raises(UpstreamError) as caught:
            source.get(CID)
        assert caught.value.code == "block-unavailable"
    with pytest.raises(UpstreamError):
        _gateway(missing, 500).get(CID)


def test_the_next_source_is_asked_when_one_lies_or_has_nothing(tmp_path: Path) -> None:
    folder = FolderSource(tmp_path)
    folder.put(CID, DATA)
    several = SeveralSources([_gateway(b"lie"), _gateway(b"", 404), folder])
    assert several.get(CID) == DATA


def test_a_lie_is_told_when_nobody_has_the_right_block(tmp_path: Path) -> None:
    several = SeveralSources([_gateway(b"lie"), FolderSource(tmp_path)])
    with pytest.raises(VerificationError) as caught:
        several.get(CID)
    assert caught.value.code == "block-mismatch"


def test_a_file_of_several_blocks_is_read_and_limited(tmp_path: Path) -> None:
    folder = FolderSource(tmp_path)
    data = bytes(range(256)) * 10_000
    root: Cid | None = None
    for block in unixfs_blocks([data]):
        folder.put(block.cid, block.data)
        root = block.cid
    assert root is not None
    assert b"".join(read_sealed(folder, root, max_bytes=len(data))) == data
    with pytest.raises(MalformedError):
        list(read_sealed(folder, root, max_bytes=len(data) - 1))


# --- waiting --------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Time:
    """A clock that sleeping moves on."""

    now: float = 0
    slept: list[float] = dataclasses.field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)

    def patience(self, seconds: float) -> Patience:
        return Patience(seconds, self.sleep, lambda: self.now)


def test_pauses_grow_to_a_limit_and_end_with_patience() -> None:
    time = Time()
    with pytest.raises(TryLaterError) as caught:
        time.patience(100).until(lambda: 0, bool, "the thing")
    assert caught.value.code == "awaiting-finality"
    assert caught.value.message == "the thing is not final yet"
    assert time.slept[:3] == [0.5, 0.75, 1.125]
    assert max(time.slept) == 15
    assert time.now <= 100


def test_what_is_enough_at_once_is_not_waited_for() -> None:
    time = Time()
    assert time.patience(0).until(lambda: 7, bool, "it") == 7
    assert not time.slept


def test_a_call_is_made_again_only_while_its_facts_are_not_final() -> None:
    time = Time()
    answers = [TryLaterError("not yet", code="awaiting-finality", retry_after_seconds=2)] * 3

    def call() -> str:
        if answers:
            raise answers.pop()
        return "done"

    assert time.patience(60).when_ready(call) == "done"
    assert len(time.slept) == 3
    limited = TryLaterError("too many", code="limit-requests", kind=Kind.LIMITED, retry_after_seconds=1)

    def refused() -> str:
        raise limited

    with pytest.raises(TryLaterError) as caught:
        time.patience(60).when_ready(refused)
    assert caught.value is limited
    assert len(time.slept) == 3


def _transactions(*states: str) -> GatewayClient:
    waiting = list(states)

    def answering(_: httpx.Request) -> httpx.Response:
        body = {"id": "t", "purpose": "license.mint", "status": waiting.pop(0), "hash": None, "reason": "CapExceeded"}
        return httpx.Response(200, content=json.dumps(body))

    return GatewayClient("http://gateway.test", transport=httpx.MockTransport(answering))


def test_a_transaction_is_followed_to_its_end() -> None:
    with _transactions("queued", "sent", "seen", "confirmed", "final") as client:
        found = Time().patience(60).transaction(client, "t")
    assert isinstance(found, TransactionState)
    assert found.status == "final"


def test_a_transaction_that_failed_tells_the_reason() -> None:
    with _transactions("sent", "failed") as client, pytest.raises(RefusedError) as caught:
        Time().patience(60).transaction(client, "t")
    assert caught.value.message == "the chain refused the license.mint: CapExceeded"


@pytest.mark.parametrize(
    "seconds,words", [(0, "final at once"), (15, "final in about 15 s"), (120, "final in about 2 min")]
)
def test_when_something_will_be_final_is_said_in_words(seconds: int, words: str) -> None:
    assert final_in(seconds) == words
