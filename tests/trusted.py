"""Who is trusted to name servers, read once: httpx reads them again for each call, which takes longer than most."""

import functools
import ssl

import httpx


@functools.cache
def authorities() -> ssl.SSLContext:
    """Return the certificates of the authorities, for `verify`."""
    return httpx.create_ssl_context(trust_env=False)
