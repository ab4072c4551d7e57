from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

import sample_documents as sample
from platemark.agent.following import Anchored, Standing, follow
from platemark.agent.machine import Acknowledgement, Answer, Report, Request, TokenMachine, Use
from platemark.errors import MalformedError, UpstreamError, VerificationError
from platemark.protocol.jws import SigningKey
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.tiles import Edge, grow
from platemark.protocol.units import UnixSeconds
from platemark.verify.keys import KeyHistory
from simulators.print_desk import gateway_fact

EXPECTED_BY = sample.RELEASE.merge_by
USE = Use(
    Request.make(sample.SIGNED_REQUEST, sample.RECIPIENT.public_bytes, sample.DETAIL_SALT, sample.INTENDED.to_json()),
    Answer(sample.RELEASE_JWS, b"sealed"),
    Report(1, b"{}"),
    Acknowledgement(sample.PROMISE.sign(sample.RELEASE_KEY), b"{}"),
)
OTHERS = [f"entry {number}".encode() for number in range(600)]


@dataclass
class Log:
    """A gateway's log and its newest anchor."""

    entries: Sequence[bytes]
    timestamp: int
    epoch: int = 1
    files: dict[str, bytes] = field(default_factory=dict)

    def latest_anchor(self) -> Anchored | None:
        if not self.entries:
            return None
        growth = grow(Edge.empty(), self.entries)
        self.files.update(growth.files)
        return Anchored(self.epoch, len(self.entries), growth.root, UnixSeconds(self.timestamp))


def keys(*profiles: GatewayProfile) -> KeyHistory:
    """Return what a gateway declared, one profile after the other, since the request saw a block."""
    declared = [(profile, USE.request.signed.request.seen_block + number) for number, profile in enumerate(profiles)]
    return KeyHistory(
        gateway_fact(sample.PROFILE.gateway, declared), {profile.digest(): profile for profile in profiles}.get
    )


def standings(log: Log, now: int, use: Use = USE) -> list[tuple[str, Standing, int | None]]:
    machine = TokenMachine(sample.TOKEN_ID, prints=10, spares=1, uses=[use])
    found = follow([machine], keys=keys(sample.PROFILE), anchors=log, get_tile=log.files.get, now=UnixSeconds(now))
    return [(item.about, item.standing, item.index) for item in found]


def test_what_is_in_the_anchored_log_is_merged() -> None:
    entries = [*OTHERS[:300], sample.REDEEMED.to_bytes(), *OTHERS[300:], sample.OUTCOME_ENTRY.to_bytes()]
    assert standings(Log(entries, EXPECTED_BY - 1000), EXPECTED_BY) == [
        ("release", Standing.MERGED, 300),
        ("outcome", Standing.MERGED, 601),
    ]


@pytest.mark.parametrize(
    "anchored_at, now, standing",
    [
        (EXPECTED_BY - 1, EXPECTED_BY - 1, Standing.WAITING),
        (EXPECTED_BY - 1, EXPECTED_BY, Standing.OVERDUE),
        (EXPECTED_BY, EXPECTED_BY, Standing.HIDDEN),
        (EXPECTED_BY + 999, EXPECTED_BY + 1000, Standing.HIDDEN),
    ],
)
def test_a_release_that_no_root_has_is_awaited_then_overdue_then_hidden(
    anchored_at: int, now: int, standing: Standing
) -> None:
    release = standings(Log(OTHERS, anchored_at), now)[0]
    assert release == ("release", standing, None)


def test_a_log_that_was_never_anchored_is_overdue_at_most() -> None:
    assert standings(Log([], 0), EXPECTED_BY - 1)[0][1] is Standing.WAITING
    assert standings(Log([], 0), EXPECTED_BY + 10**6)[0][1] is Standing.OVERDUE


def test_a_promised_outcome_that_is_left_out_convicts_as_well() -> None:
    log = Log([sample.REDEEMED.to_bytes()], sample.PROMISE.merge_by)
    assert [standing for _, standing, _ in standings(log, sample.PROMISE.merge_by)] == [
        Standing.MERGED,
        Standing.HIDDEN,
    ]


def test_files_of_another_log_are_not_believed() -> None:
    log = Log([sample.REDEEMED.to_bytes(), *OTHERS], EXPECTED_BY)
    anchor = log.latest_anchor()
    log.files["tile/0/000"] = bytes(32 * 256)
    log.latest_anchor = lambda: anchor  # type: ignore[method-assign]
    with pytest.raises((VerificationError, MalformedError)) as refused:
        standings(log, EXPECTED_BY)
    assert refused.value.code in {"log-tile", "log-root"}


def test_a_log_in_another_epoch_asks_for_the_new_profile() -> None:
    with pytest.raises(UpstreamError) as refused:
        standings(Log(OTHERS, EXPECTED_BY, epoch=2), EXPECTED_BY)
    assert refused.value.code == "epoch-changed"


def test_a_statement_that_the_gateway_did_not_sign_convicts_nobody() -> None:
    forged = sample.RELEASE.sign(sample.LOG_KEY)
    use = Use(USE.request, Answer(forged, b"sealed"))
    with pytest.raises(VerificationError) as refused:
        standings(Log(OTHERS, EXPECTED_BY), EXPECTED_BY, use)
    assert refused.value.code == "release-key"


def test_a_use_without_an_answer_promises_nothing() -> None:
    assert standings(Log(OTHERS, EXPECTED_BY), EXPECTED_BY, Use(USE.request)) == []


def test_what_was_promised_under_an_older_profile_is_merged_when_a_later_epoch_has_it() -> None:
    key = SigningKey(b"\x77" * 32)
    later = replace(sample.PROFILE.in_epoch(2), release_key=key.public_bytes)
    log = Log([sample.REDEEMED.to_bytes(), sample.OUTCOME_ENTRY.to_bytes()], EXPECTED_BY, epoch=2)
    machine = TokenMachine(sample.TOKEN_ID, prints=10, spares=1, uses=[USE])
    found = follow(
        [machine],
        keys=keys(sample.PROFILE, later),
        anchors=log,
        get_tile=log.files.get,
        now=UnixSeconds(EXPECTED_BY),
    )
    assert [item.standing for item in found] == [Standing.MERGED, Standing.MERGED]
