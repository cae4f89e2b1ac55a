"""The command ``xarray-dicom index``: cohorts are opened once, and what fails is told."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
import xarray as xr
from pydicom.uid import BasicTextSRStorage

from support.kinds import kind
from support.servers import Server
from xarray_dicom import set_progress
from xarray_dicom.cli import main
from xarray_dicom.storage import RecordingSource, open_source


class Bar:
    """A bar that notes what it was asked to show."""

    def __init__(self, **told: Any) -> None:
        self.told = told
        self.done = 0

    def update(self, n: int, /) -> None:
        self.done += n

    def close(self) -> None:
        """Nothing."""


@pytest.fixture
def bars() -> Iterator[list[Bar]]:
    made: list[Bar] = []

    def make(**told: Any) -> Bar:
        made.append(Bar(**told))
        return made[-1]

    set_progress(make)
    yield made
    set_progress(None)


def cohort(folder: Path) -> Path:
    """A folder with a slide without a table, a segmentation and a series."""
    folder.mkdir()
    for name in ("slide-no-table", "segmentation", "series"):
        (folder / name).mkdir()
        for file, blob in kind(name).objects.items():
            (folder / name / file).write_bytes(blob)
    return folder


def index(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["index", *map(str, arguments)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def requests(path: Path, cache: Any) -> list[tuple[int, int]]:
    source = RecordingSource(open_source(path))
    xr.open_dataset(source, engine="dicom", index_cache=cache)
    return source.requests


def test_a_cohort(tmp_path: Path, capsys: pytest.CaptureFixture[str], bars: list[Bar]) -> None:
    folder, cache = cohort(tmp_path / "cohort"), tmp_path / "cache"
    assert index(capsys, folder, "--cache", cache) == (
        0,
        "7 indexed, 0 known already, 0 failed\n",
        "",
    )
    (bar,) = (bar for bar in bars if bar.told["unit"] == "object")
    assert (bar.told["total"], bar.done) == (7, 7)
    for path in folder.rglob("*.dcm"):
        assert requests(path, cache) == [(0, 0)]
    # Frames were found as well.
    slide = xr.open_dataset(folder / "slide-no-table/object.dcm", engine="dicom", index_cache=cache)
    assert slide.image.encoding["dicom"].sources[0].has_offsets
    assert index(capsys, folder, "--cache", cache)[1] == "0 indexed, 7 known already, 0 failed\n"


def test_without_a_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, cache = cohort(tmp_path / "cohort"), tmp_path / "cache"
    path = folder / "slide-no-table" / "object.dcm"
    assert "1 indexed" in index(capsys, path, "--cache", cache, "--no-scan")[1]
    slide = xr.open_dataset(path, engine="dicom", index_cache=cache)
    assert not slide.image.encoding["dicom"].sources[0].has_offsets
    assert "1 known" in index(capsys, path, "--cache", cache, "--no-scan")[1]
    assert "1 indexed" in index(capsys, path, "--cache", cache)[1]
    assert "1 known" in index(capsys, path, "--cache", cache)[1]


def test_sidecars(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = cohort(tmp_path / "cohort")
    assert index(capsys, f"{folder}/", "--sidecar", "--jobs", 2)[0] == 0
    objects = sorted(path.name for path in folder.rglob("*.dcm"))
    assert sorted(path.name for path in folder.rglob("*.xdi")) == [f"{n}.xdi" for n in objects]
    assert index(capsys, folder, "--sidecar")[1] == "0 indexed, 7 known already, 0 failed\n"
    series = xr.open_dataset(folder / "series", engine="dicom", index_cache="sidecar")
    assert series.sizes["z"] == 5


def test_what_fails_is_told_in_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, cache = cohort(tmp_path / "cohort"), tmp_path / "cache"
    (folder / "page.html").write_text("<html>\nlog in</html>" * 20)
    missing = tmp_path / "missing.dcm"
    code, out, err = index(capsys, folder, missing, "--cache", cache)
    assert (code, out) == (1, "7 indexed, 0 known already, 2 failed\n")
    lines = err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("error: ") for line in lines)
    assert "page.html" in lines[0]
    assert str(missing) in lines[1]


def test_no_patient_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "ct.dcm"
    path.write_bytes(kind("single").objects["object.dcm"])
    dataset = pydicom.dcmread(path)
    dataset.PatientName = "Doe^Jane"
    dataset.add_new("SeriesNumber", "LO", "Doe^Jane")
    dataset.save_as(path)
    path.write_bytes(path.read_bytes().replace(b"\x20\0\x11\0LO", b"\x20\0\x11\0IS"))
    code, out, err = index(capsys, path, "--cache", tmp_path / "cache")
    assert code == 1
    assert "nothing is kept of it" in err
    assert "Doe" not in out + err
    assert not list((tmp_path).rglob("*.xdi"))


def test_an_object_without_pixels_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "report.dcm"
    dataset = pydicom.dcmread(io.BytesIO(kind("single").objects["object.dcm"]))
    del dataset.PixelData
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = BasicTextSRStorage
    dataset.save_as(path)
    code, out, err = index(capsys, path, "--cache", tmp_path / "cache")
    assert (code, out) == (1, "0 indexed, 0 known already, 1 failed\n")
    assert "Basic Text SR" in err
    assert "has no pixel data" in err
    assert not list(tmp_path.rglob("*.xdi"))


def test_a_cache_that_can_not_be_written_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = cohort(tmp_path / "cohort")
    code, _, err = index(capsys, folder / "segmentation", "--cache", tmp_path / "file")
    assert code == 1
    assert "file is no folder" in err


def test_a_cache_that_is_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = index(capsys, cohort(tmp_path / "cohort"))
    assert code == 1
    assert "XARRAY_DICOM_INDEX_CACHE" in err


def test_a_prefix_of_s3(
    s3_server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, blob in kind("series").objects.items():
        url = s3_server.put(f"cohort/{name}", blob)
    options = [f"--storage-option={k}={v}" for k, v in s3_server.storage_options.items()]
    # Without a slash at its end, as the engine takes it.
    prefix = url.rpartition("/")[0]
    told = index(capsys, prefix, "--cache", tmp_path, *options)
    assert told == (0, "5 indexed, 0 known already, 0 failed\n", "")
    told = index(capsys, f"{prefix}/*.dcm?X=SECRET-none", "--cache", tmp_path, *options)
    assert told[0] == 1
    assert "SECRET" not in told[1] + told[2]


@pytest.mark.parametrize(
    "arguments",
    [["index"], ["index", "--jobs", "0", "x"], ["index", "--sidecar", "--cache", "y", "x"]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage: xarray-dicom" in capsys.readouterr().err


def test_as_a_program(tmp_path: Path) -> None:
    folder = cohort(tmp_path / "cohort")
    command = [sys.executable, "-m", "xarray_dicom", "index", folder, "--cache", tmp_path / "cache"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert re.fullmatch(r"7 indexed, 0 known already, 0 failed\n", ran.stdout)
