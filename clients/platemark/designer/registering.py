"""Registering, revising and recalling designs through a gateway; the designer signs and needs no coin.

The numbers are those of docs/flows/registration.md:

    1 the revision is prepared: checked, sealed, staged (`preparing`)
    2 registration, signature and recovery kit are written down
    3 the ciphertexts are uploaded; what the gateway says it stored is compared
    4 the signature is brought to the chain
    5 once that is final, the manifest is published
    6 a public design's content is revealed
    7 the content key is deposited; the gateway compares every hash before it answers

Each step may be repeated; `carry_on` does whatever is still missing.
"""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from platemark.designer.preparing import Description, OnBytes, Prepared, prepare
from platemark.designer.records import (
    DesignRecord,
    DesignRecords,
    RevisionRecord,
    write_design,
    write_revision,
    write_statement,
)
from platemark.errors import Kind, RefusedError, UsageError, VerificationError
from platemark.protocol.accounts import AccountKey
from platemark.protocol.cid import raw_cid
from platemark.protocol.content_key import KeyPackage
from platemark.protocol.deposit import make_deposit
from platemark.protocol.manifest import Manifest
from platemark.protocol.recovery_kit import USUAL_COST, RecoveryKit
from platemark.protocol.typed_data import EditionLimit, Publication, Recall, Registration
from platemark.protocol.units import DesignId, UnixSeconds, digest_text, id_text
from platemark.sdk.answers import DesignState, RevisionState
from platemark.sdk.clock import Clock
from platemark.sdk.gateway import GatewayClient, check_uploaded, single_block
from platemark.sdk.trust import TrustedGateway
from platemark.sdk.waiting import Patience, failed, final_in

SIGNATURE_SECONDS: Final = 24 * 3600
"""How long a designer's signed statements may be brought to the chain."""
_MARGIN_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Rights:
    """What a registration fixes beside the content: shares in basis points, an edition (0 is open)."""

    resale_share: int = 0
    derivative_share: int = 0
    edition: int = 0


class Registrar:
    """Brings a designer's revisions to the chain and their keys to a gateway."""

    def __init__(
        self,
        client: GatewayClient,
        gateway: TrustedGateway,
        account: AccountKey,
        records: DesignRecords,
        *,
        clock: Clock,
        tell: Callable[[str], None],
        patience: Patience,
        kit_cost: int = USUAL_COST,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """Args: see the classes; `tell` gets one line about what happens next."""
        self._client = client
        self._gateway = gateway
        self._account = account
        self._records = records
        self._clock = clock
        self._tell = tell
        self._patience = patience
        self._kit_cost = kit_cost
        self._randomness = randomness

    def register(
        self,
        paths: Sequence[Path],
        description: Description,
        rights: Rights,
        *,
        passphrase: str,
        on_bytes: OnBytes | None = None,
    ) -> DesignRecord:
        """Return the record of a new design (steps 1 and 2); `carry_on` does the rest."""
        with self._records.new_folder() as folder:
            prepared = self._prepared(folder / "r1", paths, description, on_bytes)
            registration = Registration(
                registrant=self._account.address,
                commitment=prepared.commitment(),
                manifest_digest=prepared.manifest.digest(),
                is_private=description.private,
                parent_id=description.parent_id or DesignId(0),
                resale_share=rights.resale_share,
                derivative_share=rights.derivative_share,
                edition=rights.edition,
            )
            domain = self._gateway.deployment.registry_domain
            digest = registration.digest(domain)
            write_revision(
                folder / "r1",
                manifest=prepared.manifest,
                signature=self._account.sign(digest),
                publication=None,
                kit=self._kit(registration, 1, prepared),
                passphrase=passphrase,
                staged=prepared.staged,
                kit_cost=self._kit_cost,
            )
            write_design(
                folder,
                title=description.title,
                gateway=self._client.url,
                chain_id=domain.chain_id,
                registry=domain.verifying_contract,
                registration=registration,
            )
            self._records.keep(folder, self._records.folder / digest_text(digest))
        return self._record(DesignId(int.from_bytes(digest, "big")))

    def revise(
        self,
        record: DesignRecord,
        paths: Sequence[Path],
        description: Description,
        *,
        passphrase: str,
        on_bytes: OnBytes | None = None,
    ) -> RevisionRecord:
        """Return the record of a design's next revision (steps 1 and 2); `carry_on` does the rest.

        Errors: UsageError `revision-pending` while the one before is not on chain.
        """
        self._check_ours(record)
        if description.private != record.registration.is_private:
            raise UsageError("a design stays private or public for all its revisions", code="description")
        number = self._client.design(record.design_id).latest_revision + 1
        if number - 1 < max(record.revisions()):
            raise UsageError(
                f"revision {max(record.revisions())} is not on chain yet",
                code="revision-pending",
                hint=f"finish it first: platemark design resume {id_text(record.design_id)}",
            )
        with self._records.new_folder() as folder:
            prepared = self._prepared(folder, paths, description, on_bytes)
            publication = Publication(
                design_id=record.design_id,
                revision=number,
                commitment=prepared.commitment(),
                manifest_digest=prepared.manifest.digest(),
                deadline=self._deadline(),
            )
            write_revision(
                folder,
                manifest=prepared.manifest,
                signature=self._account.sign(publication.digest(self._gateway.deployment.registry_domain)),
                publication=publication,
                kit=self._kit(record.registration, number, prepared),
                passphrase=passphrase,
                staged=prepared.staged,
                kit_cost=self._kit_cost,
            )
            self._records.keep(folder, record.folder / f"r{number}")
        return record.revision(number)

    def carry_on(self, record: DesignRecord, number: int, *, passphrase: str) -> RevisionState:
        """Do whatever is missing of steps 3 to 7 and return the revision as the gateway then sees it.

        Errors: those of the gateway; TryLaterError when patience ends; VerificationError when the gateway stored,
            published or computed something else than it should.
        """
        self._check_ours(record)
        revision = record.revision(number)
        state = self._state(record, number)
        if state is None or state.state not in {"deposited", "recalled"}:
            self._upload(revision)
            if state is None or state.status != "final":
                self._send(record, revision)
            state = self._final(record, number)
            if state.state == "registered":
                self._publish(record, revision)
            package = revision.kit(passphrase).package
            self._reveal(record, revision, state, package)
            self._deposit(record.design_id, number, package)
            state = self._state(record, number) or state
        elif not (state.revealed or state.state == "recalled" or record.registration.is_private):
            self._reveal(record, revision, state, revision.kit(passphrase).package)
        revision.drop_staged()
        return state

    def recall(self, design_id: DesignId, revision: int, reason: str) -> None:
        """Withdraw a revision: no new reservations and no new releases, for good.

        The reason is stored as an IPFS block whose digest stands on chain.
        """
        data = reason.encode()
        blob = self._client.upload(lambda: iter([data]), len(data))
        cid = raw_cid(data)
        check_uploaded(blob, cid, cid.digest, len(data))
        recall = Recall(design_id, revision, cid.digest, self._deadline())
        self._client.recall(recall, self._account.sign(recall.digest(self._gateway.deployment.registry_domain)))
        self._tell(f"the recall is on its way; {self._when_final()}")
        self._patience.until(
            lambda: self._client.design(design_id),
            lambda state: (found := state.revision(revision)) is not None and found.state == "recalled",
            "the recall",
        )

    def lower_edition(self, design_id: DesignId, edition: int) -> DesignState:
        """Lower a design's edition by signature, and return the design once that stands on chain.

        Errors: UsageError `edition-not-lowered`, before anything is sent; those of the gateway and the contract.
        """
        state = self._client.design(design_id)
        if not state.edition or edition >= state.edition:
            raise UsageError(
                f"the edition is {state.edition or 'open'}, and is only ever lowered",
                code="edition-not-lowered",
                hint="an open design stays open" if not state.edition else None,
            )
        limit = EditionLimit(design_id, edition, self._deadline())
        self._client.lower_edition(limit, self._account.sign(limit.digest(self._gateway.deployment.registry_domain)))
        self._tell(f"the lower edition is on its way; {self._when_final()}")
        return self._patience.until(
            lambda: self._client.design(design_id), lambda found: found.edition == edition, "the lower edition"
        )

    def deposit_kit(self, kit: RecoveryKit) -> DesignId:
        """Deposit the key in a recovery kit with the gateway, which compares every hash, and return the design.

        Errors: UsageError `other-contracts`; those of the gateway.
        """
        deployment = self._gateway.deployment
        if (kit.chain_id, kit.registry) != (deployment.chain_id, deployment.registry):
            raise UsageError("the kit's design is registered with other contracts", code="other-contracts")
        design_id = kit.design_id(deployment.registry_domain)
        self._deposit(design_id, kit.revision, kit.package)
        return design_id

    # --- the steps -------------------------------------------------------------------------------------

    def _prepared(
        self, folder: Path, paths: Sequence[Path], description: Description, on_bytes: OnBytes | None
    ) -> Prepared:
        return prepare(
            paths,
            description,
            registrant=self._account.address,
            staging=folder / "staged",
            randomness=self._randomness,
            on_bytes=on_bytes,
        )

    def _kit(self, registration: Registration, number: int, prepared: Prepared) -> RecoveryKit:
        deployment = self._gateway.deployment
        return RecoveryKit(
            deployment.chain_id, deployment.registry, registration, number, prepared.package, prepared.manifest
        )

    def _upload(self, revision: RevisionRecord) -> None:
        files = revision.staged()
        for position, file in enumerate(files, 1):
            self._tell(f"uploading {position} of {len(files)}: {file.length_bytes:,} bytes")
            check_uploaded(
                self._client.upload(file.chunks, file.length_bytes), file.cid, file.sha256, file.length_bytes
            )

    def _send(self, record: DesignRecord, revision: RevisionRecord) -> None:
        if revision.publication is None:
            found = self._client.register(record.registration, revision.signature)
            if found.design_id != record.design_id:
                raise _differs("the gateway registered another design", record.design_id, found.design_id)
        else:
            publication, signature = self._in_time(revision, revision.publication)
            self._client.publish_revision(publication, signature)
        self._tell(f"revision {revision.number} is on its way to the chain; {self._when_final()}")

    def _in_time(self, revision: RevisionRecord, publication: Publication) -> tuple[Publication, bytes]:
        """Return a publication that may still be brought to the chain, signed again when its deadline has passed."""
        if publication.deadline > self._clock.now() + _MARGIN_SECONDS:
            return publication, revision.signature
        renewed = dataclasses.replace(publication, deadline=self._deadline())
        signature = self._account.sign(renewed.digest(self._gateway.deployment.registry_domain))
        write_statement(revision.folder, signature, renewed)
        return renewed, signature

    def _final(self, record: DesignRecord, number: int) -> RevisionState:
        def final(state: DesignState) -> bool:
            found = state.revision(number)
            if found is not None and found.status == "failed":
                reason = None if state.transaction is None else self._client.transaction(state.transaction).reason
                raise failed("registration", reason)
            return found is not None and found.status == "final"

        state = self._patience.until(lambda: self._client.design(record.design_id), final, "the registration")
        found = state.revision(number)
        expected = record.revision(number).manifest.digest()
        if found is None or found.manifest_digest != expected:
            raise VerificationError(
                "the chain has another manifest for this revision",
                step="registration",
                code="manifest-differs",
                expected=digest_text(expected),
                found="none" if found is None else digest_text(found.manifest_digest),
            )
        return found

    def _publish(self, record: DesignRecord, revision: RevisionRecord) -> None:
        manifest = revision.manifest.encode()
        cid = self._patience.when_ready(
            lambda: self._client.publish_manifest(record.design_id, revision.number, manifest)
        )
        if cid != revision.manifest.cid():
            raise VerificationError(
                "the gateway published another manifest",
                step="manifest",
                code="manifest-differs",
                expected=revision.manifest.cid().text,
                found=cid.text,
            )
        self._tell("the manifest is published")

    def _reveal(
        self, record: DesignRecord, revision: RevisionRecord, state: RevisionState, package: KeyPackage
    ) -> None:
        if record.registration.is_private or state.revealed:
            return
        self._patience.when_ready(
            lambda: self._client.reveal(record.design_id, revision.number, package.salt, package.files_root)
        )
        self._tell("the content's hash is being revealed on chain")

    def _deposit(self, design_id: DesignId, revision: int, package: KeyPackage) -> None:
        made = make_deposit(
            package,
            domain=self._gateway.deployment.registry_domain,
            design_id=design_id,
            revision=revision,
            gateway=self._gateway.address,
            deposit_public=self._gateway.profile.deposit_key,
            deadline=self._deadline(),
            account=self._account,
        )
        self._tell("depositing the key; the gateway decrypts and compares every file")
        found = self._patience.when_ready(lambda: self._client.deposit(made.deposit, made.signature, made.sealed))
        package.key.check(found)
        self._tell("the gateway holds the key and has compared every hash")

    # --- waiting ---------------------------------------------------------------------------------------

    def _state(self, record: DesignRecord, number: int) -> RevisionState | None:
        try:
            return self._client.design(record.design_id).revision(number)
        except RefusedError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return None

    def _when_final(self) -> str:
        return final_in(self._gateway.final_after_seconds)

    def _deadline(self) -> UnixSeconds:
        return UnixSeconds(self._clock.now() + SIGNATURE_SECONDS)

    def _check_ours(self, record: DesignRecord) -> None:
        deployment = self._gateway.deployment
        if (record.chain_id, record.registry) != (deployment.chain_id, deployment.registry):
            raise UsageError(
                "the design is registered with other contracts than this gateway's",
                code="other-contracts",
                hint=f"use the gateway it was registered through: --gateway {record.gateway}",
            )

    def _record(self, design_id: DesignId) -> DesignRecord:
        record = self._records.find(design_id)
        if record is None:
            raise AssertionError("a record that was just written is not there")
        return record


def fetch_manifest(client: GatewayClient, design_id: DesignId, revision: int | None) -> tuple[int, Manifest]:
    """Return a revision (the latest by default) and its manifest, fetched from IPFS by the digest in its registration.

    Errors: UsageError `revision-unknown`; those of the gateway.
    """
    state = client.design(design_id)
    found = state.revision(revision or state.latest_revision)
    if found is None:
        raise UsageError(f"the design has no revision {revision}", code="revision-unknown")
    return found.revision, Manifest.parse(client.block(single_block(found.manifest_digest)))


def _differs(message: str, expected: int, found: int) -> VerificationError:
    return VerificationError(
        message, step="registration", code="design-differs", expected=id_text(expected), found=id_text(found)
    )
