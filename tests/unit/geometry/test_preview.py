import io

import numpy as np
from PIL import Image

from corpus import meshes
from platemark.geometry.mesh import read_mesh
from platemark.geometry.part import PART_NAME, load_part
from platemark.geometry.preview import render_png


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_preview_shows_the_part_in_the_middle_of_a_white_picture() -> None:
    pixels = _pixels(render_png(read_mesh(load_part(), name=PART_NAME), size_pixels=128))
    assert pixels.shape == (128, 128, 3)
    drawn = (pixels != 255).any(axis=2)
    assert 0.2 < drawn.mean() < 0.7
    assert not drawn[0].any()
    assert not drawn[:, 0].any()


def test_three_sides_of_a_cube_have_three_shades_and_hide_the_others() -> None:
    pixels = _pixels(render_png(meshes.cube(), size_pixels=64))
    colors, counts = np.unique(pixels.reshape(-1, 3), axis=0, return_counts=True)
    large = colors[counts > 200]
    assert len(large) == 4  # the ground and three sides


def test_a_nearer_body_hides_a_farther_one() -> None:
    alone = _pixels(render_png(meshes.cube(20.0), size_pixels=64))
    inside = meshes.together(meshes.cube(20.0), meshes.cube(5.0, (5.0, 5.0, 5.0)))
    assert np.array_equal(_pixels(render_png(inside, size_pixels=64)), alone)


def test_equal_meshes_give_equal_bytes() -> None:
    assert render_png(meshes.cube(), size_pixels=64) == render_png(meshes.cube(), size_pixels=64)
