"""Bodies of what the gateway says of itself."""

import uuid
from typing import Any, Literal

from platemark_gateway.wire import AddressField, DigestField, Wire


class Finality(Wire):
    """When a fact counts as final on this chain."""

    tag: str
    seconds_typical: int


class GatewayAnswer(Wire):
    """The gateway, its contracts and the profile that it declared on chain."""

    name: str
    version: str
    chain_id: int
    registry: AddressField
    license: AddressField
    ledger: AddressField
    gateway: AddressField
    profile: dict[str, Any]
    profile_digest: DigestField
    url: str
    log_origin: str
    merge_delay_seconds: int
    finality: Finality
    state: Literal["ready", "quarantine"]


class TransactionAnswer(Wire):
    """A transaction that the gateway sends: queued, sent, seen, confirmed, final or failed (with its reason).

    `waitingFor` says what keeps a queued one: the gateway's `spending-cap`, its `fee-limit`, or its account's `funds`.
    """

    id: uuid.UUID
    purpose: str
    status: str
    hash: DigestField | None
    reason: str | None
    waiting_for: str | None


class Health(Wire):
    """How each part is: `ok`, or a fixed word or code that says what it is not."""

    status: Literal["ok", "unavailable"]
    parts: dict[str, str]
    replica_behind_roots: int | None
    """How many of the roots that are kept the replica of the blocks lacks; null without a replica."""
