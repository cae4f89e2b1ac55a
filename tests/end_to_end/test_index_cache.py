"""A second open: the same dataset for one request, in this process and in others."""

from __future__ import annotations

import csv
import io
import multiprocessing
import os
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import xarray as xr
from pydicom.uid import DeflatedExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.slide import slide
from support.kinds import NAMES, content, kind
from support.records import difference
from support.servers import Server
from xarray_dicom import CorruptDicomError, DicomWarning
from xarray_dicom.frames.indexed import IndexedFrames
from xarray_dicom.index_cache.checksummed import add_checksum, verified_payload
from xarray_dicom.storage import RecordingSource, open_source

CORPUS = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def opened(obj: Any, cache: Any, **options: Any) -> xr.DataTree:
    return xr.open_datatree(obj, engine="dicom", index_cache=cache, **options)


def put(name: str, folder: Path) -> Path:
    """Write the objects of a kind as files; return the path to open."""
    folder = folder / name
    folder.mkdir()
    for file, blob in kind(name).objects.items():
        (folder / file).write_bytes(blob)
    return folder if len(kind(name).objects) > 1 else folder / "object.dcm"


def entries(cache: Path) -> list[Path]:
    return sorted(cache.rglob("*.xdi"))


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_opens_as_before(name: str, tmp_path: Path) -> None:
    path, cache = put(name, tmp_path), tmp_path / "cache"
    fresh = opened(path, False)
    assert difference(opened(path, cache), fresh) == ""
    assert len(entries(cache)) == len(kind(name).objects)
    again = opened(path, cache)
    assert difference(again, fresh) == ""
    array, expected = (tree[kind(name).variable] for tree in (again, fresh))
    first = dict.fromkeys(set(array.dims) - {"y", "x", "c"}, 0)
    np.testing.assert_array_equal(array.isel(first).values, expected.isel(first).values)


@pytest.mark.parametrize("name", NAMES)
def test_a_second_open_asks_for_the_version_alone(name: str, tmp_path: Path) -> None:
    path, cache = put(name, tmp_path), tmp_path / "cache"
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    for _ in range(2):
        sources = [RecordingSource(open_source(file)) for file in files]
        xr.open_dataset(sources if path.is_dir() else sources[0], engine="dicom", index_cache=cache)
    assert [source.requests for source in sources] == [[(0, 0)]] * len(files)


def test_a_first_open_asks_for_no_more_than_without_a_cache(tmp_path: Path) -> None:
    path = put("segmentation", tmp_path)
    requests = []
    for cache in (False, tmp_path / "cache"):
        source = RecordingSource(open_source(path))
        xr.open_dataset(source, engine="dicom", index_cache=cache)
        requests.append(source.requests)
    assert requests[0] == requests[1]


def test_pixels_need_no_header_later(tmp_path: Path) -> None:
    path, cache = put("slide-eot", tmp_path), tmp_path / "cache"
    expected = opened(path, cache)["image"].values
    source = RecordingSource(open_source(path))
    dataset = xr.open_dataset(source, engine="dicom", index_cache=cache)
    source.clear()
    np.testing.assert_array_equal(dataset.image.values, expected)
    size = path.stat().st_size
    assert all(offset > 1000 and length < size for offset, length in source.requests)


class TestScan:
    def test_offsets_that_a_scan_finds_are_stored(self, tmp_path: Path) -> None:
        path, cache = put("slide-no-table", tmp_path), tmp_path / "cache"
        first = opened(path, cache)
        again = opened(path, cache)
        (entry,) = entries(cache)
        before = entry.read_bytes()
        expected = first["image"].values
        assert entry.read_bytes() != before
        third = xr.open_dataset(
            (source := RecordingSource(open_source(path))), engine="dicom", index_cache=cache
        )
        assert third.image.encoding["dicom"].sources[0].has_offsets
        source.clear()
        np.testing.assert_array_equal(third.image.values, expected)
        assert source.bytes_read <= path.stat().st_size
        # What was opened by the entry without offsets scans as well.
        np.testing.assert_array_equal(again["image"].values, expected)

    def test_offsets_of_a_scan_in_a_second_open_are_stored(self, tmp_path: Path) -> None:
        path, cache = put("slide-no-table", tmp_path), tmp_path / "cache"
        opened(path, cache)
        again = opened(path, cache)
        assert not again["image"].encoding["dicom"].sources[0].has_offsets
        again["image"].load()
        third = opened(path, cache)
        assert third["image"].encoding["dicom"].sources[0].has_offsets

    def test_warnings_of_a_scan_are_drawn_again(self, tmp_path: Path) -> None:
        path, cache = tmp_path / "cut.dcm", tmp_path / "cache"
        whole = content(lambda file: slide(file, shape=(640, 640), tile=64, offset_table="none"))
        path.write_bytes(whole[: len(whole) * 3 // 4])
        dataset = xr.open_dataset(path, engine="dicom", index_cache=cache)
        with pytest.warns(DicomWarning) as first, pytest.raises(CorruptDicomError):
            dataset.image.load()
        with pytest.warns(DicomWarning) as again:
            xr.open_dataset(path, engine="dicom", index_cache=cache)
        texts = [[str(one.message) for one in caught] for caught in (first, again)]
        assert texts[0] == texts[1]
        assert any("frames are stored" in text for text in texts[0])

    def test_a_dataset_pickles_without_its_cache(self, tmp_path: Path) -> None:
        path, cache = put("slide-no-table", tmp_path), tmp_path / "cache"
        dataset = xr.open_dataset(path, engine="dicom", index_cache=cache)
        restored = pickle.loads(pickle.dumps(dataset.image.encoding["dicom"].sources[0]))
        assert type(restored) is IndexedFrames
        assert restored.has_offsets


class TestWarnings:
    def test_a_second_open_warns_like_the_first(self, tmp_path: Path) -> None:
        path, cache = tmp_path / "deflated.dcm", tmp_path / "cache"
        dataset = pydicom.dcmread(io.BytesIO(kind("single").objects["object.dcm"]))
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        del dataset.PixelRepresentation
        dataset.save_as(path)
        drawn = []
        for _ in range(2):
            with pytest.warns(DicomWarning) as caught:
                tree = opened(path, cache)
            drawn.append([(one.category, str(one.message)) for one in caught])
        assert drawn[0] == drawn[1]
        assert len(drawn[0]) == 2
        assert str(path) in drawn[0][0][1]
        assert str(path).encode() not in entries(cache)[0].read_bytes()
        assert tree["image"].values.shape == (24, 32)

    def test_a_copy_is_named_by_its_own_location(self, tmp_path: Path) -> None:
        """An entry is of one object, so a copy has another one."""
        paths = [tmp_path / "one.dcm", tmp_path / "two.dcm"]
        dataset = pydicom.dcmread(io.BytesIO(kind("single").objects["object.dcm"]))
        del dataset.PixelRepresentation
        for path in paths:
            dataset.save_as(path)
            for _ in range(2):
                with pytest.warns(DicomWarning, match=path.name):
                    opened(path, tmp_path / "cache")


class TestVersions:
    def test_a_replaced_object_is_opened_by_its_header(self, tmp_path: Path) -> None:
        path, cache = tmp_path / "object.dcm", tmp_path / "cache"
        path.write_bytes(kind("slide-eot").objects["object.dcm"])
        opened(path, cache)
        path.write_bytes(kind("segmentation").objects["object.dcm"])
        assert difference(opened(path, cache), opened(path, False)) == ""
        assert len(entries(cache)) == 1
        assert "segmentation" in opened(path, cache)

    def test_a_touched_object_is_opened_by_its_header(self, tmp_path: Path) -> None:
        path, cache = put("slide-eot", tmp_path), tmp_path / "cache"
        opened(path, cache)
        os.utime(path, (0, 0))
        source = RecordingSource(open_source(path))
        xr.open_dataset(source, engine="dicom", index_cache=cache)
        assert source.bytes_read > 1000

    def test_a_missing_object_is_missing(self, tmp_path: Path) -> None:
        path, cache = put("slide-eot", tmp_path), tmp_path / "cache"
        opened(path, cache)
        path.unlink()
        with pytest.raises(FileNotFoundError):
            opened(path, cache)

    def test_an_object_that_can_not_be_opened_leaves_no_entry(self, tmp_path: Path) -> None:
        path, cache = put("slide-eot", tmp_path), tmp_path / "cache"
        path.write_bytes(path.read_bytes()[:500])
        with pytest.raises(CorruptDicomError):
            opened(path, cache)
        assert entries(cache) == []


class TestDamage:
    @pytest.mark.parametrize("name", ["slide-eot", "enhanced-mr"])
    def test_a_damaged_entry_is_a_miss(self, name: str, tmp_path: Path) -> None:
        path, cache = put(name, tmp_path), tmp_path / "cache"
        fresh = opened(path, cache)
        (entry,) = entries(cache)
        whole = entry.read_bytes()
        step = max(1, len(whole) // 30)
        for position in [*range(60), *range(60, len(whole), step), len(whole) - 1]:
            damaged = bytearray(whole)
            damaged[position] ^= 1 << position % 8
            entry.write_bytes(damaged)
            assert difference(opened(path, cache), fresh) == ""
            # The open has written the entry anew.
            assert entry.read_bytes() == whole
        for length in range(0, len(whole), step):
            entry.write_bytes(whole[:length])
            assert difference(opened(path, cache), fresh) == ""

    def test_an_entry_with_a_sound_checksum_and_no_sense(self, tmp_path: Path) -> None:
        path, cache = put("slide-eot", tmp_path), tmp_path / "cache"
        fresh = opened(path, cache)
        (entry,) = entries(cache)
        payload = verified_payload(entry.read_bytes())
        assert payload is not None
        for nonsense in (b"", b"\xff" * 100, payload[:40], payload + b"\0", payload[::-1]):
            entry.write_bytes(add_checksum(nonsense))
            assert difference(opened(path, cache), fresh) == ""


class TestPlaces:
    def test_an_object_in_memory_gets_no_entry(self, tmp_path: Path) -> None:
        blob = kind("slide-eot").objects["object.dcm"]
        for obj in (blob, io.BytesIO(blob)):
            xr.open_dataset(obj, engine="dicom", index_cache=tmp_path / "cache")
        assert entries(tmp_path) == []

    def test_off(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = put("slide-eot", tmp_path)
        monkeypatch.setenv("XARRAY_DICOM_INDEX_CACHE", str(tmp_path / "cache"))
        opened(path, False)
        assert entries(tmp_path) == []
        opened(path, None)
        assert len(entries(tmp_path / "cache")) == 1

    def test_a_cache_that_can_not_be_written(self, tmp_path: Path) -> None:
        path = put("slide-eot", tmp_path)
        (tmp_path / "file").write_bytes(b"")
        with pytest.warns(DicomWarning, match="can't be written"):
            first = opened(path, tmp_path / "file")
        # The warning is drawn once in a process.
        assert difference(opened(path, tmp_path / "file"), first) == ""

    def test_a_store_without_a_cache_of_its_own_kind(self, tmp_path: Path) -> None:
        url = kind("slide-eot").put()
        opened(url, tmp_path / "cache")
        CountingFileSystem.forget()
        opened(url, tmp_path / "cache")
        assert [end - start for _, start, end in CountingFileSystem.ranges] == [1]

    def test_a_series_of_a_store(self, tmp_path: Path) -> None:
        url = kind("series").put()
        fresh = opened(url, tmp_path / "cache")
        CountingFileSystem.forget()
        assert difference(opened(url, tmp_path / "cache"), fresh) == ""
        assert len(CountingFileSystem.ranges) == len(kind("series").objects)
        assert CountingFileSystem.bytes_read() == len(kind("series").objects)

    def test_s3_with_a_cache_in_s3(self, s3_server: Server) -> None:
        url = s3_server.put("cached/slide.dcm", kind("slide-eot").objects["object.dcm"])
        cache = url.rpartition("/")[0] + "/xdi"
        options = {"storage_options": s3_server.storage_options}
        fresh = opened(url, False, **options)
        for _ in range(2):
            assert difference(opened(url, cache, **options), fresh) == ""

    def test_a_signed_url_and_its_signature(self, moto_server: Server, tmp_path: Path) -> None:
        url = moto_server.put("signed/slide.dcm", kind("slide-eot").objects["object.dcm"])
        trees = [opened(moto_server.presign(url), tmp_path) for _ in range(2)]
        assert len(entries(tmp_path)) == 1
        assert b"Signature" not in entries(tmp_path)[0].read_bytes()
        assert trees[0]["image"].sizes == trees[1]["image"].sizes

    def test_a_folder_with_sidecars_is_listed_without_them(self, tmp_path: Path) -> None:
        folder = put("series", tmp_path)
        fresh = opened(folder, False)
        (folder / "0001.dcm.xdi").write_bytes(b"anything")
        assert difference(opened(folder, False), fresh) == ""


# To compare instances their items are scanned, which may warn.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of real files is not here")
def test_real_files_open_as_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(CORPUS / "inventory.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    # All that have several frames, or segments, and some of the many slices.
    slices = [row for row in rows if row["frames"] in ("", "1", "1.0") and not row["n_segments"]]
    chosen = [row for row in rows if row not in slices] + slices[::8]
    cached, compared, differing = 0, 0, []
    for row in chosen:
        path = CORPUS / row["path"]
        try:
            fresh, texts = _open_and_catch(path, False)
        except (ValueError, OSError):
            continue
        _open_and_catch(path, tmp_path)
        again, texts_again = _open_and_catch(path, tmp_path)
        compared += 1
        if differs := difference(again, fresh):
            differing.append(f"{path}: {differs}")
        if texts != texts_again:
            differing.append(f"{path}: {texts} and {texts_again}")
        source = RecordingSource(open_source(path))
        _open_and_catch(source, tmp_path)
        cached += source.requests == [(0, 0)]
    with capsys.disabled():
        print(f"\n  {compared} files compared, {cached} cached", end="")
    assert not differing, "\n".join(differing)
    assert compared > 250
    assert cached == compared


def _open_and_catch(obj: Any, cache: Any) -> tuple[xr.DataTree, list[str]]:
    """Open `obj`; return the tree and the texts of the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = opened(obj, cache)
    return tree, [str(one.message) for one in caught if issubclass(one.category, DicomWarning)]


def _open_often(paths: list[str], cache: str, failures: Any) -> None:
    expected = {path: opened(path, False) for path in paths}
    for _ in range(4):
        for path in paths:
            differs = difference(opened(path, cache), expected[path])
            if differs:
                failures.put(differs)


def test_processes_that_open_and_evict_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XARRAY_DICOM_INDEX_CACHE_SIZE", "4500")
    names = ("slide-eot", "segmentation", "enhanced-mr")
    paths = [str(put(name, tmp_path)) for name in names]
    context = multiprocessing.get_context("spawn")
    failures = context.Queue()
    processes = [
        context.Process(
            target=_open_often, args=(paths[i:] + paths[:i], str(tmp_path / "cache"), failures)
        )
        for i in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert failures.empty()
