"""Every real file at hand that highdicom opens: equal pixels, at the places the header gives.

The corpus lies beside the project and is no part of it; without it nothing is tested here.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom.dataset import Dataset

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "data"

#: Kinds of files, by the first digit of the inventory's category.
CATEGORIES = {"1": "slides", "2": "segmentations", "4": "multi-frame", "5": "single-frame"}

#: How many files of each kind must be compared at the least.
LEAST = {"1": 7, "2": 18, "4": 41, "5": 1100}

#: Files that can't be compared, by the end of their path, with the reason.
EXCLUDED = {
    "liver_rle.dcm": "highdicom doesn't decode 1-bit RLE",
    "rtdose.dcm": "highdicom doesn't apply Dose Grid Scaling",
    "rtdose_1frame.dcm": "highdicom doesn't apply Dose Grid Scaling",
    "rtdose_rle.dcm": "highdicom doesn't apply Dose Grid Scaling",
    "rtdose_rle_1frame.dcm": "highdicom doesn't apply Dose Grid Scaling",
    "5_Product_EPI_Sag_Ascending/0063.dcm": "highdicom doesn't mask bits above Bits Stored",
    "2_gre_field_mapping/1.dcm": "highdicom doesn't mask bits above Bits Stored",
}

#: Levels that lossy pixels may differ by.
LOSSY = 1

#: JPEG decoders interpolate subsampled chroma in different ways: edges differ by more levels.
LOSSY_EDGES = 64

OPTIONS: dict[str, Any] = {
    "apply_presentation_lut": False,
    "apply_voi_transform": False,
    "apply_palette_color_lut": False,
    "apply_icc_profile": False,
}

pytestmark = pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")


@functools.cache
def inventory() -> list[dict[str, str]]:
    with open(CORPUS / "inventory.csv", newline="") as file:
        return [row for row in csv.DictReader(file) if row["highdicom_opens"] == "ok"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("category", CATEGORIES, ids=CATEGORIES.get)
def test_equal_to_highdicom(category: str, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes: Counter[str] = Counter()
    differing = []
    for row in inventory():
        if not row["category"].startswith(category):
            continue
        path = CORPUS / row["path"]
        reason = next((why for end, why in EXCLUDED.items() if row["path"].endswith(end)), None)
        if reason is not None:
            outcomes["excluded"] += 1
            with capsys.disabled():
                print(f"\n  not compared: {row['path']}: {reason}", end="")
            continue
        tree = xr.open_datatree(path, engine="dicom")
        outcomes["opened"] += 1
        try:
            compare(path, tree, tolerance(row))
            outcomes["equal"] += 1
        except AssertionError as error:
            differing.append(f"{row['path']}: {str(error).strip()[:200]}")
    with capsys.disabled():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        print(f"\n  {CATEGORIES[category]}: {counts}")
    assert not differing, "\n".join(differing)
    assert outcomes["equal"] >= LEAST[category]


def tolerance(row: dict[str, str]) -> int:
    baseline = row["TransferSyntax"].startswith(("JPEG Baseline", "JPEG Extended"))
    if row["path"].endswith("sample-op.dcm"):
        return LOSSY  # tagged lossless, but the codestream is baseline
    if not baseline:
        return 0
    return LOSSY_EDGES if row["photometric"].startswith("YBR") else LOSSY


def compare(path: Path, tree: xr.DataTree, limit: int) -> None:
    """Hold each plane of `tree` to the frames that the header puts there."""
    expected = expected_planes(path)
    found: dict[Any, list[NDArray[Any]]] = {}
    for node in tree.subtree:
        for variable in node.data_vars.values():
            for key, plane in planes_of(variable):
                found.setdefault(key, []).append(plane)
    missing = set(expected) - set(found)
    assert not missing, f"no planes at {sorted(missing)[:3]}; there are {sorted(found)[:3]}"
    for key, planes in found.items():
        wanted = list(expected.get(key, []))
        for plane in planes:
            matches = [
                i
                for i, one in enumerate(wanted)
                if one.shape == plane.shape and are_close(one, plane, limit)
            ]
            if matches:
                wanted.pop(matches[0])
            else:
                blank = np.isnan(plane) if plane.dtype.kind == "f" else plane == 0
                assert blank.all(), f"a plane at {key} is no frame that the header puts there"
        assert not wanted, f"{len(wanted)} frames at {key} are lost"


def are_close(one: NDArray[Any], two: NDArray[Any], limit: int) -> bool:
    """Whether no pixel differs by more than `limit`, and on average none by more than a level."""
    apart = np.abs(one.astype(np.float64) - two)
    return bool(apart.max(initial=0) <= limit and (not limit or apart.mean() <= LOSSY))


def planes_of(variable: xr.DataArray) -> Iterator[tuple[Any, NDArray[Any]]]:
    """Each plane, with the segment and the position along the normal that its labels say."""
    colour = ["c"] if "c" in variable.dims else []
    outer = [dim for dim in variable.dims if dim not in ("y", "x", "c")]
    ordered = variable.transpose(*outer, "y", "x", *colour)
    values = ordered.values
    for index in np.ndindex(*(variable.sizes[dim] for dim in outer)):
        labels = ordered.isel(dict(zip(outer, index, strict=True))).coords
        z = round(float(labels["z"]), 3) if "z" in labels else None
        segment = int(labels["segment"]) if "segment" in labels else None
        yield (segment, z), values[index]


def expected_planes(path: Path) -> dict[Any, list[NDArray[Any]]]:
    """Frames as highdicom reads them, by segment and position, which pydicom tells."""
    header = pydicom.dcmread(path, force=True)
    segmentation = "SegmentSequence" in header
    if header.get("TotalPixelMatrixRows"):
        return _matrices(path, header, segmentation)
    image = highdicom.imread(path)
    scale = header.get("SegmentationType") == "FRACTIONAL"
    planes: dict[Any, list[NDArray[Any]]] = {}
    for number in range(image.number_of_frames):
        colour = image.SamplesPerPixel == 3
        dtype: Any = image.pixel_array.dtype if colour else np.float32
        if header.BitsAllocated == 32:
            dtype = np.float64
        frame = image.get_frame(number + 1, dtype=dtype, **OPTIONS)
        if scale:
            frame = frame / np.float32(header.MaximumFractionalValue)
        key = (_segment(header, number), _position(header, number))
        planes.setdefault(key, []).append(frame)
    return planes


def _matrices(path: Path, header: Dataset, segmentation: bool) -> dict[Any, list[NDArray[Any]]]:
    if not segmentation:
        image = highdicom.imread(path)
        dtype = np.uint8 if image.SamplesPerPixel == 3 else np.float32
        return {(None, None): [image.get_total_pixel_matrix(dtype=dtype, **OPTIONS)]}
    labelled = header.SegmentationType == "LABELMAP"
    masks = highdicom.seg.segread(path).get_total_pixel_matrix(combine_segments=labelled)
    if labelled:
        return {(None, None): [masks]}
    return {(i + 1, None): [masks[..., i]] for i in range(masks.shape[-1])}


def _group(header: Dataset, number: int, group: str) -> Dataset | None:
    frames = header.get("PerFrameFunctionalGroupsSequence")
    for place in ([frames[number]] if frames else []) + list(
        header.get("SharedFunctionalGroupsSequence") or []
    ):
        if place.get(group):
            return place[group].value[0]
    return None


def _segment(header: Dataset, number: int) -> int | None:
    if header.get("SegmentationType") in (None, "LABELMAP"):
        return None
    group = _group(header, number, "SegmentIdentificationSequence")
    return int(group.ReferencedSegmentNumber)


def _position(header: Dataset, number: int) -> float | None:
    place = _group(header, number, "PlanePositionSequence") or header
    plane = _group(header, number, "PlaneOrientationSequence") or header
    position = place.get("ImagePositionPatient")
    orientation = plane.get("ImageOrientationPatient")
    if not position or not orientation:
        return None
    normal = np.cross(orientation[:3], orientation[3:])
    offsets = header.get("GridFrameOffsetVector")
    extra = 0.0 if offsets is None else float(np.atleast_1d(offsets)[number])
    return round(float(np.dot(normal / np.linalg.norm(normal), position)) + extra, 3)
