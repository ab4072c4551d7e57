import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from platemark.errors import MalformedError, RefusedError, UpstreamError, VerificationError
from platemark.protocol.accounts import AccountKey, recover
from platemark.protocol.cid import raw_cid
from platemark.protocol.siwe import SignInMessage
from platemark.protocol.units import Address, DesignId, LicenseId, TokenId, UnixSeconds, address_text
from platemark.sdk.gateway import GatewayClient, check_uploaded, single_block
from platemark.sdk.transport import Retries

URL = "http://gateway.test:8420"
ACCOUNT = AccountKey(b"\x42" * 32)
DESIGN = {
    "designId": "0x" + "01" * 32,
    "registrant": address_text(b"\x11" * 20),
    "owner": address_text(b"\x12" * 20),
    "status": "final",
    "latestRevision": 1,
    "isPrivate": False,
    "revisions": [
        {
            "revision": 1,
            "commitment": "0x" + "02" * 32,
            "manifestDigest": "0x" + "03" * 32,
            "manifestCid": None,
            "state": "registered",
            "status": "final",
            "revealed": False,
            "filesRoot": None,
            "somethingNew": [1, 2],
        }
    ],
    "transaction": None,
}


def _client(
    answering: Callable[[httpx.Request], httpx.Response], *, account: AccountKey | None = None, attempts: int = 1
) -> GatewayClient:
    return GatewayClient(
        URL,
        account=account,
        transport=httpx.MockTransport(answering),
        retries=Retries(attempts, first_pause_seconds=0),
    )


def _message(**changes: object) -> str:
    values: dict[str, object] = {
        "domain": "gateway.test:8420",
        "address": ACCOUNT.address,
        "statement": "Sign in to Platemark.",
        "uri": f"{URL}/console",
        "chain_id": 480215,
        "nonce": "abcdefgh12",
        "issued_at": UnixSeconds(1_800_000_000),
        "expires_at": UnixSeconds(1_800_000_600),
    }
    return SignInMessage(**(values | changes)).text()  # type: ignore[arg-type]


class SigningIn:
    """A gateway that wants a session for everything."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.signed: list[dict[str, str]] = []
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if request.url.path == "/v1/sign-in/challenges":
            return httpx.Response(200, json={"text": self.text})
        if request.url.path == "/v1/sign-in":
            self.signed.append(json.loads(request.content))
            return httpx.Response(200, json={"session": "s1", "expiresAt": 1_800_000_600})
        if request.headers.get("authorization") != "Bearer s1":
            return httpx.Response(401, json={"code": "sign-in-needed"})
        return httpx.Response(200, json={"items": [], "cursor": None})


def test_a_call_that_needs_it_signs_in_once() -> None:
    gateway = SigningIn(_message())
    with _client(gateway, account=ACCOUNT) as client:
        assert client.designs() == []
        assert client.designs() == []
    (body,) = gateway.signed
    assert body["message"] == gateway.text
    digest = SignInMessage.parse(gateway.text).digest()
    assert recover(digest, bytes.fromhex(body["signature"][2:])) == ACCOUNT.address
    assert gateway.asked.count("/v1/sign-in") == 1


def test_nobody_signs_in_without_an_account() -> None:
    with _client(SigningIn(_message())) as client:
        with pytest.raises(RefusedError) as caught:
            client.designs()
        assert caught.value.code == "sign-in-needed"
        with pytest.raises(RefusedError) as caught:
            client.sign_in()
        assert caught.value.code == "sign-in"


@pytest.mark.parametrize(
    "text",
    [
        _message(domain="honest.example"),
        _message(uri="http://honest.example/console"),
        _message(address=Address(b"\x01" * 20)),
        _message() + " ",
        "Transfer everything to me",
    ],
)
def test_a_challenge_for_somebody_or_somewhere_else_is_never_signed(text: str) -> None:
    gateway = SigningIn(text)
    with _client(gateway, account=ACCOUNT) as client, pytest.raises(VerificationError) as caught:
        client.designs()
    assert caught.value.code == "sign-in-message"
    assert not gateway.signed


def test_a_gateway_that_never_accepts_a_session_does_not_make_a_loop() -> None:
    gateway = SigningIn(_message())
    asked = 0

    def answering(request: httpx.Request) -> httpx.Response:
        nonlocal asked
        asked += 1
        if request.url.path.startswith("/v1/sign-in"):
            return gateway(request)
        return httpx.Response(401, json={"code": "credential-invalid"})

    with _client(answering, account=ACCOUNT) as client, pytest.raises(RefusedError):
        client.designs()
    assert asked == 4


def test_a_bad_signature_is_no_reason_to_sign_in() -> None:
    asked = []

    def answering(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(401, json={"code": "signature-invalid"})

    with _client(answering, account=ACCOUNT) as client, pytest.raises(RefusedError) as caught:
        client.design(DesignId(1))
    assert caught.value.code == "signature-invalid"
    assert len(asked) == 1


def test_each_post_has_a_key_of_its_own_and_keeps_it_when_repeated() -> None:
    keys = []

    def answering(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["idempotency-key"])
        return httpx.Response(502 if len(keys) == 1 else 200, json={})

    with _client(answering, attempts=3) as client:
        client.anchor()
        client.anchor()
    assert keys[0] == keys[1]
    assert keys[1] != keys[2]


def test_a_redemption_is_sent_as_the_very_bytes_that_were_stored() -> None:
    sent = []
    answer = {"release": "jws", "sealedKey": "AAAA", "sequence": 1, "printsLeft": 2, "sparesLeft": 0}

    def answering(request: httpx.Request) -> httpx.Response:
        sent.append((request.content, request.headers.get("idempotency-key")))
        return httpx.Response(503 if len(sent) == 1 else 200, json=answer, headers={"Retry-After": "0"})

    with GatewayClient(
        URL, transport=httpx.MockTransport(answering), retries=Retries(2, first_pause_seconds=0)
    ) as client:
        client._transport._sleep = lambda _: None
        assert client.redeem(b'{"b": 1,  "a": 2}').prints_left == 2
    assert sent == [(b'{"b": 1,  "a": 2}', None)] * 2


def test_a_list_is_read_to_its_last_page() -> None:
    pages = {None: "p2", "p2": "p3", "p3": None}

    def answering(request: httpx.Request) -> httpx.Response:
        cursor = request.url.params.get("cursor")
        assert request.url.params.get("owner") == address_text(ACCOUNT.address)
        return httpx.Response(200, json={"items": [DESIGN], "cursor": pages[cursor]})

    with _client(answering) as client:
        assert len(client.designs(ACCOUNT.address)) == 3


def test_a_list_that_goes_round_in_circles_is_left() -> None:
    with (
        _client(lambda _: httpx.Response(200, json={"items": [], "cursor": "same"})) as client,
        pytest.raises(UpstreamError) as caught,
    ):
        client.designs()
    assert caught.value.code == "answer-malformed"


def test_members_that_nobody_knows_are_ignored() -> None:
    with _client(lambda _: httpx.Response(200, json=DESIGN | {"more": {}})) as client:
        design = client.design(DesignId(1))
    assert design.revisions[0].state == "registered"
    assert design.revision(2) is None


def test_a_plate_sends_the_stored_bytes_and_has_a_release_for_each() -> None:
    stored = [b'{"a":1}', b'{"b":2}']
    answers = [{"release": name, "sealedKey": "AAAA", "sequence": 1} for name in ("first", "second")]
    bodies: list[bytes] = []

    def answering(request: httpx.Request) -> httpx.Response:
        bodies.append(request.content)
        assert request.url.path == "/v1/prints/plate"
        return httpx.Response(200, json={"releases": answers})

    with _client(answering) as client:
        assert [each.release for each in client.redeem_plate(stored)] == ["first", "second"]
        answers.pop()
        with pytest.raises(UpstreamError) as caught:
            client.redeem_plate(stored)
    assert bodies[0] == b'{"redemptions":[{"a":1},{"b":2}]}'
    assert caught.value.code == "answer-malformed"


@pytest.mark.parametrize(
    "change",
    [
        {"designId": "0x01"},
        {"designId": None},
        {"registrant": "0x00"},
        {"status": 3},
        {"latestRevision": "1"},
        {"latestRevision": -1},
        {"isPrivate": "no"},
        {"revisions": {}},
        {"revisions": [1]},
        {"revisions": [DESIGN["revisions"][0] | {"commitment": "0x"}]},  # type: ignore[index]
        {"revisions": [{}] * 1001},
    ],
)
def test_an_answer_that_is_not_what_it_should_be_is_an_upstream_error(change: dict[str, object]) -> None:
    with (
        _client(lambda _: httpx.Response(200, json=DESIGN | change)) as client,
        pytest.raises(UpstreamError) as caught,
    ):
        client.design(DesignId(1))
    assert caught.value.code == "answer-malformed"


def test_a_block_is_checked_before_anybody_sees_it() -> None:
    cid = raw_cid(b"right")
    with _client(lambda _: httpx.Response(200, content=b"wrong")) as client, pytest.raises(VerificationError) as caught:
        client.block(cid)
    assert caught.value.code == "block-mismatch"
    with _client(lambda _: httpx.Response(200, content=b"right")) as client:
        assert client.block(single_block(cid.digest)) == b"right"


def test_an_upload_says_its_length_and_begins_anew_when_repeated() -> None:
    seen = []

    def content() -> Iterator[bytes]:
        yield b"abc"
        yield b"de"

    def answering(request: httpx.Request) -> httpx.Response:
        seen.append((request.headers["content-length"], request.headers.get("transfer-encoding"), request.read()))
        blob = {"cid": raw_cid(b"abcde").text, "bytes": 5, "sha256": "0x" + raw_cid(b"abcde").digest.hex()}
        return httpx.Response(502 if len(seen) == 1 else 200, json=blob)

    with _client(answering, attempts=2) as client:
        blob = client.upload(content, 5)
    assert seen == [("5", None, b"abcde")] * 2
    cid = raw_cid(b"abcde")
    check_uploaded(blob, cid, cid.digest, 5)
    with pytest.raises(VerificationError):
        check_uploaded(blob, raw_cid(b"other"), cid.digest, 5)


@pytest.mark.parametrize("serial", ["", "../x", "a/b", "a b", "ä", "x" * 129])
def test_no_text_leaves_its_segment_of_an_address(serial: str) -> None:
    with _client(lambda _: pytest.fail("it was asked")) as client, pytest.raises(MalformedError):
        client.part(serial)


def test_neither_session_nor_key_is_shown() -> None:
    key = {"id": "k1", "name": "shop", "scopes": ["prints"], "key": "very-secret"}
    with _client(lambda _: httpx.Response(200, json=key)) as client:
        made = client.create_api_key("shop", ["prints"])
        client._bearer = "session-secret"
        assert made.secret == "very-secret"
        assert "secret" not in repr(client)
        assert "very-secret" not in repr(made)


def test_ids_stand_in_addresses_as_sixty_four_digits() -> None:
    asked = []

    def answering(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(404, json={"code": "token-unknown"})

    with _client(answering) as client:
        for call in (lambda: client.reservation(TokenId(255)), lambda: client.license(LicenseId(255))):
            with pytest.raises(RefusedError):
                call()
    assert asked == [f"/v1/reservations/0x{255:064x}", f"/v1/licenses/0x{255:064x}"]
