"""Errors and warnings say where they are, in their text and in their fields."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from support.generate.slide import slide
from support.kinds import content
from xarray_dicom import (
    CorruptDicomError,
    DicomError,
    DicomWarning,
    NotDicomError,
    SourceChangedError,
    UnsupportedDicomError,
)
from xarray_dicom.errors import Located, Place, current_place, located

KINDS = [
    DicomError,
    NotDicomError,
    CorruptDicomError,
    UnsupportedDicomError,
    SourceChangedError,
    DicomWarning,
]

every_kind = pytest.mark.parametrize("kind", KINDS)


def fields(error: Located) -> tuple[Any, ...]:
    return type(error), str(error), error.message, error.location, error.frame, error.tag


class TestText:
    @every_kind
    @pytest.mark.parametrize(
        ("place", "text"),
        [
            ({}, "is odd"),
            ({"location": "a.dcm"}, "a.dcm: is odd"),
            ({"frame": 3}, "frame 3: is odd"),
            ({"location": "a.dcm", "frame": 3}, "a.dcm: frame 3: is odd"),
            ({"tag": "Rows"}, "is odd [Rows (0028,0010)]"),
            ({"tag": 0x00280010}, "is odd [Rows (0028,0010)]"),
            ({"tag": 0x00091001}, "is odd [(0009,1001)]"),
            (
                {"location": "a.dcm", "frame": 1, "tag": "PixelSpacing"},
                "a.dcm: frame 1: is odd [Pixel Spacing (0028,0030)]",
            ),
        ],
    )
    def test_it_composes_itself(
        self, kind: type[Located], place: dict[str, Any], text: str
    ) -> None:
        error = kind("is odd", **place)
        assert str(error) == text
        assert error.message == "is odd"

    def test_a_number_that_the_message_mentions_is_not_repeated(self) -> None:
        error = DicomError("Rows (0028,0010) is 0", location="a.dcm", tag="Rows")
        assert str(error) == "a.dcm: Rows (0028,0010) is 0"

    def test_it_follows_the_fields(self) -> None:
        error = DicomError("is odd")
        error.complete("a.dcm", 2)
        assert str(error) == "a.dcm: frame 2: is odd"

    def test_without_a_message(self) -> None:
        assert str(DicomError()) == ""
        assert str(DicomError(location="a.dcm")) == "a.dcm"

    def test_a_traceback_shows_it(self) -> None:
        error = CorruptDicomError("is odd", location="a.dcm", frame=3)
        (line,) = traceback.format_exception_only(error)
        assert line == "xarray_dicom.errors.CorruptDicomError: a.dcm: frame 3: is odd\n"


class TestTag:
    @pytest.mark.parametrize("tag", ["Rows", 0x00280010])
    def test_it_equals_keyword_and_number(self, tag: str | int) -> None:
        error = DicomError("is odd", tag=tag)
        assert error.tag == "Rows"
        assert error.tag == 0x00280010
        assert error.tag == (0x0028, 0x0010)
        assert error.tag != "Columns"

    def test_there_may_be_none(self) -> None:
        assert DicomError("is odd").tag is None


class TestKinds:
    @pytest.mark.parametrize("kind", KINDS[:-1])
    def test_errors_are_value_errors_of_one_base(self, kind: type[DicomError]) -> None:
        assert issubclass(kind, DicomError)
        assert issubclass(kind, ValueError)

    def test_a_warning_is_a_user_warning_and_no_error(self) -> None:
        assert issubclass(DicomWarning, UserWarning)
        assert not issubclass(DicomWarning, DicomError)


class TestPickling:
    @every_kind
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_fields_and_type_stay(self, kind: type[Located], protocol: int) -> None:
        error = kind("is odd", location="a.dcm", frame=3, tag="Rows")
        assert fields(pickle.loads(pickle.dumps(error, protocol))) == fields(error)

    @every_kind
    def test_a_copy_has_them(self, kind: type[Located]) -> None:
        error = kind("is odd", location="a.dcm", frame=3, tag=0x00280010)
        assert fields(copy.copy(error)) == fields(error)

    def test_what_was_completed_stays(self) -> None:
        with pytest.raises(DicomError) as caught, located("a.dcm", 3):
            raise DicomError("is odd")
        assert fields(pickle.loads(pickle.dumps(caught.value))) == fields(caught.value)


class TestLocated:
    def test_it_completes_an_error(self) -> None:
        with pytest.raises(CorruptDicomError) as caught, located("a.dcm", 3):
            raise CorruptDicomError("is odd", tag="Rows")
        assert str(caught.value) == "a.dcm: frame 3: is odd [Rows (0028,0010)]"

    def test_what_the_error_says_itself_stays(self) -> None:
        with pytest.raises(DicomError) as caught, located("outer.dcm", 1):
            raise DicomError("is odd", location="own.dcm", frame=2)
        assert (caught.value.location, caught.value.frame) == ("own.dcm", 2)

    def test_the_innermost_block_counts(self) -> None:
        with (
            pytest.raises(DicomError) as caught,
            located("outer.dcm", 1),
            located("inner.dcm"),
            located(frame=2),
        ):
            raise DicomError("is odd")
        assert (caught.value.location, caught.value.frame) == ("inner.dcm", 2)

    def test_other_errors_pass(self) -> None:
        error = KeyError("other")
        with pytest.raises(KeyError) as caught, located("a.dcm"):
            raise error
        assert caught.value is error
        assert error.args == ("other",)

    def test_the_cause_and_the_traceback_stay(self) -> None:
        def fail() -> None:
            try:
                _ = 1 // 0
            except ZeroDivisionError as error:
                raise CorruptDicomError("is odd") from error

        with pytest.raises(CorruptDicomError) as caught, located("a.dcm"):
            fail()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fail"

    def test_the_place_ends_with_the_block(self) -> None:
        assert current_place() == Place()
        with located("outer.dcm", 1):
            with located("inner.dcm"):
                assert current_place() == Place("inner.dcm", 1)
            with pytest.raises(DicomError), located("inner.dcm"):
                raise DicomError("is odd")
            assert current_place() == Place("outer.dcm", 1)
        assert current_place() == Place()


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide of three tiles whose second one is damaged."""
    path = tmp_path_factory.mktemp("errors") / "damaged.dcm"
    blob = bytearray(content(lambda file: slide(file, shape=(64, 192), tile=64)))
    starts = [at for at in range(len(blob) - 2) if blob[at : at + 3] == b"\xff\xd8\xff"]
    assert len(starts) == 3
    blob[starts[1] : starts[1] + 40] = bytes(40)
    path.write_bytes(blob)
    return path


def read(path: Path, start: int, stop: int) -> float:
    dataset = xr.open_dataset(path, engine="dicom")
    return float(dataset.image.isel(x=slice(start, stop)).mean())


class TestReading:
    def test_an_error_has_its_place(self, damaged: Path) -> None:
        assert read(damaged, 0, 64) > 0
        with pytest.raises(CorruptDicomError) as caught:
            read(damaged, 0, 192)
        assert (caught.value.location, caught.value.frame) == (str(damaged), 2)
        assert str(caught.value).startswith(f"{damaged}: frame 2: ")

    def test_so_has_one_of_a_spawned_process(self, damaged: Path) -> None:
        with pytest.raises(CorruptDicomError) as expected:
            read(damaged, 0, 192)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            error = pool.submit(read, damaged, 0, 192).exception(60)
        assert isinstance(error, DicomError)
        assert fields(error) == fields(expected.value)

    def test_so_has_one_of_a_dask_task(self, damaged: Path) -> None:
        dataset = xr.open_dataset(damaged, engine="dicom", chunks={})
        with pytest.raises(CorruptDicomError) as caught:
            dataset.image.compute(scheduler="threads")
        assert (caught.value.location, caught.value.frame) == (str(damaged), 2)

    def test_an_error_of_opening_has_its_location(self, tmp_path: Path) -> None:
        path = tmp_path / "page.html"
        path.write_bytes(b"<html>please log in</html>")
        with pytest.raises(NotDicomError) as caught:
            xr.open_dataset(path, engine="dicom")
        assert caught.value.location == str(path)
