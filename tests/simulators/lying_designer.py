"""A designer that lies: about whose the design is, what was registered, and what was licensed."""

from dataclasses import replace
from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.protocol.cid import raw_block
from sample_chain import REVISION, anchored, block
from sample_documents import HOLDER, MANIFEST, REGISTRATION, TERMS, TERMS_DOCUMENT, word
from sample_evidence import evidence, with_design, with_license
from simulators.adversary import LOG, PART, PASSPORT, Shown, adversary

DESIGNER: Final = "designer"


@adversary(
    DESIGNER, "registers a manifest that names somebody else", audit=LOG, finds=["2 registrant", "3 design-digest"]
)
def manifest_of_somebody_else() -> Evidence:
    manifest = replace(MANIFEST, registrant=HOLDER.address)
    data = raw_block(manifest.encode())
    registration = replace(REGISTRATION, manifest_digest=data.cid.digest)
    revision = replace(REVISION, manifest_digest=data.cid.digest)
    found = evidence(with_design(registration=registration, revisions={1: revision}))
    found.source.blocks[data.cid.text] = data.data
    return found


@adversary(DESIGNER, "reveals other files than it committed to", audit=LOG, finds=["3 commitment"])
def other_files_revealed() -> Evidence:
    return evidence(with_design(revisions={1: replace(REVISION, files_root=word("other files"))}))


@adversary(DESIGNER, "reveals files of which the manifest is not", audit=LOG, finds=["3 files-root"])
def manifest_of_other_files() -> Evidence:
    manifest = replace(MANIFEST, files=(replace(MANIFEST.files[0], sha256=word("other")), *MANIFEST.files[1:]))
    data = raw_block(manifest.encode())
    second = replace(REVISION, revision=2, manifest_digest=data.cid.digest, block=block(4))
    found = evidence(with_design(revisions={1: REVISION, 2: second}))
    found.source.blocks[data.cid.text] = data.data
    return found


@adversary(
    DESIGNER,
    "states another edition than it registered, of fewer prints than it minted",
    audit=LOG,
    finds=["3 design-digest", "6 edition-exceeded"],
)
def edition_exceeded() -> Evidence:
    return evidence(with_design(registration=replace(REGISTRATION, edition=14)))


@adversary(DESIGNER, "states other terms afterwards than it sold under", audit=LOG, finds=["5 license-digest"])
def other_terms() -> Evidence:
    return evidence(with_license(terms=replace(TERMS, cap=99)))


@adversary(DESIGNER, "shows another terms document than the licence names", audit=LOG, finds=["5 block-mismatch"])
def other_terms_document() -> Evidence:
    found = evidence()
    found.source.blocks[raw_block(TERMS_DOCUMENT.encode()).cid.text] = b"{}"
    return found


@adversary(DESIGNER, "says that a recalled revision still holds", audit=PART, finds=["4 revision-recalled"])
def recalled() -> Evidence:
    return evidence(with_design(revisions={1: replace(REVISION, recalled=block(20))}))


@adversary(
    DESIGNER,
    "shows a manifest that was never registered",
    audit=PASSPORT,
    finds=["2 manifest-digest", "4 manifest-digest", "10 release-mismatch"],
)
def another_manifest() -> Shown:
    return Shown(replace(anchored(), manifest=replace(MANIFEST, title="Else")), evidence())


@adversary(DESIGNER, "says that it sold for less than it did", audit=LOG, finds=["6 paid-mismatch"])
def sold_for_less() -> Evidence:
    return evidence(with_license(paid=1))


# --- what no evidence shows -----------------------------------------------------------------------------------------


@adversary(
    DESIGNER,
    "registers somebody else's file as its own, after saving it anew",
    audit=LOG,
    why="other bytes have another digest: `audit file` lists rival claims to the same bytes only",
    claim="A file that was re-saved or changed a little",
)
def saved_anew() -> Evidence:
    return evidence()


@adversary(
    DESIGNER,
    "keeps a small design secret whose files a stranger can guess",
    audit=LOG,
    why="a public digest confirms a guess; such a design is for registering as private",
    claim="A public SHA-256 of a small or parametric part",
)
def guessed() -> Evidence:
    return evidence()
