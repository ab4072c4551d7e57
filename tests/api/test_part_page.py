"""The page at a label's code: for browsers only, with the strictest policy, and only handed out."""

import pytest

from simulators.gateway import SimulatedGateway

pytestmark = pytest.mark.anyio

PART = "/v1/parts/ABCDEFGHIJKLMNOP"
BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


async def test_a_browser_gets_the_page_and_a_program_the_status(gateway: SimulatedGateway) -> None:
    page = await gateway.client.get(PART, headers=BROWSER)
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert '<script src="part.js" defer></script>' in page.text
    for accept in ("application/json", "*/*", ""):
        answer = await gateway.client.get(PART, headers={"Accept": accept})
        assert (answer.json()["serial"], answer.json()["status"]) == ("ABCDEFGHIJKLMNOP", "unknown")
        assert answer.headers["vary"] == page.headers["vary"] == "Accept"
    passport = await gateway.client.get(f"{PART}/passport", headers=BROWSER)
    assert passport.json()["code"] == "serial-unknown"


@pytest.mark.parametrize("serial, status", [("NONSENSE", 422), ("A" * 40, 422), ("ABCDEFGHIJKLMNO1", 400)])
async def test_a_browser_gets_the_page_for_what_is_no_serial_and_a_program_the_problem(
    gateway: SimulatedGateway, serial: str, status: int
) -> None:
    page = await gateway.client.get(f"/v1/parts/{serial}", headers=BROWSER)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    refused = await gateway.client.get(f"/v1/parts/{serial}", headers={"Accept": "application/json"})
    assert (refused.status_code, refused.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("path", [PART, "/v1/parts/part.js", "/v1/parts/part.css"])
async def test_the_page_runs_nothing_but_its_own_script(gateway: SimulatedGateway, path: str) -> None:
    answer = await gateway.client.get(path, headers=BROWSER)
    policy = dict(directive.split(" ", 1) for directive in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_the_page_has_nothing_that_its_policy_would_refuse(gateway: SimulatedGateway) -> None:
    page = (await gateway.client.get(PART, headers=BROWSER)).text
    assert page.count("<script") == 1
    for refused in ("<style", " style=", " onload=", " onclick=", "http://", "javascript:"):
        assert refused not in page


async def test_files_of_the_page_are_not_sent_twice(gateway: SimulatedGateway) -> None:
    first = await gateway.client.get("/v1/parts/part.js")
    assert (first.status_code, first.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
    again = await gateway.client.get("/v1/parts/part.js", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
