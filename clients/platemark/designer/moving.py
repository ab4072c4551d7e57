"""Moving a licence to another gateway, with everything that the new one needs to serve it.

    1 the new gateway has read the licence and its design from the chain; their ids are recomputed for its contracts
    2 terms document and manifest come from any source of blocks; their digests stand on chain
    3 unless the new gateway holds the key already: ciphertexts are copied, still sealed, each block checked
    4 the manifest is published there and the content key deposited, from the recovery kit; it compares every hash
    5 the new gateway accepts the terms; the owner signs the move; it goes to the chain

The old gateway is not asked for leave: it may be gone. Reservations that were made with it settle with it, or by
anybody.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Final

from platemark.designer.licensing import Licensor
from platemark.designer.registering import Registrar
from platemark.errors import Kind, RefusedError, TryLaterError, UsageError, VerificationError
from platemark.protocol.cid import Cid
from platemark.protocol.manifest import Manifest
from platemark.protocol.recovery_kit import RecoveryKit
from platemark.protocol.terms_document import TermsDocument, check_digest
from platemark.protocol.units import DesignId, Digest32, LicenseId
from platemark.sdk.answers import LicenseState, RevisionState
from platemark.sdk.gateway import GatewayClient, check_uploaded, single_block
from platemark.sdk.ipfs import BlockSource, read_sealed
from platemark.sdk.licenses import check_license_id
from platemark.sdk.trust import TrustedGateway
from platemark.sdk.waiting import Patience

READING_SECONDS: Final = 60.0
"""How long a gateway may take until it has read a licence that stands on chain."""


class Mover:
    """Brings a licence to the gateway that `client` speaks to."""

    def __init__(
        self,
        client: GatewayClient,
        gateway: TrustedGateway,
        *,
        blocks: BlockSource,
        registrar: Registrar,
        licensor: Licensor,
        tell: Callable[[str], None],
        patience: Patience,
    ) -> None:
        """Args: client, registrar and licensor are the new gateway's; `blocks` has what the old one published."""
        self._client = client
        self._gateway = gateway
        self._blocks = blocks
        self._registrar = registrar
        self._licensor = licensor
        self._tell = tell
        self._patience = dataclasses.replace(patience, seconds=min(patience.seconds, READING_SECONDS))

    def terms(self, license_id: LicenseId) -> tuple[LicenseState, TermsDocument]:
        """Return the licence as the new gateway reads it from the chain, and its checked document (steps 1 and 2).

        A gateway that was started just now may still be reading: it is given a minute.

        Errors: RefusedError `license-unknown`; VerificationError `license-differs`, `terms-differ`; UpstreamError
            `block-unavailable`.
        """
        state = self._read(license_id)
        check_license_id(state, license_id, self._gateway)
        return state, check_digest(state.terms, self._blocks.get(single_block(state.terms.terms_digest)))

    def manifest(self, design_id: DesignId, revision: int) -> Manifest:
        """Return the manifest of a revision of the design (step 2).

        Errors: UsageError `revision-unknown`; UpstreamError `block-unavailable`.
        """
        return Manifest.parse(self._blocks.get(single_block(self._revision(design_id, revision).manifest_digest)))

    def deliver(self, design_id: DesignId, revision: int, open_kit: Callable[[], RecoveryKit]) -> None:
        """Give the new gateway everything it needs to serve a revision (steps 3 and 4); what it has stays.

        Errors: UsageError `revision-unknown`; UpstreamError `block-unavailable`; those of the gateway.
        """
        state = self._revision(design_id, revision)
        if state.state == "deposited":
            return
        manifest = self.manifest(design_id, revision)
        for file in manifest.files:
            self._tell(f"copying {file.name}, sealed: {file.sealed_bytes:,} bytes")
            self._copy(file.sealed_cid, file.sealed_bytes, file.sealed_sha256)
        if state.state == "registered":
            self._client.publish_manifest(design_id, revision, manifest.encode())
        self._registrar.deposit_kit(open_kit())

    def move(self, state: LicenseState, document: TermsDocument, *, revision: int) -> LicenseState:
        """Move the licence and return it once the new gateway serves it (step 5).

        Errors: those of `Licensor.move_here`.
        """
        manifest = self.manifest(state.design_id, revision)
        return self._licensor.move_here(
            state.license_id, document, revision=revision, key_commitment=manifest.key_commitment
        )

    def _read(self, license_id: LicenseId) -> LicenseState:
        refused: list[RefusedError] = []

        def ask() -> LicenseState | None:
            try:
                return self._client.license(license_id)
            except RefusedError as error:
                if error.kind is not Kind.NOT_FOUND:
                    raise
                if not refused:
                    self._tell("the new gateway does not know the licence yet: it may still be reading the chain")
                refused.append(error)
                return None

        try:
            found = self._patience.until(ask, lambda state: state is not None, "the licence")
        except TryLaterError as error:
            raise refused[-1] from error
        if found is None:
            raise AssertionError("unreachable: patience ends with a licence, or raises")
        return found

    def _revision(self, design_id: DesignId, number: int) -> RevisionState:
        state = self._client.design(design_id)
        made = state.registration()
        if made is None or int.from_bytes(made.digest(self._gateway.deployment.registry_domain), "big") != design_id:
            raise VerificationError(
                "the gateway's design is another than was asked for",
                step="registration",
                code="design-differs",
                expected="a registration with this id",
                found="another",
            )
        found = state.revision(number)
        if found is None:
            raise UsageError(f"the design has no revision {number}", code="revision-unknown")
        return found

    def _copy(self, cid: Cid, length_bytes: int, sha256: Digest32) -> None:
        def chunks() -> Iterator[bytes]:
            return read_sealed(self._blocks, cid, max_bytes=length_bytes)

        check_uploaded(self._client.upload(chunks, length_bytes), cid, sha256, length_bytes)
