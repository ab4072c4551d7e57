"""Bodies of the design endpoints."""

import uuid
from typing import Annotated, Literal

from pydantic import Field

from platemark_gateway.ports import FactStatus
from platemark_gateway.wire import (
    AccountSignature,
    AddressField,
    BytesField,
    DepositField,
    DesignIdField,
    DigestField,
    EditionLimitField,
    PublicationField,
    RecallField,
    RegistrationField,
    Wire,
)

RevisionState = Literal["registered", "published", "deposited", "recalled"]


class RegisterRequest(Wire):
    """A registration and the registrant's signature of it."""

    registration: RegistrationField
    signature: AccountSignature


class PublishRequest(Wire):
    """A later revision and the owner's signature of it."""

    publication: PublicationField
    signature: AccountSignature


class RevealRequest(Wire):
    """What opens a public revision's commitment."""

    salt: DigestField
    files_root: DigestField


class DepositRequest(Wire):
    """A content key, sealed to the gateway's deposit key and signed for."""

    deposit: DepositField
    signature: AccountSignature
    sealed: BytesField


class EditionRequest(Wire):
    """A lower edition and the owner's signature of it."""

    limit: EditionLimitField
    signature: AccountSignature


class RecallRequest(Wire):
    """A recall and the owner's signature of it."""

    recall: RecallField
    signature: AccountSignature


class RevisionView(Wire):
    """How far a revision has come."""

    revision: int
    commitment: DigestField
    manifest_digest: DigestField
    manifest_cid: str | None
    state: RevisionState
    status: FactStatus
    revealed: bool
    files_root: DigestField | None


class DesignView(Wire):
    """A design; `status` says how firmly its registration stands on chain."""

    design_id: DesignIdField
    registrant: AddressField
    owner: AddressField
    status: FactStatus
    latest_revision: int
    is_private: bool
    parent_id: DesignIdField
    resale_share: Annotated[int, Field(description="basis points")]
    derivative_share: Annotated[int, Field(description="basis points of what derived designs earn")]
    registered_edition: Annotated[int, Field(description="prints; 0 is open; a part of the id")]
    edition: Annotated[int, Field(description="prints that all licences may have together now; 0 is open")]
    revisions: list[RevisionView]
    transaction: uuid.UUID | None


class DesignPage(Wire):
    """A page of designs, the ids ascending; `cursor` asks for the next one."""

    items: list[DesignView]
    cursor: str | None


class ManifestAnswer(Wire):
    """Where the manifest is."""

    manifest_cid: str


class DepositAnswer(Wire):
    """The commitment of the key that the gateway now holds, computed after it compared every hash."""

    key_commitment: DigestField


class Accepted(Wire):
    """A transaction that the gateway will send; none when the chain has what was asked for."""

    transaction: uuid.UUID | None


RevisionNumber = Annotated[int, Field(ge=1, le=65_535)]
