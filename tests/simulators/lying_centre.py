"""A print centre that lies: its agent signs what did not happen, or shows passports that it altered."""

from dataclasses import replace
from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.protocol.log_entry import Result
from platemark.protocol.passport import LoggedEntry, Passport, ReceiptPart
from platemark.protocol.receipt import Receipt, sign_receipt
from sample_chain import anchored, ended, redeemed
from sample_documents import (
    AGENT,
    DESIGNER,
    LEDGER_DOMAIN,
    OUTCOME_ENTRY,
    RECEIPT,
    RECEIPT_SALT,
    REDEEMED,
    RELEASE_KEY,
    word,
)
from sample_evidence import evidence
from simulators.adversary import LOG, PASSPORT, Shown, adversary
from simulators.lying_gateway import telling

CENTRE: Final = "centre"


def with_receipt(receipt: Receipt) -> Passport:
    """Return the passport with another receipt, which agent and gateway signed."""
    return replace(anchored(), receipt=ReceiptPart(sign_receipt(receipt, AGENT).countersign(RELEASE_KEY), RECEIPT_SALT))


@adversary(CENTRE, "names a block that it cannot have seen", audit=LOG, finds=["8 seen-block"])
def seen_block() -> Evidence:
    return telling(redeemed(1, seen_block=31))


@adversary(CENTRE, "names another chain's block as the one it saw", audit=LOG, finds=["8 seen-block"])
def block_of_a_fork() -> Evidence:
    return telling(redeemed(1, seen_hash=word("fork")))


@adversary(
    CENTRE,
    "shows another receipt than the one it reported the outcome with",
    audit=PASSPORT,
    finds=["9 receipt-mismatch"],
)
def another_receipt() -> Shown:
    return Shown(with_receipt(replace(RECEIPT, result=Result.REJECTED)), evidence())


@adversary(CENTRE, "shows the receipt of another print", audit=PASSPORT, finds=["9 receipt-mismatch"])
def receipt_of_another_print() -> Shown:
    return Shown(with_receipt(replace(RECEIPT, sequence=2)), evidence())


@adversary(
    CENTRE,
    "reports an outcome with the receipt of another print",
    audit=PASSPORT,
    finds=["9 receipt-mismatch", "11 merkle-proof"],
)
def outcome_with_the_receipt_of_another_print() -> Shown:
    other = replace(RECEIPT, sequence=2)
    entry = replace(OUTCOME_ENTRY, receipt_digest=other.digest(RECEIPT_SALT))
    entry = replace(entry, signature=AGENT.sign(entry.outcome().digest(LEDGER_DOMAIN)))
    passport = with_receipt(other)
    assert passport.outcome is not None
    return Shown(replace(passport, outcome=LoggedEntry(entry.to_bytes(), 1, passport.outcome.proof)), evidence())


@adversary(
    CENTRE, "has a receipt signed by another agent than the holder named", audit=PASSPORT, finds=["9 signature-invalid"]
)
def receipt_of_another_agent() -> Shown:
    envelope = sign_receipt(RECEIPT, DESIGNER).countersign(RELEASE_KEY)
    return Shown(replace(anchored(), receipt=ReceiptPart(envelope, RECEIPT_SALT)), evidence())


# --- what no evidence shows -----------------------------------------------------------------------------------------


@adversary(
    CENTRE,
    "keeps a key, or what it decrypted, and prints again",
    audit=LOG,
    why="a print that asks nobody leaves no entry; Platemark counts key requests, not atoms",
    claim="A centre that has received a key can keep what it decrypted",
)
def key_kept() -> Evidence:
    return evidence()


@adversary(
    CENTRE,
    "reports a good print as failed, within the spares of the terms",
    audit=LOG,
    why="the outcome is the agent's word; the terms cap how often it may be given back, and each stands in the log",
)
def false_failure() -> Evidence:
    return telling(REDEEMED, ended(1, Result.FAILED, spare_used=True))


@adversary(
    CENTRE,
    "states another mass, material or printer in a receipt that it signs from the beginning",
    audit=PASSPORT,
    why="a receipt is as good as the source that it names for each quantity",
    claim="Quantities in a receipt are as good as their source",
)
def false_quantity() -> Shown:
    return Shown(anchored(), evidence())
