"""Whether an account signed something: ECDSA here, contract wallets (ERC-1271) by asking the chain."""

from platemark.errors import MalformedError
from platemark.protocol.accounts import recover
from platemark.protocol.units import Address, Digest32
from platemark_gateway.errors import UnauthenticatedError
from platemark_gateway.ports import ChainReader


async def check(chain: ChainReader, account: Address, digest: Digest32, signature: bytes) -> None:
    """Pass when `account` signed `digest`; an ordinary account's signature needs no call of the chain.

    Errors: UnauthenticatedError `signature-invalid`; UnavailableError when the chain cannot be asked.
    """
    try:
        if recover(digest, signature) == account:
            return
    except MalformedError:
        pass  # a contract wallet's signature has any form
    if not await chain.is_signed_by(account, digest, signature):
        raise UnauthenticatedError(
            "the signature is not by the account that it should be by",
            code="signature-invalid",
            hint="sign with the account named in the message, on the gateway's chain",
        )
