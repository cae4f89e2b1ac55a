"""Warnings about objects point at the line of the user's code, wherever they arise."""

from __future__ import annotations

import asyncio
import functools
import io
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pydicom
import pytest
import xarray as xr

from support.generate.slide import slide
from support.kinds import content, kind
from support.servers import Server
from xarray_dicom import DicomWarning
from xarray_dicom.errors import located
from xarray_dicom.runtime import enter_loop, in_thread, off_loop, run
from xarray_dicom.warn import held_back, recorded, recording, silenced, warn


def here() -> int:
    """The line that this is called in."""
    return sys._getframe(1).f_lineno


@functools.cache
def odd_planes() -> tuple[bytes, ...]:
    """Files of a series that draw a warning each when they are opened."""
    planes = []
    for plane in kind("series").objects.values():
        dataset = pydicom.dcmread(io.BytesIO(plane))
        del dataset.PixelRepresentation
        planes.append(content(dataset.save_as))
    return tuple(planes)


@functools.cache
def unclosed_slide() -> bytes:
    """A slide whose scan finds all frames, and draws a warning at their end."""
    whole = content(lambda file: slide(file, shape=(640, 640), tile=64, offset_table="none"))
    # The sequence delimiter is the last item: 8 bytes.
    return whole[:-8]


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    path = tmp_path / "odd.dcm"
    path.write_bytes(odd_planes()[0])
    return path


@pytest.fixture
def unclosed(tmp_path: Path) -> Path:
    path = tmp_path / "unclosed.dcm"
    path.write_bytes(unclosed_slide())
    return path


@pytest.fixture
def caught() -> Iterator[list[warnings.WarningMessage]]:
    """All warnings of the test; those of other packages count as well."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def assert_points_at(caught: list[warnings.WarningMessage], line: int, location: object) -> None:
    """Check that there are warnings, all of this object and shown at this line of this file."""
    drawn = [one for one in caught if issubclass(one.category, DicomWarning)]
    assert drawn
    for one in drawn:
        assert isinstance(one.message, DicomWarning)
        assert one.message.location is not None
        assert one.message.location.startswith(str(location))
        assert (Path(one.filename), one.lineno) == (Path(__file__), line)


Caught = list[warnings.WarningMessage]


class TestOpening:
    def test_a_local_file(self, odd: Path, caught: Caught) -> None:
        line, _ = here(), xr.open_dataset(odd, engine="dicom")
        assert_points_at(caught, line, odd)

    def test_bytes(self, caught: Caught) -> None:
        line, _ = here(), xr.open_dataset(odd_planes()[0], engine="dicom")
        assert_points_at(caught, line, "")

    def test_an_object_in_a_store(self, s3_server: Server, caught: Caught) -> None:
        url, options = s3_server.put("warn/odd.dcm", odd_planes()[0]), s3_server.storage_options
        line, _ = here(), xr.open_dataset(url, engine="dicom", storage_options=options)
        assert_points_at(caught, line, url)

    def test_a_prefix(self, s3_server: Server, caught: Caught) -> None:
        for number, plane in enumerate(odd_planes()):
            url = s3_server.put(f"odd-series/{number}.dcm", plane)
        prefix, options = url.rpartition("/")[0] + "/", s3_server.storage_options
        line, _ = here(), xr.open_dataset(prefix, engine="dicom", storage_options=options)
        assert_points_at(caught, line, prefix)
        places = {one.message.location for one in caught if isinstance(one.message, DicomWarning)}
        assert len(places) == len(odd_planes())

    def test_a_folder_as_a_tree(self, tmp_path: Path, caught: Caught) -> None:
        for number, plane in enumerate(odd_planes()):
            (tmp_path / f"{number}.dcm").write_bytes(plane)
        line, _ = here(), xr.open_datatree(tmp_path, engine="dicom")
        assert_points_at(caught, line, tmp_path)

    def test_from_the_index_cache_it_is_drawn_again(self, odd: Path, caught: Caught) -> None:
        cache = odd.parent / "cache"
        xr.open_dataset(odd, engine="dicom", index_cache=cache)
        first = [str(one.message) for one in caught]
        caught.clear()
        line, _ = here(), xr.open_dataset(odd, engine="dicom", index_cache=cache)
        assert_points_at(caught, line, odd)
        assert [str(one.message) for one in caught] == first


class TestReading:
    def test_in_the_main_thread(self, unclosed: Path, caught: Caught) -> None:
        dataset = xr.open_dataset(unclosed, engine="dicom")
        line, _ = here(), dataset.image.load()
        assert_points_at(caught, line, unclosed)

    def test_in_a_store(self, s3_server: Server, caught: Caught) -> None:
        url = s3_server.put("warn/unclosed.dcm", unclosed_slide())
        options = s3_server.storage_options
        dataset = xr.open_dataset(url, engine="dicom", storage_options=options)
        line, _ = here(), dataset.image.load()
        assert_points_at(caught, line, url)

    def test_in_a_thread_of_the_user(self, unclosed: Path, caught: Caught) -> None:
        dataset = xr.open_dataset(unclosed, engine="dicom")
        lines: list[int] = []

        def read() -> None:
            lines.append((here(), dataset.image.load())[0])

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        assert_points_at(caught, lines[0], unclosed)

    def test_on_a_loop_of_the_user(self, unclosed: Path, caught: Caught) -> None:
        dataset = xr.open_dataset(unclosed, engine="dicom")

        # xarray reads in a task of its own, so that the stack leads to whoever runs the loop.
        line, _ = here(), asyncio.run(dataset.image.load_async())
        assert_points_at(caught, line, unclosed)

    @pytest.mark.parametrize("scheduler", ["threads", "synchronous"])
    def test_by_dask(self, unclosed: Path, caught: Caught, scheduler: str) -> None:
        dataset = xr.open_dataset(unclosed, engine="dicom", chunks={})
        line, _ = here(), dataset.image.compute(scheduler=scheduler)
        assert_points_at(caught, line, unclosed)

    def test_by_dask_while_others_wait_too(self, unclosed: Path, caught: Caught) -> None:
        dataset = xr.open_dataset(unclosed, engine="dicom", chunks={})
        with ThreadPoolExecutor(1) as pool:
            asleep = threading.Event()
            pool.submit(asleep.wait)
            line, _ = here(), dataset.image.compute(scheduler="threads")
            asleep.set()
        assert_points_at(caught, line, unclosed)


def test_the_default_filter_shows_it_once_for_a_line() -> None:
    # Not by opening: xarray changes the filters on its way, after which Python shows all again.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            run(on_the_loop(warn, "is odd"))
        assert len(caught) == 1
        run(on_the_loop(warn, "is odd"))
        assert len(caught) == 2


def test_as_an_error_it_has_its_fields(odd: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DicomWarning)
        with pytest.raises(DicomWarning) as raised:
            xr.open_dataset(odd, engine="dicom")
    assert raised.value.location == str(odd)
    assert raised.value.tag == "PixelRepresentation"


async def on_the_loop(function: Callable[..., Any], *args: Any) -> Any:
    await enter_loop()
    return await in_thread(function, *args)


async def in_a_decode_thread(function: Callable[..., Any], *args: Any) -> Any:
    await enter_loop()
    return await off_loop(function, *args)


async def within_a_task(function: Callable[..., Any], *args: Any) -> None:
    async def call() -> None:
        function(*args)

    await enter_loop()
    await asyncio.gather(call(), asyncio.create_task(call()))


class TestThreads:
    @pytest.mark.parametrize(
        "driver",
        [
            on_the_loop,
            within_a_task,
            in_a_decode_thread,
        ],
        ids=lambda driver: driver.__name__,
    )
    def test_a_warning_is_held_for_whoever_waits(
        self, driver: Callable[..., Any], caught: Caught
    ) -> None:
        async def work() -> None:
            with located("a.dcm", 3):
                await driver(warn, "is odd")

        line, _ = here(), run(work())
        assert_points_at(caught, line, "a.dcm")
        assert {one.message.frame for one in caught} == {3}  # type: ignore[union-attr]


def warn_held_back(*messages: str) -> None:
    with held_back():
        for message in messages:
            warn(message)


def warn_and_fail(*messages: str) -> None:
    with held_back():
        warn_held_back(*messages)
        raise KeyError


class TestHeldBack:
    def test_warnings_come_after_the_block(self, caught: Caught) -> None:
        with held_back():
            warn("is odd", location="a.dcm")
            assert not caught
        assert [str(one.message) for one in caught] == ["a.dcm: is odd"]

    def test_an_inner_block_hands_them_to_the_outer_one(self, caught: Caught) -> None:
        with held_back():
            with held_back():
                warn("is odd", location="a.dcm")
            assert not caught
        assert len(caught) == 1

    def test_after_an_error_they_are_shown(self, caught: Caught) -> None:
        with pytest.raises(KeyError):
            warn_and_fail("first", "second")
        assert [str(one.message) for one in caught] == ["first", "second"]

    def test_they_do_not_replace_an_error(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(KeyError):
                warn_and_fail("is odd")

    def test_after_an_error_one_that_is_an_error_does_not_hide_the_next(
        self, caught: Caught
    ) -> None:
        warnings.filterwarnings("error", "first")
        with pytest.raises(KeyError):
            warn_and_fail("first", "second")
        assert [str(one.message) for one in caught] == ["second"]

    def test_where_warnings_are_errors_the_first_one_is_raised(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(DicomWarning, match="first"):
                warn_held_back("first", "second")


class TestRecording:
    def test_it_lists_what_is_drawn(self, caught: Caught) -> None:
        assert recorded() == ()
        with recording() as record:
            warn("is odd", frame=2)
            assert recorded() == tuple(record)
        assert [one.message for one in caught] == record
        assert recorded() == ()

    def test_it_lists_what_tasks_and_threads_draw(self, caught: Caught) -> None:
        async def work() -> list[DicomWarning]:
            with recording() as record:
                await on_the_loop(warn, "in a thread")
                await within_a_task(warn, "in a task")
            return record

        record = run(work())
        assert [one.message for one in record] == ["in a thread", "in a task", "in a task"]
        assert [one.message for one in caught] == record

    def test_silenced_draws_and_lists_nothing(self, caught: Caught) -> None:
        with recording() as record, silenced():
            warn("is odd")
        assert record == []
        assert not caught


def test_a_warning_takes_the_place_of_the_block(caught: Caught) -> None:
    with located("a.dcm", 2), located(frame=3):
        warn("is odd", tag="Rows")
        warn("is odd", location="b.dcm", frame=7)
    texts = ["a.dcm: frame 3: is odd [Rows (0028,0010)]", "b.dcm: frame 7: is odd"]
    assert [str(one.message) for one in caught] == texts
