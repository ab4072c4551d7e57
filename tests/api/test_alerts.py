"""What the alerts watch is what the gateway reports."""

import re
from pathlib import Path

import pytest

from platemark_gateway.models.work import WorkerStep
from platemark_gateway.worker import counting
from simulators.agent import Agent
from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[2]
OPERATIONS = ROOT / "service" / "operations"
PAGE = ROOT / "docs" / "operations.md"


async def test_every_metric_that_an_alert_names_is_reported(
    gateway: SimulatedGateway, agent: Agent, tmp_path: Path
) -> None:
    gateway.choose(ship_to=tmp_path / "second place")
    gateway.witnessed("one.test")
    await agent.redeem(1)
    steps = counting.steps(gateway.container)
    async with gateway.container.database.begin() as session:
        session.add_all(WorkerStep(step=name, succeeded_at=gateway.clock.now(), failures=0) for name in steps)
    told = (await gateway.client.get("/metrics")).text
    reported = set(re.findall(r"^(platemark_\w+)", told, re.MULTILINE))
    named = set(re.findall(r"platemark_\w+", (OPERATIONS / "alerts.yml").read_text()))
    assert named, "no alert watches the gateway"
    assert named <= reported, named - reported
    for label in ('route="/v1/prints"', 'step="sequencing"', 'node="primary"'):
        assert label in told, "an alert names this label"


def test_an_alert_watches_each_state_of_the_chain_that_an_operator_must_end() -> None:
    rules = (OPERATIONS / "alerts.yml").read_text()
    for metric in ("platemark_chain_disputed", "platemark_outbox_capped"):
        assert f"expr: max({metric}" in rules, metric


def test_every_alert_has_a_row_for_the_operator() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", (OPERATIONS / "alerts.yml").read_text()))
    section = PAGE.read_text().partition("\n## Alerts\n")[2].partition("\n## ")[0]
    assert set(re.findall(r"`([A-Z]\w+[a-z])`", section)) == alerts


def test_every_alert_has_a_history_that_raises_it_and_one_that_does_not() -> None:
    alerts = set(re.findall(r"- alert: (\w+)", (OPERATIONS / "alerts.yml").read_text()))
    tests = (OPERATIONS / "alerts_test.yml").read_text()
    raised = set(re.findall(r"alertname: (\w+)\n\s+exp_alerts:", tests))
    quiet = set(re.findall(r"- \{eval_time: \w+, alertname: (\w+)\}", tests))
    assert raised == alerts
    assert quiet == alerts
