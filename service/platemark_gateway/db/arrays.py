"""Arrays as PostgreSQL reads them in binary: a column of many rows is one value, packed at once.

psycopg would ask of each element how it is written; here a column has one type, so that is known beforehand. It is
imported where there is PostgreSQL only.

Source: PostgreSQL, `array_recv` and the `recv` functions of the elements' types.
"""

import itertools
import json
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from sqlalchemy import ARRAY, JSON, BigInteger, LargeBinary, String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

_Pack = Callable[[list[Any]], list[bytes]]
_HEADER: Final = struct.Struct(">iiIii")
"""Dimensions, whether there are NULLs, the elements' type, their number, and the number of the first."""
_LENGTH: Final = struct.Struct(">i")
_NULL: Final = _LENGTH.pack(-1)


def _integers(values: list[int]) -> list[bytes]:
    return list(map(struct.Struct(">q").pack, values))


def _texts(values: list[str]) -> list[bytes]:
    return [value.encode() for value in values]


def _documents(values: list[Any]) -> list[bytes]:
    return [json.dumps(value).encode() for value in values]


_ELEMENTS: Final[tuple[tuple[type[TypeEngine[Any]], int, _Pack], ...]] = (
    (LargeBinary, 17, list),
    (BigInteger, 20, _integers),
    (String, 1043, _texts),
    (JSON, 114, _documents),
)
"""The types that columns have: PostgreSQL's number of each, and how values are written."""


class PackedArray(bytes):
    """An array in PostgreSQL's binary form."""

    __slots__ = ()


def register() -> None:
    """Let psycopg send packed arrays as they are; the statements say of which type each is."""
    import psycopg
    from psycopg.adapt import Dumper
    from psycopg.pq import Format

    class PackedArrayDumper(Dumper):
        format = Format.BINARY

        def dump(self, obj: PackedArray) -> bytes:
            return obj

    psycopg.adapters.register_dumper(PackedArray, PackedArrayDumper)


class ArrayType(TypeDecorator[Any]):
    """A list of values of a column's type, sent to PostgreSQL as one value."""

    impl = ARRAY
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], PackedArray]:
        """Return what packs a list.

        Errors: TypeError for a column's type that no table of the gateway has.
        """
        kind: TypeEngine[Any] = cast("ARRAY[Any]", self.impl_instance).item_type
        stored = kind.dialect_impl(dialect)
        stored = stored.impl_instance if isinstance(stored, TypeDecorator) else stored
        number, write = _element(stored)
        convert = None
        if isinstance(kind, TypeDecorator) and type(kind).process_bind_param is not TypeDecorator.process_bind_param:
            convert = kind.process_bind_param

        def pack(values: Any) -> PackedArray:
            found = values if convert is None else [convert(value, dialect) for value in values]
            return _packed(number, found, write)

        return pack


def _element(stored: TypeEngine[Any]) -> tuple[int, _Pack]:
    for kind, number, write in _ELEMENTS:
        if isinstance(stored, kind):
            return number, write
    raise TypeError(f"no array of {stored!r} was ever needed")


def _packed(number: int, values: list[Any], write: _Pack) -> PackedArray:
    if not values:
        return PackedArray(_HEADER.pack(0, 0, number, 0, 1)[:12])
    nulls = None in values
    parts: Iterable[bytes]
    if nulls:
        written = iter(write([value for value in values if value is not None]))
        parts = itertools.chain.from_iterable(
            (_NULL,) if value is None else _measured(next(written)) for value in values
        )
    else:
        parts = itertools.chain.from_iterable(map(_measured, write(values)))
    return PackedArray(_HEADER.pack(1, nulls, number, len(values), 1) + b"".join(parts))


def _measured(value: bytes) -> tuple[bytes, bytes]:
    return _LENGTH.pack(len(value)), value
