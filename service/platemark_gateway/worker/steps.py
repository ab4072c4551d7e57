"""Everything that a gateway's worker does, by name."""

from collections.abc import Mapping
from functools import partial

from platemark_gateway.chain.indexer import Indexer
from platemark_gateway.chain.senders import Senders
from platemark_gateway.container import Container
from platemark_gateway.worker import counting, reserving
from platemark_gateway.worker.loop import Step


def steps_of(container: Container, indexer: Indexer, senders: Senders) -> Mapping[str, Step]:
    """Return the worker's steps; each claims its work in the database, so any number of workers may run."""
    return {
        "indexing": indexer.run_once,
        "reserving": partial(reserving.step, container),
        "outbox": senders.run_once,
        **counting.steps(container),
    }
