import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from platemark.agent.machine import Acknowledgement, Answer, Report, Request, TokenMachine, Use
from platemark.errors import LocalError, PlatemarkError, RefusedError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.sealing import RecipientKey
from platemark.protocol.typed_data import ledger_domain
from platemark.protocol.units import Address, Digest32, TokenId
from platemark.protocol.voucher import RedemptionRequest, SignedRequest

TOKEN = TokenId(7)
AGENT = AccountKey(bytes(31) + b"\x01")
RECIPIENT = RecipientKey(bytes(32))
DOMAIN = ledger_domain(31337, Address(bytes(range(20))))


def request(sequence: int, salt: int = 0, token: TokenId = TOKEN) -> Request:
    wanted = RedemptionRequest(
        token,
        sequence,
        Digest32(bytes(32)),
        bytes([salt]) * 16,
        RECIPIENT.digest,
        5,
        Digest32(bytes(32)),
        Digest32(bytes(32)),
    )
    return Request.make(wanted.sign(AGENT, DOMAIN), RECIPIENT.public_bytes, bytes(32), {"printer": "ada"})


def answer(sequence: int) -> Answer:
    return Answer(f"release.{sequence}.x", b"sealed")


def machine(*uses: Use) -> TokenMachine:
    return TokenMachine(TOKEN, prints=3, spares=1, uses=uses)


def test_sequences_are_signed_one_after_the_other() -> None:
    agent = machine()
    for sequence in (1, 2, 3, 4):
        assert agent.next_sequence() == sequence
        agent.sign(request(sequence))
        agent.answered(sequence, answer(sequence))
    with pytest.raises(RefusedError) as refused:
        agent.next_sequence()
    assert refused.value.code == "count-spent"


def test_nothing_is_signed_while_a_request_is_unanswered() -> None:
    agent = machine()
    first = agent.sign(request(1))
    with pytest.raises(LocalError) as refused:
        agent.sign(request(2))
    assert refused.value.code == "request-pending"
    assert agent.pending == first.request


def test_a_second_request_for_a_sequence_is_never_signed() -> None:
    agent = machine()
    agent.sign(request(1))
    agent.answered(1, answer(1))
    with pytest.raises(LocalError):
        agent.sign(request(1, salt=9))


def test_a_request_of_another_token_is_not_taken() -> None:
    with pytest.raises(LocalError):
        machine().sign(request(1, token=TokenId(8)))


def test_the_stored_bytes_are_what_is_sent_again() -> None:
    made = request(1)
    loaded = Request.load(made.body, made.detail_salt, made.detail)
    assert loaded == made
    assert loaded.signed.signer(DOMAIN) == AGENT.address


def test_the_same_answer_again_changes_nothing_and_another_one_convicts() -> None:
    agent = machine()
    agent.sign(request(1))
    first = agent.answered(1, answer(1))
    assert agent.answered(1, answer(1)) == first
    with pytest.raises(VerificationError) as refused:
        agent.answered(1, Answer("another.release.x", b"sealed"))
    assert refused.value.code == "release-differs"
    assert agent.use(1) == first


def test_an_outcome_is_final() -> None:
    agent = machine()
    agent.sign(request(1))
    with pytest.raises(RefusedError) as refused:
        agent.reported(1, Report(2, b"{}"))
    assert refused.value.code == "not-released"
    agent.answered(1, answer(1))
    agent.reported(1, Report(2, b"{}"))
    agent.reported(1, Report(2, b"{}"))
    with pytest.raises(RefusedError) as refused:
        agent.reported(1, Report(1, b"{...}"))
    assert refused.value.code == "outcome-final"
    assert [use.sequence for use in agent.unacknowledged] == [1]
    agent.acknowledged(1, Acknowledgement("promise", b"{}"))
    assert not agent.unacknowledged


def test_a_gateway_that_lost_rows_gets_the_stored_requests_again() -> None:
    agent = machine()
    for sequence in (1, 2):
        agent.sign(request(sequence))
        agent.answered(sequence, answer(sequence))
    agent.sign(request(3))
    assert [again.sequence for again in agent.resend_from(2)] == [2, 3]


@pytest.mark.parametrize("expected", [0, 2, 3, 65_000])
def test_a_gateway_that_expects_more_than_was_asked_for_gets_nothing(expected: int) -> None:
    agent = machine()
    agent.sign(request(1))
    with pytest.raises(VerificationError) as refused:
        agent.resend_from(expected)
    assert refused.value.code == "sequence-ahead"


@pytest.mark.parametrize(
    "uses",
    [
        (Use(request(2), answer(2)),),
        (Use(request(1)), Use(request(2), answer(2))),
        (Use(request(1), answer(1)), Use(request(1, salt=3), answer(1))),
        (Use(request(1), None, Report(1, b"{}")),),
        (Use(request(1), answer(1), None, Acknowledgement("promise", b"{}")),),
        (Use(request(1, token=TokenId(9)), answer(1)),),
    ],
)
def test_records_that_break_a_rule_stop_the_agent(uses: tuple[Use, ...]) -> None:
    with pytest.raises(LocalError) as refused:
        machine(*uses)
    assert refused.value.code == "spool-damaged"


class AgentAgainstAnyGateway(RuleBasedStateMachine):
    """An agent that may die at any time, against a gateway that may answer anything."""

    def __init__(self) -> None:
        super().__init__()
        self.stored: dict[int, Use] = {}
        self.sent: dict[int, set[bytes]] = {}
        self.agent = TokenMachine(TOKEN, prints=4, spares=2)

    def _send(self, wanted: Request) -> None:
        assert self.stored[wanted.sequence].request.body == wanted.body, "sent before it was stored"
        self.sent.setdefault(wanted.sequence, set()).add(wanted.body)

    @rule(salt=st.integers(0, 255), dies=st.booleans())
    def ask(self, salt: int, dies: bool) -> None:
        pending = self.agent.pending
        if pending is None:
            try:
                use = self.agent.sign(request(self.agent.next_sequence(), salt))
            except RefusedError:
                return
            self.stored[use.sequence] = use
            pending = use.request
        if not dies:
            self._send(pending)

    @rule(sequence=st.integers(0, 8), text=st.sampled_from(["a.b.c", "d.e.f"]), dies=st.booleans())
    def receive(self, sequence: int, text: str, dies: bool) -> None:
        before = self.stored.get(sequence)
        try:
            use = self.agent.answered(sequence, Answer(text, b"sealed"))
        except PlatemarkError:
            assert self.stored.get(sequence) == before
            return
        self.stored[sequence] = use

    @rule(sequence=st.integers(0, 8), result=st.integers(1, 4))
    def report(self, sequence: int, result: int) -> None:
        try:
            self.stored[sequence] = self.agent.reported(sequence, Report(result, bytes([result])))
        except PlatemarkError:
            return

    @rule(expected=st.integers(-1, 9))
    def gateway_says_what_it_expects(self, expected: int) -> None:
        try:
            for again in self.agent.resend_from(expected):
                self._send(again.request)
        except VerificationError:
            return

    @precondition(lambda self: self.stored)
    @rule()
    def die_and_begin_again(self) -> None:
        uses = [self.stored[sequence] for sequence in sorted(self.stored)]
        self.agent = TokenMachine(TOKEN, prints=4, spares=2, uses=uses)

    @invariant()
    def one_request_for_a_sequence(self) -> None:
        assert all(len(bodies) == 1 for bodies in self.sent.values())

    @invariant()
    def never_beyond_the_last_release_and_one(self) -> None:
        released = sum(use.answer is not None for use in self.stored.values())
        assert max(self.sent, default=0) <= released + 1
        assert max(self.sent, default=0) <= 6


TestAgentAgainstAnyGateway = AgentAgainstAnyGateway.TestCase
TestAgentAgainstAnyGateway.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_signed_request_is_what_its_body_says() -> None:
    signed, public = SignedRequest.from_body({**request(1).signed.to_body(RECIPIENT.public_bytes)})
    assert public == RECIPIENT.public_bytes
    assert signed == request(1).signed
