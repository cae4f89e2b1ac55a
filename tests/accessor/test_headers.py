"""Headers, complete and of the right object, from whatever is left of a dataset."""

from __future__ import annotations

import io
import pickle
from dataclasses import replace
from pathlib import Path

import fsspec
import numpy as np
import pydicom
import pytest
import xarray as xr

from support.generate.segmentation import multi_organ_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import NAMES, content, kind
from xarray_dicom.errors import DicomError, SourceChangedError
from xarray_dicom.frames.source import FrameSource
from xarray_dicom.reading.array import DicomArray

ONE_OBJECT = [name for name in NAMES if name != "series"]


def complete(blob: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(blob), stop_before_pixels=True)


def opened(name: str, **options: object) -> xr.Dataset:
    return xr.open_dataset(kind(name).put(), engine="dicom", **options)


@pytest.mark.parametrize("name", ONE_OBJECT)
def test_the_header_is_all_but_the_pixels(name: str) -> None:
    expected = complete(kind(name).objects["object.dcm"])
    header = opened(name).dicom.header
    assert header == expected
    assert header.file_meta == expected.file_meta
    assert "PixelData" not in header
    groups = "PerFrameFunctionalGroupsSequence"
    if groups in expected:
        assert header[groups].value == expected[groups].value
        assert len(header[groups].value) == int(expected.NumberOfFrames)


PARTS = {
    "sliced": lambda ds: ds.isel(y=slice(3, 9), x=[1, 5], z=slice(None, None, -1)),
    "one pixel": lambda ds: ds.isel(y=3, x=4),
    "chunked": lambda ds: ds.chunk(),
    "pickled": lambda ds: pickle.loads(pickle.dumps(ds)),
    "pickled chunks": lambda ds: pickle.loads(pickle.dumps(ds.chunk())),
    "copied": lambda ds: ds.copy(deep=True),
    "transposed": lambda ds: ds.transpose("x", ...),
    "read": lambda ds: ds.load(),
    "a variable": lambda ds: next(iter(ds.data_vars.values())),
}


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["enhanced-ct", "segmentation", "labelmap", "parametric-map"])
def test_the_header_stays_at_hand(name: str, part: str) -> None:
    expected = complete(kind(name).objects["object.dcm"])
    assert PARTS[part](opened(name)).dicom.header == expected


def test_a_series_has_a_header_for_each_object() -> None:
    dataset = opened("series")
    expected = [complete(blob) for blob in kind("series").objects.values()]
    expected.sort(key=lambda header: header.ImagePositionPatient[2])
    assert dataset.dicom.headers == expected
    assert dataset.isel(z=[2]).dicom.headers == expected
    with pytest.raises(DicomError, match=r"opened from 5 objects: use \.dicom\.headers"):
        dataset.dicom.header  # noqa: B018
    assert opened("enhanced-ct").dicom.headers == [
        complete(kind("enhanced-ct").objects["object.dcm"])
    ]


LOST = {
    "arithmetic": lambda ds: ds.image * 2,
    "where": lambda ds: ds.where(ds.image > 0),
    "reduction": lambda ds: ds.image.mean("z"),
    "fillna": lambda ds: ds.fillna(0),
}


@pytest.mark.parametrize("operation", LOST)
def test_what_lost_its_object_says_where_to_ask(operation: str) -> None:
    result = LOST[operation](opened("enhanced-ct"))
    with pytest.raises(DicomError, match=r"'image' no longer knows the object .* opened dataset"):
        result.dicom.header  # noqa: B018


GROWN = {
    "concat": lambda ds: xr.concat([ds.image, ds.image], "z", join="override"),
    "a new dimension": lambda ds: ds.image.expand_dims(subject=2),
    "repeated": lambda ds: ds.image.isel(x=[1] * 40),
    "points": lambda ds: ds.image.isel(
        y=xr.DataArray([1, 2], dims="point"), x=xr.DataArray([3, 4], dims="point")
    ),
}


@pytest.mark.parametrize("operation", GROWN)
def test_what_outgrew_its_object_says_where_to_ask(operation: str) -> None:
    result = GROWN[operation](opened("enhanced-ct"))
    with pytest.raises(DicomError, match=r"another shape .* ask the opened dataset"):
        result.dicom.header  # noqa: B018


def test_a_dataset_without_an_image_says_so() -> None:
    with pytest.raises(DicomError, match="no variable image, segmentation or parametric_map"):
        xr.Dataset({"other": ("x", [1, 2])}).dicom.header  # noqa: B018


def test_a_renamed_image_is_found() -> None:
    dataset = opened("enhanced-ct")
    renamed = dataset.rename(image="ct").assign(extra=("extra", [1]))
    assert renamed.dicom.header == dataset.dicom.header


@pytest.mark.parametrize("place", ["memory", "local"])
def test_a_replaced_object_is_not_taken_for_the_opened_one(place: str, tmp_path: Path) -> None:
    first, second = (
        content(lambda file, size=size: slide(file, shape=(size, 100), tile=64))
        for size in (100, 160)
    )
    if place == "memory":
        url = "memory://headers/replaced.dcm"
        put = lambda blob: fsspec.filesystem("memory").pipe_file(url, blob)  # noqa: E731
    else:
        url = str(tmp_path / "replaced.dcm")
        put = Path(url).write_bytes
    put(first)
    dataset = xr.open_dataset(url, engine="dicom")
    assert dataset.dicom.header.TotalPixelMatrixRows == 100
    put(second)
    with pytest.raises(SourceChangedError, match="replaced after it was opened"):
        dataset.dicom.header  # noqa: B018


class ByNumber:
    """A frame source that has no object to read a header from, as of a web service."""

    def __init__(self, source: FrameSource) -> None:
        self.format = source.format
        self.n_frames = source.n_frames
        self.location = "https://pacs.example/studies/1.2/instances/1.2.3"


def served_by_number(image: xr.DataArray) -> xr.DataArray:
    """Return `image` with frame sources that have no header."""
    handle = image.encoding["dicom"]
    sources = tuple(map(ByNumber, handle.sources))
    frames = replace(handle.array.frames, sources=sources)
    image.encoding["dicom"] = replace(handle, array=DicomArray(frames))
    return image


WITH_HEADER = {
    "header": lambda image: image.dicom.header,
    "headers": lambda image: image.dicom.headers,
    "to_rgb": lambda image: image.dicom.to_rgb(),
    "to_highdicom": lambda image: image.dicom.to_highdicom(),
}


@pytest.mark.parametrize("use", WITH_HEADER)
def test_frames_without_an_object_have_no_header(use: str) -> None:
    image = served_by_number(opened("single").image)
    with pytest.raises(DicomError, match="no header to read") as caught:
        WITH_HEADER[use](image)
    assert caught.value.location == "https://pacs.example/studies/1.2/instances/1.2.3"
    assert str(caught.value).startswith(f"{caught.value.location}: ")


def test_frames_without_an_object_have_all_else() -> None:
    expected = opened("segmentation").segmentation
    image = served_by_number(expected.copy())
    np.testing.assert_array_equal(image.dicom.affine, expected.dicom.affine)
    assert image.dicom.spacing == expected.dicom.spacing
    assert image.dicom.segments.equals(expected.dicom.segments)
    assert image.dicom.labelmap(overlap="first").shape == expected.shape[1:]
    assert image.dicom.on_grid_of(expected).shape == expected.shape
    assert image.dicom.mask_padding().shape == expected.shape


@pytest.mark.parametrize("kind_of", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_segments_are_a_table(kind_of: str) -> None:
    planes = ct_series(None, planes=6, shape=(24, 32), spacing=(20.0, 12.0, 12.0), shuffle=False)
    organs = ("Liver", "Spleen", "Aorta")
    numbers = (3, 5, 9) if kind_of == "LABELMAP" else (1, 2, 3)
    written = []

    def write(file: io.BytesIO) -> None:
        for plane in planes:
            plane.file_meta = pydicom.dataset.FileMetaDataset()
            plane.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        written.append(
            multi_organ_segmentation(
                file, planes, organs=organs, segmentation_type=kind_of, numbers=numbers
            )
        )

    dataset = xr.open_dataset(content(write), engine="dicom")
    table = dataset.dicom.segments
    assert table.index.name == "segment"
    described = {item.SegmentNumber: item for item in written[0].SegmentSequence}
    # highdicom describes the background of a label map as well.
    assert table.index.tolist() == sorted(described) == [0] * (0 in described) + list(numbers)
    for description in described.values():
        row = table.loc[description.SegmentNumber]
        assert row.segment_label == description.SegmentLabel
        assert row.segment_category == description.segmented_property_category.meaning
        assert row.segment_type == description.segmented_property_type.meaning
        assert row.segment_algorithm_type == description.SegmentAlgorithmType
        assert row.tracking_uid == description.get("TrackingUID", "")
        assert row.tracking_id == description.get("TrackingID", "")
    if "segment" in dataset.dims:
        np.testing.assert_array_equal(dataset.segment, table.index)
        np.testing.assert_array_equal(dataset.tracking_uid, table.tracking_uid)


def test_an_image_has_no_segments() -> None:
    with pytest.raises(DicomError, match="it is no segmentation"):
        opened("single").dicom.segments  # noqa: B018


def test_nodes_of_a_tree_answer_and_its_root_names_them(tmp_path: Path) -> None:
    for number, size in enumerate((256, 128), 1):
        slide(tmp_path / f"{number}.dcm", shape=(size, size), tile=64, number=number,
              spacing=0.0005 * 256 / size)  # fmt: skip
    tree = xr.open_datatree(str(tmp_path), engine="dicom")
    for node in ("scale0", "scale1"):
        assert tree[node].dicom.header.TotalPixelMatrixRows == tree[node].sizes["y"]
        np.testing.assert_array_equal(tree[node].dicom.affine, tree[node].to_dataset().dicom.affine)
        assert tree[node].dicom.to_rgb().sizes["c"] == 3
    with pytest.raises(DicomError, match="ask one of its children: 'scale0', 'scale1'"):
        tree.dicom.header  # noqa: B018
    assert not hasattr(tree.dicom, "nothing")
    assert {"header", "affine", "labelmap"} <= set(dir(tree.dicom))
