"""Every real file at hand that highdicom opens: equal pixels, at the places the header gives.

The corpus lies beside the project and is no part of it; without it nothing is tested here.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from pathlib import Path

import pytest
import xarray as xr
from conformance.planes import difference, is_tiled, planes_of_tree
from conformance.readers import jpeg_by_libjpeg_turbo, read_header, read_with_highdicom

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

#: Tagged lossless, but the codestream is lossy.
MISNAMED = "sample-op.dcm"

#: Levels that lossy pixels may differ by, from decoders that interpolate chroma alike.
LOSSY = 1

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
        header = read_header(path)
        with jpeg_by_libjpeg_turbo(header):
            expected = read_with_highdicom(path, header)
        found = planes_of_tree(tree, is_tiled(header))
        differs = difference(found, expected, tolerance(row))
        if differs.message:
            differing.append(f"{row['path']}: {differs.message}")
        else:
            outcomes["equal"] += 1
    with capsys.disabled():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        print(f"\n  {CATEGORIES[category]}: {counts}")
    assert not differing, "\n".join(differing)
    assert outcomes["equal"] >= LEAST[category]


def tolerance(row: dict[str, str]) -> int:
    lossy = row["TransferSyntax"].startswith(("JPEG Baseline", "JPEG Extended"))
    return LOSSY if lossy or row["path"].endswith(MISNAMED) else 0
