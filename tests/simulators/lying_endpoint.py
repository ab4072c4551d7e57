"""An RPC endpoint that lies: about code, events, storage and blocks."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

from platemark.auditor.evidence import Evidence
from platemark.protocol.units import address_text
from sample_chain import FACTS, block
from sample_documents import DESIGN_ID, GATEWAY, LEDGER, LICENSE_ID, TOKEN_ID, word
from sample_evidence import SampleEvidence, evidence, memory_endpoint, with_design, with_license, with_reservation
from simulators.adversary import LOG, adversary

ENDPOINT: Final = "RPC endpoint"
CONTRADICTS: Final = ["0 endpoint-contradicts"]
DISAGREE: Final = ["0 endpoints-disagree"]
RESERVATION_KEY: Final = ("reservationOf", address_text(GATEWAY.address), LICENSE_ID, TOKEN_ID)
GATEWAY_KEY: Final = ("gateways", address_text(GATEWAY.address))


def storing(key: tuple[Any, ...], value: object) -> SampleEvidence:
    """Return evidence of an endpoint that answers with another value than the chain stores."""
    found = evidence()
    assert key in found.endpoint.storage
    found.endpoint.storage[key] = value
    return found


def beside_an_honest_one(found: SampleEvidence) -> SampleEvidence:
    """Return the same evidence with an honest endpoint as the second."""
    found.chains.append(memory_endpoint())
    return found


@adversary(ENDPOINT, "has other code at a contract's address", audit=LOG, finds=["0 contract-code"])
def other_code() -> Evidence:
    found = evidence()
    found.endpoint.foreign_code.add(LEDGER)
    return found


@adversary(ENDPOINT, "hides an anchor", audit=LOG, finds=CONTRADICTS)
def anchor_hidden() -> Evidence:
    found = evidence()
    found.endpoint.forget("Anchored")
    return found


@adversary(ENDPOINT, "hides a registration", audit=LOG, finds=CONTRADICTS)
def registration_hidden() -> Evidence:
    found = evidence()
    found.endpoint.forget("DesignRegistered")
    return found


@adversary(ENDPOINT, "hides that a gateway replaced its keys", audit=LOG, finds=CONTRADICTS)
def declaration_hidden() -> Evidence:
    return storing(GATEWAY_KEY, (word("other"), 1, 2))


@adversary(ENDPOINT, "hides a recall", audit=LOG, finds=CONTRADICTS)
def recall_hidden() -> Evidence:
    return storing(("isPrintable", DESIGN_ID, 1), value=False)


@adversary(ENDPOINT, "invents a recall", audit=LOG, finds=CONTRADICTS)
def recall_invented() -> Evidence:
    found = evidence()
    found.endpoint.tell("DesignRegistry", "RevisionRecalled", designId=DESIGN_ID, revision=1, reasonDigest=bytes(32))
    return found


@adversary(ENDPOINT, "hides the end of a token", audit=LOG, finds=CONTRADICTS)
def end_hidden() -> Evidence:
    stored = evidence().endpoint.storage[RESERVATION_KEY]
    return storing(RESERVATION_KEY, SimpleNamespace(**(vars(stored) | {"closed": True})))


@adversary(ENDPOINT, "invents the end of a token", audit=LOG, finds=CONTRADICTS)
def end_invented() -> Evidence:
    found = evidence()
    found.endpoint.tell("PrintLedger", "Reclaimed", tokenId=TOKEN_ID, prints=10)
    return found


@adversary(ENDPOINT, "answers from another fork", audit=LOG, finds=CONTRADICTS)
def event_of_a_fork() -> Evidence:
    found = evidence()
    found.endpoint.events_of[0] = replace(found.endpoint.events_of[0], block_hash=word("fork"))
    return found


@adversary(ENDPOINT, "denies a block that an agent saw", audit=LOG, finds=["8 seen-block"])
def block_denied() -> Evidence:
    found = evidence()
    found.endpoint.blocks = {number: block(number) for number in range(31) if number != 17}
    return found


@adversary(ENDPOINT, "is on another fork than a second endpoint", audit=LOG, finds=DISAGREE)
def another_final_block() -> Evidence:
    return beside_an_honest_one(evidence(replace(FACTS, final=replace(block(30), hash=word("fork")))))


@adversary(ENDPOINT, "hides a design, wholly, from all but a second endpoint", audit=LOG, finds=DISAGREE)
def design_hidden() -> Evidence:
    return beside_an_honest_one(evidence(replace(FACTS, designs={})))


@adversary(ENDPOINT, "tells of fewer minted prints than a second endpoint", audit=LOG, finds=DISAGREE)
def fewer_minted() -> Evidence:
    return beside_an_honest_one(evidence(with_license(minted=9, minted_in_storage=14)))


@adversary(ENDPOINT, "tells of another settlement than a second endpoint", audit=LOG, finds=DISAGREE)
def another_settlement() -> Evidence:
    return beside_an_honest_one(evidence(with_reservation(burned=1)))


@adversary(ENDPOINT, "tells of a recalled revision what a second endpoint does not", audit=LOG, finds=DISAGREE)
def recall_told_alone() -> Evidence:
    revision = replace(FACTS.designs[DESIGN_ID].revisions[1], recalled=block(20))
    return beside_an_honest_one(evidence(with_design(revisions={1: revision})))
