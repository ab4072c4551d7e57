"""Bodies of the upload endpoint."""

from platemark_gateway.wire import DigestField, Wire


class BlobAnswer(Wire):
    """What an upload became: the file's CID (profile unixfs-v1-2025), its size and SHA-256."""

    cid: str
    bytes: int
    sha256: DigestField
