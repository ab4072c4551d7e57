import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from platemark.errors import MalformedError, PlatemarkError, UpstreamError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.typed_data import Acceptance
from platemark.protocol.units import Address, DesignId, Digest32, UnixSeconds, address_text, digest_text
from platemark.sdk.answers import SignedAcceptance
from platemark.sdk.chain import ChainClient
from platemark.sdk.gateway import GatewayClient
from platemark.sdk.trust import TrustedGateway, check_acceptance, check_gateway, read_pin
from sample_documents import PROFILE

GATEWAY = AccountKey(b"\x55" * 32)
MINE = dataclasses.replace(
    PROFILE,
    gateway=GATEWAY.address,
    log_origin=f"{PROFILE.chain_id}/{address_text(PROFILE.ledger)}/{address_text(GATEWAY.address)}/1",
)


def _answer(of: GatewayProfile = MINE, /, **changes: Any) -> dict[str, Any]:
    return {
        "name": "Test",
        "version": "1",
        "chainId": of.chain_id,
        "registry": address_text(of.registry),
        "license": address_text(of.license),
        "ledger": address_text(of.ledger),
        "gateway": address_text(of.gateway),
        "url": of.url,
        "profile": of.to_json(),
        "profileDigest": digest_text(of.digest()),
        "logOrigin": of.log_origin,
        "mergeDelaySeconds": of.merge_delay_seconds,
        "finality": {"tag": "finalized", "secondsTypical": 15},
        "state": "ready",
    } | changes


def _client(answer: Mapping[str, Any]) -> GatewayClient:
    return GatewayClient(
        "http://gateway.test", transport=httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    )


@dataclasses.dataclass
class Chain:
    """What a chain endpoint would say."""

    profile: GatewayProfile = MINE
    registry: Address = MINE.registry
    ledger: Address = MINE.ledger
    chain_id: int = MINE.chain_id
    operators: frozenset[Address] = frozenset()
    foreign_code: str = ""
    final_profile: GatewayProfile | None = None

    def check_chain(self, chain_id: int) -> None:
        if chain_id != self.chain_id:
            raise VerificationError("m", step="chain", code="wrong-chain", expected="", found="")

    def check_code(self, contract: str, address: Address) -> None:
        if contract == self.foreign_code:
            raise VerificationError("m", step="contracts", code="contract-code", expected="", found="")

    def read(self, contract: str, address: Address, function: str, *arguments: Any, block: str = "latest") -> Any:
        match function:
            case "registry":
                return address_text(self.registry)
            case "ledger":
                return address_text(self.ledger)
            case "gateways":
                final = self.final_profile or self.profile
                return ((final if block == "finalized" else self.profile).digest(), 1, 0)
            case "isOperator":
                return arguments[1] in {address_text(item) for item in self.operators}
            case _:
                raise AssertionError(function)

    def client(self) -> ChainClient:
        return cast("ChainClient", self)


def test_a_gateway_is_taken_by_what_is_final_while_a_later_profile_is_not() -> None:
    later = dataclasses.replace(MINE, url="http://later.example")
    found = check_gateway(_client(_answer()), pin=None, chain=Chain(profile=later, final_profile=MINE).client())
    assert found.profile == MINE


def test_a_gateway_that_says_one_thing_everywhere_is_taken(tmp_path: Path) -> None:
    found = check_gateway(_client(_answer()), pin=tmp_path / "pin", chain=Chain().client())
    assert (found.address, found.deployment.ledger, found.profile) == (GATEWAY.address, MINE.ledger, MINE)
    assert (found.on_chain, found.final_after_seconds) == (True, 15)
    assert not check_gateway(_client(_answer()), pin=None, chain=None).on_chain


@pytest.mark.parametrize(
    "changes",
    [
        {"profileDigest": "0x" + "00" * 32},
        {"chainId": MINE.chain_id + 1},
        {"ledger": address_text(b"\x01" * 20)},
        {"registry": address_text(b"\x01" * 20)},
        {"license": address_text(b"\x01" * 20)},
        {"gateway": address_text(b"\x01" * 20)},
        {"profile": dataclasses.replace(MINE, url="http://other.example").to_json()},
    ],
)
def test_an_answer_that_contradicts_its_profile_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError) as caught:
        check_gateway(_client(_answer(**changes)), pin=None, chain=None)
    assert caught.value.code == "profile-digest"


def test_a_profile_that_is_none_is_refused() -> None:
    with pytest.raises(UpstreamError):
        check_gateway(_client(_answer(profile={"version": 1})), pin=None, chain=None)


@pytest.mark.parametrize(
    "chain,code",
    [
        (Chain(chain_id=1), "wrong-chain"),
        (Chain(foreign_code="DesignRegistry"), "contract-code"),
        (Chain(foreign_code="PrintLicense"), "contract-code"),
        (Chain(foreign_code="PrintLedger"), "contract-code"),
        (Chain(registry=Address(b"\x01" * 20)), "contracts-unrelated"),
        (Chain(ledger=Address(b"\x01" * 20)), "contracts-unrelated"),
        (Chain(profile=dataclasses.replace(MINE, url="http://other.example")), "profile-undeclared"),
    ],
)
def test_a_chain_that_says_otherwise_convicts_the_gateway_and_nothing_is_pinned(
    tmp_path: Path, chain: Chain, code: str
) -> None:
    with pytest.raises(VerificationError) as caught:
        check_gateway(_client(_answer()), pin=tmp_path / "pin", chain=chain.client())
    assert caught.value.code == code
    assert not (tmp_path / "pin").exists()


def test_the_first_meeting_is_pinned_and_other_contracts_are_refused_afterwards(tmp_path: Path) -> None:
    pin = tmp_path / "pins" / "pin"
    check_gateway(_client(_answer()), pin=pin, chain=None)
    found = read_pin(pin)
    assert found is not None
    assert (found.profile, found.address) == (MINE, GATEWAY.address)
    ledger = Address(b"\x09" * 20)
    origin = f"{MINE.chain_id}/{address_text(ledger)}/{address_text(GATEWAY.address)}/1"
    moved = dataclasses.replace(MINE, ledger=ledger, log_origin=origin)
    elsewhere = Chain(profile=moved, ledger=ledger).client()
    with pytest.raises(VerificationError) as caught:
        check_gateway(_client(_answer(moved)), pin=pin, chain=elsewhere)
    assert caught.value.code == "gateway-changed"
    check_gateway(_client(_answer(moved)), pin=pin, chain=elsewhere, renew=True)
    renewed = read_pin(pin)
    assert renewed is not None
    assert renewed.deployment.ledger == ledger


def test_new_keys_are_taken_only_when_the_chain_confirms_them(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    check_gateway(_client(_answer()), pin=pin, chain=None)
    rotated = dataclasses.replace(MINE, release_key=b"\x31" * 32)
    with pytest.raises(VerificationError) as caught:
        check_gateway(_client(_answer(rotated)), pin=pin, chain=None)
    assert caught.value.code == "gateway-changed"
    check_gateway(_client(_answer(rotated)), pin=pin, chain=Chain(profile=rotated).client())
    found = read_pin(pin)
    assert found is not None
    assert found.profile == rotated


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"url": "x"}'])
def test_a_broken_pin_is_an_error_and_never_ignored(tmp_path: Path, text: str) -> None:
    pin = tmp_path / "pin"
    pin.write_text(text)
    with pytest.raises(MalformedError) as caught:
        check_gateway(_client(_answer()), pin=pin, chain=None)
    assert caught.value.code == "pin"


# --- acceptances ----------------------------------------------------------------------------------------

OPERATOR = AccountKey(b"\x66" * 32)
ACCEPTANCE = Acceptance(
    GATEWAY.address, DesignId(7), 1, Digest32(b"\x01" * 32), Digest32(b"\x02" * 32), UnixSeconds(2000)
)


def _trusted() -> TrustedGateway:
    return check_gateway(_client(_answer()), pin=None, chain=None)


def _check(acceptance: Acceptance, key: AccountKey, chain: Chain | None) -> Acceptance:
    gateway = _trusted()
    signature = key.sign(acceptance.digest(gateway.deployment.license_domain))
    return check_acceptance(
        SignedAcceptance(acceptance, signature),
        gateway=gateway,
        design_id=DesignId(7),
        revision=1,
        key_commitment=Digest32(b"\x01" * 32),
        terms_digest=Digest32(b"\x02" * 32),
        now=UnixSeconds(1999),
        chain=None if chain is None else chain.client(),
    )


def test_an_acceptance_of_the_account_needs_no_chain() -> None:
    assert _check(ACCEPTANCE, GATEWAY, None) == ACCEPTANCE


def test_an_operators_acceptance_needs_the_chain_to_know_it() -> None:
    assert _check(ACCEPTANCE, OPERATOR, Chain(operators=frozenset({OPERATOR.address}))) == ACCEPTANCE
    with pytest.raises(VerificationError):
        _check(ACCEPTANCE, OPERATOR, Chain())
    with pytest.raises(PlatemarkError) as caught:
        _check(ACCEPTANCE, OPERATOR, None)
    assert caught.value.code == "operator-unknown"


@pytest.mark.parametrize(
    "changes",
    [
        {"gateway": OPERATOR.address},
        {"design_id": 8},
        {"revision": 2},
        {"key_commitment": b"\x03" * 32},
        {"terms_digest": b"\x03" * 32},
        {"deadline": 1998},
    ],
)
def test_an_acceptance_of_something_else_is_refused_whoever_signed_it(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationError) as caught:
        _check(dataclasses.replace(ACCEPTANCE, **changes), GATEWAY, None)
    assert caught.value.code == "acceptance"


def test_an_acceptance_with_a_signature_of_nobody_is_refused() -> None:
    gateway = _trusted()
    with pytest.raises(VerificationError) as caught:
        check_acceptance(
            SignedAcceptance(ACCEPTANCE, bytes(65)),
            gateway=gateway,
            design_id=DesignId(7),
            revision=1,
            key_commitment=Digest32(b"\x01" * 32),
            terms_digest=Digest32(b"\x02" * 32),
            now=UnixSeconds(1),
            chain=None,
        )
    assert caught.value.code == "acceptance"
