"""A gateway that lies: with its own keys it signs, anchors and settles what is not so."""

from dataclasses import replace
from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.protocol.accounts import AccountKey
from platemark.protocol.checkpoint import Checkpoint, KeyType, Note, NoteSigner, sign_checkpoint
from platemark.protocol.log_entry import LogEntry, Result
from platemark.protocol.permission import SETTLE_BY_ANYBODY_SECONDS
from platemark.protocol.units import Digest32, TokenId, UnixSeconds
from platemark.verify.facts import DeclarationFact
from platemark.verify.policy import Policy
from sample_chain import (
    GATEWAY_FACT,
    RESERVATION_FACT,
    SampleLog,
    anchored,
    block,
    closed,
    ended,
    redeemed,
)
from sample_chain import LOG as TRUE_LOG
from sample_documents import LEDGER_DOMAIN, LOG_KEY, OUTCOME_ENTRY, PROFILE, REDEEMED, RELEASE, RELEASE_KEY, word
from sample_evidence import PROFILE_BLOCK, SampleEvidence, anchoring, evidence, logged, with_gateway, with_reservation
from simulators.adversary import LOG, PASSPORT, PASSPORT_AND_LOG, Shown, adversary

GATEWAY: Final = "gateway"


def telling(*entries: LogEntry | bytes) -> SampleEvidence:
    """Return evidence of a log with these entries, signed and anchored."""
    log = logged(*entries)
    return evidence(anchoring(log), log)


def showing(log: SampleLog) -> SampleEvidence:
    """Return evidence of the true log's anchor and of another log's files."""
    found = evidence()
    found.files.files = log.files | {"checkpoint": log.checkpoint}
    return found


def without(prefix: str) -> SampleEvidence:
    """Return evidence of the true log, of which the files under a prefix are withheld."""
    found = evidence()
    found.files.files = {name: data for name, data in found.files.files.items() if not name.startswith(prefix)}
    return found


def forged(sequence: int) -> LogEntry:
    """Return a request that the gateway signed in the agent's name."""
    entry = redeemed(sequence)
    return replace(entry, signature=AccountKey(b"\x01" * 32).sign(entry.redemption().digest(LEDGER_DOMAIN)))


def signed_by(seed: bytes, root: Digest32 = TRUE_LOG.growth.root) -> bytes:
    """Return a checkpoint of the true log's size, under a key and a root."""
    signer = NoteSigner.from_seed(PROFILE.log_origin, seed)
    return sign_checkpoint(Checkpoint(PROFILE.log_origin, 2, root), signer)


# --- entries --------------------------------------------------------------------------------------------------------


@adversary(GATEWAY, "logs prints of a token that nobody reserved", audit=LOG, finds=["7 entry-without-reservation"])
def entry_without_reservation() -> Evidence:
    return telling(REDEEMED, OUTCOME_ENTRY, redeemed(1, token_id=TokenId(7)))


@adversary(GATEWAY, "logs a print that no voucher is for", audit=LOG, finds=["8 signature-invalid"])
def entry_without_voucher() -> Evidence:
    return telling(REDEEMED, OUTCOME_ENTRY, forged(2))


@adversary(GATEWAY, "leaves a release out between two others", audit=LOG, finds=["8 sequence-expected"])
def gap() -> Evidence:
    return telling(REDEEMED, redeemed(3))


@adversary(
    GATEWAY,
    "leaves a release out of its log, which its own signature convicts it of",
    audit=PASSPORT_AND_LOG,
    finds=["11 serial-unknown"],
)
def hidden_release() -> Shown:
    passport = replace(anchored(), anchor=None, outcome=None, receipt=None)
    return Shown(passport, evidence(with_gateway(anchors=()), logged()))


@adversary(GATEWAY, "logs a request again under the same print id", audit=LOG, finds=["8 print-id-twice"])
def print_id_twice() -> Evidence:
    return telling(REDEEMED, redeemed(2, print_id=REDEEMED.print_id))


@adversary(
    GATEWAY, "logs an outcome of a print that it never released", audit=LOG, finds=["13 outcome-without-redemption"]
)
def outcome_without_redemption() -> Evidence:
    return telling(REDEEMED, ended(2))


@adversary(GATEWAY, "replaces an outcome by a later one", audit=LOG, finds=["13 outcome-twice"])
def outcome_twice() -> Evidence:
    return telling(REDEEMED, OUTCOME_ENTRY, ended(1, Result.REJECTED))


@adversary(GATEWAY, "releases a print after it closed the token", audit=LOG, finds=["13 entry-after-close"])
def entry_after_close() -> Evidence:
    return telling(REDEEMED, OUTCOME_ENTRY, closed(1, 0), redeemed(2))


@adversary(GATEWAY, "closes a token on other counts than its log has", audit=LOG, finds=["13 closing-counts"])
def closing_counts() -> Evidence:
    return telling(REDEEMED, OUTCOME_ENTRY, closed(0, 0))


@adversary(GATEWAY, "puts bytes into its log that are no entry", audit=LOG, finds=["11 log-entry"])
def no_entry() -> Evidence:
    return telling(REDEEMED, OUTCOME_ENTRY, b"\x01\x09")


# --- counts ---------------------------------------------------------------------------------------------------------


@adversary(GATEWAY, "settles requests that its log does not have", audit=LOG, finds=["13 settled-without-entry"])
def settled_without_entry() -> Evidence:
    return evidence(with_reservation(settled_sequence=2, burned=1))


@adversary(GATEWAY, "uses up more of the holder's prints than it logged", audit=LOG, finds=["13 burned-above-log"])
def burned_above_log() -> Evidence:
    return evidence(with_reservation(burned=2, settled_sequence=1))


@adversary(GATEWAY, "gives back prints on chain that did not fail", audit=LOG, finds=["13 voided-without-outcome"])
def voided_without_outcome() -> Evidence:
    return evidence(with_reservation(voided=1, settled_sequence=1))


@adversary(GATEWAY, "closes a token on chain on fewer prints than it logged", audit=LOG, finds=["13 closing-counts"])
def closed_on_fewer() -> Evidence:
    return evidence(with_reservation(closed=(0, 0), returned=10))


# --- history --------------------------------------------------------------------------------------------------------


@adversary(GATEWAY, "rewrites an entry that was anchored", audit=LOG, finds=["12 anchor-root", "12 tile-digest"])
def rewritten() -> Evidence:
    return showing(logged(REDEEMED, ended(1, Result.REJECTED)))


@adversary(
    GATEWAY,
    "shows a log that ends before its last anchor",
    audit=LOG,
    finds=["12 anchor-root", "12 checkpoint-behind", "12 tile-withheld"],
)
def shortened() -> Evidence:
    return showing(logged(REDEEMED))


@adversary(
    GATEWAY,
    "shows another log to this visitor than to everybody else, before an anchor tells",
    audit=LOG,
    finds=["12 note-signature"],
)
def forked_before_the_anchor() -> Evidence:
    witness = NoteSigner.from_seed("witness.test/one", b"w" * 32, KeyType.COSIGNATURE)
    other = logged(REDEEMED, ended(1, Result.REJECTED))
    cosignature = witness.cosign(Note.parse(TRUE_LOG.checkpoint).text, UnixSeconds(1000))
    found = evidence(with_gateway(anchors=()), other, policy=Policy(witnesses=(witness.key,)))
    found.files.files["checkpoint"] = Note.parse(other.checkpoint).with_signatures(cosignature).to_bytes()
    return found


@adversary(GATEWAY, "begins a new epoch without what the old one anchored", audit=LOG, finds=["12 epoch-not-continued"])
def epoch_not_continued() -> Evidence:
    old = replace(logged(redeemed(1, detail=word("dropped"))).anchor(), epoch=0, block=block(2))
    declarations = (DeclarationFact(0, word("old profile"), block(1)), *GATEWAY_FACT.declarations)
    return evidence(with_gateway(declarations=declarations, anchors=(old, *GATEWAY_FACT.anchors)))


@adversary(GATEWAY, "goes on with the log of an epoch that ended", audit=LOG, finds=["12 epoch-behind"])
def epoch_behind() -> Evidence:
    return evidence(
        with_gateway(declarations=(*GATEWAY_FACT.declarations, DeclarationFact(2, word("profile"), block(25))))
    )


@adversary(GATEWAY, "signs a root that its tiles do not give", audit=LOG, finds=["11 log-root"])
def root_of_nothing() -> Evidence:
    found = evidence()
    found.files.files["checkpoint"] = signed_by(LOG_KEY.secret(), word("another root"))
    return found


# --- what is withheld -----------------------------------------------------------------------------------------------


@adversary(GATEWAY, "withholds the entries", audit=LOG, finds=["11 log-tile", "12 tile-withheld"])
def entries_withheld() -> Evidence:
    return without("tile/entries/")


@adversary(GATEWAY, "withholds the hashes", audit=LOG, finds=["11 log-tile"])
def hashes_withheld() -> Evidence:
    return without("tile/0/")


@adversary(GATEWAY, "withholds the list of what it anchored", audit=LOG, finds=["12 tile-withheld"])
def listing_withheld() -> Evidence:
    found = evidence()
    found.source.forget(TRUE_LOG.listing)
    return found


@adversary(GATEWAY, "withholds its profile, and so its keys", audit=LOG, finds=["10 profile-withheld"])
def profile_withheld() -> Evidence:
    found = evidence()
    found.source.forget(PROFILE_BLOCK)
    return found


# --- keys and passports ---------------------------------------------------------------------------------------------


@adversary(GATEWAY, "signs with a key that it never declared", audit=LOG, finds=["12 note-signature"])
def undeclared_key() -> Evidence:
    found = evidence()
    found.files.files["checkpoint"] = signed_by(bytes(32))
    return found


@adversary(
    GATEWAY,
    "releases one print under the release of another",
    audit=PASSPORT,
    finds=["10 release-mismatch"],
)
def release_of_another() -> Shown:
    release = replace(RELEASE, leaf_hash=word("leaf"))
    return Shown(replace(anchored(), release=release.sign(RELEASE_KEY)), evidence())


@adversary(
    GATEWAY,
    "gives back a print three days after its token expired",
    audit=LOG,
    finds=["13 outcome-late"],
)
def outcome_late() -> Evidence:
    log = logged(REDEEMED, ended(1, Result.FAILED, spare_used=True))
    late = UnixSeconds(RESERVATION_FACT.permission.expires_at + SETTLE_BY_ANYBODY_SECONDS + 1)
    anchor = replace(log.anchor(), block=replace(block(21), timestamp=late))
    found = evidence(with_gateway(anchors=(anchor,)), log)
    found.endpoint.blocks = {**found.endpoint.blocks, 21: anchor.block}
    return found


@adversary(
    GATEWAY,
    "does not settle in time, and nobody else does: the prints go back to the holder",
    audit=LOG,
    tells={"returnedUnsettled": {f"{RESERVATION_FACT.token_id:#066x}": 1}},
    claim="Uses that nobody settles",
)
def nobody_settled() -> Evidence:
    return evidence(with_reservation(returned=10), logged(REDEEMED, OUTCOME_ENTRY))


# --- what no evidence shows -----------------------------------------------------------------------------------------


@adversary(
    GATEWAY,
    "gives a key away off the log",
    audit=LOG,
    why="nothing is signed, counted or anchored: log and chain are those of a gateway that did not",
    claim="A gateway can give a key away off the log",
)
def key_given_away() -> Evidence:
    return evidence()


@adversary(
    GATEWAY,
    "hands out a page, behind a label's code, that calls every passport valid",
    audit=PASSPORT,
    why="no audit reads the page: the passport stays what it is, and the page's bytes can be built again and compared",
    claim="The page at a label's code comes from the gateway",
)
def lying_page() -> Shown:
    return Shown(anchored(), evidence())
