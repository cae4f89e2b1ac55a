"""Placement of frames against a painting of frame numbers, pixel by pixel."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from xarray_dicom.layout.placement import Hits, Placed, Placement, TileGrid

Int64s = NDArray[np.int64]


@dataclass(frozen=True)
class Scene:
    """A placement and the frames that it was made of.

    Attributes
    ----------
    placement
        The placement to be asked.
    n_cells, plane, tile
        Sizes of the array.
    places
        Frame number, cell, row and column of each frame.
    """

    placement: Placement
    n_cells: int
    plane: tuple[int, int]
    tile: tuple[int, int]
    places: list[tuple[int, int, int, int]]

    def painted(self) -> list[list[set[int]]]:
        """Return for each cell, for each pixel of its plane, the frames that cover it."""
        rows, columns = self.plane
        canvas: list[list[set[int]]] = [
            [set() for _ in range(rows * columns)] for _ in range(self.n_cells)
        ]
        for number, (_, cell, top, left) in enumerate(self.places):
            for y in range(max(top, 0), min(top + self.tile[0], rows)):
                for x in range(max(left, 0), min(left + self.tile[1], columns)):
                    canvas[cell][y * columns + x].add(number)
        return canvas

    def visible(self) -> list[tuple[int, int, int, int]]:
        """Return the places with a pixel in the plane, by cell, frame, as `Hits` has them."""
        shown = {number for cell in self.painted() for pixel in cell for number in pixel}
        return sorted(self.places[n] for n in shown)


sizes = st.tuples(st.integers(1, 5), st.integers(1, 5))


@st.composite
def placed(draw: st.DrawFn) -> Scene:
    """Frames anywhere, or on a grid, or at the origin of planes of their size."""
    tile = draw(sizes)
    where = draw(st.sampled_from(["origin", "grid", "anywhere"]))
    plane = tile if where == "origin" else draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    n_cells = draw(st.integers(1, 4))
    step = tile if where == "grid" else (1, 1)
    starts = (
        st.just((0, 0))
        if where == "origin"
        else st.tuples(
            *(
                st.integers(-size // s - 1, limit // s + 1).map(lambda i, s=s: i * s)
                for s, size, limit in zip(step, tile, plane, strict=True)
            )
        )
    )
    places = draw(st.lists(st.tuples(st.integers(0, n_cells - 1), starts), max_size=14))
    numbers = draw(
        st.lists(st.integers(0, 20), min_size=len(places), max_size=len(places))
        | st.permutations(range(len(places)))
    )
    rows = [(frame, cell, y, x) for frame, (cell, (y, x)) in zip(numbers, places, strict=True)]
    frame, cell, y, x = np.asarray(rows, np.int64).reshape(-1, 4).T
    at_origin = where == "origin"
    placement = Placed(
        frame,
        cell,
        None if at_origin else y,
        None if at_origin else x,
        n_cells=n_cells,
        plane=plane,
        tile=tile,
    )
    return Scene(placement, n_cells, plane, tile, rows)


@st.composite
def tiled(draw: st.DrawFn) -> Scene:
    """Full planes of tiles, stored in any order, of which some cells have none."""
    tile, plane = draw(sizes), draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    n_cells = draw(st.integers(1, 4))
    stored = draw(st.lists(st.integers(0, n_cells - 1), unique=True))
    planes = np.full(n_cells, -1, np.int64)
    planes[stored] = np.arange(len(stored))
    down, across = -(-plane[0] // tile[0]), -(-plane[1] // tile[1])
    places = [
        ((number * down + row) * across + column, cell, row * tile[0], column * tile[1])
        for number, cell in enumerate(stored)
        for row in range(down)
        for column in range(across)
    ]
    return Scene(TileGrid(*plane, *tile, planes), n_cells, plane, tile, places)


scenes = placed() | tiled()


def rows_of(hits: Hits) -> list[tuple[int, int, int, int]]:
    return list(
        zip(hits.frame.tolist(), hits.cell.tolist(), hits.y.tolist(), hits.x.tolist(), strict=True)
    )


def by_cell(row: tuple[int, int, int, int]) -> tuple[int, int]:
    return row[1], row[0]


@given(scenes)
def test_every_frame_that_shows_is_listed_with_its_place(scene: Scene) -> None:
    found = scene.placement.every()
    assert sorted(rows_of(found)) == scene.visible()
    assert rows_of(found) == sorted(rows_of(found), key=by_cell)
    assert {getattr(found, field.name).dtype for field in fields(found)} == {np.dtype(np.int64)}


@given(scenes, st.data())
def test_a_box_finds_the_frames_that_cover_its_pixels(scene: Scene, data: st.DataObject) -> None:
    cells = data.draw(st.permutations(range(scene.n_cells)))
    cells = cells[: data.draw(st.integers(0, len(cells)))]
    bounds = [
        tuple(sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))))
        for n in scene.plane
    ]
    (top, bottom), (left, right) = bounds
    painted = scene.painted()
    expected = sorted(
        {
            (position, number)
            for position, cell in enumerate(cells)
            for y in range(top, bottom)
            for x in range(left, right)
            for number in painted[cell][y * scene.plane[1] + x]
        }
    )
    found = scene.placement.find(np.asarray(cells, np.int64), (top, bottom), (left, right))
    assert sorted(rows_of(found), key=by_cell) == rows_of(found)
    assert sorted(rows_of(found)) == sorted(
        (scene.places[n][0], position, *scene.places[n][2:]) for position, n in expected
    )


@given(scenes)
def test_the_chunk_grid_paints_what_the_frames_paint(scene: Scene) -> None:
    grid = scene.placement.chunk_grid()
    visible = scene.visible()
    regular = all(
        start >= 0 and start % size == 0
        for _, _, *place in visible
        for start, size in zip(place, scene.tile, strict=True)
    )
    distinct = len({row[1:] for row in visible}) == len(visible)
    assert (grid is not None) == (regular and distinct)
    if grid is None:
        return
    assert grid.dtype == np.int64
    whole = grid.repeat(scene.tile[0], axis=1).repeat(scene.tile[1], axis=2)
    pixels = whole[:, : scene.plane[0], : scene.plane[1]].reshape(scene.n_cells, -1)
    for cell, row in zip(scene.painted(), pixels.tolist(), strict=True):
        assert [scene.places[min(pixel)][0] if pixel else -1 for pixel in cell] == row
    last = [-(-limit // size) for limit, size in zip(scene.plane, scene.tile, strict=True)]
    assert grid.shape == (scene.n_cells, *last)


@given(scenes)
def test_cells_with_uncovered_pixels_are_absent(scene: Scene) -> None:
    painted = scene.painted()
    uncovered = {cell for cell, pixels in enumerate(painted) if not all(pixels)}
    # Frames at one place are one for this; those that lie partly over each other are not.
    unsure = {
        cell
        for cell, pixels in enumerate(painted)
        if any(len({scene.places[n][1:] for n in pixel}) > 1 for pixel in pixels)
    }
    absent = scene.placement.absent()
    assert absent.tolist() == sorted(set(absent.tolist()))
    assert uncovered <= set(absent.tolist()) <= uncovered | unsure | _outside(scene)
    assert scene.placement.complete == (len(absent) == 0)


def _outside(scene: Scene) -> set[int]:
    """Return the cells whose frames overlap each other beyond the edges of the plane."""
    cells = set()
    distinct = sorted({row[1:] for row in scene.places})
    for one in distinct:
        for two in distinct:
            near = all(abs(one[i + 1] - two[i + 1]) < scene.tile[i] for i in (0, 1))
            if one != two and one[0] == two[0] and near:
                cells.add(one[0])
    return cells


@given(scenes)
def test_pickled_placements_answer_the_same(scene: Scene) -> None:
    again: Placement = pickle.loads(pickle.dumps(scene.placement))
    assert rows_of(again.every()) == rows_of(scene.placement.every())
    assert again.absent().tolist() == scene.placement.absent().tolist()


def test_a_frame_that_is_placed_twice_is_listed_twice() -> None:
    placement = Placed(
        np.array([3, 3, 5]), np.array([1, 0, 0]), None, None, n_cells=2, plane=(4, 4), tile=(4, 4)
    )
    assert rows_of(placement.every()) == [(3, 0, 0, 0), (5, 0, 0, 0), (3, 1, 0, 0)]
    assert placement.chunk_grid() is None
    assert placement.absent().tolist() == []


@pytest.mark.parametrize(("frame", "inside"), [(0, (4, 4)), (2, (4, 2)), (5, (1, 2)), (11, (1, 2))])
def test_the_part_of_a_tile_inside_of_its_matrix(frame: int, inside: tuple[int, int]) -> None:
    grid = TileGrid(5, 10, 4, 4, np.array([1, 0]))
    assert grid.inside(frame) == inside


def test_questions_about_a_million_frames_take_no_loop_in_python() -> None:
    n = 1000
    y, x = (axis.ravel() * 256 for axis in np.indices((n, n)))
    frame = np.random.default_rng(0).permutation(n * n)
    size = (n * 256, n * 256)
    placement = Placed(frame, frame * 0, y, x, n_cells=1, plane=size, tile=(256, 256))
    grid = placement.chunk_grid()
    assert grid is not None
    np.testing.assert_array_equal(grid, frame.reshape(1, n, n))
    assert len(placement.every().frame) == n * n
    assert placement.absent().tolist() == []
