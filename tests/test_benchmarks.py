"""Benchmarks run, at tiny sizes; figures that mean something are left to `make bench`."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from benchmarks import ROOT
from benchmarks.cases import GROUPS, cases
from benchmarks.measure import compare, take_turns
from benchmarks.objects import Object, recipes
from benchmarks.peers import ENGINE, HIGHDICOM, PEERS, Peer, Task
from benchmarks.peers.openslide import OpenSlide
from benchmarks.peers.wsidicom import Wsidicom
from benchmarks.results import Row, Run, load
from benchmarks.scale import FULL, QUICK, Scale
from benchmarks.selection import Selection
from benchmarks.store import LINKS, LOCAL, Place
from benchmarks.targets import Cell, Faster, Ratio, targets

SECONDS = 240


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with the figures and the page of a quick run."""
    folder = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--folder", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return folder


@pytest.fixture(scope="module")
def run(quick: Path) -> Run:
    return load(quick / "quick.json")


def test_every_case_has_rows_for_its_readers(run: Run) -> None:
    for case in cases(QUICK):
        for link in set(case.links) & set(QUICK.links):
            rows = [row for row in run.rows if (row.case, row.link) == (case.name, link)]
            assert rows, (case.name, link)
            assert rows[0].peer == case.peers[0], (case.name, link)


def test_no_reader_fails(run: Run) -> None:
    assert [(row.case, row.link, row.peer, row.failure) for row in run.rows if row.failure] == []


def test_rows_have_all_figures(run: Run) -> None:
    rounds = {case.name: case.rounds or QUICK.repetitions for case in cases(QUICK)}
    for row in run.rows:
        assert row.seconds is not None, row
        assert row.seconds > 0, row
        if row.group == "memory":
            assert row.memory is not None, row
            continue
        assert row.repetitions == rounds[row.case], row
        assert row.cpu is not None, row
        counted = row.link != LOCAL
        assert (row.requests is not None) == (row.received is not None) == counted, row


def test_bytes_and_requests_are_counted_against_a_plan(run: Run) -> None:
    rows = [row for row in run.rows if row.group == "segment" and row.link != LOCAL]
    engine = next(row for row in rows if row.peer == ENGINE)
    assert engine.planned_requests == engine.requests == 1
    assert engine.needed == QUICK.planes * 256 * 256 // 8
    assert engine.byte_ratio == pytest.approx(1, abs=0.05)


def test_pixels_are_those_of_other_readers(run: Run) -> None:
    compared = [row for row in run.rows if row.pixels is not None and row.peer != ENGINE]
    assert {row.group for row in compared} >= {"region-small", "coding", "segment", "series"}
    # Decoders of JPEG round differently where chrominance is subsampled.
    unequal = [
        (row.case, row.peer, row.pixels)
        for row in compared
        if not re.fullmatch(r"equal|differ by ≤ [1-4]", row.pixels or "")
    ]
    assert unequal == []


def test_page_has_all_sections_and_verdicts(quick: Path) -> None:
    page = (quick / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for heading, _ in GROUPS.values():
        assert f"## {heading}\n" in page or heading.startswith("A band"), heading
    for target in targets(QUICK):
        assert target.statement in page
    for image in re.findall(r"!\[.*\]\((.*)\)", page):
        assert (quick / "docs" / image).stat().st_size < 100_000
    assert str(quick) not in page


@pytest.mark.parametrize("scale", [QUICK, FULL])
def test_cases_name_existing_objects_links_and_peers(scale: Scale) -> None:
    objects = recipes(scale)
    every = cases(scale)
    assert len({case.name for case in every}) == len(every)
    for case in every:
        assert case.target in objects
        assert case.group in GROUPS
        assert set(case.links) <= set(LINKS)
        assert set(case.peers) <= set(PEERS)
    assert {case.group for case in every} == set(GROUPS)


def test_targets_name_cases() -> None:
    measured = {
        (case.name, peer, link)
        for case in cases(FULL)
        for peer in case.peers
        for link in case.links
    }
    for target in targets(FULL):
        if isinstance(target, Ratio):
            for cell in (target.over, *(cell for ways in target.under for cell in ways)):
                assert (cell.case, cell.peer, cell.link) in measured, cell
                assert cell.column in {f.name for f in dataclasses.fields(Row)} or isinstance(
                    getattr(Row, cell.column), property
                )


def _run(**seconds: float) -> Run:
    rows = [Row("c", "g", "", 1, LOCAL, peer, 5, value) for peer, value in seconds.items()]
    return Run("full", "", {}, tuple(rows))


def test_ratio_takes_the_highest_floor_and_of_each_the_cheapest_way() -> None:
    cells = {name: Cell("c", name, LOCAL) for name in "abcd"}
    target = Ratio("", cells["a"], ((cells["b"], cells["c"]), (cells["d"],)), 1.5)
    assert target.verdict(_run(a=6, b=9, c=4, d=3)).measured == 1.5
    assert target.verdict(_run(a=6, b=9, c=4, d=3)).met
    assert target.verdict(_run(a=6, c=2, d=3)).met is False
    assert target.verdict(_run(a=6, b=9, c=4)).met is None


def test_faster_names_the_cases_that_are_slower() -> None:
    target = Faster("", HIGHDICOM, LOCAL)
    assert target.verdict(_run(**{ENGINE: 1.0, HIGHDICOM: 2.0})).met
    slower = target.verdict(_run(**{ENGINE: 2.0, HIGHDICOM: 1.0}))
    assert slower.met is False
    assert "c (0.50)" in slower.detail
    assert target.verdict(_run(**{ENGINE: 2.0})).met is None


def test_newer_rows_replace_those_of_their_case() -> None:
    old, new = _run(a=1, b=2), _run(a=3)
    assert [row.peer for row in old.replaced(new.rows).rows] == ["a"]
    assert old.replaced([]) == old


def test_comparison_describes_the_difference_of_images() -> None:
    image = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert compare(image, image.copy()).text == "equal"
    assert compare(image, image[::-1]).text == "differ by ≤ 8"
    assert compare(image, image[:2]).text.startswith("shape")


def _slide(side: int = 1000) -> Object:
    """Return a slide of tiles of 256 that is not written."""
    offsets = np.zeros(16, np.int64)
    return Object(Path("slide"), "slide", None, (side, side), 256, offsets, offsets)


def test_scattered_regions_differ_and_lie_inside() -> None:
    selection = Selection("region", 256, 300, scattered=True)
    tasks = selection.tasks(_slide(), 50)
    assert [task.rows for task in tasks] == [task.rows for task in selection.tasks(_slide(), 50)]
    assert len({(task.rows, task.columns) for task in tasks}) == 50
    for task in tasks:
        assert 0 <= task.rows[0] == task.rows[1] - 256 <= 1000 - 256
        assert 0 <= task.columns[0] == task.columns[1] - 300 <= 1000 - 300
        assert task.stays_open
    first = dataclasses.replace(selection, opens=True).tasks(_slide(), 1)
    assert not first[0].stays_open


class _Recorder(Peer):
    """A peer that records its openings and reads, wrong from a round on."""

    def __init__(self, wrong_from: int = 99) -> None:
        super().__init__()
        self.openings = 0
        self.reads_done: list[tuple[int, int]] = []
        self.wrong_from = wrong_from

    def open(self, place: Place, task: Task) -> object:
        self.openings += 1
        return self

    def region(self, opened: Any, task: Task) -> Any:
        self.reads_done.append(task.rows)
        return np.full((2, 2), task.rows[0] + (len(self.reads_done) > self.wrong_from))


def test_every_peer_reads_the_same_regions_of_an_object_that_stays_open() -> None:
    tasks = Selection("region", 256, 256, scattered=True).tasks(_slide(), 5)
    peers = {"a": _Recorder(), "b": _Recorder(), "c": _Recorder(wrong_from=3)}
    outcomes = take_turns(peers, tasks, Place("slide"), None, patience=99)
    for peer in peers.values():
        assert peer.openings == 1
        assert peer.reads_done == [task.rows for task in (tasks[0], *tasks)]
    assert {name: outcome.pixels for name, outcome in outcomes.items()} == {
        "a": "equal",
        "b": "equal",
        "c": "differ by ≤ 1",
    }


def test_peers_of_patches_cache_no_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    capacities: list[int] = []

    class Cache(openslide.OpenSlideCache):
        def __init__(self, capacity: int) -> None:
            capacities.append(capacity)
            super().__init__(capacity)

    monkeypatch.setattr("benchmarks.peers.openslide.OpenSlideCache", Cache)
    target = recipes(QUICK)["slide-eot"].write(tmp_path / "slide.dcm")
    (task,) = Selection("region", 256, 256, scattered=True).tasks(target, 1)
    place = Place(str(target.path))
    OpenSlide().open(place, task)
    assert capacities == [0]
    slide = Wsidicom().open(place, task)
    for cache in (slide._source._decoded_frame_cache, slide._source._encoded_frame_cache):
        assert cache._size == 0
