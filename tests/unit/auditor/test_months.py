"""A design's life by month and holder, from the chain and a log."""

from dataclasses import replace

from platemark.auditor.design import audit_design
from platemark.auditor.months import UNDATED, Share, by_month
from platemark.auditor.render import MONTH_COLUMNS, month_rows, page
from platemark.protocol.log_entry import Result
from platemark.protocol.units import DesignId, TokenId, UnixSeconds
from platemark.verify.facts import BlockFact, ChainFacts, MoveFact
from platemark.verify.report import Verdict
from sample_chain import FACTS, RESERVATION_FACT, block, ended, redeemed
from sample_documents import CHAIN_ID, DESIGN_ID, DESIGNER, HOLDER, LEDGER, TOKEN_ID, word
from sample_evidence import anchoring, evidence, failures, logged, with_license

JANUARY, MARCH = UnixSeconds(1_736_000_000), UnixSeconds(1_741_000_000)
OTHER = TokenId(7)


def facts() -> ChainFacts:
    """Return the sample's reservation, made in January 2025, and another holder's of March of which 4 came back."""
    permission = RESERVATION_FACT.permission
    first = replace(RESERVATION_FACT, block=BlockFact(1, word("block"), JANUARY))
    other = replace(
        RESERVATION_FACT,
        token_id=OTHER,
        permission=replace(permission, holder=DESIGNER.address, prints=5, expires_at=MARCH),
        block=BlockFact(2, word("block"), MARCH),
        returned=4,
    )
    return replace(FACTS, reservations={TOKEN_ID: first, OTHER: other})


ENTRIES = [
    redeemed(1).to_bytes(),
    redeemed(2).to_bytes(),
    ended(2, Result.FAILED, spare_used=True).to_bytes(),
    b"no entry",
    redeemed(1, token_id=OTHER).to_bytes(),
    redeemed(1, token_id=TokenId(8)).to_bytes(),
]


def test_prints_are_of_the_month_that_anchored_them_first() -> None:
    times = {0: JANUARY, 1: MARCH, 2: MARCH, 4: None}
    found = by_month(facts(), DESIGN_ID, ENTRIES, times.get)
    assert sorted(found, key=lambda share: (share.month, share.holder == DESIGNER.address)) == [
        Share("2025-01", HOLDER.address, RESERVATION_FACT.permission.prints, 1, 0, 0),
        Share("2025-03", HOLDER.address, 0, 1, 1, 0),
        Share("2025-03", DESIGNER.address, 5, 0, 0, 4),
        Share(UNDATED, DESIGNER.address, 0, 1, 0, 0),
    ]


def test_of_another_design_there_is_nothing() -> None:
    assert by_month(facts(), DesignId(9), ENTRIES) == []


def test_the_report_has_rows_and_a_drawing_whose_numbers_are_in_a_table() -> None:
    log = logged(redeemed(1), ended(1))
    report = audit_design(evidence(anchoring(log), log), CHAIN_ID, LEDGER, DESIGN_ID, with_log=True)
    assert failures(report) == []
    rows = month_rows(report)
    assert sum(int(row[MONTH_COLUMNS.index("printed")]) for row in rows) == 1
    drawn = page(report)
    assert drawn.count("<rect ") == 4 * len({row[0] for row in rows})
    assert all(f"<td>{cell}</td>" in drawn for row in rows for cell in row)


def test_a_log_that_cannot_be_believed_tells_no_prints_and_fails() -> None:
    log = logged(redeemed(1), ended(1))
    unanchored = replace(FACTS, gateways={})
    report = audit_design(evidence(unanchored, log), CHAIN_ID, LEDGER, DESIGN_ID, with_log=True)
    assert failures(report) == [(10, "gateway-not-accepted")]
    assert all(row[MONTH_COLUMNS.index("printed")] == "0" for row in month_rows(report))


def test_a_licence_that_others_served_too_says_that_their_logs_were_not_read() -> None:
    log = logged(redeemed(1), ended(1))
    moved = with_license(anchoring(log), moves=(MoveFact(DESIGNER.address, block(8)),))
    report = audit_design(evidence(moved, log), CHAIN_ID, LEDGER, DESIGN_ID, with_log=True)
    skipped = [finding.detail for finding in report.findings if finding.verdict is Verdict.NOT_CHECKED]
    assert any("served by other gateways too" in detail for detail in skipped)
