"""What everybody who signs statements about licences needs: a number, a deadline, a signature, and the outcome."""

import secrets
from collections.abc import Callable
from typing import Final

from platemark.protocol.accounts import AccountKey
from platemark.protocol.typed_data import Struct
from platemark.protocol.units import UnixSeconds
from platemark.sdk.answers import TransactionState
from platemark.sdk.clock import Clock
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.trust import TrustedGateway
from platemark.sdk.waiting import Patience, final_in

OFFER_SECONDS: Final = 3600
"""How long a signed offer or mint may be brought to the chain."""


class Signer:
    """Signs statements with one account for one gateway to bring to the chain."""

    def __init__(
        self,
        client: GatewayClient,
        gateway: TrustedGateway,
        account: AccountKey,
        *,
        clock: Clock,
        tell: Callable[[str], None],
        patience: Patience,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Args: see the classes; `tell` gets one line about what happens next."""
        self._client = client
        self._gateway = gateway
        self._account = account
        self._clock = clock
        self._tell = tell
        self._patience = patience
        self._randomness = randomness

    def _sign(self, struct: Struct) -> bytes:
        return self._account.sign(struct.digest(self._gateway.deployment.license_domain))

    def _number(self) -> int:
        return int.from_bytes(self._randomness(32), "big")

    def _deadline(self) -> UnixSeconds:
        return UnixSeconds(self._clock.now() + OFFER_SECONDS)

    def _until_sent(self, transaction: str | None) -> TransactionState | None:
        return None if transaction is None else self._patience.transaction(self._client, transaction)

    def _when_final(self) -> str:
        return final_in(self._gateway.final_after_seconds)
