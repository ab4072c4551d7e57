"""What an audit tells of a recall: the owner's words, where they are at hand."""

from typing import Final

from platemark.auditor.evidence import Evidence
from platemark.errors import MalformedError, VerificationError
from platemark.protocol.plain_text import reason_of
from platemark.protocol.units import Digest32
from platemark.verify.report import Report
from platemark.verify.steps import Step

_BLOCKS: Final = "blocks"


def reason_text(report: Report, evidence: Evidence, digest: Digest32) -> str | None:
    """Return the reason whose digest the chain has: its text, empty where nothing in it can be read.

    None where its block is not at hand, or is another's, which the report then says.
    """
    try:
        data = evidence.block(digest)
    except (VerificationError, MalformedError) as error:
        report.reject(Step.REVISION, error, _BLOCKS)
        return None
    return None if data is None else reason_of(data) or ""
