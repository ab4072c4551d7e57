"""An IPFS node, or a mirror of the log's files, that lies: other bytes under a name, or none."""

from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.protocol.cid import Block
from sample_chain import LOG as TRUE_LOG
from sample_evidence import MANIFEST_BLOCK, PROFILE_BLOCK, TERMS_BLOCK, evidence
from simulators.adversary import LOG, adversary

NODE: Final = "IPFS node"


def spoiling(block: Block) -> Evidence:
    """Return evidence of a node that has other bytes for a block."""
    found = evidence()
    found.source.spoil(block)
    return found


def altering(prefix: str) -> Evidence:
    """Return evidence of a mirror that flips a bit of each file under a prefix."""
    found = evidence()
    for name, data in found.files.files.items():
        if name.startswith(prefix):
            found.files.files[name] = data[:-1] + bytes([data[-1] ^ 1])
    return found


@adversary(NODE, "gives another manifest", audit=LOG, finds=["2 block-mismatch"])
def another_manifest() -> Evidence:
    return spoiling(MANIFEST_BLOCK)


@adversary(NODE, "gives another terms document", audit=LOG, finds=["5 block-mismatch"])
def another_terms_document() -> Evidence:
    return spoiling(TERMS_BLOCK)


@adversary(NODE, "gives another profile, with other keys", audit=LOG, finds=["10 block-mismatch"])
def another_profile() -> Evidence:
    return spoiling(PROFILE_BLOCK)


@adversary(NODE, "gives another list of an anchor's tiles", audit=LOG, finds=["12 block-mismatch"])
def another_listing() -> Evidence:
    return spoiling(TRUE_LOG.listing)


@adversary(NODE, "alters entries", audit=LOG, finds=["11 log-tile", "12 tile-digest"])
def entries_altered() -> Evidence:
    return altering("tile/entries/")


@adversary(NODE, "alters hashes", audit=LOG, finds=["11 log-root"])
def hashes_altered() -> Evidence:
    return altering("tile/0/")


@adversary(NODE, "alters the checkpoint", audit=LOG, finds=["12 note-signature"])
def checkpoint_altered() -> Evidence:
    found = evidence()
    data = found.files.files["checkpoint"]
    found.files.files["checkpoint"] = data[:-6] + b"AAAA=\n"
    return found


@adversary(NODE, "withholds the profile", audit=LOG, finds=["10 profile-withheld"])
def profile_withheld() -> Evidence:
    found = evidence()
    found.source.forget(PROFILE_BLOCK)
    return found


@adversary(
    NODE,
    "withholds manifest and terms document",
    audit=LOG,
    tells={"notChecked": ["2 manifest", "5 terms"]},
)
def documents_withheld() -> Evidence:
    found = evidence()
    found.source.forget(MANIFEST_BLOCK)
    found.source.forget(TERMS_BLOCK)
    return found
