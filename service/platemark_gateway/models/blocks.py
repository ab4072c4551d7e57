"""What the gateway promised to keep on IPFS, and where it was last found whole."""

from enum import StrEnum

from sqlalchemy import CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from platemark.protocol.units import Digest32, UnixSeconds
from platemark_gateway.models.base import Base


class Purpose(StrEnum):
    """Why a root is kept."""

    UPLOAD = "upload"  # stored for somebody, named by no manifest so far
    CIPHERTEXT = "ciphertext"
    PREVIEW = "preview"
    MANIFEST = "manifest"
    TERMS = "terms"
    PROFILE = "profile"
    TILES = "tiles"  # the list of tiles that an anchor names


class KeptRoot(Base):
    """A root whose every block must be on the primary node and on the replica.

    `whole_on` and `copied_to` name the nodes (by their own identity, so that a new node is behind) that had
    everything at `whole_at` and `copied_at`. `position` is how many blocks of the present check are done, `found` the
    code of what it could not repair so far; `problem` is that of the last check that came to its end.
    """

    __tablename__ = "kept_roots"
    __table_args__ = (
        CheckConstraint("position >= 0", name="position_not_negative"),
        CheckConstraint("(whole_on IS NULL) = (whole_at IS NULL)", name="whole_whole"),
        CheckConstraint("(copied_to IS NULL) = (copied_at IS NULL)", name="copied_whole"),
    )

    cid: Mapped[str] = mapped_column(String(64), primary_key=True)
    raw_digest: Mapped[Digest32 | None] = mapped_column(index=True)
    """The digest of a root that is one raw block, by which profiles and anchors name it."""
    purpose: Mapped[str] = mapped_column(String(16))
    noted_at: Mapped[UnixSeconds]
    due_at: Mapped[UnixSeconds] = mapped_column(index=True)
    held_until: Mapped[UnixSeconds]
    """Until then one worker has it in hand."""
    position: Mapped[int]
    whole_on: Mapped[str | None] = mapped_column(String(128))
    whole_at: Mapped[UnixSeconds | None]
    copied_to: Mapped[str | None] = mapped_column(String(128))
    copied_at: Mapped[UnixSeconds | None]
    found: Mapped[str | None] = mapped_column(String(64))
    problem: Mapped[str | None] = mapped_column(String(64))
