import dataclasses

import pytest
from eth_abi.abi import encode

from platemark.errors import MalformedError, UpstreamError
from platemark.protocol import abi
from platemark.protocol.typed_data import Registration
from platemark.protocol.units import (
    Address,
    BasisPoints,
    DesignId,
    UnixSeconds,
    address_text,
    digest32,
    id_text,
)
from platemark_gateway.chain.contracts import AbiCalls, RawLog, args_json, decode_event
from platemark_gateway.ports import BlockRef, Contract, Deployment

DEPLOYMENT = Deployment(1, Address(b"\x01" * 20), Address(b"\x02" * 20), Address(b"\x03" * 20), 1)
BLOCK = BlockRef(9, digest32(b"\x09" * 32), UnixSeconds(1000))
REGISTRANT = Address(b"\x44" * 20)
REGISTRATION = Registration(
    registrant=REGISTRANT,
    commitment=digest32(b"\x05" * 32),
    manifest_digest=digest32(b"\x06" * 32),
    is_private=True,
    parent_id=DesignId(7),
    resale_share=BasisPoints(100),
    derivative_share=BasisPoints(200),
    edition=50,
)


def registered() -> RawLog:
    entry = abi.load("DesignRegistry").entry("event", "DesignRegistered")
    return RawLog(
        address=DEPLOYMENT.registry,
        topics=(abi.topic(entry), (77).to_bytes(32, "big"), bytes(12) + REGISTRANT),
        data=encode(
            ["bytes32", "bytes32", "bool", "uint256", "uint16", "uint16", "uint40"],
            [b"\x05" * 32, b"\x06" * 32, True, 2**255, 100, 200, 50],
        ),
        block_number=9,
        block_hash=BLOCK.hash,
        transaction_hash=digest32(b"\x0a" * 32),
        log_index=3,
    )


def test_calldata_is_selector_and_arguments() -> None:
    entry = abi.load("DesignRegistry").entry("function", "register")
    calldata = AbiCalls().encode(Contract.REGISTRY, "register", [REGISTRATION.arguments()])
    assert calldata[:4] == abi.selector(entry)
    assert calldata[4:] == encode(
        ["address", "bytes32", "bytes32", "bool", "uint256", "uint16", "uint16", "uint40"],
        [address_text(REGISTRANT), b"\x05" * 32, b"\x06" * 32, True, 7, 100, 200, 50],
    )


@pytest.mark.parametrize("arguments", [[], [1, 2], ["0x12"], [None], [b"\x01" * 21]])
def test_arguments_that_do_not_fit_are_refused(arguments: list[object]) -> None:
    with pytest.raises(MalformedError) as caught:
        AbiCalls().encode(Contract.LEDGER, "gateways", arguments)
    assert caught.value.code == "calldata"


def test_numbers_outside_their_type_are_refused() -> None:
    too_large = dataclasses.replace(REGISTRATION, edition=2**40)
    with pytest.raises(MalformedError):
        AbiCalls().encode(Contract.REGISTRY, "register", [too_large.arguments()])


def test_event_is_decoded_with_the_abis_names() -> None:
    event = decode_event(DEPLOYMENT, registered(), BLOCK)
    assert event is not None
    assert (event.contract, event.name, event.log_index) == (Contract.REGISTRY, "DesignRegistered", 3)
    assert event.args == {
        "designId": 77,
        "registrant": REGISTRANT,
        "commitment": b"\x05" * 32,
        "manifestDigest": b"\x06" * 32,
        "isPrivate": True,
        "parentId": 2**255,
        "resaleShare": 100,
        "derivativeShare": 200,
        "edition": 50,
    }


def test_nested_structs_are_mappings() -> None:
    entry = abi.load("PrintLicense").entry("event", "LicenseOffered")
    terms = (7, b"\x01" * 32, "0x" + "00" * 20, 5, "0x" + "44" * 20, 10, 0, 99, 1, 2, 3, True, 0, b"\x02" * 32)
    kinds = [f"({','.join(each['type'] for each in entry['inputs'][5]['components'])})"]
    log = dataclasses.replace(
        registered(),
        address=DEPLOYMENT.license,
        topics=(abi.topic(entry), bytes(32), bytes(32), bytes(12) + REGISTRANT),
        data=encode(["uint16", "bytes32", *kinds, "bool"], [1, b"\x03" * 32, terms, True]),
    )
    event = decode_event(DEPLOYMENT, log, BLOCK)
    assert event is not None
    assert event.args["terms"]["price"] == 5
    assert event.args["terms"]["gateway"] == REGISTRANT
    assert event.args["onSale"] is True


@pytest.mark.parametrize("change", ["address", "topic", "no-topics"])
def test_logs_of_others_are_nothing(change: str) -> None:
    log = registered()
    match change:
        case "address":
            log = dataclasses.replace(log, address=b"\x55" * 20)
        case "topic":
            log = dataclasses.replace(log, topics=(bytes(32), *log.topics[1:]))
        case _:
            log = dataclasses.replace(log, topics=())
    assert decode_event(DEPLOYMENT, log, BLOCK) is None


@pytest.mark.parametrize("change", ["few-topics", "many-topics", "short-data", "dirty-bool", "dirty-address"])
def test_log_that_does_not_fit_its_event_is_refused(change: str) -> None:
    log = registered()
    match change:
        case "few-topics":
            log = dataclasses.replace(log, topics=log.topics[:2])
        case "many-topics":
            log = dataclasses.replace(log, topics=(*log.topics, bytes(32)))
        case "short-data":
            log = dataclasses.replace(log, data=log.data[:-1])
        case "dirty-bool":
            log = dataclasses.replace(log, data=log.data[:64] + b"\xff" * 32 + log.data[96:])
        case _:
            log = dataclasses.replace(log, topics=(*log.topics[:2], b"\xff" * 32))
    with pytest.raises(UpstreamError):
        decode_event(DEPLOYMENT, log, BLOCK)


def test_values_as_json() -> None:
    value = {"id": 2**200, "small": 5, "who": REGISTRANT, "digest": b"\x01" * 32, "list": (1, True, "x")}
    assert args_json(value) == {
        "id": id_text(2**200),
        "small": 5,
        "who": address_text(REGISTRANT),
        "digest": "0x" + "01" * 32,
        "list": [1, True, "x"],
    }
    with pytest.raises(TypeError):
        args_json(1.5)
