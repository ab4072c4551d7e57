"""What an audit reads, and that nobody is believed who is not to be."""

import errno
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from platemark.auditor.evidence import Evidence, LogFiles, Origin, block_source, blocks_beside, log_files
from platemark.auditor.part import audit_part
from platemark.auditor.replay import audit_log
from platemark.errors import LocalError, MalformedError, UpstreamError, UsageError, VerificationError
from platemark.protocol.cid import raw_cid
from platemark.protocol.serial import serial_of
from platemark.protocol.units import Digest32
from platemark.sdk.chain import BlockFacts, BlockTag
from platemark.sdk.ipfs import ExportedSource, FolderSource, GatewaySource, SeveralSources
from platemark.verify.policy import Policy
from sample_chain import CONTRACTS, FACTS, LOG, block
from sample_documents import CHAIN_ID, GATEWAY, LEDGER, PROFILE, TOKEN_ID, word
from sample_evidence import MANIFEST_BLOCK, MemorySource, evidence, memory_endpoint, with_license, with_reservation
from simulators.chain_endpoint import MemoryEndpoint

CID = raw_cid(b"a block")


def code_of(raised: pytest.ExceptionInfo[Any]) -> str:
    return str(raised.value.code)


def test_origin_is_read_from_the_checkpoint() -> None:
    origin = evidence().origin()
    assert origin == Origin(CHAIN_ID, LEDGER, GATEWAY.address, 1)
    assert origin.text == PROFILE.log_origin


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1/2/3",
        PROFILE.log_origin + "/2",
        PROFILE.log_origin.lower(),
        "x" + PROFILE.log_origin,
        PROFILE.log_origin.replace("/1", "/x"),
        PROFILE.log_origin + "\u0661",
        "0" + PROFILE.log_origin,
        "9" * 5000 + PROFILE.log_origin[PROFILE.log_origin.index("/") :],
        PROFILE.log_origin + "9" * 5000,
        PROFILE.log_origin[:-1] + "0",
    ],
)
def test_origin_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedError):
        Origin.parse(text)


HUGE = b"9" * 5000
NOTES = {
    "a text": b"a text",
    "a huge chain id": HUGE + LOG.checkpoint[LOG.checkpoint.index(b"/") :],
    "a huge epoch": LOG.checkpoint.replace(b"/1\n", b"/" + HUGE + b"\n", 1),
}


@pytest.mark.parametrize("name", NOTES)
def test_checkpoint_that_is_none_is_a_failed_verification(name: str) -> None:
    found = evidence()
    found.files.files["checkpoint"] = NOTES[name]
    with pytest.raises(VerificationError) as raised:
        found.origin()
    assert raised.value.step == "12 anchor"


# --- log files ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in {**LOG.files, "checkpoint": LOG.checkpoint}.items():
        path = tmp_path / "log" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "log"


@pytest.fixture
def address(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
        thread.join()


def test_log_is_read_from_a_folder_and_from_an_address_alike(folder: Path, address: str) -> None:
    for place in (str(folder), address):
        files = LogFiles(place)
        assert files.checkpoint() == LOG.checkpoint
        assert {name: files.get(name) for name in LOG.files} == LOG.files
        assert files.get("tile/0/001") is None
        assert place in repr(files)
        files.close()


@pytest.mark.parametrize("place", ["ipfs://CID/tile", "ipfs://CID/../..", "ipfs://", "ipfs://%2e%2e", "ipfs://Q\nm"])
def test_address_on_ipfs_that_names_no_directory_is_never_taken_for_a_folder(place: str) -> None:
    with pytest.raises(MalformedError) as refused:
        log_files(place.replace("CID", raw_cid(b"log").text), "http://node.example")
    assert refused.value.code == "cid"


def test_scheme_of_an_address_on_ipfs_has_either_case() -> None:
    cid = raw_cid(b"log")
    for place in (f"ipfs://{cid}", f"IPFS://{cid}/", f"/ipfs/{cid}"):
        assert log_files(place, "http://node.example").place == f"http://node.example/ipfs/{cid}"


def test_log_without_a_checkpoint_is_said_to_have_none(tmp_path: Path) -> None:
    with pytest.raises(VerificationError) as raised:
        LogFiles(str(tmp_path)).checkpoint()
    assert code_of(raised) == "checkpoint-missing"


def test_file_of_a_log_that_is_too_large_is_not_read(folder: Path, address: str) -> None:
    (folder / "checkpoint").write_bytes(bytes(1 << 17))
    for place in (str(folder), address):
        files = LogFiles(place)
        with pytest.raises(MalformedError) as raised:
            files.checkpoint()
        assert code_of(raised) == "too-large"
        files.close()


def test_log_that_cannot_be_reached_is_not_taken_for_an_empty_one() -> None:
    files = LogFiles("http://127.0.0.1:1")
    with pytest.raises(UpstreamError) as raised:
        files.get("tile/0/000")
    assert code_of(raised) == "gateway-unreachable"
    files.close()


@pytest.mark.parametrize("call", ["open", "read"])
@pytest.mark.parametrize("failure,code", [(errno.EACCES, "disk-permission"), (errno.EIO, "disk-error")])
def test_log_on_a_disk_that_does_not_tell_is_not_taken_for_one_that_lacks_a_tile(
    folder: Path, failure: int, code: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: Any) -> Any:
        raise OSError(failure, "no answer")

    files = LogFiles(str(folder))
    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(LocalError) as raised:
            files.get("tile/0/000.p/2")
    assert code_of(raised) == code


@pytest.mark.parametrize("failure", [errno.ENOENT, errno.ENOTDIR, errno.ELOOP])
def test_tile_to_which_no_path_leads_is_not_there(folder: Path, failure: int) -> None:
    (folder / "loop").symlink_to("loop")
    paths = {errno.ENOENT: "tile/9/000", errno.ENOTDIR: "checkpoint/000", errno.ELOOP: "loop"}
    assert LogFiles(str(folder)).get(paths[failure]) is None
    assert LogFiles(str(folder)).get("tile") is None


# --- chain ----------------------------------------------------------------------------------------------------------


def test_policy_names_the_chains_that_count() -> None:
    assert evidence(policy=Policy(chain_ids=frozenset({CHAIN_ID}))).contracts(CHAIN_ID, LEDGER) == CONTRACTS
    with pytest.raises(VerificationError) as raised:
        evidence(policy=Policy(chain_ids=frozenset({1, 10}))).contracts(CHAIN_ID, LEDGER)
    assert code_of(raised) == "chain-not-accepted"
    assert raised.value.expected == "1 or 10"


def both(second: MemoryEndpoint) -> Evidence:
    found = evidence()
    found.chains.append(second)
    return found


def test_endpoints_that_agree_are_trusted_together() -> None:
    found = both(memory_endpoint())
    assert found.contracts(CHAIN_ID, LEDGER) == CONTRACTS
    assert found.facts(CONTRACTS) == FACTS
    assert found.block_hash(3) == block(3).hash
    assert found.trusted() == "2 chain endpoints that agree on the chain's facts"
    assert evidence().trusted() == "this RPC endpoint"


def test_endpoints_that_disagree_are_not_trusted() -> None:
    found = both(memory_endpoint(replace(FACTS, designs={})))
    for report in (audit_log(found), audit_part(found, serial_of(TOKEN_ID, 1))):
        assert [each.code for each in report.failures] == ["endpoints-disagree"]
        assert report.trusted == ["nobody: 2 chain endpoints gave no facts that agree"]


@pytest.mark.parametrize(
    "facts",
    [
        with_license(minted=9, minted_in_storage=14),
        with_reservation(burned=1),
        replace(FACTS, designs={}),
        replace(FACTS, gateways={}),
    ],
    ids=["licences", "reservations", "designs", "gateways"],
)
def test_endpoint_that_tells_another_story_is_named(facts: Any) -> None:
    with pytest.raises(VerificationError) as raised:
        both(memory_endpoint(facts)).facts(CONTRACTS)
    assert code_of(raised) == "endpoints-disagree"


def forked(number: int) -> MemoryEndpoint:
    found = memory_endpoint()
    found.blocks = {**found.blocks, number: replace(block(number), hash=word("fork"))}
    return found


def test_endpoints_on_two_forks_are_named() -> None:
    with pytest.raises(VerificationError) as raised:
        both(forked(30)).facts(CONTRACTS)
    assert code_of(raised) == "endpoints-disagree"
    with pytest.raises(VerificationError) as raised:
        both(forked(17)).block_hash(17)
    assert code_of(raised) == "endpoints-disagree"


def test_second_endpoint_must_have_the_same_contracts() -> None:
    second = memory_endpoint()
    second.foreign_code.add(LEDGER)
    with pytest.raises(VerificationError) as raised:
        both(second).contracts(CHAIN_ID, LEDGER)
    assert code_of(raised) == "contract-code"


def test_block_that_the_chain_does_not_have_has_no_hash_and_is_asked_for_once() -> None:
    found = evidence()
    assert found.block_hash(31) is None
    found.endpoint.blocks = {31: block(31)}
    assert found.block_hash(31) is None


def test_endpoint_that_fails_is_no_answer() -> None:
    class Broken(MemoryEndpoint):
        def block(self, number: BlockTag) -> BlockFacts:
            raise UpstreamError("broken", code="rpc-malformed")

    found = Evidence([Broken(FACTS, {})], MemorySource([]), evidence().log)
    with pytest.raises(UpstreamError):
        found.block_hash(3)


# --- blocks ---------------------------------------------------------------------------------------------------------


def test_block_is_had_absent_or_wrong() -> None:
    found = evidence()
    digest = MANIFEST_BLOCK.cid.digest
    assert found.block(digest) == MANIFEST_BLOCK.data
    assert found.block(word("nobody has it")) is None
    found.source.spoil(MANIFEST_BLOCK)
    with pytest.raises(VerificationError) as raised:
        found.block(digest)
    assert code_of(raised) == "block-mismatch"


def test_source_that_cannot_be_reached_is_not_taken_for_one_without_the_block() -> None:
    class Away(MemorySource):
        def get(self, cid: Any) -> bytes:
            raise UpstreamError("away", code="gateway-unreachable")

    found = Evidence([memory_endpoint()], Away([]), evidence().log)
    with pytest.raises(UpstreamError):
        found.block(Digest32(bytes(32)))


def test_blocks_come_from_a_folder_or_an_address(tmp_path: Path) -> None:
    assert isinstance(block_source(str(tmp_path)), FolderSource)
    source = block_source("http://127.0.0.1:1")
    assert isinstance(source, GatewaySource)
    source.close()
    with pytest.raises(UsageError) as raised:
        block_source(str(tmp_path / "nothing"))
    assert code_of(raised) == "blocks-missing"


@pytest.mark.parametrize("log", ["", "/log"])
@pytest.mark.parametrize("at", ["", "/log"])
def test_blocks_that_nobody_named_are_read_in_an_export_or_at_the_gateway(
    folder: Path, address: str, at: str, log: str
) -> None:
    (folder / "log").mkdir()
    source = ExportedSource(Path(f"{folder}{at}"))
    source.path(CID).parent.mkdir()
    source.path(CID).write_bytes(b"a block")
    places = [blocks_beside(address.rstrip("/") + log)]
    if at == log:
        places.append(blocks_beside(f"{folder}{log}"))
    for place in places:
        found = Evidence([], place, LogFiles("nowhere"))
        if (at, log) == ("/log", ""):
            with pytest.raises(UpstreamError):
                place.get(CID)
        else:
            assert place.get(CID) == b"a block"
        found.close()


def test_blocks_that_nobody_named_are_read_beside_the_log_of_an_archive(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    FolderSource(tmp_path / "blocks").put(CID, b"a block")
    assert blocks_beside(str(tmp_path / "log")).get(CID) == b"a block"


def test_a_folder_that_has_its_log_inside_stands_for_it(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "checkpoint").write_bytes(b"signed")
    FolderSource(tmp_path / "blocks").put(CID, b"a block")
    for place in (str(tmp_path), str(tmp_path / "log")):
        assert log_files(place, None).checkpoint() == b"signed"
        assert blocks_beside(place).get(CID) == b"a block"


def test_closing_closes_every_connection() -> None:
    found = both(memory_endpoint())
    found.close()
    assert all(isinstance(chain, MemoryEndpoint) and chain.is_closed for chain in found.chains)
    other = Evidence([memory_endpoint()], block_source("http://127.0.0.1:1"), LogFiles("http://127.0.0.1:1"))
    other.close()
    Evidence([], SeveralSources(()), LogFiles("nowhere")).close()
