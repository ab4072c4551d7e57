"""Whom an auditor trusts and what is required: kept apart from the checks themselves.

A policy says *who* (gateways, chains), the checks say *what*. The default accepts any gateway on the chain that is
read; the report says whose word it took.
"""

from dataclasses import dataclass, field
from typing import Final

from platemark.protocol.units import Address


@dataclass(frozen=True, slots=True)
class Policy:
    """What an auditor requires beyond the checks: the only `gateways` and `chain_ids` accepted, where any are named."""

    gateways: frozenset[Address] = field(default_factory=frozenset)
    chain_ids: frozenset[int] = field(default_factory=frozenset)

    def accepts_gateway(self, gateway: Address) -> bool:
        """Return whether this gateway's statements count at all."""
        return not self.gateways or gateway in self.gateways

    def accepts_chain(self, chain_id: int) -> bool:
        """Return whether facts of this chain count at all."""
        return not self.chain_ids or chain_id in self.chain_ids


ANYBODY: Final = Policy()
"""Accepts every gateway and every chain; the report says whose word was taken."""
