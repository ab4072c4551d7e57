"""The print log as static tiles (C2SP tlog-tiles), anchoring on request, parts, their page and their passports."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response, status

from platemark.errors import MalformedError
from platemark.protocol.cid import Cid, Codec
from platemark.protocol.passport import MEDIA_TYPE
from platemark.protocol.serial import parse_serial
from platemark.protocol.tiles import Tile
from platemark.protocol.units import DesignId, parse_id
from platemark_gateway.auth.callers import Designer, Operator
from platemark_gateway.container import Services
from platemark_gateway.db.session import Reading, Writing
from platemark_gateway.designs.endpoints import DesignPath, Number
from platemark_gateway.printlog import affected, errors, part_page, passports, service
from platemark_gateway.printlog.schemas import AffectedPage, AnchorAnswer, AnchorOrder, PartView

router = APIRouter(tags=["log"])
shown = APIRouter(route_class=part_page.PageRoute)

SerialPath = Annotated[str, Path(min_length=16, max_length=32, description="a part's serial, as on its label")]


@router.get("/log/checkpoint", response_class=Response)
async def checkpoint(container: Services) -> Response:
    """Return the signed checkpoint."""
    note = await asyncio.to_thread(service.files_of(container).read_checkpoint)
    if note is None:
        raise errors.log_empty()
    return Response(note, media_type="text/plain; charset=utf-8", headers={"Cache-Control": "public, max-age=1"})


@router.get("/log/tile/{path:path}", response_class=Response)
async def tile(path: Annotated[str, Path(max_length=64)], container: Services) -> Response:
    """Return a tile of hashes, or a bundle of entries."""
    try:
        wanted = Tile.parse(f"tile/{path}")
    except MalformedError:
        raise errors.tile_unknown() from None
    data = await asyncio.to_thread(service.files_of(container).read, wanted.path)
    if data is None:
        raise errors.tile_unknown()
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(data, media_type="application/octet-stream", headers=headers)


@router.post("/v1/log/anchor", status_code=status.HTTP_202_ACCEPTED)
async def request_anchor(caller: Operator, _body: AnchorOrder, container: Services, session: Writing) -> AnchorAnswer:
    """Ask the worker to anchor the log now."""
    await service.request_anchor(session, container, caller.address)
    return AnchorAnswer(requested=True)


@router.get("/v1/designs/{design_id}/revisions/{number}/affected", tags=["designs"])
async def affected_by_recall(
    design_id: DesignPath,
    number: Number,
    caller: Designer,
    container: Services,
    session: Reading,
    response: Response,
    cursor: Annotated[str | None, Query(pattern=affected.CURSOR)] = None,
) -> AffectedPage:
    """Return the reservations and prints of a revision and who is owed what, to the design's owner; in pages."""
    response.headers["Cache-Control"] = "no-store"
    return await affected.page(session, container, caller, DesignId(parse_id(design_id)), number, cursor=cursor)


@router.get("/v1/parts/part.js", include_in_schema=False)
@router.get("/v1/parts/part.css", include_in_schema=False)
async def part_page_file(request: Request) -> Response:
    """Return what the page loads."""
    return part_page.answer(request, request.url.path.rpartition("/")[2])


@shown.get("/v1/parts/{serial}", tags=["prints"], responses={200: {"content": {"text/html": {}}}})
async def part(serial: SerialPath, container: Services, response: Response) -> PartView:
    """Return what a serial stands for today; to a browser, the page that verifies its passport there."""
    response.headers["Vary"] = "Accept"
    response.headers["Cache-Control"] = "no-cache"
    async with container.database.read() as session:
        found = await passports.look_up(session, container, parse_serial(serial))
    if found.known is None or found.token is None:
        return PartView(serial=found.serial, status=str(found.status))
    return PartView(
        serial=found.serial,
        status=str(found.status),
        design_id=found.token.design_id,
        revision=found.token.revision,
        token_id=found.known.token_id,
        sequence=found.known.sequence,
        recall_reason_cid=None if found.recall_reason is None else Cid(Codec.RAW, found.recall_reason).text,
    )


router.include_router(shown)


@router.get("/v1/parts/{serial}/passport", tags=["prints"], response_class=Response)
async def part_passport(serial: SerialPath, container: Services) -> Response:
    """Return a part's public passport; it is provisional until the log is anchored."""
    made = await passports.passport(container, parse_serial(serial))
    return Response(made.encode(), media_type=MEDIA_TYPE, headers={"Cache-Control": "no-cache"})
