"""Whom an auditor trusts and what is required: kept apart from the checks themselves.

A policy says *who* (gateways, chains, witnesses), the checks say *what*. The default accepts any gateway on the chain
that is read; the report says whose word it took.
"""

from dataclasses import dataclass, field
from typing import Final

from platemark.errors import UsageError
from platemark.protocol.checkpoint import KeyType, NoteKey
from platemark.protocol.units import Address


@dataclass(frozen=True, slots=True)
class Policy:
    """What an auditor requires beyond the checks.

    The only `gateways` and `chain_ids` accepted, where any are named; and of these `witnesses` (keys of type 4) how
    many must have cosigned a log's checkpoint.
    """

    gateways: frozenset[Address] = field(default_factory=frozenset)
    chain_ids: frozenset[int] = field(default_factory=frozenset)
    witnesses: tuple[NoteKey, ...] = ()
    witnesses_wanted: int = 0

    def __post_init__(self) -> None:
        """Errors: UsageError `witnesses` when more are wanted than are named, one twice, or one that cannot cosign."""
        if not 0 <= self.witnesses_wanted <= len(self.witnesses):
            raise UsageError("more witnesses are wanted than are named", code="witnesses")
        if len({key.name for key in self.witnesses}) != len(self.witnesses):
            raise UsageError("a witness is named twice", code="witnesses")
        if any(key.key_type is not KeyType.COSIGNATURE for key in self.witnesses):
            raise UsageError("a witness's key is of type 4, which cosigns", code="witnesses")

    def accepts_gateway(self, gateway: Address) -> bool:
        """Return whether this gateway's statements count at all."""
        return not self.gateways or gateway in self.gateways

    def accepts_chain(self, chain_id: int) -> bool:
        """Return whether facts of this chain count at all."""
        return not self.chain_ids or chain_id in self.chain_ids


ANYBODY: Final = Policy()
"""Accepts every gateway and every chain; the report says whose word was taken."""
