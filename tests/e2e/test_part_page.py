"""The page at a label's code verifies a real part in a visitor's browser, and says what it found."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from browser import Browser, Page, running_browser
from golden import golden
from platemark.protocol.serial import grouped
from platemark_gateway.printlog import part_page
from stack import Person, Stack, get, licensed_cube, running_stack, wait_for

pytestmark = [pytest.mark.chromium, pytest.mark.slow]

SERVED = Path(part_page.__file__).parent / "page"
PHONE = (360, 740)
DESK = (1280, 900)
REASON = "The hook breaks. <img src=x onerror=alert(1)> " + "Return it to whoever printed it. " * 20


@dataclass(frozen=True)
class Parts:
    """A gateway with parts of two designs; the second design was recalled."""

    stack: Stack
    good: str
    failed: str
    recalled: str

    def address(self, serial: str) -> str:
        return f"{self.stack.url}/v1/parts/{serial}"

    def passport(self, serial: str) -> Any:
        return get(f"{self.address(serial)}/passport").json()

    def is_anchored(self, serial: str) -> bool:
        return "anchor" in self.passport(serial)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    folder = tmp_path_factory.mktemp("parts")
    with running_stack(folder) as stack:
        designer, centre = stack.person("designer"), stack.person("centre", coins=True)
        good, failed = made(folder / "one", designer, centre, (), ("--attempts", "1", "--fail-at", "ada=0.4"))
        (recalled,) = made(folder / "two", designer, centre, ())
        found = Parts(stack, good, failed, recalled)
        for serial in (good, failed, recalled):
            wait_for("the anchor", partial(found.is_anchored, serial))
        design = found.passport(recalled)["designId"]
        designer.run("design", "recall", design, "--revision", "1", "--reason", REASON)
        wait_for("the recall", lambda: get(found.address(recalled)).json()["status"] == "recalled")
        yield found


def made(folder: Path, designer: Person, centre: Person, *prints: tuple[str, ...]) -> list[str]:
    folder.mkdir()
    licence = licensed_cube(folder, designer, centre)
    token = centre.run("token", "request", licence, "--prints", "5")["tokenId"]
    return [str(centre.make_print(token, "--printer", "ada", *options)["serial"]) for options in prints]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with running_browser(tmp_path_factory.mktemp("browser")) as started:
        yield started


def opened(browser: Browser, url: str, size: tuple[int, int] = DESK) -> Page:
    page = browser.page(*size)
    page.open(url)
    page.wait_for("#status", bool)
    return page


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_page_says_at_a_glance_that_a_part_is_valid(
    browser: Browser, parts: Parts, size: tuple[int, int], tmp_path: Path
) -> None:
    code = hashlib.sha256(get(f"{parts.address(parts.good)}/passport").content).hexdigest()[:32]
    page = opened(browser, f"{parts.address(parts.good)}#{code}", size)
    assert page.text("#status") == "Valid, says the gateway"
    assert "the gateway's word until you ask a chain" in page.text("#explained")
    assert grouped(parts.good) in page.text(".serial")
    assert page.steps("fails") == []
    assert {step.split()[0] for step in page.steps("holds")} == {"2", "5", "7", "8", "9", "10", "11"}
    facts, passport = page.text(".facts"), parts.passport(parts.good)
    assert "no name in this passport" in facts
    for account in (passport["permission"]["holder"], passport["permission"]["agent"], passport["profile"]["gateway"]):
        assert account in facts
    assert f"at {passport['profile']['url']}, says its profile" in facts
    assert "Chain facts not verified" in page.text(".trust")
    assert "The label was made from exactly this passport." in page.text(".trust")
    assert not page.is_wider_than_window()
    page.screenshot(tmp_path / "page.png")
    assert page.complaints == []


def test_page_says_of_a_failed_print_that_it_is_voided(browser: Browser, parts: Parts) -> None:
    page = opened(browser, f"{parts.address(parts.failed)}#{'0' * 32}", PHONE)
    assert page.text("#status") == "Voided"
    assert "failed" in page.text("#explained")
    assert "another state of this passport. That is usual" in page.text(".trust")


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_page_believes_a_recall_to_the_gateway_and_reads_it_on_chain(
    browser: Browser, parts: Parts, size: tuple[int, int], tmp_path: Path
) -> None:
    page = opened(browser, parts.address(parts.recalled), size)
    assert page.text("#status") == "Recalled"
    assert "says the gateway. Ask whoever is named on the printed label" in page.text("#explained")
    page.wait_for("#reason", said_by_its_owner)
    assert page.text("#announced").endswith(page.text("#reason"))
    assert not page.is_wider_than_window()
    page.screenshot(tmp_path / "page.png")
    asked_on_chain(page, parts.stack.rpc)
    assert page.steps("fails") == ["4 revision-recalled"]
    assert "says the chain" in page.text("#explained")
    page.wait_for("#reason", said_by_its_owner)
    assert page.complaints == []


def said_by_its_owner(text: str) -> bool:
    return text == f"The reason in the owner's words, as the gateway has them: “{REASON[:500]}…”"


def test_page_says_that_nobody_gives_the_reason_of_a_recall(browser: Browser, parts: Parts) -> None:
    page = browser.page(*DESK)
    page.refuse("*/ipfs/*")
    page.open(parts.address(parts.recalled))
    page.wait_for("#reason", lambda text: text.startswith("The gateway names a reason, but its text is not to be had"))
    assert page.text("#status") == "Recalled"


def test_page_asks_the_chain_that_its_visitor_names(browser: Browser, parts: Parts, tmp_path: Path) -> None:
    page = opened(browser, parts.address(parts.good))
    asked_on_chain(page, parts.stack.rpc)
    assert page.text("#status") == "Valid"
    assert page.steps("fails") == []
    held = {step.split()[0] for step in page.steps("holds")}
    assert held == {"0", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"}
    assert f"this RPC endpoint, {parts.stack.rpc}" in page.text(".trust")
    assert "UTC" in page.text(".facts")
    page.screenshot(tmp_path / "page.png")
    assert page.complaints == []


def asked_on_chain(page: Page, rpc: str) -> None:
    page.type("#endpoints", rpc)
    page.press_enter()
    page.wait_for(".trust", lambda text: "Trusted for the chain" in text)


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_page_names_the_failing_step_of_an_altered_file_with_the_network_off(
    browser: Browser, parts: Parts, size: tuple[int, int], tmp_path: Path
) -> None:
    page = opened(browser, parts.address(parts.good), size)
    page.go_offline()
    altered = parts.passport(parts.good)
    path = tmp_path / "passport.json"
    path.write_text(json.dumps(altered))
    page.choose_file("#file", path)
    page.wait_for("#status", "Holds by itself".__eq__)
    altered["manifest"]["title"] = "Something else"
    path.write_text(json.dumps(altered))
    page.choose_file("#file", path)
    page.wait_for("#status", "Does not hold".__eq__)
    assert page.steps("fails") == ["2 manifest-digest", "10 release-mismatch"]
    assert "Step 2 manifest fails" in page.text("#explained")
    assert not page.is_wider_than_window()
    page.screenshot(tmp_path / "page.png")
    altered["terms"]["cap"] += 1
    path.write_text(json.dumps(altered))
    page.choose_file("#file", path)
    page.wait_for("#explained", lambda text: text.startswith("Step 5 terms fails"))
    assert page.steps("fails") == ["5 passport"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_legible(browser: Browser, parts: Parts, scheme: str, tmp_path: Path) -> None:
    for serial, status in ((parts.good, "Valid, says the gateway"), (parts.failed, "Voided")):
        page = opened(browser, parts.address(serial), PHONE)
        page.prefer(scheme)
        assert page.text("#status") == status
        ratio, text = page.lowest_contrast()
        assert ratio >= 4.5, text
        page.screenshot(tmp_path / f"{status}.png")


@pytest.mark.parametrize(
    "name, status",
    [
        ("as it is", "Holds by itself"),
        ("provisional", "Provisional"),
        ("before its outcome", "Provisional"),
        ("rejected after inspection", "Voided"),
    ],
)
def test_page_from_disk_verifies_a_file_without_a_gateway(
    browser: Browser, name: str, status: str, tmp_path: Path
) -> None:
    vectors = golden("passports")
    case = next(case for case in vectors["cases"] if case["name"] == name)
    passport = vectors["passport"] | case["set"]
    path = tmp_path / "passport.json"
    path.write_text(json.dumps({member: passport[member] for member in passport if member not in case["without"]}))
    page = from_disk(browser)
    page.choose_file("#file", path)
    page.wait_for("#status", status.__eq__)
    assert page.steps("fails") == []
    facts = page.text(".facts")
    assert "Print centre North · prints@north.example" in facts
    assert "claimed by whoever wrote the passport" in facts
    assert "PLA, lot 7, 40 % recycled" in facts or "receipt" in case["without"]
    assert "Not for food." in page.text(".warnings")
    page.screenshot(tmp_path / "page.png")
    assert page.complaints == []


def test_page_says_what_is_no_passport(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "passport.json"
    path.write_text('{"serial": "ABCDEFGHIJKLMNOP"}')
    page = from_disk(browser)
    page.choose_file("#file", path)
    page.wait_for("#status", "No passport".__eq__)


def from_disk(browser: Browser) -> Page:
    page = browser.page(*PHONE)
    page.open((SERVED / "part.html").as_uri())
    page.wait_for("#part", lambda text: text.startswith("Drop a passport file"))
    return page


@pytest.mark.parametrize("serial", ["ABCDEFGHIJKLMNOP", "NONSENSE", "%E0%A4%A"])
def test_page_says_that_a_serial_is_unknown(browser: Browser, parts: Parts, serial: str) -> None:
    page = opened(browser, parts.address(serial), PHONE)
    assert page.text("#status") == "Unknown"
    assert "the label" in page.text("#explained")
    assert not page.is_wider_than_window()
