"""Requests that nobody thought of, drawn from the gateway's own description: it has an answer to each, and never a 500.

Half of the identifiers are those of a design, licence, token and print that are there; the session is their designer's.
"""

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import schemathesis
import uvicorn
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from platemark.protocol.units import address_text, id_text
from platemark_gateway.main import create_app
from platemark_gateway.printlog.service import open_log
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway, simulated_gateway
from simulators.people import Designer

pytestmark = pytest.mark.slow

AnyCase = schemathesis.Case[Any]
CHECKS: Final = [not_a_server_error, content_type_conformance, response_schema_conformance]
EXAMPLES: Final = 5
"""For each operation."""
SEQUENCES: Final = 8


@dataclass
class Described:
    """A gateway that serves on loopback, with a life of its own in it."""

    url: str
    schema: dict[str, Any]
    session: dict[str, str]
    known: dict[str, str]
    answers: Counter[int] = field(default_factory=Counter)


@contextlib.contextmanager
def described(folder: Path) -> Iterator[Described]:
    ready: list[Described] = []
    stop: list[uvicorn.Server] = []

    async def serve() -> None:
        async with simulated_gateway(folder, settings={"requests_per_minute": 10_000_000}) as gateway:
            assert await open_log(gateway.container) is None
            found = await _lived(gateway)
            app = create_app(gateway.container)
            listener = socket.socket()
            listener.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
            serving = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:  # noqa: ASYNC110 (uvicorn tells its start by a flag only)
                await asyncio.sleep(0.01)
            stop.append(server)
            ready.append(Described(f"http://127.0.0.1:{listener.getsockname()[1]}", app.openapi(), *found))
            await serving

    with start_blocking_portal() as portal:
        running = portal.start_task_soon(serve)
        while not ready:
            if running.done():
                running.result()
            portal.call(asyncio.sleep, 0.05)
        try:
            yield ready[0]
        finally:
            stop[0].should_exit = True
            running.result(30)


async def _lived(gateway: SimulatedGateway) -> tuple[dict[str, str], dict[str, str]]:
    agent = Agent(gateway, Designer(gateway))
    await agent.designer.licensed(agent.holder.address, prints=20)
    await agent.reserved(prints=10)
    await agent.redeem(1)
    await agent.finish(1)
    known = {
        "design_id": id_text(agent.designer.design_id),
        "license_id": id_text(agent.designer.license_id),
        "token_id": id_text(agent.token_id),
        "sequence": "1",
        "number": "1",
        "address": address_text(agent.holder.address),
    }
    return agent.designer.session, known


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Described]:
    with described(tmp_path_factory.mktemp("described")) as found:
        yield found


def ask(gateway: Described, case: AnyCase, *, known: bool) -> None:
    """Send a request and pass when the answer is one that the description foresees, and no fault of the server."""
    if known:
        case.path_parameters = {**case.path_parameters, **_among(gateway.known, case.path_parameters)}
        case.body = _with_known(gateway.known, case.body)
    signs_out = case.method == "DELETE" and case.path == "/v1/sign-in"  # the session is for all
    headers = {} if signs_out else gateway.session
    answer = case.call(base_url=gateway.url, headers=headers, timeout=30)
    gateway.answers[answer.status_code] += 1
    case.validate_response(answer, checks=CHECKS)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == ["application/problem+json"], answer.text


def _among(known: dict[str, str], parameters: Any) -> dict[str, str]:
    return {name: value for name, value in known.items() if name in parameters}


def _with_known(known: dict[str, str], value: Any) -> Any:
    """Return a body whose identifiers are those of what is there."""
    match value:
        case dict():
            named = {"designId": "design_id", "licenseId": "license_id", "tokenId": "token_id"}
            return {key: known[named[key]] if key in named else _with_known(known, item) for key, item in value.items()}
        case list():
            return [_with_known(known, item) for item in value]
        case _:
            return value


def bounded(examples: int) -> settings:
    """Return settings with which every run asks the same."""
    return settings(
        max_examples=examples,
        stateful_step_count=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def test_every_operation_has_an_answer_to_what_its_description_allows(gateway: Described) -> None:
    schema = schemathesis.openapi.from_dict(gateway.schema)
    tried = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()

        @bounded(EXAMPLES)
        @given(case=operation.as_strategy(), known=st.booleans())
        def each(case: AnyCase, known: bool) -> None:
            ask(gateway, case, known=known)

        each()
        tried += 1
    assert tried == sum(len(item) for item in gateway.schema["paths"].values())
    assert {200, 400, 404} <= set(gateway.answers), gateway.answers


def test_no_sequence_of_requests_breaks_the_gateway(gateway: Described) -> None:
    machine = schemathesis.openapi.from_dict(gateway.schema).as_state_machine()

    class Sequences(machine):  # type: ignore[valid-type, misc] # made from the description
        def before_call(self, case: AnyCase) -> None:
            case.path_parameters = {**case.path_parameters, **_among(gateway.known, case.path_parameters)}

        def get_call_kwargs(self, case: AnyCase) -> dict[str, Any]:
            return {"base_url": gateway.url, "headers": gateway.session, "timeout": 30}

        def validate_response(self, response: Any, case: AnyCase, **_: Any) -> None:
            gateway.answers[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

    gateway.answers.clear()
    run_state_machine_as_test(Sequences, settings=bounded(SEQUENCES))
    assert gateway.answers[200], gateway.answers
