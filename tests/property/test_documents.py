"""Documents survive writing and reading, whatever is in them; no altered byte goes unnoticed."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sample_documents as sample
from platemark.errors import DataError, MalformedError
from platemark.protocol import byte_text, canonical, jws
from platemark.protocol.decimals import decimal_text, parse_decimal
from platemark.protocol.license_terms import OPEN_END, Protection
from platemark.protocol.manifest import Constraints, Manifest, Part, Process
from platemark.protocol.outcome import Promise, Result
from platemark.protocol.passport import Passport
from platemark.protocol.plain_text import line_of
from platemark.protocol.receipt import Attempt, Envelope, Quantities, Quantity, Receipt, Source, sign_receipt
from platemark.protocol.release import Release
from platemark.protocol.serial import grouped, parse_serial, serial_of
from platemark.protocol.siwe import SignInMessage
from platemark.protocol.terms_document import TermsDocument
from platemark.protocol.token import PrintToken
from platemark.protocol.units import Address, DesignId, Digest32, TokenId, UnixSeconds, Wei
from platemark.protocol.voucher import IntendedPrint, RedemptionRequest, SignedRequest, burned

digests = st.binary(min_size=32, max_size=32).map(Digest32)
addresses = st.binary(min_size=20, max_size=20).map(Address)
ids = st.integers(0, 2**256 - 1)
seconds = st.integers(0, 2**40).map(UnixSeconds)
sequences = st.integers(1, 65_535)
decimals = st.integers(0, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-6))


def is_line(text: str) -> bool:
    try:
        return line_of(text) == text
    except MalformedError:
        return False


def is_material(text: str) -> bool:
    return text.isprintable() and not set(text) & set(",;")


lines = st.text(min_size=1, max_size=40).map(str.strip).filter(is_line)


@given(data=st.binary(max_size=200))
def test_bytes_survive_as_text(data: bytes) -> None:
    assert byte_text.parse_base64url(byte_text.base64url(data), max_bytes=200) == data
    assert byte_text.parse_hex(byte_text.hex_text(data)) == data


@given(text=st.text(alphabet="AQgw_-05=+/ \n", max_size=9))
def test_bytes_have_one_text(text: str) -> None:
    try:
        data = byte_text.parse_base64url(text, max_bytes=9)
    except MalformedError:
        return
    assert byte_text.base64url(data) == text


@given(value=decimals)
def test_numbers_survive_as_text(value: Decimal) -> None:
    assert parse_decimal(decimal_text(value)) == value


@given(text=st.text(alphabet="0123456789.-+eE ", max_size=12))
def test_numbers_have_one_text(text: str) -> None:
    try:
        value = parse_decimal(text)
    except MalformedError:
        return
    assert decimal_text(value) == text


@given(token=ids.map(TokenId), sequence=sequences)
def test_serials_survive_being_typed(token: TokenId, sequence: int) -> None:
    serial = serial_of(token, sequence)
    assert parse_serial(grouped(serial).lower()) == serial


parts = st.builds(
    Part,
    name=lines,
    file=st.integers(0, 1),
    quantity=st.integers(1, 10_000),
    orientation=st.tuples(*[st.integers(0, 359)] * 3),
    bounding_box_mm=st.tuples(decimals, decimals, decimals),
    volume_mm3=decimals,
)
constraints = st.builds(
    Constraints,
    process=st.sampled_from(Process),
    materials=st.lists(lines, max_size=3).map(tuple),
    infill_percent=st.none() | st.integers(0, 1000).map(lambda tenths: Decimal(tenths) / 10),
    resolution_mm=st.none() | decimals,
    supports=st.none() | st.booleans(),
    nozzle_mm=st.none() | decimals,
)


@given(
    title=lines,
    found=st.lists(parts, min_size=1, max_size=4, unique_by=lambda part: part.name),
    needs=constraints,
    warnings=st.lists(lines, max_size=3).map(tuple),
    parent=st.none() | ids.map(DesignId),
)
def test_manifests_survive(
    title: str, found: list[Part], needs: Constraints, warnings: tuple[str, ...], parent: DesignId | None
) -> None:
    manifest = replace(
        sample.MANIFEST, title=title, parts=tuple(found), constraints=needs, warnings=warnings, parent_id=parent
    )
    assert Manifest.parse(manifest.encode()) == manifest


@given(
    title=lines,
    protection=st.sampled_from(Protection),
    cap=st.integers(100, 2**20),
    price=st.integers(0, 2**96 - 1).map(Wei),
    currency=addresses,
    window=st.tuples(st.integers(0, 2**33), st.integers(2**33, 2**34) | st.just(int(OPEN_END))),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    materials=st.lists(lines.filter(is_material), max_size=3, unique_by=str.casefold).map(tuple),
    clauses=st.lists(lines, max_size=3).map(tuple),
)
def test_terms_survive_and_bind(
    title: str,
    protection: Protection,
    cap: int,
    price: Wei,
    currency: Address,
    window: tuple[int, int],
    flags: tuple[bool, bool, bool],
    materials: tuple[str, ...],
    clauses: tuple[str, ...],
) -> None:
    document = TermsDocument(
        title=title,
        design_id=sample.DESIGN_ID,
        gateway=sample.GATEWAY.address,
        protection=protection,
        cap=cap,
        price=price,
        currency=currency,
        not_before=UnixSeconds(window[0]),
        not_after=UnixSeconds(window[1]),
        transferable=flags[0],
        commercial=flags[1],
        attribution=flags[2],
        materials=materials,
        clauses=clauses,
    )
    assert TermsDocument.parse(document.encode()) == document
    document.check_terms(document.terms(Digest32(bytes(32))))


requests = st.builds(
    RedemptionRequest,
    token_id=ids.map(TokenId),
    sequence=sequences,
    token_digest=digests,
    print_id=st.binary(min_size=16, max_size=16),
    recipient_digest=digests,
    seen_block=st.integers(0, 2**53 - 1),
    seen_hash=digests,
    detail=digests,
)


@given(request=requests)
@settings(max_examples=40)
def test_requests_survive_with_their_signer(request: RedemptionRequest) -> None:
    signed = request.sign(sample.AGENT, sample.LEDGER_DOMAIN)
    assert SignedRequest.from_json(signed.to_json()) == signed
    assert signed.signer(sample.LEDGER_DOMAIN) == sample.AGENT.address


@given(first=requests, second=requests)
def test_requests_that_differ_have_different_digests(first: RedemptionRequest, second: RedemptionRequest) -> None:
    same = replace(first, token_id=second.token_id, sequence=second.sequence) == second
    assert (first.request_digest() == second.request_digest()) is same


@given(printer=lines, parts_made=st.lists(lines, max_size=3), references=st.lists(lines, max_size=3))
def test_intended_prints_survive(printer: str, parts_made: list[str], references: list[str]) -> None:
    intended = IntendedPrint(printer, tuple(parts_made), tuple(references))
    assert IntendedPrint.from_json(intended.to_json()) == intended


@given(
    token=st.builds(
        replace,
        st.just(sample.TOKEN),
        token_id=ids.map(TokenId),
        prints=st.integers(1, 40_000),
        spares=st.integers(0, 25_535),
        agent=addresses,
        recipient_digest=digests,
    )
)
def test_tokens_survive_signing(token: PrintToken) -> None:
    assert PrintToken.verify(token.sign(sample.RELEASE_KEY), sample.RELEASE_KEY.public_bytes) == token


@given(token=ids.map(TokenId), sequence=sequences, leaf=digests, merge_by=seconds, result=st.sampled_from(Result))
def test_releases_and_promises_survive_signing(
    token: TokenId, sequence: int, leaf: Digest32, merge_by: UnixSeconds, result: Result
) -> None:
    public = sample.RELEASE_KEY.public_bytes
    release = replace(sample.RELEASE, token_id=token, sequence=sequence, leaf_hash=leaf, merge_by=merge_by)
    assert Release.verify(release.sign(sample.RELEASE_KEY), public) == release
    promise = replace(sample.PROMISE, token_id=token, sequence=sequence, result=result, merge_by=merge_by)
    assert Promise.verify(promise.sign(sample.RELEASE_KEY), public) == promise


@given(place=st.integers(0, len(sample.RELEASE_JWS) - 1), letter=st.sampled_from("AZaz09-_.= "))
def test_no_altered_letter_of_a_statement_goes_unnoticed(place: int, letter: str) -> None:
    altered = sample.RELEASE_JWS[:place] + letter + sample.RELEASE_JWS[place + 1 :]
    if altered == sample.RELEASE_JWS:
        return
    with pytest.raises(DataError):
        Release.verify(altered, sample.RELEASE_KEY.public_bytes)


quantities = st.builds(Quantity, decimals, st.sampled_from([source for source in Source if source is not Source.NONE]))
attempts = st.builds(
    Attempt,
    printer=st.just(sample.PRINTER),
    gcode_sha256=digests,
    started_at=st.integers(0, 1000).map(UnixSeconds),
    finished_at=st.integers(1000, 2**40).map(UnixSeconds),
    result=st.sampled_from(Result),
    reason=st.just("") | lines,
)


@given(
    token=ids.map(TokenId),
    sequence=sequences,
    tries=st.lists(attempts, max_size=3).map(tuple),
    used=st.builds(Quantities, in_part=quantities, energy=quantities),
)
@settings(max_examples=40)
def test_receipts_survive_signing(token: TokenId, sequence: int, tries: tuple[Attempt, ...], used: Quantities) -> None:
    receipt = replace(sample.RECEIPT, token_id=token, sequence=sequence, attempts=tries, quantities=used)
    envelope = Envelope.from_json(sign_receipt(receipt, sample.AGENT).countersign(sample.RELEASE_KEY).to_json())
    assert Receipt.parse(envelope.statement) == receipt
    envelope.verify_agent(sample.AGENT.address)
    envelope.verify_gateway(sample.RELEASE_KEY.public_bytes)


@given(sequence=st.integers(0, 65_535), voided=st.integers(0, 65_535), prints=st.integers(1, 65_535))
def test_burned_prints_stay_within_the_reservation(sequence: int, voided: int, prints: int) -> None:
    found = burned(sequence, voided, prints)
    assert 0 <= found <= prints
    assert found <= sequence
    if sequence:
        assert found - burned(sequence - 1, voided, prints) in {0, 1}
    if voided:
        assert burned(sequence, voided - 1, prints) - found in {0, 1}


@given(
    issued=st.integers(0, 253_402_300_000).map(UnixSeconds),
    lasts=st.integers(1, 799),
    chain=st.integers(1, 2**53 - 1),
    address=addresses,
    statement=lines,
)
def test_sign_in_messages_survive(
    issued: UnixSeconds, lasts: int, chain: int, address: Address, statement: str
) -> None:
    message = SignInMessage(
        "localhost:8000",
        address,
        statement,
        "http://localhost:8000",
        chain,
        "a1B2c3D4",
        issued,
        UnixSeconds(issued + lasts),
    )
    assert SignInMessage.parse(message.text()) == message


PASSPORT_TEXT = sample.PASSPORT.encode()


@given(place=st.integers(0, len(PASSPORT_TEXT) - 1), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_a_passport_with_a_flipped_bit_is_another_or_none(place: int, bit: int) -> None:
    altered = bytearray(PASSPORT_TEXT)
    altered[place] ^= 1 << bit
    try:
        found = Passport.parse(bytes(altered))
    except MalformedError:
        return
    assert found != sample.PASSPORT or canonical.parse(bytes(altered)) == canonical.parse(PASSPORT_TEXT)


@given(data=st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_noise_is_refused_as_malformed(data: bytes) -> None:
    for parse in (Manifest.parse, TermsDocument.parse, Receipt.parse, Passport.parse):
        with pytest.raises(MalformedError):
            parse(data)
    with pytest.raises(MalformedError):
        jws.verify(data.decode("latin-1"), "platemark-release+jwt", sample.RELEASE_KEY.public_bytes)
