"""Waiting for facts to become final, with growing pauses and an end to patience."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from platemark.errors import Kind, RefusedError, TryLaterError
from platemark.sdk.answers import TransactionState
from platemark.sdk.gateway import GatewayClient

T = TypeVar("T")

_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 15.0
_GROWTH: Final = 1.5


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait, and by which clock."""

    seconds: float = 1800
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def until(self, ask: Callable[[], T], enough: Callable[[T], bool], what: str) -> T:
        """Return the first answer that is enough.

        Errors: TryLaterError `awaiting-finality` when patience ends; those of `ask` and `enough`.
        """
        ends_at = self.monotonic() + self.seconds
        pause = _FIRST_PAUSE_SECONDS
        while not enough(answer := ask()):
            if self.monotonic() + pause > ends_at:
                raise not_final(what)
            self.sleep(pause)
            pause = min(pause * _GROWTH, _LONGEST_PAUSE_SECONDS)
        return answer

    def when_ready(self, call: Callable[[], T]) -> T:
        """Make an idempotent call, again and again while the facts it needs are not final yet.

        Errors: the last TryLaterError when patience ends; those of `call`.
        """
        ends_at = self.monotonic() + self.seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return call()
            except TryLaterError as error:
                asked = min(float(error.retry_after_seconds), _LONGEST_PAUSE_SECONDS)
                pause = max(min(pause * _GROWTH, asked), _FIRST_PAUSE_SECONDS)
                if error.kind is not Kind.UNCONFIRMED or self.monotonic() + pause > ends_at:
                    raise
            self.sleep(pause)

    def transaction(self, client: GatewayClient, transaction_id: str) -> TransactionState:
        """Return a transaction that a gateway sends, once it is final.

        Errors: RefusedError `transaction-failed`; TryLaterError `awaiting-finality`.
        """

        def enough(state: TransactionState) -> bool:
            if state.status == "failed":
                raise failed(state.purpose or "transaction", state.reason)
            return state.status == "final"

        return self.until(lambda: client.transaction(transaction_id), enough, "the transaction")


def failed(what: str, reason: str | None) -> RefusedError:
    """Return the error for something that the chain refused."""
    return RefusedError(
        f"the chain refused the {what}: {(reason or 'no reason given')[:200]}",
        kind=Kind.CONFLICT,
        code="transaction-failed",
    )


def not_final(what: str) -> TryLaterError:
    """Return the error for something that is still on its way when patience ends."""
    return TryLaterError(
        f"{what} is not final yet",
        code="awaiting-finality",
        retry_after_seconds=60,
        hint="it goes on by itself; run the same command again in a minute",
    )


def final_in(seconds: int) -> str:
    """Return in words when something that was just sent will be final."""
    if seconds <= 0:
        return "final at once"
    if seconds < 90:
        return f"final in about {seconds} s"
    return f"final in about {round(seconds / 60)} min"
