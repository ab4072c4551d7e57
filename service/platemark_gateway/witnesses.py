"""Witnesses that are asked over HTTP (C2SP tlog-witness)."""

from collections.abc import Sequence
from typing import Final, Self

import httpx

from platemark.errors import UpstreamError
from platemark.protocol.checkpoint import NoteKey, NoteSignature
from platemark.protocol.witness import (
    MAX_ANSWER_BYTES,
    PATH,
    SIZE_MEDIA_TYPE,
    AddCheckpoint,
    parse_conflict,
    read_cosignature,
)
from platemark_gateway import outgoing
from platemark_gateway.errors import UnavailableError, WitnessConflictError
from platemark_gateway.settings import Settings

_REFUSALS: Final = {
    404: ("the witness does not know this log", "witness-unknown-log"),
    422: ("the witness does not see that the checkpoint continues what it cosigned", "witness-inconsistent"),
}


class HttpWitness:
    """A witness at an address."""

    def __init__(
        self, key: NoteKey, url: str, *, timeout_seconds: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        """`url` has no slash at its end; nothing is asked yet."""
        self._key = key
        self._url = url + PATH
        self._client = outgoing.client(url, timeout_seconds=timeout_seconds, transport=transport)

    @property
    def key(self) -> NoteKey:
        """The key with which it cosigns."""
        return self._key

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def add_checkpoint(self, request: AddCheckpoint) -> NoteSignature:
        """Return its cosignature; errors: as `ports.Witness`."""
        body = bytearray()
        try:
            async with self._client.stream("POST", self._url, content=request.encode()) as answer:
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_ANSWER_BYTES:
                        raise UpstreamError("the witness answers with too much", code="witness-refused")
        except httpx.HTTPError as error:
            raise UnavailableError("the witness cannot be reached", code="witness-unreachable") from error
        status = answer.status_code
        if status == 200:
            return read_cosignature(bytes(body), request.note.text, self._key)
        if status == 409 and answer.headers.get("Content-Type", "") == SIZE_MEDIA_TYPE:
            raise WitnessConflictError(parse_conflict(bytes(body)))
        if status == 429 or status >= 500:
            raise UnavailableError(f"the witness answers with {status}", code="witness-unreachable")
        message, code = _REFUSALS.get(status, (f"the witness answers with {status}", "witness-refused"))
        raise UpstreamError(message, code=code)


class Witnesses(tuple[HttpWitness, ...]):
    """Those of the settings; they are closed together."""

    __slots__ = ()

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return a client of each witness that the settings name."""
        made: Sequence[HttpWitness] = [
            HttpWitness(key, url, timeout_seconds=settings.witness_seconds) for key, url in settings.witness_places()
        ]
        return cls(made)

    async def close(self) -> None:
        """Close the connections."""
        for witness in self:
            await witness.close()
