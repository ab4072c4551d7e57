"""Uploads for whoever signed in, blocks for everybody (the trustless part of the IPFS gateway specification)."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response, status

from platemark.errors import MalformedError
from platemark.protocol.cid import Cid
from platemark_gateway.auth.callers import Caller
from platemark_gateway.container import Services
from platemark_gateway.files import service
from platemark_gateway.files.schemas import BlobAnswer
from platemark_gateway.ratelimit import quotas

router = APIRouter(tags=["gateway"])

RAW = "application/vnd.ipld.raw"
_HEADERS = {
    "Cache-Control": "public, max-age=29030400, immutable",
    "Content-Disposition": "attachment",
    "Vary": "Accept",
}


@router.post("/v1/blobs", openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}}})
async def upload(request: Request, caller: Caller, container: Services) -> BlobAnswer:
    """Store a file (ciphertext, preview) on IPFS; the body is the file itself."""
    declared = request.headers.get("content-length")
    settings = container.settings
    amount = int(declared) if declared is not None else settings.blob_bytes
    async with container.database.answering() as session:
        await quotas.spend(
            session,
            container.clock,
            address=caller.address,
            quota=quotas.UPLOADS,
            amount=amount,
            limit=settings.blob_bytes_per_day,
        )
    return await service.store(container, caller.address, request.stream(), None if declared is None else amount)


@router.get("/ipfs/{cid}", response_class=Response, responses={200: {"content": {RAW: {}}}})
@router.head("/ipfs/{cid}", response_class=Response)
async def block(
    cid: str,
    container: Services,
    request: Request,
    form: Annotated[str | None, Query(alias="format", max_length=16)] = None,
    accept: Annotated[str | None, Header(max_length=1024)] = None,
) -> Response:
    """Return a raw block, at most 2 MiB; whoever asks checks it against the CID."""
    if form != "raw" and RAW not in (accept or ""):
        raise MalformedError(
            "only raw blocks are served", code="request-schema", hint=f"ask with ?format=raw or Accept: {RAW}"
        )
    known = Cid.parse(cid)
    headers = _HEADERS | {"ETag": f'"{known.text}.raw"'}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    data = await container.blocks.get(known)
    if request.method == "HEAD":
        return Response(headers=headers | {"Content-Length": str(len(data))}, media_type=RAW)
    return Response(data, headers=headers, media_type=RAW)
