"""Tells every process what this worker's steps last did."""

from collections.abc import Mapping

from sqlalchemy import func
from sqlalchemy.dialects import postgresql, sqlite

from platemark_gateway.db.session import Database
from platemark_gateway.models.work import WorkerStep
from platemark_gateway.worker.loop import StepState


async def report(database: Database, states: Mapping[str, StepState]) -> None:
    """Write what the steps last did; of several workers the latest success stands.

    Errors: UnavailableError when the database is away.
    """
    insert = sqlite.insert if database.is_sqlite else postgresql.insert
    latest = func.max if database.is_sqlite else func.greatest
    async with database.begin() as session:
        for name, state in sorted(states.items()):  # in one order, so that two workers never wait for each other
            new = insert(WorkerStep).values(
                step=name,
                succeeded_at=state.succeeded_at,
                failed_at=state.failed_at,
                failures=state.failures,
                code=state.code,
            )
            await session.execute(
                new.on_conflict_do_update(
                    index_elements=[WorkerStep.step],
                    set_={
                        "succeeded_at": latest(
                            func.coalesce(WorkerStep.succeeded_at, new.excluded.succeeded_at),
                            func.coalesce(new.excluded.succeeded_at, WorkerStep.succeeded_at),
                        ),
                        "failed_at": func.coalesce(new.excluded.failed_at, WorkerStep.failed_at),
                        "failures": new.excluded.failures,
                        "code": func.coalesce(new.excluded.code, WorkerStep.code),
                    },
                )
            )
