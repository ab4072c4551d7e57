"""What a running gateway is made of: one frozen value, built by `cli` or a test, seen by every slice."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request

from platemark.protocol.profile import GatewayProfile
from platemark_gateway.clock import Clock
from platemark_gateway.db.session import Database
from platemark_gateway.ids import Randomness
from platemark_gateway.metrics import Metrics
from platemark_gateway.ports import (
    BlockStore,
    ChainIndex,
    ChainReader,
    ContractCalls,
    KeyVault,
    TransactionQueue,
    Witness,
)
from platemark_gateway.settings import Settings

_HEAVY_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class Container:
    """Settings, time, randomness, the database and the ports' adapters."""

    settings: Settings
    clock: Clock
    randomness: Randomness
    database: Database
    chain: ChainReader
    index: ChainIndex
    calls: ContractCalls
    transactions: TransactionQueue
    vault: KeyVault
    blocks: BlockStore
    profile: GatewayProfile
    """What this gateway declared on chain."""
    witnesses: tuple[Witness, ...] = ()
    """Who is asked to cosign the log's checkpoints."""
    metrics: Metrics = field(default_factory=Metrics)
    """What this process counts."""
    heavy: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_HEAVY_AT_ONCE))
    """Held by checks that decrypt whole files, so that a few of them leave the machine to everybody else."""


async def _container(request: Request) -> Container:
    container: Container = request.app.state.container
    return container


Services = Annotated[Container, Depends(_container)]
"""Annotation of an endpoint's parameter: the gateway's container."""
