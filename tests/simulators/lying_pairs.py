"""Two that lie together: what one of them says, the other vouches for."""

from dataclasses import replace

from platemark.auditor.evidence import Evidence
from platemark.protocol.cid import raw_block
from platemark.protocol.log_entry import LogEntry, Result
from sample_chain import FACTS, RESERVATION_FACT, anchored, ended, redeemed
from sample_chain import LOG as TRUE_LOG
from sample_documents import DESIGNER, MANIFEST, OUTCOME_ENTRY, REDEEMED, RELEASE, RELEASE_KEY, word
from sample_evidence import anchoring, evidence, logged, memory_endpoint, with_gateway, with_license, with_reservation
from simulators.adversary import LOG, PASSPORT, Shown, adversary
from simulators.lying_endpoint import beside_an_honest_one
from simulators.lying_gateway import showing, telling

GATEWAY_AND_CENTRE = "gateway and centre"
GATEWAY_AND_ENDPOINT = "gateway and RPC endpoint"
DESIGNER_AND_GATEWAY = "designer and gateway"
GATEWAY_AND_NODE = "gateway and IPFS node"
PRINTS, SPARES = RESERVATION_FACT.permission.prints, RESERVATION_FACT.spares


def failed(sequence: int) -> LogEntry:
    """Return the outcome of a print that its agent reports as failed, to be given back."""
    return ended(sequence, Result.FAILED, spare_used=True)


# --- gateway and centre ---------------------------------------------------------------------------------------------


@adversary(
    GATEWAY_AND_CENTRE,
    "print more than was reserved, each print signed and logged",
    audit=LOG,
    finds=["13 count-exceeded"],
)
def count_exceeded() -> Evidence:
    return telling(*[redeemed(number) for number in range(1, PRINTS + 2)])


@adversary(
    GATEWAY_AND_CENTRE, "give back more prints as failed than the terms allow", audit=LOG, finds=["13 spares-exceeded"]
)
def spares_exceeded() -> Evidence:
    numbers = range(1, SPARES + 2)
    return telling(*[redeemed(number) for number in numbers], *[failed(number) for number in numbers])


@adversary(
    GATEWAY_AND_CENTRE,
    "print a token that its holder permitted to another gateway",
    audit=LOG,
    finds=["7 entry-without-reservation"],
)
def token_of_another_gateway() -> Evidence:
    permission = replace(RESERVATION_FACT.permission, gateway=DESIGNER.address)
    token_id = permission.token_id(FACTS.contracts.ledger_domain)
    log = logged(redeemed(1, token_id=token_id))
    return evidence(anchoring(log, with_reservation(token_id=token_id, permission=permission)), log)


@adversary(
    GATEWAY_AND_CENTRE,
    "print with another agent than the holder named",
    audit=LOG,
    finds=["8 signature-invalid"],
)
def another_agent() -> Evidence:
    entry = replace(
        redeemed(2), signature=DESIGNER.sign(redeemed(2).redemption().digest(FACTS.contracts.ledger_domain))
    )
    return telling(REDEEMED, OUTCOME_ENTRY, entry)


# --- gateway and RPC endpoint ---------------------------------------------------------------------------------------


@adversary(
    GATEWAY_AND_ENDPOINT,
    "rewrite an anchored entry and its anchor's event, which storage contradicts",
    audit=LOG,
    finds=["12 anchor-storage"],
)
def anchor_rewritten() -> Evidence:
    log = logged(REDEEMED, ended(1, Result.REJECTED))
    stored = FACTS.gateways[RESERVATION_FACT.permission.gateway].anchors[0].stored
    return evidence(with_gateway(anchors=(replace(log.anchor(), stored=stored),)), log)


@adversary(
    GATEWAY_AND_ENDPOINT,
    "rewrite an anchored entry, its anchor's event and its storage, which a second endpoint contradicts",
    audit=LOG,
    finds=["0 endpoints-disagree"],
)
def anchor_rewritten_wholly() -> Evidence:
    log = logged(REDEEMED, ended(1, Result.REJECTED))
    return beside_an_honest_one(evidence(anchoring(log), log))


@adversary(
    GATEWAY_AND_ENDPOINT,
    "invent the storage of a smaller settlement, which a second endpoint contradicts",
    audit=LOG,
    finds=["0 endpoints-disagree"],
)
def settlement_invented() -> Evidence:
    found = evidence(with_reservation(burned=0))
    found.chains.append(memory_endpoint(with_reservation(burned=1, settled_sequence=1)))
    return found


@adversary(
    GATEWAY_AND_ENDPOINT,
    "rewrite an anchored entry and all that one endpoint says of it, and no second endpoint is asked",
    audit=LOG,
    why="who asks one endpoint takes its word: the report says “trusted: this RPC endpoint”; ask a second",
)
def one_endpoint_only() -> Evidence:
    log = logged(REDEEMED, ended(1, Result.REJECTED))
    return evidence(anchoring(log), log)


# --- designer and gateway -------------------------------------------------------------------------------------------


@adversary(
    DESIGNER_AND_GATEWAY,
    "sell under one key and accept the revision with another",
    audit=LOG,
    finds=["5 key-commitment"],
)
def another_key_accepted() -> Evidence:
    return evidence(with_license(accepted={1: (word("other key"),)}))


@adversary(
    DESIGNER_AND_GATEWAY,
    "release a manifest that was never registered",
    audit=PASSPORT,
    finds=["2 manifest-digest", "4 manifest-digest"],
)
def unregistered_manifest() -> Shown:
    manifest = replace(MANIFEST, title="Else")
    release = replace(RELEASE, manifest_digest=raw_block(manifest.encode()).cid.digest).sign(RELEASE_KEY)
    return Shown(replace(anchored(), manifest=manifest, release=release), evidence())


@adversary(
    DESIGNER_AND_GATEWAY,
    "grant more spares than the terms do",
    audit=LOG,
    finds=["7 spares-mismatch"],
)
def more_spares() -> Evidence:
    return evidence(with_reservation(spares=SPARES + 1))


# --- gateway and IPFS node ------------------------------------------------------------------------------------------


@adversary(
    GATEWAY_AND_NODE,
    "rewrite an anchored entry and withhold the list of what was anchored",
    audit=LOG,
    finds=["12 anchor-root", "12 tile-withheld"],
)
def rewritten_and_withheld() -> Evidence:
    found = showing(logged(REDEEMED, ended(1, Result.REJECTED)))
    found.source.forget(TRUE_LOG.listing)
    return found
