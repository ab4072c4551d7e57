from collections.abc import Callable

import httpx
import pytest
from pydantic import ValidationError

from golden import golden
from platemark.errors import PlatemarkError
from platemark.protocol.checkpoint import KeyType, Note, NoteSigner
from platemark.protocol.units import UnixSeconds
from platemark.protocol.witness import MAX_ANSWER_BYTES, AddCheckpoint
from platemark_gateway.errors import WitnessConflictError
from platemark_gateway.settings import Settings
from platemark_gateway.witnesses import HttpWitness, Witnesses

PUBLISHED = golden("published_notes")
WITNESS = NoteSigner.from_seed("witness.example.test/w1", bytes.fromhex(PUBLISHED["witnessSeed"]), KeyType.COSIGNATURE)
REQUEST = AddCheckpoint(0, (), Note.parse(PUBLISHED["note"].encode()))
LOG = NoteSigner.from_seed("log.example.test", b"\x01" * 32)


async def asked(answer: Callable[[httpx.Request], httpx.Response]) -> str:
    """Return the line that a witness with this answer gives."""
    transport = httpx.MockTransport(answer)
    witness = HttpWitness(WITNESS.key, "http://witness.test/w1", timeout_seconds=5, transport=transport)
    try:
        return (await witness.add_checkpoint(REQUEST)).line()
    finally:
        await witness.close()


@pytest.mark.anyio
async def test_a_witness_gets_the_request_and_its_cosignature_is_taken() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        assert (request.method, str(request.url)) == ("POST", "http://witness.test/w1/add-checkpoint")
        assert AddCheckpoint.parse(request.content) == REQUEST
        other = LOG.sign(REQUEST.note.text).line()
        return httpx.Response(200, content=(other + PUBLISHED["cosignature"]).encode())

    assert await asked(answer) == PUBLISHED["cosignature"]


@pytest.mark.anyio
async def test_a_conflict_says_which_size_the_witness_cosigned() -> None:
    with pytest.raises(WitnessConflictError) as caught:
        await asked(lambda _: httpx.Response(409, content=b"37\n", headers={"Content-Type": "text/x.tlog.size"}))
    assert caught.value.size == 37


@pytest.mark.anyio
@pytest.mark.parametrize(
    "status, body, media_type, code",
    [
        (200, b"", "text/plain", "note"),
        (200, b"hello\n", "text/plain", "note"),
        (200, WITNESS.cosign("another\n", UnixSeconds(1)).line().encode(), "text/plain", "note-signature"),
        (200, b"x" * (MAX_ANSWER_BYTES + 1), "text/plain", "witness-refused"),
        (301, b"", "text/plain", "witness-refused"),
        (400, b"", "text/plain", "witness-refused"),
        (403, b"", "text/plain", "witness-refused"),
        (404, b"", "text/plain", "witness-unknown-log"),
        (409, b"37\n", "text/plain", "witness-refused"),
        (409, b"many\n", "text/x.tlog.size", "witness-answer"),
        (422, b"", "text/plain", "witness-inconsistent"),
        (429, b"", "text/plain", "witness-unreachable"),
        (503, b"", "text/plain", "witness-unreachable"),
    ],
)
async def test_other_answers_are_refusals(status: int, body: bytes, media_type: str, code: str) -> None:
    with pytest.raises(PlatemarkError) as caught:
        await asked(lambda _: httpx.Response(status, content=body, headers={"Content-Type": media_type}))
    assert caught.value.code == code


@pytest.mark.anyio
async def test_a_witness_that_is_away_is_unreachable() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("away", request=request)

    with pytest.raises(PlatemarkError) as caught:
        await asked(answer)
    assert caught.value.code == "witness-unreachable"


@pytest.mark.anyio
async def test_the_witnesses_of_the_settings_are_asked_where_they_say() -> None:
    settings = Settings(witnesses=(f"{WITNESS.key.text} https://witness.test/w1/",))
    assert settings.witness_places() == ((WITNESS.key, "https://witness.test/w1"),)
    (made,) = witnesses = Witnesses.of(settings)
    assert made.key == WITNESS.key
    await witnesses.close()


@pytest.mark.parametrize(
    "texts",
    [
        ("https://witness.test",),
        (WITNESS.key.text,),
        (f"{WITNESS.key.text} witness.test",),
        (f"{LOG.key.text} https://witness.test",),
        (f"{WITNESS.key.text} https://one.test", f"{WITNESS.key.text} https://two.test"),
    ],
)
def test_what_names_no_witness_is_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(ValidationError):
        Settings(witnesses=texts)
