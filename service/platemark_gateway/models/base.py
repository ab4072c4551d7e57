"""The declarative base: naming convention of constraints, column types of the protocol's units."""

import uuid
from typing import Any, ClassVar

from sqlalchemy import BigInteger, Integer, LargeBinary, MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from platemark.protocol.units import Address, DesignId, Digest32, LicenseId, TokenId, UnixSeconds, Wei
from platemark_gateway.db.types import AddressType, Digest32Type, Uint256Type, UnixSecondsType

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table; `Mapped[DesignId]`, `Mapped[Digest32]` … choose their column types by themselves."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        Digest32: Digest32Type(),
        Address: AddressType(),
        DesignId: Uint256Type(),
        LicenseId: Uint256Type(),
        TokenId: Uint256Type(),
        Wei: Uint256Type(),
        UnixSeconds: UnixSecondsType(),
        # SQLite numbers rows only in columns that say INTEGER.
        int: BigInteger().with_variant(Integer(), "sqlite"),
        bytes: LargeBinary(),
        uuid.UUID: Uuid(),
    }


class SeenOnChain:
    """Columns of a row that mirrors the chain: in which block the fact was seen.

    Both are None while the fact was only asked for; a rewind clears them or deletes the row.
    """

    seen_block: Mapped[int | None] = mapped_column(index=True)
    seen_hash: Mapped[Digest32 | None]
