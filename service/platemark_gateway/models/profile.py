"""What this gateway declared, or means to declare, and what the chain says about which profile was in force when."""

from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Address, Digest32, UnixSeconds
from platemark_gateway.models.base import Base


class StoredProfile(Base):
    """A profile of this gateway by its digest: the bytes of its IPFS block."""

    __tablename__ = "gateway_profiles"

    digest: Mapped[Digest32] = mapped_column(primary_key=True)
    profile: Mapped[bytes]
    created_at: Mapped[UnixSeconds]


class Declaration(Base):
    """One `GatewayDeclared` event, of any gateway; the zero digest withdraws a profile."""

    __tablename__ = "gateway_declarations"

    gateway: Mapped[Address] = mapped_column(primary_key=True)
    seen_block: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, index=True)
    log_index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    profile_digest: Mapped[Digest32]
