"""The sample print's evidence in memory: an endpoint, blocks and a log that an auditor reads; tests change them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from platemark.auditor.evidence import Evidence, LogFiles
from platemark.protocol.cid import Block, Cid, raw_block
from platemark.protocol.log_entry import LogEntry
from platemark.protocol.units import TokenId
from platemark.sdk.ipfs import unavailable
from platemark.verify.facts import ChainFacts, DesignFact, GatewayFact, LicenseFact, ReservationFact
from platemark.verify.policy import ANYBODY, Policy
from platemark.verify.report import Report
from sample_chain import DESIGN, FACTS, GATEWAY_FACT, LICENSE_FACT, LOG, RESERVATION_FACT, REVISION, SampleLog, block
from sample_documents import DESIGN_ID, GATEWAY, LICENSE_ID, MANIFEST, PROFILE, TERMS_DOCUMENT
from simulators.chain_endpoint import MemoryEndpoint


class MemorySource:
    """Implements `BlockSource`."""

    def __init__(self, blocks: Iterable[Block]) -> None:
        self.blocks: dict[str, bytes] = {found.cid.text: found.data for found in blocks}

    def get(self, cid: Cid) -> bytes:
        if cid.text not in self.blocks:
            raise unavailable(cid)
        data = self.blocks[cid.text]
        cid.check(data)
        return data

    def forget(self, block: Block) -> None:
        """Withhold a block."""
        del self.blocks[block.cid.text]

    def spoil(self, block: Block) -> None:
        """Give other bytes for a block."""
        self.blocks[block.cid.text] = b"something else"


class MemoryLog(LogFiles):
    """A print log's files in memory."""

    def __init__(self, log: SampleLog) -> None:
        super().__init__("memory")
        self.files: dict[str, bytes] = log.files | {"checkpoint": log.checkpoint}

    def _read(self, path: str, max_bytes: int) -> bytes | None:
        return self.files.get(path)


MANIFEST_BLOCK = raw_block(MANIFEST.encode())
TERMS_BLOCK = raw_block(TERMS_DOCUMENT.encode())
PROFILE_BLOCK = raw_block(PROFILE.encode())


class SampleEvidence(Evidence):
    """Everything that an audit of the sample log reads, true unless changed."""

    endpoint: MemoryEndpoint
    source: MemorySource
    files: MemoryLog


def evidence(facts: ChainFacts = FACTS, log: SampleLog = LOG, *, policy: Policy = ANYBODY) -> SampleEvidence:
    """Return evidence of these facts and this log; the log's anchors need not be those of the facts."""
    endpoint = memory_endpoint(facts)
    source = MemorySource([MANIFEST_BLOCK, TERMS_BLOCK, PROFILE_BLOCK, log.listing])
    files = MemoryLog(log)
    found = SampleEvidence(chains=[endpoint], blocks=source, log=files, policy=policy)
    found.endpoint, found.source, found.files = endpoint, source, files
    return found


def memory_endpoint(facts: ChainFacts = FACTS) -> MemoryEndpoint:
    return MemoryEndpoint(facts, {number: block(number) for number in range(31)})


def logged(*entries: LogEntry | bytes) -> SampleLog:
    """Return a log of these entries, signed by the sample gateway."""
    return SampleLog([entry if isinstance(entry, bytes) else entry.to_bytes() for entry in entries])


def anchoring(log: SampleLog, facts: ChainFacts = FACTS) -> ChainFacts:
    """Return the facts with one anchor, of this whole log."""
    gateway = replace(GATEWAY_FACT, anchors=(log.anchor(),))
    return replace(facts, gateways={GATEWAY.address: gateway})


def with_reservation(facts: ChainFacts = FACTS, **changes: Any) -> ChainFacts:
    changed: ReservationFact = replace(RESERVATION_FACT, **changes)
    return balanced(replace(facts, reservations={TokenId(changed.token_id): changed}))


def balanced(facts: ChainFacts) -> ChainFacts:
    """Return the facts with every print where the reservations say: in escrow, used up, or held."""
    licenses = {}
    for license_id, found in facts.licenses.items():
        own = [each for each in facts.reservations.values() if each.permission.license_id == license_id]
        escrowed = sum(each.permission.prints - each.burned for each in own if each.returned is None)
        exist = found.minted + found.sold - found.returned
        held = exist - escrowed - sum(each.burned for each in own)
        licenses[license_id] = replace(found, escrowed=escrowed, balances={RESERVATION_FACT.permission.holder: held})
    return replace(facts, licenses=licenses)


def with_license(facts: ChainFacts = FACTS, **changes: Any) -> ChainFacts:
    changed: LicenseFact = replace(LICENSE_FACT, **changes)
    return replace(facts, licenses={LICENSE_ID: changed})


def with_design(facts: ChainFacts = FACTS, **changes: Any) -> ChainFacts:
    changed: DesignFact = replace(DESIGN, **changes)
    return replace(facts, designs={DESIGN_ID: changed})


def with_gateway(facts: ChainFacts = FACTS, **changes: Any) -> ChainFacts:
    changed: GatewayFact = replace(GATEWAY_FACT, **changes)
    return replace(facts, gateways={GATEWAY.address: changed})


def failures(report: Report) -> list[tuple[int, str | None]]:
    """Return step and code of every discrepancy, each once."""
    return sorted({(finding.step.value, finding.code) for finding in report.failures})


REASON = raw_block("Pinches\u202e fingers\nat the hinge".encode())
RECALLED = with_design(revisions={1: replace(REVISION, recalled=block(20), recall_reason=REASON.cid.digest)})
