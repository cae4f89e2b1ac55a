"""The conformance report lists shortcomings, and survives crashes of readers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conformance import isolation
from conformance.examination import Comparison, Examination, examine
from conformance.planes import Place, difference
from conformance.report import NBYTES, SECONDS, ExaminedFile, page, shortcomings

from support.generate.slide import slide

HERE = Place(None, "", None)


def case(name: str = "a.dcm", **fields: object) -> ExaminedFile:
    examination = Examination(**{"comparisons": {"pydicom": Comparison()}} | fields)  # type: ignore[arg-type]
    return ExaminedFile("files", name, examination)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (ExaminedFile("files", "a.dcm", None), "died"),
        (case(error="no", error_type="KeyError", is_documented=False), "KeyError is no DicomError"),
        (case(seconds=SECONDS + 1), "11.0 s"),
        (case(nbytes=NBYTES + 2**20), "1025 MiB"),
        (case(comparisons={"pydicom": Comparison(levels=9, message="apart")}), "not equal to pydi"),
        (case(error="no", error_type="CorruptDicomError"), "only 0 of 1 files"),
    ],
)
def test_shortcomings_are_listed(bad: ExaminedFile, message: str) -> None:
    assert message in " ".join(shortcomings([bad]))


def test_refusals_and_explained_differences_are_no_shortcomings() -> None:
    refused = case(
        error="/x/a.dcm: damaged",
        error_type="CorruptDicomError",
        comparisons={"pydicom": Comparison(error="ValueError: damaged")},
    )
    explained = case(
        "there/rtdose.dcm", comparisons={"highdicom": Comparison(levels=9, message="apart")}
    )
    good = [case(), refused, explained]
    assert shortcomings(good) == []
    text = page(good, [], ["dcmtk: not installed"])
    assert "| `a.dcm` | CorruptDicomError | damaged | neither |" in text
    assert "highdicom doesn't apply Dose Grid Scaling" in text


def test_planes_are_compared_by_place() -> None:
    one, two = np.arange(6).reshape(2, 3), np.ones((2, 3))
    other = Place(1, "", 2.5)
    assert not difference({HERE: [one]}, {HERE: [one.copy()]}, 0).message
    assert not difference({HERE: [one, two]}, {HERE: [two, one]}, 0).message
    assert difference({HERE: [one]}, {other: [one]}, 0).message
    assert difference({HERE: [one]}, {HERE: [one + 1]}, 0).levels == 1
    assert not difference({HERE: [one]}, {HERE: [one + 1]}, 1).message
    assert "lost" in difference({HERE: [one]}, {HERE: [one, two]}, 0).message
    blank = np.full((2, 3), np.nan)
    assert not difference({HERE: [one], other: [blank]}, {HERE: [one]}, 0).message
    assert difference({HERE: [one], other: [two]}, {HERE: [one]}, 0).message


def test_a_slide_is_examined_by_all_readers(tmp_path: Path) -> None:
    slide(tmp_path / "slide.dcm", shape=(150, 200), tile=64, codec="jpeg-ybr422")
    examination = list(examine(tmp_path / "slide.dcm"))[-1]
    assert examination.opens
    assert set(examination.comparisons) == {"pydicom", "highdicom", "openslide", "wsidicom"}
    assert not examination.differing
    assert all(comparison.error is None for comparison in examination.comparisons.values())
    assert 0 < examination.seconds < SECONDS


def behave(path: Path) -> Iterator[str]:
    """Yield, then crash or hang, as the path says."""
    yield path.name
    if path.name == "hangs":
        time.sleep(600)
    if path.name == "crashes":
        raise SystemExit(1)
    yield f"{path.name} well"


def test_a_process_that_hangs_or_dies_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "TIME_LIMIT", 4.0)
    paths = [Path(name) for name in ("hangs", "crashes", "ends")]
    results = dict(isolation.examine_each(paths, behave))
    assert results == dict(zip(paths, ("hangs", "crashes", "ends well"), strict=True))
