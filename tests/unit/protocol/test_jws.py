import base64
import hashlib
import json
import pickle
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

import sample_documents as sample
from golden import cases, golden
from platemark.errors import MalformedError, VerificationError
from platemark.protocol import jws
from platemark.protocol.jws import SigningKey

TYP = "platemark-test+jwt"
KEY = SigningKey(b"\x01" * 32)
OTHER = SigningKey(b"\x02" * 32)


def part(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def compact(header: bytes, payload: bytes, key: SigningKey = KEY) -> str:
    signed = f"{part(header)}.{part(payload)}"
    return f"{signed}.{part(key.sign(signed.encode()))}"


def header(**changes: object) -> bytes:
    members: Mapping[str, object] = {"alg": "Ed25519", "kid": KEY.key_id, "typ": TYP} | changes
    return json.dumps(members, separators=(",", ":"), sort_keys=True).encode()


def test_key_ids_are_the_thumbprint_of_rfc_8037() -> None:
    public = base64.urlsafe_b64decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
    assert jws.key_id(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("case", cases("statements", "statements"))
def test_statements_verify_with_nothing_but_ed25519(case: dict[str, str]) -> None:
    key = golden("statements")["releaseKey"]
    signed, _, signature = case["jws"].rpartition(".")
    public = base64.urlsafe_b64decode(key["public"] + "=")
    Ed25519PublicKey.from_public_bytes(public).verify(base64.urlsafe_b64decode(signature + "=="), signed.encode())
    assert jws.header_key_id(case["jws"]) == key["kid"]
    assert jws.verify(case["jws"], case["typ"], public) == golden("documents")[case["name"]]["json"]


def test_the_same_payload_gives_the_same_text() -> None:
    first = jws.sign(KEY, TYP, {"b": 1, "a": "ü"})
    assert first == jws.sign(KEY, TYP, {"a": "ü", "b": 1}) == compact(header(), '{"a":"ü","b":1}'.encode())
    assert jws.verify(first, TYP, KEY.public_bytes) == {"a": "ü", "b": 1}


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("a.b", id="two parts"),
        pytest.param("a.b.c.d", id="four parts"),
        pytest.param("." * 20_000, id="too long"),
        pytest.param(compact(header(), b"[]"), id="payload no object"),
        pytest.param(compact(header(), b'{"a": 1}'), id="payload not canonical"),
        pytest.param(compact(header(), b'{"a":1.5}'), id="payload with a fraction"),
        pytest.param(compact(header(alg="EdDSA"), b"{}"), id="the older algorithm's name"),
        pytest.param(compact(header(alg="none"), b"{}"), id="no algorithm"),
        pytest.param(compact(header(alg="HS256"), b"{}"), id="a shared secret"),
        pytest.param(compact(header(jwk={"kty": "OKP"}), b"{}"), id="a key brought along"),
        pytest.param(compact(header(crit=["b64"]), b"{}"), id="critical extensions"),
        pytest.param(compact(header(kid=5), b"{}"), id="kid no text"),
        pytest.param(
            compact(b'{"typ":"platemark-test+jwt","alg":"Ed25519","kid":""}', b"{}"), id="header not canonical"
        ),
        pytest.param(compact(b'{"alg":"Ed25519"}', b"{}"), id="header short"),
        pytest.param(compact(b"[]", b"{}"), id="header no object"),
        pytest.param(compact(header(), b"{}") + "=", id="padding"),
        pytest.param(compact(header(), b"{}")[:-4], id="signature cut short"),
        pytest.param(compact(header(), b"{}") + "\n", id="line feed"),
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(MalformedError) as caught:
        jws.verify(text, TYP, KEY.public_bytes)
    assert caught.value.code == "jws"


def test_a_second_spelling_of_the_same_bytes_is_refused() -> None:
    text = jws.sign(KEY, TYP, {})
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    neighbour = alphabet[alphabet.index(text[-1]) ^ 1]
    with pytest.raises(MalformedError):
        jws.verify(text[:-1] + neighbour, TYP, KEY.public_bytes)


def test_another_kind_of_statement_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        jws.verify(sample.RELEASE_JWS, "platemark-print-token+jwt", sample.RELEASE_KEY.public_bytes)
    assert (caught.value.code, caught.value.found) == ("jws-type", "platemark-release+jwt")


def test_another_key_is_refused() -> None:
    text = jws.sign(OTHER, TYP, {})
    with pytest.raises(VerificationError) as caught:
        jws.verify(text, TYP, KEY.public_bytes)
    assert (caught.value.code, caught.value.found) == ("signature-invalid", OTHER.key_id)


def test_a_signature_by_a_key_that_claims_to_be_another_is_refused() -> None:
    with pytest.raises(VerificationError) as caught:
        jws.verify(compact(header(), b"{}", OTHER), TYP, KEY.public_bytes)
    assert (caught.value.code, caught.value.found) == ("signature-invalid", "another")


def test_an_altered_payload_is_refused() -> None:
    head, _, signature = jws.sign(KEY, TYP, {"prints": 1}).split(".")
    more = part(b'{"prints":9}')
    with pytest.raises(VerificationError):
        jws.verify(f"{head}.{more}.{signature}", TYP, KEY.public_bytes)


def test_bytes_are_verified_under_their_key_only() -> None:
    jws.verify_bytes(KEY.public_bytes, b"note", KEY.sign(b"note"))
    for public, message, signature in (
        (OTHER.public_bytes, b"note", KEY.sign(b"note")),
        (KEY.public_bytes, b"nota", KEY.sign(b"note")),
        (KEY.public_bytes, b"note", KEY.sign(b"note")[:63]),
        (KEY.public_bytes, b"note", b""),
    ):
        with pytest.raises(VerificationError) as caught:
            jws.verify_bytes(public, message, signature)
        assert caught.value.code == "signature-invalid"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_are_refused(size: int) -> None:
    for call in (SigningKey, lambda data: jws.verify_bytes(data, b"", bytes(64))):
        with pytest.raises(MalformedError) as caught:
            call(bytes(size))
        assert caught.value.code == "signing-key"


def test_a_signing_key_hides_its_secret() -> None:
    secret = hashlib.sha256(b"secret").digest()
    key = SigningKey(secret)
    assert key.secret() == secret
    assert key.public_bytes == Ed25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw()
    for text in (repr(key), str(key), f"{key}"):
        assert secret.hex() not in text
        assert part(secret) not in text
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
