"""What the registry's events mean for the rows of designs; called by the indexer, one transaction a block range."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from platemark.protocol.units import DesignId
from platemark_gateway.designs import repository, service
from platemark_gateway.models.design import Design, DesignEdition, DesignOwner, Revision
from platemark_gateway.ports import ChainEvent, Contract


async def _registered(session: AsyncSession, event: ChainEvent) -> None:
    args = event.args
    design_id = DesignId(args["designId"])
    owner = await repository.latest_owner(session, design_id) or args["registrant"]
    design = await repository.design(session, design_id, lock=True)
    if design is None:
        design = Design(
            design_id=design_id,
            registrant=args["registrant"],
            owner=owner,
            is_private=args["isPrivate"],
            parent_id=DesignId(args["parentId"]),
            resale_share=args["resaleShare"],
            derivative_share=args["derivativeShare"],
            edition=args["edition"],
            edition_limit=args["edition"],
            created_at=event.block.timestamp,
        )
        session.add(design)
        await session.flush()
    design.owner = owner
    design.seen_block, design.seen_hash = event.block.number, event.block.hash
    await _revision(session, event, design_id, 1)


async def _published(session: AsyncSession, event: ChainEvent) -> None:
    await _revision(session, event, DesignId(event.args["designId"]), event.args["revision"])


async def _revision(session: AsyncSession, event: ChainEvent, design_id: DesignId, number: int) -> None:
    commitment, manifest_digest = event.args["commitment"], event.args["manifestDigest"]
    row = await repository.revision(session, design_id, number, lock=True)
    if row is None:
        row = Revision(
            design_id=design_id,
            revision=number,
            commitment=commitment,
            manifest_digest=manifest_digest,
            created_at=event.block.timestamp,
        )
        session.add(row)
    elif (row.commitment, row.manifest_digest) != (commitment, manifest_digest):
        service.replace_content(row, commitment, manifest_digest)
    row.seen_block, row.seen_hash = event.block.number, event.block.hash
    await session.flush()


async def _revealed(session: AsyncSession, event: ChainEvent) -> None:
    row = await repository.revision(session, DesignId(event.args["designId"]), event.args["revision"], lock=True)
    if row is not None:
        row.files_root, row.revealed_block = event.args["filesRoot"], event.block.number


async def _recalled(session: AsyncSession, event: ChainEvent) -> None:
    row = await repository.revision(session, DesignId(event.args["designId"]), event.args["revision"], lock=True)
    if row is not None:
        row.recalled_block, row.recall_reason = event.block.number, event.args["reasonDigest"]


async def _edition_lowered(session: AsyncSession, event: ChainEvent) -> None:
    design_id = DesignId(event.args["designId"])
    await session.merge(
        DesignEdition(
            design_id=design_id,
            seen_block=event.block.number,
            log_index=event.log_index,
            edition=event.args["edition"],
        )
    )
    await session.flush()
    design = await repository.design(session, design_id, lock=True)
    if design is not None:
        design.edition_limit = event.args["edition"]
        await session.flush()


async def _transferred(session: AsyncSession, event: ChainEvent) -> None:
    if event.contract is not Contract.REGISTRY:
        return
    design_id = DesignId(event.args["tokenId"])
    await session.merge(
        DesignOwner(
            design_id=design_id, seen_block=event.block.number, log_index=event.log_index, owner=event.args["to"]
        )
    )
    design = await repository.design(session, design_id, lock=True)
    if design is not None:
        design.owner = event.args["to"]


async def rewind(session: AsyncSession, block: int) -> None:
    """Undo everything that was seen above `block`; what the gateway relayed itself stays as pending."""
    moved = (await session.scalars(select(DesignOwner.design_id).where(DesignOwner.seen_block > block))).all()
    lowered = (await session.scalars(select(DesignEdition.design_id).where(DesignEdition.seen_block > block))).all()
    await session.execute(delete(DesignOwner).where(DesignOwner.seen_block > block))
    await session.execute(delete(DesignEdition).where(DesignEdition.seen_block > block))
    await session.execute(
        update(Revision).where(Revision.revealed_block > block).values(revealed_block=None, files_root=None)
    )
    await session.execute(update(Revision).where(Revision.recalled_block > block).values(recalled_block=None))
    for model in (Revision, Design):
        await session.execute(update(model).where(model.seen_block > block).values(seen_block=None, seen_hash=None))
    foreign = select(Design.design_id).where(Design.seen_block.is_(None), Design.transaction_id.is_(None))
    await session.execute(
        delete(Revision).where(
            Revision.seen_block.is_(None), Revision.transaction_id.is_(None) | Revision.design_id.in_(foreign)
        )
    )
    await session.execute(delete(Design).where(Design.seen_block.is_(None), Design.transaction_id.is_(None)))
    session.expire_all()
    for design_id in set(moved):
        design = await repository.design(session, design_id, lock=True)
        if design is not None:
            design.owner = await repository.latest_owner(session, design_id) or design.registrant
    for design_id in set(lowered):
        design = await repository.design(session, design_id, lock=True)
        if design is not None:
            design.edition_limit = await repository.latest_edition(session, design_id) or design.edition
    await session.flush()


handlers: Final[Mapping[str, Callable[[AsyncSession, ChainEvent], Awaitable[None]]]] = {
    "DesignRegistered": _registered,
    "RevisionPublished": _published,
    "ContentRevealed": _revealed,
    "RevisionRecalled": _recalled,
    "EditionLowered": _edition_lowered,
    "Transfer": _transferred,
}
