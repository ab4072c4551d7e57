from dataclasses import replace

import pytest

import sample_documents as sample
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.jws import SigningKey
from platemark.protocol.outcome import Promise, Result, gives_back, parse_result, result_text, sign_outcome
from platemark.protocol.typed_data import Outcome
from platemark.protocol.units import Digest32


def test_results_are_words_for_people_and_numbers_for_logs() -> None:
    assert [result_text(result) for result in Result] == ["completed", "failed", "cancelled", "rejected"]
    for number, result in enumerate(Result, start=1):
        assert parse_result(number) is parse_result(result_text(result)) is result


@pytest.mark.parametrize("value", [0, 5, True, "1", "Completed", "", None, []], ids=repr)
def test_other_results_are_refused(value: bool | int | str | list[str] | None) -> None:
    with pytest.raises(MalformedError) as caught:
        parse_result(value)
    assert caught.value.code == "result"


def test_only_a_completed_print_is_kept() -> None:
    assert [gives_back(result) for result in Result] == [False, True, True, True]


def test_an_outcome_is_signed_by_the_tokens_agent() -> None:
    sample.OUTCOME.verify(sample.AGENT.address, sample.LEDGER_DOMAIN)
    assert sample.OUTCOME.result() is Result.COMPLETED
    better = replace(sample.OUTCOME, outcome=replace(sample.OUTCOME.outcome, result=2))
    stranger = sign_outcome(
        sample.TOKEN_ID, 1, Result.COMPLETED, Digest32(bytes(32)), agent=sample.HOLDER, domain=sample.LEDGER_DOMAIN
    )
    for signed in (better, stranger):
        with pytest.raises(VerificationError) as caught:
            signed.verify(sample.AGENT.address, sample.LEDGER_DOMAIN)
        assert caught.value.code == "signature-invalid"
    with pytest.raises(VerificationError):
        sample.OUTCOME.verify(sample.AGENT.address, sample.LICENSE_DOMAIN)


def test_the_outcome_signs_the_receipt_under_its_salt() -> None:
    assert sample.OUTCOME.outcome == Outcome(sample.TOKEN_ID, 1, 1, sample.RECEIPT.digest(sample.RECEIPT_SALT))


def test_a_promise_is_signed_by_the_gateway() -> None:
    text = sample.PROMISE.sign(sample.RELEASE_KEY)
    assert Promise.verify(text, sample.RELEASE_KEY.public_bytes) == sample.PROMISE
    with pytest.raises(VerificationError):
        Promise.verify(text, SigningKey(bytes(32)).public_bytes)
    with pytest.raises(VerificationError) as caught:
        Promise.verify(sample.RELEASE_JWS, sample.RELEASE_KEY.public_bytes)
    assert caught.value.code == "jws-type"
