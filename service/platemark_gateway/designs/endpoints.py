"""Designs: register, publish, deposit, reveal, recall."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, status
from starlette.requests import ClientDisconnect

from platemark.errors import MalformedError
from platemark.protocol.units import DesignId, parse_address, parse_id
from platemark_gateway.auth.callers import Designer
from platemark_gateway.container import Services
from platemark_gateway.db.session import Reading, Writing
from platemark_gateway.designs import deposits, service
from platemark_gateway.designs.schemas import (
    DepositAnswer,
    DepositRequest,
    DesignPage,
    DesignView,
    EditionRequest,
    ManifestAnswer,
    PublishRequest,
    RecallRequest,
    RegisterRequest,
    RevealRequest,
)
from platemark_gateway.errors import ConflictError
from platemark_gateway.ports import Contract

router = APIRouter(prefix="/v1/designs", tags=["designs"])

DesignPath = Annotated[str, Path(description="0x and 64 lowercase hexadecimal digits", max_length=66)]
Number = Annotated[int, Path(ge=1, le=65_535, description="the revision's number, 1 and up")]


@router.post("", status_code=status.HTTP_202_ACCEPTED)
async def register(body: RegisterRequest, container: Services) -> DesignView:
    """Have a registration sent to the chain; the registrant's signature is all it needs."""
    design_id = await service.check_registration(container, body.registration, body.signature)
    async with container.database.answering() as session:
        await service.register(session, container, design_id, body.registration, body.signature)
        await session.flush()
        return await service.view(session, container, design_id)


@router.get("")
async def list_designs(
    container: Services,
    session: Reading,
    owner: Annotated[str | None, Query(max_length=42)] = None,
    cursor: Annotated[str | None, Query(max_length=66)] = None,
) -> DesignPage:
    """Return designs, those of one owner or all, in pages."""
    return await service.page(
        session,
        container,
        owner=None if owner is None else parse_address(owner),
        after=None if cursor is None else DesignId(parse_id(cursor)),
    )


@router.get("/{design_id}")
async def read(design_id: DesignPath, container: Services, session: Reading) -> DesignView:
    """Return a design and its revisions."""
    return await service.view(session, container, DesignId(parse_id(design_id)))


@router.post("/{design_id}/revisions", status_code=status.HTTP_202_ACCEPTED)
async def publish(design_id: DesignPath, body: PublishRequest, container: Services) -> DesignView:
    """Have a later revision sent to the chain, signed by the design's owner."""
    _same_design(design_id, body.publication.design_id)
    await service.check_signed(container, body.publication, body.signature)
    async with container.database.answering() as session:
        await service.publish(session, container, body.publication, body.signature)
        await session.flush()
        return await service.view(session, container, body.publication.design_id)


@router.post("/{design_id}/revisions/{number}/manifest")
async def publish_manifest(
    design_id: DesignPath, number: Number, request: Request, caller: Designer, container: Services
) -> ManifestAnswer:
    """Publish the manifest of a final revision; the body is the manifest's canonical bytes."""
    try:
        data = await request.body()
    except ClientDisconnect as error:
        raise MalformedError("the manifest ended early", code="upload-broken") from error
    known = DesignId(parse_id(design_id))
    async with container.database.read() as reading:
        await service.check_manifest(reading, container, caller, known, number, data)
    await service.store_manifest(container, data)
    async with container.database.answering() as session:
        cid = await service.note_manifest(session, container, caller, known, number, data)
    return ManifestAnswer(manifest_cid=cid.text)


@router.post("/{design_id}/revisions/{number}/reveal", status_code=status.HTTP_202_ACCEPTED)
async def reveal(
    design_id: DesignPath,
    number: Number,
    body: RevealRequest,
    caller: Designer,
    container: Services,
    session: Writing,
) -> DesignView:
    """Have a public revision's content revealed on chain."""
    known = DesignId(parse_id(design_id))
    await service.reveal(session, container, caller, known, number, salt=body.salt, files_root=body.files_root)
    return await service.view(session, container, known)


@router.post("/{design_id}/revisions/{number}/deposit")
async def deposit(design_id: DesignPath, number: Number, body: DepositRequest, container: Services) -> DepositAnswer:
    """Keep a content key, after every file was decrypted and compared with the manifest and the registration."""
    async with container.database.read() as reading:
        task = await deposits.prepare(reading, container, DesignId(parse_id(design_id)), number, body.deposit)
    package = await deposits.check(container, task, body.deposit, body.signature, body.sealed)
    async with container.database.answering() as session:
        commitment = await deposits.keep(session, container, task, package)
    return DepositAnswer(key_commitment=commitment)


@router.post("/{design_id}/revisions/{number}/recall", status_code=status.HTTP_202_ACCEPTED)
async def recall(design_id: DesignPath, number: Number, body: RecallRequest, container: Services) -> DesignView:
    """Recall a revision: no release from now on; the chain follows."""
    _same_design(design_id, body.recall.design_id)
    if body.recall.revision != number:
        raise ConflictError("the recall names another revision", code="path-mismatch", expected=number)
    await service.check_signed(container, body.recall, body.signature)
    async with container.database.answering() as session:
        await service.recall(session, container, body.recall, body.signature)
        await session.flush()
        return await service.view(session, container, body.recall.design_id)


@router.post("/{design_id}/edition", status_code=status.HTTP_202_ACCEPTED)
async def lower_edition(design_id: DesignPath, body: EditionRequest, container: Services) -> DesignView:
    """Have a lower edition sent to the chain, signed by the design's owner; what was minted stays."""
    _same_design(design_id, body.limit.design_id)
    owner = await service.check_signed(container, body.limit, body.signature)
    await container.chain.try_call(Contract.REGISTRY, "lowerEditionBySig", [body.limit.arguments(), body.signature])
    async with container.database.answering() as session:
        await service.lower_edition(session, container, owner, body.limit, body.signature)
        await session.flush()
        return await service.view(session, container, body.limit.design_id)


def _same_design(path: str, named: DesignId) -> None:
    if parse_id(path) != named:
        raise ConflictError("the body names another design than the address", code="path-mismatch", expected=path)
