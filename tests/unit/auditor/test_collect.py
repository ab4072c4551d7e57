"""What is collected from an endpoint: what is true comes back as facts, what contradicts storage is refused."""

import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from platemark.auditor.collect import collect, find_contracts
from platemark.errors import VerificationError
from platemark.protocol.units import Address, LicenseId, address_text
from platemark.sdk.chain import ChainEvent, ContractName
from platemark.verify.facts import AnchorFact, ChainFacts, DeclarationFact, MoveFact, RevisionFact
from sample_chain import CONTRACTS, FACTS, GATEWAY_FACT, LOG, RESERVATION_FACT, REVISION, block
from sample_documents import (
    CHAIN_ID,
    DESIGN_ID,
    DESIGNER,
    GATEWAY,
    HOLDER,
    LEDGER,
    LICENSE_ID,
    MANIFEST,
    TOKEN_ID,
    word,
)
from sample_evidence import memory_endpoint, with_design, with_gateway, with_license, with_reservation
from simulators.chain_endpoint import MemoryEndpoint

SECOND = RevisionFact(2, word("commitment 2"), word("manifest 2"), block(9), word("root 2"), word("salt 2"))
OTHER_EPOCH = DeclarationFact(2, word("profile 2"), block(22))
OTHER_ANCHOR = AnchorFact(2, 1, word("root"), word("tiles"), word("stored"), block(23), word("sent"))

TRUE: Mapping[str, ChainFacts] = {
    "one of each": FACTS,
    "nothing": ChainFacts(CONTRACTS, block(30)),
    "two revisions, one recalled": with_design(
        revisions={1: replace(REVISION, recalled=block(20), recall_reason=word("why")), 2: SECOND}
    ),
    "not revealed": with_design(revisions={1: replace(REVISION, files_root=None, salt=None)}),
    "sold to a new owner": with_design(owner=HOLDER.address),
    "a second revision accepted": with_license(accepted={1: (MANIFEST.key_commitment,), 2: (word("key 2"),)}),
    "two keys accepted": with_license(accepted={1: (MANIFEST.key_commitment, word("key 2"))}),
    "moved": with_license(moves=(MoveFact(HOLDER.address, block(8)), MoveFact(DESIGNER.address, block(9)))),
    "returned": with_license(returned=2, refunded=7, minted_in_storage=13, balances={HOLDER.address: 3}),
    "an edition lowered": with_design(edition=20),
    "settled": with_reservation(burned=3, voided=1, settled_sequence=4),
    "closed": with_reservation(closed=(4, 1), returned=7, burned=3, voided=1),
    "reclaimed": with_reservation(returned=10),
    "a new epoch": with_gateway(
        declarations=(*GATEWAY_FACT.declarations, OTHER_EPOCH), anchors=(LOG.anchor(), OTHER_ANCHOR)
    ),
    "nothing anchored": with_gateway(anchors=()),
}


@pytest.mark.parametrize("name", TRUE)
def test_facts_are_collected_as_they_are(name: str) -> None:
    told: list[str] = []
    assert collect(memory_endpoint(TRUE[name]), CONTRACTS, on_progress=told.append) == TRUE[name]
    assert told == ["designs", "licences", "reservations", "anchors"]


def test_facts_are_of_the_block_that_is_asked_for() -> None:
    facts = collect(memory_endpoint(replace(FACTS, gateways={})), CONTRACTS, final=block(6))
    assert facts.final == block(6)
    assert facts.reservations == {}
    assert LICENSE_ID in facts.licenses


def _of_another_block(endpoint: MemoryEndpoint) -> None:
    first: ChainEvent = endpoint.events_of[0]
    endpoint.events_of[0] = replace(first, block_hash=word("fork"))


def _storage(key: tuple[object, ...], value: object) -> Callable[[MemoryEndpoint], None]:
    def lie(endpoint: MemoryEndpoint) -> None:
        assert key in endpoint.storage
        endpoint.storage[key] = value

    return lie


def _field(key: tuple[object, ...], **changes: object) -> Callable[[MemoryEndpoint], None]:
    def lie(endpoint: MemoryEndpoint) -> None:
        endpoint.storage[key] = SimpleNamespace(**(vars(endpoint.storage[key]) | changes))

    return lie


def _closed_otherwise(endpoint: MemoryEndpoint) -> None:
    _field(RESERVATION_KEY, closed=True)(endpoint)
    stored = endpoint.storage[RESERVATION_KEY]
    counts = {"released": 4, "voided": stored.voided + 1, "burned": stored.burned, "returned": 7}
    endpoint.tell("PrintLedger", "Closed", tokenId=TOKEN_ID, **counts)


RESERVATION_KEY = ("reservationOf", address_text(GATEWAY.address), LICENSE_ID, TOKEN_ID)
GATEWAY_KEY = ("gateways", address_text(GATEWAY.address))
PROFILE_DIGEST = GATEWAY_FACT.declarations[0].profile_digest

LIES: Mapping[str, Callable[[MemoryEndpoint], None]] = {
    "an event of another block": _of_another_block,
    "a registration is hidden": lambda endpoint: endpoint.forget("DesignRegistered"),
    "a publication is hidden": _storage(("latestRevision", DESIGN_ID), 2),
    "a revision that was never published is revealed": lambda endpoint: endpoint.tell(
        "DesignRegistry", "ContentRevealed", designId=DESIGN_ID, revision=2, filesRoot=word("a"), salt=word("b")
    ),
    "a recall is hidden": _storage(("isPrintable", DESIGN_ID, 1), value=False),
    "a recall is invented": lambda endpoint: endpoint.tell(
        "DesignRegistry", "RevisionRecalled", designId=DESIGN_ID, revision=1, reasonDigest=word("why")
    ),
    "a design that nobody owns": lambda endpoint: endpoint.storage.pop(("ownerOf", DESIGN_ID)),
    "a licence that the contract does not know": lambda endpoint: endpoint.storage.pop(("termsOf", LICENSE_ID)),
    "more spares than in storage": _field(RESERVATION_KEY, spares=0),
    "an end of a token is hidden": _field(RESERVATION_KEY, closed=True),
    "an end of a token is invented": lambda endpoint: endpoint.tell(
        "PrintLedger", "Reclaimed", tokenId=TOKEN_ID, prints=10
    ),
    "a closing tells other counts than are stored": _closed_otherwise,
    "all declarations are hidden": lambda endpoint: endpoint.forget("GatewayDeclared"),
    "the last declaration is hidden": _storage(GATEWAY_KEY, (word("other"), 1, 2)),
    "an epoch is hidden": _storage(GATEWAY_KEY, (PROFILE_DIGEST, 2, 2)),
    "an anchor is hidden": _storage(GATEWAY_KEY, (PROFILE_DIGEST, 1, 3)),
}


@pytest.mark.parametrize("name", LIES)
def test_endpoint_whose_events_are_not_its_storage_is_refused(name: str) -> None:
    endpoint = memory_endpoint()
    LIES[name](endpoint)
    with pytest.raises(VerificationError) as raised:
        collect(endpoint, CONTRACTS)
    assert raised.value.code == "endpoint-contradicts"
    assert raised.value.step == "0 contracts"


def test_declarations_of_other_gateways_do_not_disturb() -> None:
    stranger = replace(GATEWAY_FACT, gateway=DESIGNER.address, anchors=())
    facts = replace(FACTS, gateways={GATEWAY.address: GATEWAY_FACT, DESIGNER.address: stranger})
    assert collect(memory_endpoint(facts), CONTRACTS).gateways == facts.gateways


def test_reservation_of_an_unknown_licence_is_collected_for_the_check_that_names_it() -> None:
    permission = replace(RESERVATION_FACT.permission, license_id=LicenseId(7))
    facts = with_reservation(permission=permission)
    assert collect(memory_endpoint(facts), CONTRACTS).reservations == facts.reservations


# --- contracts ------------------------------------------------------------------------------------------------------


def test_contracts_are_found_from_the_ledger() -> None:
    assert find_contracts(memory_endpoint(), LEDGER, chain_id=CHAIN_ID) == CONTRACTS


def test_contracts_of_another_chain_are_refused() -> None:
    with pytest.raises(VerificationError) as raised:
        find_contracts(memory_endpoint(), LEDGER, chain_id=1)
    assert raised.value.code == "wrong-chain"


@pytest.mark.parametrize("address", [CONTRACTS.registry, CONTRACTS.print_license, CONTRACTS.ledger])
def test_other_code_is_refused(address: Address) -> None:
    endpoint = memory_endpoint()
    endpoint.foreign_code.add(address)
    with pytest.raises(VerificationError) as raised:
        find_contracts(endpoint, LEDGER, chain_id=CHAIN_ID)
    assert raised.value.code == "contract-code"


def test_licence_contract_of_another_ledger_is_refused() -> None:
    endpoint = memory_endpoint()
    endpoint.storage["ledger",] = address_text(DESIGNER.address)
    with pytest.raises(VerificationError) as raised:
        find_contracts(endpoint, LEDGER, chain_id=CHAIN_ID)
    assert raised.value.code == "contract-code"


def test_events_are_not_held_in_memory() -> None:
    class Settling(MemoryEndpoint):
        def events(self, contract: ContractName, *arguments: Any, **options: Any) -> Iterator[ChainEvent]:
            for event in super().events(contract, *arguments, **options):
                yield event
                if event.name == "Reserved":
                    for sequence in range(1, 1001):
                        more = {"tokenId": TOKEN_ID, "sequence": sequence, "weight": bytes(100_000 + sequence)}
                        yield replace(event, name="Settled", arguments=more)

    endpoint = memory_endpoint()
    tracemalloc.start()
    try:
        facts = collect(Settling(endpoint.facts, endpoint.blocks), CONTRACTS)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert facts.reservations[TOKEN_ID].settled_sequence == 1000
    assert most < 10_000_000
