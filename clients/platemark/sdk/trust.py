"""What a client believes of a gateway: nothing that it cannot check, pin or prove.

1. The profile's bytes have the digest that the gateway states, and say the same as the rest of its answer.
2. Chain, contracts and gateway account are the ones that were pinned at the first meeting.
3. With a chain endpoint: it serves that chain, the contracts are the shipped ones and belong together, and the
   gateway's account declared exactly this profile.
4. Without one: the profile is the pinned one.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.errors import MalformedError, UpstreamError, VerificationError
from platemark.protocol import canonical
from platemark.protocol.accounts import recover
from platemark.protocol.canonical import JsonValue, integer_of, object_of
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.typed_data import Acceptance, Domain, ledger_domain, license_domain, registry_domain
from platemark.protocol.units import (
    Address,
    DesignId,
    Digest32,
    UnixSeconds,
    address_text,
    digest_text,
    id_text,
    parse_address,
)
from platemark.sdk.answers import GatewayInfo, SignedAcceptance
from platemark.sdk.chain import BlockTag, ChainClient
from platemark.sdk.files import make_folder, read_limited, write_whole
from platemark.sdk.gateway import GatewayClient

_MAX_PIN_BYTES: Final = 16 << 10


@dataclass(frozen=True, slots=True)
class Deployment:
    """The three contracts on one chain, and the domains of what is signed for them."""

    chain_id: int
    registry: Address
    license: Address
    ledger: Address

    @property
    def registry_domain(self) -> Domain:
        """The DesignRegistry's domain."""
        return registry_domain(self.chain_id, self.registry)

    @property
    def license_domain(self) -> Domain:
        """The PrintLicense's domain."""
        return license_domain(self.chain_id, self.license)

    @property
    def ledger_domain(self) -> Domain:
        """The PrintLedger's domain."""
        return ledger_domain(self.chain_id, self.ledger)


@dataclass(frozen=True, slots=True)
class TrustedGateway:
    """A gateway after its checks; `on_chain` says whether a chain endpoint confirmed its profile."""

    url: str
    deployment: Deployment
    address: Address
    profile: GatewayProfile
    profile_digest: Digest32
    on_chain: bool
    final_after_seconds: int


def check_gateway(
    client: GatewayClient, *, pin: Path | None, chain: ChainClient | None, renew: bool = False
) -> TrustedGateway:
    """Return a gateway that passed the checks above; the first meeting is pinned.

    Args:
        client: The gateway.
        pin: File that remembers what the gateway was found to be; None remembers nothing.
        chain: An endpoint of its chain, if there is one.
        renew: Whether to replace what was pinned.

    Errors: VerificationError `profile-digest`, `gateway-changed`, `wrong-chain`, `contract-code`,
        `contracts-unrelated`, `profile-undeclared`.
    """
    info = client.info()
    profile = _profile(info)
    trusted = TrustedGateway(
        url=client.url,
        deployment=Deployment(info.chain_id, info.registry, info.license, info.ledger),
        address=info.gateway,
        profile=profile,
        profile_digest=profile.digest(),
        on_chain=chain is not None,
        final_after_seconds=info.final_after_seconds,
    )
    pinned = None if pin is None or renew else read_pin(pin)
    if pinned is not None:
        _check_pin(pinned, trusted, profile_may_change=chain is not None)
    if chain is not None:
        _check_chain(trusted, chain)
    if pin is not None and (pinned is None or pinned.profile_digest != trusted.profile_digest):
        write_pin(pin, trusted)
    return trusted


def check_acceptance(
    signed: SignedAcceptance,
    *,
    gateway: TrustedGateway,
    design_id: DesignId,
    revision: int,
    key_commitment: Digest32,
    terms_digest: Digest32,
    now: UnixSeconds,
    chain: ChainClient | None,
) -> Acceptance:
    """Return an acceptance that says what was asked for, signed by the gateway's account or one of its operators.

    Errors: VerificationError `acceptance`; UpstreamError `operator-unknown` when it is signed by somebody whose
        right only a chain endpoint could tell.
    """
    acceptance = signed.acceptance
    if acceptance.gateway != gateway.address:
        raise _acceptance(address_text(gateway.address), address_text(acceptance.gateway))
    expected = (design_id, revision, key_commitment, terms_digest)
    found = (acceptance.design_id, acceptance.revision, acceptance.key_commitment, acceptance.terms_digest)
    if expected != found:
        raise _acceptance(
            f"design {id_text(design_id)}, revision {revision}, these terms and this key",
            f"design {id_text(acceptance.design_id)}, revision {acceptance.revision}, or other terms or another key",
        )
    if acceptance.deadline < now:
        raise _acceptance("a deadline to come", f"one that passed at {acceptance.deadline}")
    try:
        signer = recover(acceptance.digest(gateway.deployment.license_domain), signed.signature)
    except MalformedError as error:
        raise _acceptance(address_text(gateway.address), "a signature that fits no key") from error
    if signer == gateway.address:
        return acceptance
    if chain is None:
        raise UpstreamError(
            "the acceptance is signed by an operator whose right only the chain can tell",
            code="operator-unknown",
            hint="give a chain endpoint: --rpc URL",
        )
    ledger = gateway.deployment.ledger
    if not chain.read("PrintLedger", ledger, "isOperator", address_text(gateway.address), address_text(signer)):
        raise _acceptance(address_text(gateway.address), address_text(signer))
    return acceptance


def read_pin(path: Path) -> TrustedGateway | None:
    """Return what was pinned, or None when nothing was.

    Errors: MalformedError `pin` for a file that was not written by `write_pin`.
    """
    if not path.exists():
        return None
    try:
        found = object_of(
            canonical.parse(read_limited(path, max_bytes=_MAX_PIN_BYTES)),
            fields=frozenset({"url", "chainId", "registry", "license", "ledger", "gateway", "profile"}),
        )
        profile = GatewayProfile.from_json(found["profile"])
        return TrustedGateway(
            url=str(found["url"]),
            deployment=Deployment(
                integer_of(found["chainId"]),
                parse_address(found["registry"]),
                parse_address(found["license"]),
                parse_address(found["ledger"]),
            ),
            address=parse_address(found["gateway"]),
            profile=profile,
            profile_digest=profile.digest(),
            on_chain=False,
            final_after_seconds=0,
        )
    except MalformedError as error:
        raise MalformedError(f"{path}: {error.message}", code="pin", hint="run: platemark gateway trust") from error


def write_pin(path: Path, gateway: TrustedGateway) -> None:
    """Remember what a gateway was found to be."""
    make_folder(path.parent)
    value: dict[str, JsonValue] = {
        "url": gateway.url,
        "chainId": gateway.deployment.chain_id,
        "registry": address_text(gateway.deployment.registry),
        "license": address_text(gateway.deployment.license),
        "ledger": address_text(gateway.deployment.ledger),
        "gateway": address_text(gateway.address),
        "profile": gateway.profile.to_json(),
    }
    write_whole(path, canonical.encode(value) + b"\n")


def _profile(info: GatewayInfo) -> GatewayProfile:
    try:
        profile = GatewayProfile.from_json(info.profile)
    except MalformedError as error:
        raise UpstreamError(f"the gateway's profile is not one: {error.message}", code="answer-malformed") from error
    _same("profile-digest", "the profile is not the one it names", info.profile_digest, profile.digest(), digest_text)
    stated = (info.chain_id, info.registry, info.license, info.ledger, info.gateway)
    written = (profile.chain_id, profile.registry, profile.license, profile.ledger, profile.gateway)
    if stated != written:
        raise VerificationError(
            "the gateway's profile names other contracts than its answer",
            step="profile",
            code="profile-digest",
            expected=_places(written),
            found=_places(stated),
        )
    return profile


def _places(values: tuple[int, Address, Address, Address, Address]) -> str:
    return f"chain {values[0]}, " + ", ".join(address_text(item) for item in values[1:])


def _check_pin(pinned: TrustedGateway, found: TrustedGateway, *, profile_may_change: bool) -> None:
    if (pinned.deployment, pinned.address) != (found.deployment, found.address):
        raise _changed(pinned, found, "the gateway has moved to other contracts or another account")
    if pinned.profile_digest != found.profile_digest and not profile_may_change:
        raise _changed(pinned, found, "the gateway's keys or address have changed")


def _changed(pinned: TrustedGateway, found: TrustedGateway, message: str) -> VerificationError:
    return VerificationError(
        message,
        step="pin",
        code="gateway-changed",
        expected=f"{address_text(pinned.address)}, profile {digest_text(pinned.profile_digest)}",
        found=f"{address_text(found.address)}, profile {digest_text(found.profile_digest)}",
        hint="give --rpc URL to check it on chain; if its operator announced the change: platemark gateway trust",
    )


def _check_chain(gateway: TrustedGateway, chain: ChainClient) -> None:
    deployment = gateway.deployment
    chain.check_chain(deployment.chain_id)
    chain.check_code("DesignRegistry", deployment.registry)
    chain.check_code("PrintLicense", deployment.license)
    chain.check_code("PrintLedger", deployment.ledger)
    for function, expected in (("registry", deployment.registry), ("ledger", deployment.ledger)):
        found = parse_address(chain.read("PrintLicense", deployment.license, function))
        _same("contracts-unrelated", f"the licences have another {function}", expected, found, address_text)
    digest = _declared(gateway, chain, "latest")
    if digest != gateway.profile_digest and _declared(gateway, chain, "finalized") == gateway.profile_digest:
        return  # a gateway goes over to what it declared once that is final
    _same(
        "profile-undeclared",
        "the gateway declared another profile on chain",
        digest,
        gateway.profile_digest,
        digest_text,
    )


def _declared(gateway: TrustedGateway, chain: ChainClient, block: BlockTag) -> Digest32:
    found = chain.read("PrintLedger", gateway.deployment.ledger, "gateways", address_text(gateway.address), block=block)
    return Digest32(bytes(found[0]))


def _same(code: str, message: str, expected: bytes, found: bytes, write: Callable[[bytes], str]) -> None:
    if expected != found:
        raise VerificationError(message, step="gateway", code=code, expected=write(expected), found=write(found))


def _acceptance(expected: str, found: str) -> VerificationError:
    return VerificationError(
        "the gateway's acceptance is not what was asked for",
        step="acceptance",
        code="acceptance",
        expected=expected,
        found=found,
    )
