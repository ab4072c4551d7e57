"""Column types of the protocol's units: lengths are checked on the way in and out."""

# ruff: noqa: ARG002 (SQLAlchemy passes the dialect to each of these)

from typing import Any

from sqlalchemy import BigInteger, LargeBinary
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from platemark.protocol.units import UINT256_MAX, Address, Digest32, UnixSeconds


class Digest32Type(TypeDecorator[Digest32]):
    """A digest, 32 bytes."""

    impl = LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: Digest32 | None, dialect: Dialect) -> bytes | None:
        """Return the 32 bytes; ValueError for any other length."""
        return _exactly(value, 32)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Digest32 | None:
        """Return the stored digest; ValueError for any other length."""
        found = _exactly(value, 32)
        return None if found is None else Digest32(found)


class AddressType(TypeDecorator[Address]):
    """An Ethereum address, 20 bytes."""

    impl = LargeBinary(20)
    cache_ok = True

    def process_bind_param(self, value: Address | None, dialect: Dialect) -> bytes | None:
        """Return the 20 bytes; ValueError for any other length."""
        return _exactly(value, 20)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> Address | None:
        """Return the stored address; ValueError for any other length."""
        found = _exactly(value, 20)
        return None if found is None else Address(found)


class Uint256Type(TypeDecorator[int]):
    """An unsigned 256-bit integer as 32 big-endian bytes, so that it sorts as the number does."""

    impl = LargeBinary(32)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> bytes | None:
        """Return 32 bytes; ValueError outside 0 to 2^256 - 1."""
        if value is None:
            return None
        if not 0 <= value <= UINT256_MAX:
            raise ValueError("not an unsigned 256-bit integer")
        return value.to_bytes(32, "big")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:
        """Return the stored integer."""
        found = _exactly(value, 32)
        return None if found is None else int.from_bytes(found, "big")


class UnixSecondsType(TypeDecorator[UnixSeconds]):
    """A time, Unix seconds."""

    impl = BigInteger()
    cache_ok = True

    def process_result_value(self, value: Any | None, dialect: Dialect) -> UnixSeconds | None:
        """Return the stored time."""
        return None if value is None else UnixSeconds(int(value))


def _exactly(value: Any | None, length: int) -> bytes | None:
    if value is None:
        return None
    found = bytes(value)
    if len(found) != length:
        raise ValueError(f"{length} bytes were expected, not {len(found)}")
    return found
