"""Reports as people and machines read them: nothing that a stranger wrote is more than text."""

import json
from html.parser import HTMLParser

import pytest

from platemark.auditor.render import NOT_CLAIMED, headline, page, rows
from platemark.errors import VerificationError
from platemark.verify.report import Report
from platemark.verify.steps import Step

HOSTILE = "<script>alert(1)</script>\" onload='x' &amp; <img src=//evil.example>"


def refusal(message: str = "it is not so") -> VerificationError:
    return VerificationError(message, step="13 counts", code="count-exceeded", expected="at most 3", found="4")


def report_of(*kinds: str) -> Report:
    report = Report("print log of somebody")
    for kind in kinds:
        if kind == "holds":
            report.hold(Step.MANIFEST, "a manifest", "blocks")
        elif kind == "skipped":
            report.skip(Step.TERMS, "no terms", "blocks")
        else:
            report.reject(Step.COUNTS, refusal(), "tiles, chain")
    return report


@pytest.mark.parametrize(
    "kinds, expected",
    [
        (("holds",), "1 checks hold, none fails"),
        (("holds", "holds", "skipped"), "2 checks hold, none fails, 1 not made"),
        (("holds", "fails"), "1 discrepancy"),
        (("fails", "fails", "skipped"), "2 discrepancies"),
        (("skipped",), "nothing could be checked"),
        ((), "nothing could be checked"),
    ],
)
def test_headline_says_the_result_in_a_line(kinds: tuple[str, ...], expected: str) -> None:
    assert headline(report_of(*kinds)) == f"print log of somebody: {expected}"


def test_rows_stand_in_the_order_of_the_steps_with_what_was_expected() -> None:
    assert rows(report_of("fails", "skipped", "holds")) == [
        ("2 manifest", "ok", "a manifest", "blocks"),
        ("5 terms", "—", "no terms", "blocks"),
        ("13 counts", "FAIL", "it is not so (expected at most 3; found 4)", "tiles, chain"),
    ]


def hostile() -> Report:
    report = Report(HOSTILE)
    report.hold(Step.MANIFEST, HOSTILE, HOSTILE)
    report.reject(
        Step.COUNTS, VerificationError(HOSTILE, step=HOSTILE, code="x", expected=HOSTILE, found=HOSTILE), HOSTILE
    )
    report.trusted.append(HOSTILE)
    report.facts |= {HOSTILE: HOSTILE, "list": [HOSTILE, {HOSTILE: HOSTILE}], "empty": [], "nothing": None, "count": 3}
    return report


class Elements(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_page_keeps_hostile_texts_as_text_and_refers_to_nothing() -> None:
    found = Elements()
    found.feed(page(hostile()))
    assert not found.tags & {"script", "img", "a", "link", "iframe", "object", "form"}
    assert found.attributes == {"lang", "charset", "name", "content", "class"}
    assert HOSTILE in found.text
    text = "".join(found.text)
    assert text.count(HOSTILE) == 15
    assert NOT_CLAIMED in text
    assert "count" in text
    assert "none" in text


@pytest.mark.parametrize("kinds, result", [(("holds",), "holds"), (("holds", "fails"), "fails"), ((), "fails")])
def test_page_shows_the_result(kinds: tuple[str, ...], result: str) -> None:
    assert f'<p class="result {result}">' in page(report_of(*kinds))


def test_machine_form_of_a_report_is_stable() -> None:
    report = report_of("holds", "skipped", "fails")
    report.trusted.append("this RPC endpoint")
    report.facts["released"] = 4
    assert json.loads(json.dumps(report.to_json())) == {
        "subject": "print log of somebody",
        "holds": False,
        "findings": [
            {
                "step": 2,
                "name": "manifest",
                "verdict": "holds",
                "detail": "a manifest",
                "source": "blocks",
            },
            {
                "step": 5,
                "name": "terms",
                "verdict": "not checked",
                "detail": "no terms",
                "source": "blocks",
            },
            {
                "step": 13,
                "name": "counts",
                "verdict": "fails",
                "detail": "it is not so",
                "source": "tiles, chain",
                "code": "count-exceeded",
                "expected": "at most 3",
                "found": "4",
            },
        ],
        "trusted": ["this RPC endpoint"],
        "facts": {"released": 4},
    }
