import pickle
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, hmac

import sample_documents as sample
from golden import golden
from platemark.errors import MalformedError, RefusedError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.license_terms import OPEN_END
from platemark.protocol.permission import AgentSeed, check_holder, check_reservation, may_release
from platemark.protocol.typed_data import Reservation, Terms
from platemark.protocol.units import ZERO_ADDRESS, LicenseId, UnixSeconds, address_text, digest_text, parse_address

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def hmac_sha256(key: bytes, data: bytes) -> bytes:
    mac = hmac.HMAC(key, hashes.SHA256())
    mac.update(data)
    return mac.finalize()


def test_agents_keys_follow_from_seed_chain_ledger_and_salt() -> None:
    fixed = golden("agent_keys")
    seed = AgentSeed(bytes.fromhex(fixed["seed"][2:]))
    place = (fixed["chainId"], parse_address(fixed["ledger"]), bytes.fromhex(fixed["salt"][2:]))
    agent, recipient = seed.agent_key(*place), seed.recipient_key(*place)
    assert address_text(agent.address) == fixed["agent"]
    assert agent.secret().hex() == fixed["agentSecret"][2:]
    assert recipient.seed().hex() == fixed["recipientSeed"][2:]
    assert digest_text(recipient.digest) == fixed["recipientDigest"]


def test_the_agents_key_is_hkdf_written_out() -> None:
    chain, ledger, salt = 5, bytes(range(20)), bytes(range(32))
    info = b"platemark/v1/agent-key\0" + chain.to_bytes(32, "big") + ledger + salt
    extracted = hmac_sha256(bytes(32), b"\x07" * 32)
    first = hmac_sha256(extracted, info + b"\x01")
    wide = first + hmac_sha256(extracted, first + info + b"\x02")[:16]
    expected = 1 + int.from_bytes(wide, "big") % (ORDER - 1)
    key = AgentSeed(b"\x07" * 32).agent_key(chain, parse_address("0x" + ledger.hex()), salt)
    assert int.from_bytes(key.secret(), "big") == expected


def test_each_place_has_its_own_keys() -> None:
    seed = sample.AGENT_SEED
    places = [
        (sample.CHAIN_ID, sample.LEDGER, sample.PERMISSION_SALT),
        (1, sample.LEDGER, sample.PERMISSION_SALT),
        (sample.CHAIN_ID, sample.LICENSE, sample.PERMISSION_SALT),
        (sample.CHAIN_ID, sample.LEDGER, sample.DETAIL_SALT),
    ]
    assert len({seed.agent_key(*place).address for place in places}) == 4
    assert len({seed.recipient_key(*place).digest for place in places}) == 4


def test_a_seed_hides_its_secret() -> None:
    seed = AgentSeed.generate(lambda size: b"\x5a" * size)
    assert seed.secret() == b"\x5a" * 32
    assert "5a5a" not in repr(seed)
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(seed)
    assert AgentSeed.generate().secret() != AgentSeed.generate().secret()
    with pytest.raises(MalformedError) as caught:
        AgentSeed(bytes(31))
    assert caught.value.code == "agent-seed"


def check(reservation: Reservation, terms: Terms = sample.TERMS, now: int = sample.NOW) -> None:
    check_reservation(reservation, terms, gateway=terms.gateway, domain=sample.LICENSE_DOMAIN, now=UnixSeconds(now))


def test_a_permission_within_the_terms_passes() -> None:
    check(sample.RESERVATION)
    check(sample.RESERVATION, now=sample.RESERVATION.deadline)


@pytest.mark.parametrize(
    "change, code",
    [
        ({"license_id": LicenseId(7)}, "license-differs"),
        ({"gateway": sample.HOLDER.address}, "gateway-mismatch"),
        ({"agent": ZERO_ADDRESS}, "agent-zero"),
        ({"prints": 1}, "reservation-too-small"),
        ({"prints": 0}, "reservation-too-small"),
        ({"prints": 65_000}, "reservation-too-large"),
        ({"deadline": UnixSeconds(sample.NOW - 1)}, "deadline-passed"),
        ({"expires_at": UnixSeconds(sample.NOW + 3600)}, "expiry-invalid"),
        ({"expires_at": UnixSeconds(sample.TERMS.not_after + 1)}, "expiry-after-license"),
    ],
)
def test_a_permission_outside_the_terms_is_refused(change: dict[str, Any], code: str) -> None:
    with pytest.raises(RefusedError) as caught:
        check(replace(sample.RESERVATION, **change))
    assert caught.value.code == code


def test_the_window_of_the_licence_is_kept() -> None:
    late = replace(sample.RESERVATION, deadline=UnixSeconds(2**32), expires_at=sample.TERMS.not_after)
    check(late, now=sample.TERMS.not_before)
    for now, code in (
        (sample.TERMS.not_before - 1, "license-not-begun"),
        (sample.TERMS.not_after + 1, "license-ended"),
    ):
        with pytest.raises(RefusedError) as caught:
            check(late, now=now)
        assert caught.value.code == code


def test_an_open_licence_is_bounded_by_the_ledger_only() -> None:
    terms = replace(sample.TERMS, not_after=OPEN_END)
    late = replace(
        sample.RESERVATION,
        license_id=terms.license_id(sample.LICENSE_DOMAIN),
        expires_at=UnixSeconds(2**32 - 1),
    )
    check(late, terms)
    with pytest.raises(RefusedError) as caught:
        check(replace(late, expires_at=UnixSeconds(2**32)), terms)
    assert caught.value.code == "expiry-invalid"


def test_the_holder_must_have_signed() -> None:
    signature = sample.HOLDER.sign(sample.RESERVATION.digest(sample.LEDGER_DOMAIN))
    check_holder(sample.RESERVATION, signature, sample.LEDGER_DOMAIN)
    forged = AccountKey(bytes(31) + b"\x07").sign(sample.RESERVATION.digest(sample.LEDGER_DOMAIN))
    for reservation, found in (
        (sample.RESERVATION, forged),
        (replace(sample.RESERVATION, prints=11), signature),
    ):
        with pytest.raises(VerificationError) as caught:
            check_holder(reservation, found, sample.LEDGER_DOMAIN)
        assert caught.value.code == "signature-invalid"
    with pytest.raises(VerificationError):
        check_holder(sample.RESERVATION, signature, sample.LICENSE_DOMAIN)


@pytest.mark.parametrize(
    "released, voided, seconds_left, code",
    [
        (0, 0, 3601, None),
        (9, 0, 3601, None),
        (10, 0, 3601, "count-spent"),
        (10, 1, 3601, None),
        (11, 1, 3601, "count-spent"),
        (12, 2, 3601, "count-spent"),
        (11, 2, 3601, None),
        (0, 0, 3600, "token-expired"),
        (0, 0, -5, "token-expired"),
    ],
)
def test_release_follows_counts_and_time(released: int, voided: int, seconds_left: int, code: str | None) -> None:
    arguments = {
        "released": released,
        "voided": voided,
        "prints": 10,
        "spares": 2,
        "now": sample.NOW,
        "expires_at": sample.NOW + seconds_left,
    }
    if code is None:
        may_release(**arguments)  # type: ignore[arg-type]
        return
    with pytest.raises(RefusedError) as caught:
        may_release(**arguments)  # type: ignore[arg-type]
    assert caught.value.code == code
