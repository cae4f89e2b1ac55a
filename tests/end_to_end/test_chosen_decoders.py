"""The keyword `decoder`: which code makes pixels of encoded frames, in every process."""

from __future__ import annotations

import importlib
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest
import xarray as xr

from support.decoder_package import MODULE, installed_decoders
from support.generate.series import ct_series
from support.generate.slide import slide
from support.servers import Server
from xarray_dicom import CorruptDicomError, DicomError


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with installed_decoders(tmp_path_factory.mktemp("package")) as folder:
        yield folder


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("decoders") / "slide.dcm"
    slide(target, shape=(600, 500), tile=64, codec="jpeg", monochrome=True)
    return target


def image(path: Any, decoder: str, **options: Any) -> xr.DataArray:
    return xr.open_dataset(path, engine="dicom", decoder=decoder, **options).image


def test_highdicom(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = image(path, "imagecodecs").values
    calls = []
    module = importlib.import_module("xarray_dicom.pixels.codecs.pydicom_plugins")
    decode_frame = module.decode_frame

    def counted(*args: Any, **options: Any) -> Any:
        calls.append(args)
        return decode_frame(*args, **options)

    monkeypatch.setattr(module, "decode_frame", counted)
    values = image(path, "highdicom").values
    assert len(calls) == 10 * 8
    # libjpeg's variants round differently.
    assert np.abs(values.astype(int) - expected).max() <= 1


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("store", ["local", "s3"])
def test_a_registered_decoder_gets_batches(path: Path, store: str, s3_server: Server) -> None:
    expected = 255 - image(path, "imagecodecs").values
    options: dict[str, Any] = {}
    where: Any = path
    if store == "s3":
        where = s3_server.put("decoders/slide.dcm", path.read_bytes())
        options = {"storage_options": s3_server.storage_options}
    opened = image(where, "inverted", **options)
    batches = importlib.import_module(MODULE).batches
    batches.clear()
    np.testing.assert_array_equal(opened.values, expected)
    assert sum(batches) == 10 * 8
    assert max(batches) > 8
    np.testing.assert_array_equal(opened[70:75, 3:400:7].copy(), expected[70:75, 3:400:7])


@pytest.mark.usefixtures("package")
def test_it_is_pickled_by_name(path: Path) -> None:
    expected = 255 - image(path, "imagecodecs").values
    copy = pickle.loads(pickle.dumps(image(path, "inverted")))
    np.testing.assert_array_equal(copy[:100], expected[:100])
    chunked = image(path, "inverted").chunk(y=128, x=128)
    context = multiprocessing.get_context("spawn")
    with dask.config.set(scheduler="processes", num_workers=2, multiprocessing_context=context):
        total = chunked.astype("int64").sum().compute()
    assert int(total) == int(expected.astype("int64").sum())


@pytest.mark.usefixtures("package")
def test_errors_name_object_and_frame(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    start = [at for at in range(len(content)) if content.startswith(b"\xff\xd8\xff", at)][20]
    damaged = tmp_path / "damaged.dcm"
    damaged.write_bytes(content[:start] + bytes(200) + content[start + 200 :])
    with pytest.raises(CorruptDicomError) as caught:
        image(damaged, "inverted").values  # noqa: B018
    assert (caught.value.location, caught.value.frame) == (str(damaged), 21)
    with pytest.raises(DicomError, match=r"frame 1: .*not decoded by graphics cards"):
        image(path, "refusing").values  # noqa: B018


@pytest.mark.usefixtures("package")
def test_an_unknown_name_is_refused_when_opening(path: Path) -> None:
    with pytest.raises(DicomError, match=r"'turbo'.*imagecodecs.*highdicom.*inverted"):
        image(path, "turbo")


@pytest.mark.usefixtures("package")
def test_native_frames_need_no_decoder(tmp_path: Path) -> None:
    ct_series(tmp_path)
    expected = xr.open_dataset(tmp_path, engine="dicom").image.values
    found = xr.open_dataset(tmp_path, engine="dicom", decoder="refusing").image.values
    np.testing.assert_array_equal(found, expected)
