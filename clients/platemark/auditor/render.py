"""Reports as people read them: lines for a terminal, one HTML page that needs nothing else."""

import csv
import html
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from platemark.auditor.related import Related
from platemark.protocol.canonical import JsonValue
from platemark.protocol.passport import Status
from platemark.verify.report import Finding, Report, Verdict

NOT_CLAIMED: Final = (
    "Platemark counts key requests and part passports, not atoms: it does not show a copy made from a kept key, "
    "a key given away off the log, a copied label, or a re-saved file registered anew."
)

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_NOT_VALID: Final = frozenset({Status.VOIDED, Status.PROVISIONAL})
_MARKS: Final = {Verdict.HOLDS: "ok", Verdict.FAILS: "FAIL", Verdict.NOT_CHECKED: "—"}


def headline(report: Report) -> str:
    """Return the report's result in one line."""
    if report.failures:
        number = len(report.failures)
        return f"{report.subject}: {number} {'discrepancy' if number == 1 else 'discrepancies'}"
    if not report.holds:
        return f"{report.subject}: nothing could be checked"
    checked = sum(1 for finding in report.findings if finding.verdict is Verdict.HOLDS)
    skipped = sum(1 for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED)
    rest = f", {skipped} not made" if skipped else ""
    return f"{report.subject}: {checked} checks hold, none fails{rest}"


def status_line(report: Report) -> str | None:
    """Return what is told of a part and how its print ended, in one line; None for a report on anything else."""
    if "status" not in report.facts:
        return None
    return f"status: {report.facts['status']} (outcome: {report.facts.get('outcome', 'not known')})"


def hint_line(report: Report) -> str | None:
    """Return what else may be the reason of the failures than a lie, in one line, or None."""
    behind = next((each for each in report.failures if each.code == "checkpoint-behind"), None)
    return None if behind is None else f"hint: {behind.detail}; other failures of steps 12 and 13 may come of that"


def rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Return the report's table: step, verdict, what was found, where it was read; in the order of the steps."""
    ordered = sorted(report.findings, key=lambda finding: finding.step)
    return [(finding.step.label, _MARKS[finding.verdict], _detail(finding), finding.source) for finding in ordered]


def _detail(finding: Finding) -> str:
    if finding.expected is None or finding.found is None:
        return finding.detail
    return f"{finding.detail} (expected {finding.expected}; found {finding.found})"


def page(report: Report) -> str:
    """Return the report as one HTML page without scripts or outside references; all text is escaped."""
    table = "\n".join(
        f'<tr class="{_css(mark)}"><td>{html.escape(step)}</td><td>{html.escape(mark)}</td>'
        f"<td>{html.escape(detail)}</td><td>{html.escape(source)}</td></tr>"
        for step, mark, detail, source in rows(report)
    )
    facts = "\n".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(_fact(value))}</dd>"
        for name, value in report.facts.items()
        if name != "months"
    )
    trusted = html.escape("; ".join(report.trusted) or "nobody")
    result = "fails" if not report.holds else "warns" if report.facts.get("status") in _NOT_VALID else "holds"
    told = "".join(
        f'<p class="result {result}">{html.escape(line)}</p>\n'
        for line in (status_line(report), hint_line(report))
        if line is not None
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(report.subject)}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 64rem; padding: 0 1rem; color: #1a1a1a; }}
h1 {{ font-size: 1.3rem; overflow-wrap: anywhere; }}
.result {{ padding: .6rem 1rem; border-radius: .3rem; font-weight: 600; }}
.result.holds {{ background: #e3f4e6; color: #14532d; }} .result.fails {{ background: #fde7e7; color: #7f1d1d; }}
.result.warns {{ background: #fef3c7; color: #78350f; }}
.scroll {{ overflow-x: auto; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .35rem .6rem; border-bottom: 1px solid #ddd; }}
td {{ overflow-wrap: anywhere; }} td:first-child, td:nth-child(2) {{ white-space: nowrap; overflow-wrap: normal; }}
tr.fail td {{ background: #fde7e7; }} tr.skip td {{ color: #666; }}
dt {{ font-weight: 600; }} dd {{ margin: 0 0 .4rem; overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>{html.escape(report.subject)}</h1>
<p class="result {result}">{html.escape(headline(report))}</p>
{told}<div class="scroll"><table>
<thead><tr><th>step</th><th>result</th><th>what was found</th><th>read from</th></tr></thead>
<tbody>
{table}
</tbody>
</table></div>
{chart(report)}<h2>Facts</h2>
<dl>
{facts}
</dl>
<p>Trusted: {trusted}.</p>
<p>{html.escape(NOT_CLAIMED)}</p>
</body>
</html>
"""


def chart(report: Report) -> str:
    """Return a drawing and a table of a design's months, all holders together and each; empty for other reports."""
    shares = _months(report)
    if not shares:
        return ""
    months = sorted({str(share["month"]) for share in shares})
    sums = {
        (month, what): sum(int(str(share[what])) for share in shares if share["month"] == month)
        for month in months
        for what in _DRAWN
    }
    highest = max(1, *sums.values())
    bars, step = [], 90
    for at, month in enumerate(months):
        for place, (what, colour) in enumerate(_DRAWN.items()):
            height = round(160 * sums[month, what] / highest, 1)
            left = at * step + 12 + place * 17
            bars.append(
                f'<rect x="{left}" y="{180 - height}" width="15" height="{height}" fill="{colour}">'
                f"<title>{html.escape(month)}: {sums[month, what]} {what}</title></rect>"
            )
        bars.append(f'<text x="{at * step + 12}" y="198">{html.escape(month)}</text>')
    legend = " ".join(f'<span style="color:{colour}">■</span> {what}' for what, colour in _DRAWN.items())
    head = "".join(f"<th>{name}</th>" for name in MONTH_COLUMNS)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in month_rows(report)
    )
    width = len(months) * step
    label = "prints by month; the table below has the numbers"
    return f"""<h2>By month</h2>
<div class="scroll"><svg role="img" aria-label="{label}" width="{width}" height="204" font-size="12">
<line x1="0" y1="180" x2="{width}" y2="180" stroke="#999"/>{"".join(bars)}</svg></div>
<p>{legend}; highest {highest}</p>
<div class="scroll"><table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table></div>
"""


_DRAWN: Final = {"reserved": "#94a3b8", "printed": "#166534", "voided": "#b45309", "unused": "#7c3aed"}
PART_COLUMNS: Final = (
    "serial", "status", "outcome", "designId", "revision", "tokenId", "sequence", "holder", "anchoredInBlock",
    "discrepancies",
)  # fmt: skip
MONTH_COLUMNS: Final = ("month", "holder", "reserved", "printed", "voided", "unused")
RELATED_COLUMNS: Final = ("serial", "relations", "result", "tokenId", "sequence")


def part_rows(parts: Iterable[Report]) -> list[list[str]]:
    """Return a row for each part's report, in the order of PART_COLUMNS."""
    return [
        [_fact(part.facts.get(name, "")) for name in PART_COLUMNS[:-1]]
        + ["; ".join(f"{each.step.label}: {_detail(each)}" for each in part.failures)]
        for part in parts
    ]


def month_rows(report: Report) -> list[list[str]]:
    """Return a row for each month and holder of a design's report, in the order of MONTH_COLUMNS."""
    return [[_fact(share[name]) for name in MONTH_COLUMNS] for share in _months(report)]


def _months(report: Report) -> list[Mapping[str, JsonValue]]:
    found = report.facts.get("months")
    return [share for share in found if isinstance(share, dict)] if isinstance(found, list) else []


def related_rows(parts: Iterable[Related]) -> list[list[str]]:
    """Return a row for each related part, in the order of RELATED_COLUMNS."""
    return [[_fact(each.to_json()[name]) for name in RELATED_COLUMNS] for each in parts]


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table as CSV (RFC 4180); what a spreadsheet would take for a formula begins with an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([f"'{cell}" if cell.startswith(_FORMULA) else cell for cell in row] for row in rows)
    return text.getvalue()


def _css(mark: str) -> str:
    return {"FAIL": "fail", "—": "skip"}.get(mark, "ok")


def _fact(value: JsonValue) -> str:
    if isinstance(value, list | tuple):
        return "; ".join(_fact(item) for item in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{name} {_fact(item)}" for name, item in value.items())
    return "none" if value is None else str(value)
