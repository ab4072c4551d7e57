"""Which slices project the chain's events, in the order of a print's life."""

from typing import Final

from platemark_gateway.chain.indexer import Projection
from platemark_gateway.designs import projection as designs
from platemark_gateway.licenses import projection as licenses
from platemark_gateway.printlog import projection as printlog
from platemark_gateway.tokens import projection as tokens

PROJECTIONS: Final[tuple[Projection, ...]] = (designs, licenses, tokens, printlog)
