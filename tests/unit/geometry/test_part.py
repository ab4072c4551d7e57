from decimal import Decimal

from platemark.geometry.mesh import check_mesh, read_mesh
from platemark.geometry.part import PART_NAME, load_part, make_part
from platemark.geometry.stl import write_stl


def test_the_shipped_part_is_what_its_script_makes() -> None:
    shipped = check_mesh(read_mesh(load_part(), name=PART_NAME))
    made = check_mesh(read_mesh(write_stl(make_part()), name=PART_NAME))
    assert made.size_mm == shipped.size_mm == (Decimal(32), Decimal(24), Decimal(26))
    assert abs(made.volume_mm3 - shipped.volume_mm3) < Decimal("0.01")


def test_the_shipped_part_weighs_what_a_small_bracket_weighs() -> None:
    facts = check_mesh(read_mesh(load_part(), name=PART_NAME))
    assert Decimal(4000) < facts.volume_mm3 < Decimal(6000)
