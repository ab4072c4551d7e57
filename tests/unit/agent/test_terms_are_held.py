"""Every term that the table says the agent holds is refused by the agent as the table says, and paper by nobody."""

from collections.abc import Mapping, Sequence
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from corpus import meshes
from platemark.agent.job import prepare
from platemark.agent.printers.printing import Printer
from platemark.agent.printers.simulated import SimulatedPrinter, simulated_printers
from platemark.agent.slicers.basic import BasicSlicer
from platemark.agent.slicers.slicing import Slicer
from platemark.errors import RefusedError
from platemark.geometry.stl import write_stl
from platemark.protocol.license_terms import TABLE, Enforcer, Protection
from platemark.protocol.receipt import Material
from simulators.print_desk import FixedClock, World, make_world
from terms_choices import words

CUBE: Final = write_stl(meshes.cube())
VOLUME: Final = simulated_printers()["ada"].volume_mm
REFUSED: Final[Mapping[str, set[str]]] = {
    term.name: set(term.refused) for term in TABLE if term.enforcer is Enforcer.AGENT
}
keeping = st.frozensets(st.sampled_from(Protection))


def printer_that_keeps(protections: frozenset[Protection]) -> Printer:
    class Keeps(SimulatedPrinter):
        keeps = protections

    return Keeps("ada", VOLUME)


def slicer_that_keeps(protections: frozenset[Protection]) -> Slicer:
    class Keeps(BasicSlicer):
        keeps = protections

    return Keeps()


def answer(world: World, printers: Sequence[Printer], slicers: Sequence[Slicer], loaded: str | None) -> str | None:
    """Return with which code the agent refuses the print, None when it does not."""
    try:
        prepare(
            world.record,
            desk=world,
            blocks=world.blocks,
            chain=world,
            printers=printers,
            slicers=slicers,
            material=None if loaded is None else Material(loaded),
            now=FixedClock().now(),
        )
    except RefusedError as error:
        return error.code
    return None


@settings(max_examples=60)
@given(
    protection=st.sampled_from(Protection),
    printers=st.lists(keeping, min_size=1, max_size=2),
    slicers=st.lists(keeping, max_size=2),
)
def test_a_print_begins_only_where_every_printer_and_some_slicer_keep_the_protection(
    protection: Protection, printers: list[frozenset[Protection]], slicers: list[frozenset[Protection]]
) -> None:
    world = make_world([("cube.stl", CUBE)], protection=protection)
    found = answer(world, [*map(printer_that_keeps, printers)], [*map(slicer_that_keeps, slicers)], None)
    kept = all(protection in each for each in printers) and any(protection in each for each in slicers)
    assert found == (None if kept else "protection-not-kept")
    assert kept or found in REFUSED["protection"]


@settings(max_examples=60)
@given(
    allowed=st.lists(words, max_size=3, unique_by=str.casefold),
    loaded=st.none() | words,
    data=st.data(),
)
def test_a_print_begins_only_with_an_allowed_material(
    allowed: list[str], loaded: str | None, data: st.DataObject
) -> None:
    if data.draw(st.booleans()) and allowed:
        loaded = data.draw(st.sampled_from(allowed)).upper()
    world = make_world([("cube.stl", CUBE)], materials=allowed)
    found = answer(world, [*simulated_printers().values()], [BasicSlicer()], loaded)
    if not allowed:
        assert found is None
    elif loaded is None:
        assert found == "material-unknown"
    else:
        fits = loaded.casefold() in map(str.casefold, allowed)
        assert found == (None if fits else "material-not-allowed")
    assert found is None or found in REFUSED["materials"]


def test_the_table_names_no_other_refusal_of_the_agent() -> None:
    assert {
        "protection": {"protection-not-kept"},
        "materials": {"material-unknown", "material-not-allowed"},
    } == REFUSED
