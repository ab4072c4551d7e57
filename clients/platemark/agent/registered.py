"""What an agent reads from the chain: a final block that it saw, and what was registered for a revision."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from platemark.errors import VerificationError
from platemark.protocol.profile import GatewayProfile
from platemark.protocol.typed_data import Registration, registry_domain
from platemark.protocol.units import Address, DesignId, Digest32, address_text, id_text, parse_address
from platemark.sdk.chain import BlockFacts, ChainClient, ChainEvent, ContractName
from platemark.verify.facts import BlockFact, DeclarationFact, GatewayFact


@dataclass(frozen=True, slots=True)
class RegisteredRevision:
    """A revision as the chain has it."""

    registrant: Address
    commitment: Digest32
    manifest_digest: Digest32


class ChainView(Protocol):
    """What printing asks a chain endpoint."""

    def final_block(self) -> BlockFacts:
        """Return the newest final block."""
        ...

    def revision(self, design_id: DesignId, revision: int) -> RegisteredRevision:
        """Return what was registered for a revision that may be printed.

        Errors: VerificationError `design-digest`, `revision-recalled`; errors of the endpoint.
        """
        ...

    def recall_reason(self, design_id: DesignId, revision: int) -> Digest32 | None:
        """Return the digest of the owner's reason for a recall; None where the chain shows no recall."""
        ...

    def gateway(self, profile: GatewayProfile) -> GatewayFact:
        """Return what the gateway of a profile declared up to now; its anchors are left out."""
        ...


class RegistryView:
    """The chain as one endpoint shows it; a first revision proves itself, since a design's id is its digest."""

    def __init__(self, chain: ChainClient, *, chain_id: int, registry: Address, first_block: int = 0) -> None:
        self._chain = chain
        self._registry = registry
        self._domain = registry_domain(chain_id, registry)
        self._first_block = first_block

    def final_block(self) -> BlockFacts:
        """Return the newest final block."""
        return self._chain.final_block()

    def revision(self, design_id: DesignId, revision: int) -> RegisteredRevision:
        """Return what was registered; see `ChainView.revision`."""
        registration = self._registration(design_id)
        if not self._chain.read("DesignRegistry", self._registry, "isPrintable", design_id, revision):
            raise VerificationError(
                f"revision {revision} was recalled, or never published",
                step="revision",
                code="revision-recalled",
                expected="a revision that may be printed",
                found=f"revision {revision}",
                hint="platemark token close TOKEN brings back the prints that are left",
            )
        if revision == 1:
            return RegisteredRevision(registration.registrant, registration.commitment, registration.manifest_digest)
        found = self._chain.read("DesignRegistry", self._registry, "publicationOf", design_id, revision)
        return RegisteredRevision(registration.registrant, Digest32(bytes(found[0])), Digest32(bytes(found[1])))

    def recall_reason(self, design_id: DesignId, revision: int) -> Digest32 | None:
        """Return the digest of the reason for a recall; see `ChainView.recall_reason`."""
        events = self._events(
            "DesignRegistry", self._registry, "RevisionRecalled", {"designId": design_id, "revision": revision}
        )
        return next((Digest32(bytes(event.arguments["reasonDigest"])) for event in events), None)

    def gateway(self, profile: GatewayProfile) -> GatewayFact:
        """Return what a gateway declared; see `ChainView.gateway`."""
        events = self._events(
            "PrintLedger", profile.ledger, "GatewayDeclared", {"gateway": address_text(profile.gateway)}
        )
        return GatewayFact(profile.gateway, tuple(map(self._declaration, events)), anchors=())

    def _events(
        self, contract: ContractName, address: Address, name: str, filters: Mapping[str, Any]
    ) -> Iterator[ChainEvent]:
        """Yield the events of a name up to the head."""
        return self._chain.events(
            contract,
            address,
            [name],
            from_block=self._first_block,
            to_block=self._chain.head().number,
            filters=filters,
        )

    def _declaration(self, event: ChainEvent) -> DeclarationFact:
        block = BlockFact(event.block, event.block_hash, self._chain.block(event.block).timestamp)
        return DeclarationFact(int(event.arguments["epoch"]), Digest32(bytes(event.arguments["profileDigest"])), block)

    def _registration(self, design_id: DesignId) -> Registration:
        events = self._events("DesignRegistry", self._registry, "DesignRegistered", {"designId": design_id})
        for event in events:
            found = event.arguments
            registration = Registration(
                registrant=parse_address(found["registrant"]),
                commitment=Digest32(bytes(found["commitment"])),
                manifest_digest=Digest32(bytes(found["manifestDigest"])),
                is_private=bool(found["isPrivate"]),
                parent_id=DesignId(int(found["parentId"])),
                resale_share=int(found["resaleShare"]),
                derivative_share=int(found["derivativeShare"]),
                edition=int(found["edition"]),
            )
            if int.from_bytes(registration.digest(self._domain), "big") == design_id:
                return registration
        raise VerificationError(
            "the chain has no registration whose digest is this design's id",
            step="registration",
            code="design-digest",
            expected=id_text(design_id),
            found="nothing",
            hint="is --rpc the endpoint of the gateway's chain?",
        )
