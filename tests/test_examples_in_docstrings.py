"""Every example in a docstring of the public face runs, and nothing public lacks one."""

from __future__ import annotations

import doctest
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian

import xarray_dicom
from support.generate.attributes import uid, write
from support.generate.segmentation import multi_organ_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from xarray_dicom import errors
from xarray_dicom.accessor import DicomAccessor, DicomTreeAccessor
from xarray_dicom.backend import DicomBackendEntrypoint

PUBLIC: dict[str, Any] = {
    "DicomAccessor": DicomAccessor,
    "DicomTreeAccessor": DicomTreeAccessor,
    "DicomBackendEntrypoint": DicomBackendEntrypoint,
    "SegmentIndex": xarray_dicom.SegmentIndex,
    "set_progress": xarray_dicom.set_progress,
}

OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def members() -> Iterator[tuple[str, Any]]:
    """Yield public objects, and the methods and properties that they define, by name."""
    for name, obj in PUBLIC.items():
        yield name, obj
        if inspect.isclass(obj):
            for attribute, value in vars(obj).items():
                if not attribute.startswith("_") and (
                    isinstance(value, property | classmethod) or inspect.isfunction(value)
                ):
                    yield f"{name}.{attribute}", value


def examples() -> list[doctest.DocTest]:
    """Return the examples of public objects, by docstring."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = [test for name, obj in PUBLIC.items() for test in finder.find(obj, name)]
    found += finder.find(errors, "errors")
    return [test for test in found if test.examples]


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the objects that the examples open."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "ct").mkdir()
    (folder / "pyramid").mkdir()
    planes = ct_series(None, planes=9, shape=(96, 80), spacing=(20.0, 4.0, 4.0), shuffle=False)
    for number, plane in enumerate(planes):
        with open(folder / "ct" / f"{number}.dcm", "wb") as file:
            write(plane, file, ExplicitVRLittleEndian)
    organs = ("Liver", "Spleen", "Aorta")
    with open(folder / "organs.dcm", "wb") as file:
        multi_organ_segmentation(file, planes[2:-2], organs=organs)
    for rows in (300, 150):
        path = folder / "pyramid" / f"{rows}.dcm"
        columns = rows * 4 // 3
        slide(path, name=f"level {rows}", shape=(rows, columns), spacing=0.0005 * 300 / rows)
        level = dcmread(path)
        level.SeriesInstanceUID = uid("pyramid")
        level.save_as(path)
    return folder


@pytest.mark.parametrize("test", examples(), ids=lambda test: test.name)
def test_examples_run(
    test: doctest.DocTest, objects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(objects)
    test.globs.update(xr=xr, np=np, xarray_dicom=xarray_dicom)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
    assert results.failed == 0, "\n".join(report)


@pytest.mark.parametrize(
    ("name", "obj"), [pytest.param(*member, id=member[0]) for member in members()]
)
def test_what_is_public_is_documented(name: str, obj: Any) -> None:
    text = inspect.getdoc(obj) or ""
    assert "Examples\n--------\n>>> " in text, f"{name} has no example"
    if inspect.isclass(obj):
        return
    function = obj.fget if isinstance(obj, property) else getattr(obj, "__func__", obj)
    parameters = list(inspect.signature(function).parameters)[0 if name in PUBLIC else 1 :]
    if parameters:
        assert "Parameters\n----------\n" in text
    listed = text.partition("Returns\n")[0]
    for parameter in parameters if len(parameters) < 6 else parameters[:1]:
        assert parameter in listed, f"{name} does not explain {parameter}"


def test_help_of_the_engine_explains_every_keyword() -> None:
    (engine,) = (type(e) for name, e in xr.backends.list_engines().items() if name == "dicom")
    text = inspect.getdoc(engine)
    names = set(inspect.signature(engine.open_dataset).parameters) - {"self"}
    assert names == set(engine.open_dataset_parameters)
    section = text.partition("Other Parameters\n----------------\n")[2].partition("\n\n")[0]
    headings = [line for line in section.splitlines() if not line.startswith(" ")]
    assert {name for heading in headings for name in heading.split(", ")} == names
