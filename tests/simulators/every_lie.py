"""Every lie that the simulators tell, in the order of docs/adversaries.md."""

from typing import Final

from simulators import adversary
from simulators.adversary import Lie
from simulators.lying_centre import CENTRE
from simulators.lying_designer import DESIGNER
from simulators.lying_endpoint import ENDPOINT
from simulators.lying_gateway import GATEWAY
from simulators.lying_holder import HOLDER
from simulators.lying_ipfs_node import NODE
from simulators.lying_pairs import DESIGNER_AND_GATEWAY, GATEWAY_AND_CENTRE, GATEWAY_AND_ENDPOINT, GATEWAY_AND_NODE

WHO: Final = (
    GATEWAY,
    CENTRE,
    DESIGNER,
    HOLDER,
    ENDPOINT,
    NODE,
    GATEWAY_AND_CENTRE,
    GATEWAY_AND_ENDPOINT,
    DESIGNER_AND_GATEWAY,
    GATEWAY_AND_NODE,
)
LIES: Final[list[Lie]] = sorted(adversary.LIES, key=lambda lie: WHO.index(lie.who))
