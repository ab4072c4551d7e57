"""A holder that lies: about its permission, or by a passport that it altered or cut."""

from dataclasses import replace
from typing import Any, Final

from platemark.auditor.evidence import Evidence
from platemark.protocol.log_entry import Result, leaf_hash
from platemark.protocol.passport import Anchor, Content, LoggedEntry, Passport, Status
from platemark.protocol.units import Digest32
from sample_chain import anchored, ended
from sample_documents import DESIGNER as SOMEBODY
from sample_documents import HOLDER as HOLDER_KEY
from sample_documents import PACKAGE, REDEEMED, word
from sample_evidence import anchoring, evidence, logged, with_license
from simulators.adversary import LOG, PASSPORT, PASSPORT_AND_LOG, Shown, adversary

HOLDER: Final = "holder"


def with_anchor(**changes: Any) -> Passport:
    """Return the passport with a changed anchor."""
    passport = anchored()
    assert isinstance(passport.anchor, Anchor)
    return replace(passport, anchor=replace(passport.anchor, **changes))


@adversary(HOLDER, "shows a permission that it did not sign", audit=PASSPORT, finds=["7 not-holder"])
def permission_of_somebody_else() -> Shown:
    return Shown(replace(anchored(), permission_signature=SOMEBODY.sign(word("something"))), evidence())


@adversary(HOLDER, "sells prints that are in escrow for an open token", audit=LOG, finds=["6 escrow-mismatch"])
def sold_from_escrow() -> Evidence:
    return evidence(with_license(balances={HOLDER_KEY.address: 6}, escrowed=9))


@adversary(HOLDER, "has a print that was never minted or sold", audit=LOG, finds=["6 balance-mismatch"])
def print_out_of_nowhere() -> Evidence:
    return evidence(with_license(balances={HOLDER_KEY.address: 6}))


@adversary(
    HOLDER,
    "shows a print under another revision than it permitted",
    audit=PASSPORT,
    finds=["4 revision-unknown", "5 revision-not-accepted", "7 revision-mismatch", "9 receipt-mismatch"],
)
def another_revision() -> Shown:
    return Shown(replace(anchored(), revision=2), evidence())


@adversary(HOLDER, "shows a passport with other files", audit=PASSPORT, finds=["3 commitment", "4 commitment"])
def other_content() -> Shown:
    return Shown(replace(anchored(), content=Content(bytes(32), PACKAGE.files_root)), evidence())


@adversary(HOLDER, "shows the entry of another print as its own", audit=PASSPORT, finds=["11 merkle-proof"])
def entry_elsewhere() -> Shown:
    passport = anchored()
    return Shown(replace(passport, redeemed=replace(passport.redeemed, index=1)), evidence())


@adversary(HOLDER, "states an anchor that is not on chain", audit=PASSPORT, finds=["12 anchor-root"])
def another_anchor() -> Shown:
    return Shown(with_anchor(tiles_digest=word("else")), evidence())


@adversary(HOLDER, "states an earlier block for its anchor", audit=PASSPORT, finds=["12 anchor-block"])
def another_block() -> Shown:
    return Shown(with_anchor(block_number=20), evidence())


@adversary(HOLDER, "states another transaction for its anchor", audit=PASSPORT, finds=["12 anchor-transaction"])
def another_transaction() -> Shown:
    return Shown(with_anchor(transaction=word("else")), evidence())


@adversary(
    HOLDER,
    "cuts the rejection out of a passport: the log tells how the print ended",
    audit=PASSPORT_AND_LOG,
    tells={"status": Status.VOIDED, "outcome": "rejected"},
)
def outcome_cut() -> Shown:
    outcome = ended(1, Result.REJECTED)
    log = logged(REDEEMED, outcome)
    passport = with_anchor(root=log.growth.root, tiles_digest=log.listing.cid.digest)
    passport = replace(
        passport,
        redeemed=LoggedEntry(REDEEMED.to_bytes(), 0, (Digest32(leaf_hash(outcome)),)),
        outcome=None,
        receipt=None,
    )
    return Shown(passport, evidence(anchoring(log), log))


@adversary(
    HOLDER,
    "cuts the outcome out of a passport and shows no log: it is provisional, never valid",
    audit=PASSPORT,
    tells={"status": Status.PROVISIONAL, "outcome": "not shown"},
)
def outcome_cut_without_a_log() -> Shown:
    return Shown(replace(anchored(), outcome=None, receipt=None), evidence())


# --- what no evidence shows -----------------------------------------------------------------------------------------


@adversary(
    HOLDER,
    "copies a label onto another part",
    audit=PASSPORT,
    why="the passport is that of the serial, and true; it does not know the atoms under the label",
    claim="A label can be copied onto another part",
)
def label_copied() -> Shown:
    return Shown(anchored(), evidence())
