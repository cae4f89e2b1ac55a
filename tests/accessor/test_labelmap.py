"""Label maps made of masks, held to highdicom's."""

from __future__ import annotations

import functools
import io
import pickle
from typing import Any

import highdicom
import numpy as np
import pydicom
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRLittleEndian

from support.counting import CountingFileSystem
from support.generate.attributes import write
from support.generate.many_frames import big_segmentation
from support.generate.phantom import BY_LABEL
from support.generate.segmentation import (
    multi_organ_segmentation,
    organ_masks,
    slide_segmentation,
    tissue_labels,
)
from support.generate.series import ct_series
from support.generate.slide import slide
from support.kinds import content, kind
from xarray_dicom.errors import DicomError
from xarray_dicom.storage import RecordingSource, open_source

#: Organs that don't touch at this resolution.
APART = ("Liver", "Spleen", "Right kidney", "Aorta", "Stomach")

SHAPE = (27, 33)  # frames of 891 pixels begin in mid-byte


@functools.cache
def planes() -> list[pydicom.Dataset]:
    made = ct_series(None, planes=9, shape=SHAPE, spacing=(14.0, 9.0, 9.0), shuffle=False)
    for plane in made:
        content(lambda file, plane=plane: write(plane, file, ExplicitVRLittleEndian))
    return made


@functools.cache
def organs(*labels: str, empty: bool = False) -> bytes:
    return content(
        lambda file: multi_organ_segmentation(
            file, planes(), organs=labels or APART, omit_empty_frames=not empty
        )
    )


@functools.cache
def overlapping() -> tuple[bytes, NDArray[np.bool_]]:
    """Two organs, and a third segment that covers parts of both; and their masks."""
    masks = organ_masks(planes(), [BY_LABEL["Liver"], BY_LABEL["Spleen"], BY_LABEL["Aorta"]])
    masks[:, 8:16, 4:30, 2] = True
    made = pydicom.dcmread(io.BytesIO(organs("Liver", "Spleen", "Aorta", empty=True)))
    # highdicom stores segment by segment, along -n.
    frames = np.moveaxis(masks, -1, 0)
    order = [
        (
            group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1,
            float(group.PlanePositionSequence[0].ImagePositionPatient[2]),
        )
        for group in made.PerFrameFunctionalGroupsSequence
    ]
    heights = [float(plane.ImagePositionPatient[2]) for plane in planes()]
    stored = np.stack([frames[segment, heights.index(z)] for segment, z in order])
    packed = np.packbits(stored, bitorder="little").tobytes()
    made.PixelData = packed + bytes(len(packed) % 2)
    return content(lambda file: made.save_as(file)), masks


def reference(blob: bytes, **options: Any) -> NDArray[Any]:
    """What highdicom makes of it, along +n as ours."""
    segmentation = highdicom.seg.segread(io.BytesIO(blob))
    return segmentation.get_volume(combine_segments=True, **options).array[::-1]


def test_it_is_highdicom_s() -> None:
    blob = organs()
    dataset = xr.open_dataset(blob, engine="dicom")
    labels = dataset.dicom.labelmap()
    assert labels.dims == ("z", "y", "x")
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels.values, reference(blob))
    assert len(np.unique(labels)) == 6
    meanings = dict(
        zip(labels.attrs["flag_values"], labels.attrs["flag_meanings"].split(), strict=True)
    )
    assert meanings == {i: label.replace(" ", "_") for i, label in enumerate(APART, 1)}
    assert labels.attrs["flag_values"].dtype == labels.dtype


def test_it_stands_where_the_masks_do() -> None:
    dataset = xr.open_dataset(organs(), engine="dicom")
    labels = dataset.dicom.labelmap()
    assert set(labels.coords) == {"z", "y", "x", "frame_of_reference"}
    xr.align(labels, dataset.segmentation, join="exact")
    np.testing.assert_array_equal(labels.dicom.affine, dataset.dicom.affine)
    for number in dataset.segment.values:
        xr.testing.assert_equal(
            (labels == number).drop_vars([n for n in labels.coords if n not in "zyx"]),
            (dataset.segmentation.sel(segment=number) == 1).drop_vars(
                [n for n in dataset.coords if n not in "zyx"]
            ),
        )


SELECTIONS = {
    "nothing left out": lambda ds: ds,
    "cropped": lambda ds: ds.isel(z=slice(2, 7), y=slice(5, 20), x=slice(30)),
    "stepped": lambda ds: ds.isel(z=slice(None, None, 3), y=slice(1, None, 2)),
    "reversed": lambda ds: ds.isel(z=slice(None, None, -1), x=slice(None, None, -2)),
    "a plane": lambda ds: ds.isel(z=4),
    "a pixel": lambda ds: ds.isel(z=4, y=13, x=16),
    "lists": lambda ds: ds.isel(z=[5, 1, 1], x=[20, 3, 7]),
    "by millimetres": lambda ds: ds.sel(z=slice(-30, 30), y=slice(-100, 20)),
    "nothing": lambda ds: ds.isel(y=slice(0)),
    "transposed": lambda ds: ds.transpose("x", "segment", "z", "y"),
    "chunked": lambda ds: ds.chunk(z=2, y=20),
    "chunked, then cropped": lambda ds: ds.chunk(z=2).isel(z=slice(3, 8), x=slice(4, None)),
    "pickled": lambda ds: pickle.loads(pickle.dumps(ds)),
    "copied": lambda ds: ds.copy(deep=True),
}


@pytest.mark.parametrize("chunks", [None, {}], ids=["plain", "dask"])
@pytest.mark.parametrize("selection", SELECTIONS)
def test_it_follows_selections(selection: str, chunks: Any) -> None:
    CountingFileSystem.put("labelmaps/organs.dcm", organs())
    url = "counted://labelmaps/organs.dcm"
    dataset = xr.open_dataset(url, engine="dicom", chunks=chunks)
    whole = xr.DataArray(
        reference(organs()), {dim: dataset[dim].values for dim in "zyx"}, name="segmentation"
    )
    part = SELECTIONS[selection](dataset.segmentation)
    CountingFileSystem.forget()
    labels = part.dicom.labelmap()
    expected = SELECTIONS[selection](whole.expand_dims(segment=[1], axis=0)).isel(segment=0)
    assert labels.dims == expected.dims
    assert CountingFileSystem.ranges == []
    if part.chunks is not None:
        assert labels.chunksizes == {dim: part.variable.chunksizes[dim] for dim in labels.dims}
    np.testing.assert_array_equal(labels.values, expected.values)
    after = labels.isel({dim: slice(1, None, 2) for dim in labels.dims})
    np.testing.assert_array_equal(
        after.values, expected.isel({dim: slice(1, None, 2) for dim in labels.dims}).values
    )


def test_chosen_segments() -> None:
    blob = organs()
    dataset = xr.open_dataset(blob, engine="dicom")
    for asked, numbers in {
        (2, 5): (2, 5),
        ("Liver", "Aorta"): (1, 4),
        ("Aorta", 2): (2, 4),
    }.items():
        labels = dataset.dicom.labelmap(segments=list(asked))
        np.testing.assert_array_equal(labels, reference(blob, segment_numbers=list(numbers)))
        assert labels.attrs["flag_values"].tolist() == list(numbers)
    spleen = reference(blob, segment_numbers=[2])
    for one in (2, np.int64(2), "Spleen"):
        np.testing.assert_array_equal(dataset.dicom.labelmap(one), spleen)
    np.testing.assert_array_equal(dataset.sel(segment_label="Spleen").dicom.labelmap(), spleen)
    part = dataset.sel(segment=[4, 2])
    np.testing.assert_array_equal(part.dicom.labelmap(), reference(blob, segment_numbers=[2, 4]))
    np.testing.assert_array_equal(part.dicom.labelmap("Spleen"), spleen)
    assert not dataset.isel(segment=slice(0)).dicom.labelmap().values.any()


def test_segments_that_are_not_there() -> None:
    dataset = xr.open_dataset(organs("Liver", "Spleen"), engine="dicom")
    for asked in (3, "Aorta", [1, 3], ["Liver", "Aorta"]):
        with pytest.raises(KeyError, match=r"no segment .*; there are 1 'Liver', 2 'Spleen'"):
            dataset.dicom.labelmap(asked)
    with pytest.raises(KeyError, match="no segment 1; there are 2 'Spleen'"):
        dataset.sel(segment=[2]).dicom.labelmap(1)
    unnamed = dataset.drop_vars(["segment", "segment_label"])
    np.testing.assert_array_equal(unnamed.dicom.labelmap(), dataset.dicom.labelmap())
    with pytest.raises(DicomError, match="segment has no coordinate"):
        unnamed.isel(segment=[1]).dicom.labelmap()


def test_where_segments_overlap() -> None:
    blob, masks = overlapping()
    dataset = xr.open_dataset(blob, engine="dicom")
    numbers = np.arange(1, 4)
    last = (masks * numbers).max(axis=-1)
    ranked = np.where(masks, numbers, 9).min(axis=-1)
    first = np.where(ranked == 9, 0, ranked)
    assert (first != last).any()
    np.testing.assert_array_equal(dataset.dicom.labelmap(overlap="last"), last)
    np.testing.assert_array_equal(dataset.dicom.labelmap(overlap="first"), first)
    for chunks in ({"z": -1}, {"z": 2, "y": 10}):
        chunked = dataset.chunk(chunks)
        np.testing.assert_array_equal(chunked.dicom.labelmap(overlap="first"), first)
    # By number, whatever the order in the array.
    turned = dataset.isel(segment=slice(None, None, -1))
    np.testing.assert_array_equal(turned.dicom.labelmap(overlap="last"), last)
    labels = dataset.dicom.labelmap()
    assert labels.sizes == dict(zip("zyx", last.shape, strict=True))
    with pytest.raises(DicomError, match=r"segments \d and \d overlap; choose overlap='first'"):
        labels.compute()
    # Without what overlaps, and where nothing does.
    np.testing.assert_array_equal(
        dataset.dicom.labelmap([1, 2]), (masks[..., :2] * numbers[:2]).max(axis=-1)
    )
    np.testing.assert_array_equal(labels.isel(y=slice(8)), last[:, :8])
    with pytest.raises(DicomError, match="overlap is 'middle', but must be one of error, first"):
        dataset.dicom.labelmap(overlap="middle")


def test_numbers_above_255(tmp_path: Any) -> None:
    masks = big_segmentation(tmp_path / "many.dcm", planes=3, segments=300, shape=(5, 7))
    labels = xr.open_dataset(tmp_path / "many.dcm", engine="dicom").dicom.labelmap(overlap="last")
    assert labels.dtype == np.uint16
    expected = (masks * np.arange(1, 301)[:, None, None, None]).max(axis=0)
    np.testing.assert_array_equal(labels, expected)


@functools.cache
def tissue(organization: str, kind_of: str = "BINARY") -> tuple[bytes, NDArray[np.uint8]]:
    below = pydicom.dcmread(
        io.BytesIO(content(lambda file: slide(file, shape=(310, 410), tile=128)))
    )
    written = content(
        lambda file: slide_segmentation(
            file, below, tile=(37, 53), organization=organization, segmentation_type=kind_of
        )
    )
    return written, tissue_labels(below)


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
def test_tiled_over_a_slide(organization: str) -> None:
    blob, labels = tissue(organization)
    dataset = xr.open_dataset(blob, engine="dicom")
    segmentation = highdicom.seg.segread(io.BytesIO(blob))
    expected = segmentation.get_total_pixel_matrix(combine_segments=True)
    np.testing.assert_array_equal(expected, labels)
    found = dataset.dicom.labelmap()
    assert found.dims == ("y", "x")
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found[40:200:3, 300:90:-2], expected[40:200:3, 300:90:-2])
    np.testing.assert_array_equal(
        dataset.isel(x=slice(101, 300)).dicom.labelmap("Nucleus"),
        2 * (labels[:, 101:300] == 2),
    )
    chunked = dataset.chunk(y=100, x=100).dicom.labelmap()
    np.testing.assert_array_equal(chunked, expected)


@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
def test_only_the_frames_needed_are_read(organization: str) -> None:
    blob, _ = tissue(organization)
    source = RecordingSource(open_source(blob))
    dataset = xr.open_dataset(source, engine="dicom")
    tile_bytes = -(-37 * 53 // 8) + 1
    source.clear()
    labels = dataset.dicom.labelmap()
    assert source.requests == []
    # One tile of each of two segments, never a whole plane of either.
    labels.isel(y=slice(40, 70), x=slice(60, 100)).load()
    assert 0 < source.bytes_read <= 2 * tile_bytes + 8 * 1024
    source.clear()
    # Neighbours are merged over small gaps, so the dense axis would be about twice as much.
    labels.compute()
    assert source.bytes_read <= len(blob)
    source.clear()
    dataset.dicom.labelmap("Tissue").isel(y=slice(40, 70), x=slice(60, 100)).load()
    assert 0 < source.bytes_read <= tile_bytes
    assert len(source.requests) == 1


def test_what_was_read_is_kept() -> None:
    source = RecordingSource(open_source(organs()))
    labels = xr.open_dataset(source, engine="dicom").dicom.labelmap()
    source.clear()
    first = labels.values
    once = len(source.requests)
    assert once
    np.testing.assert_array_equal(labels.values, first)
    assert len(source.requests) == once
    labels[0] = 3
    assert (labels.values[0] == 3).all()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fractional", "a FRACTIONAL segmentation has no label map: threshold it"),
        ("labelmap", "'segmentation' has no masks by segment: it may be a label map already"),
        ("enhanced-ct", "'image' has no masks by segment"),
    ],
)
@pytest.mark.parametrize("options", [{}, {"mask_and_scale": False}], ids=["scaled", "stored"])
def test_other_kinds_have_no_label_map(name: str, message: str, options: Any) -> None:
    dataset = xr.open_dataset(kind(name).put(), engine="dicom", **options)
    with pytest.raises(DicomError, match=message):
        dataset.dicom.labelmap()


def test_coordinates_of_another_grid_are_refused() -> None:
    dataset = xr.open_dataset(organs(), engine="dicom")
    moved = dataset.assign_coords(x=dataset.x + 1.0)
    with pytest.raises(DicomError, match="x has coordinates that are not those of the opened"):
        moved.dicom.labelmap()
    with pytest.raises(DicomError, match="y has no coordinate that tells which part"):
        dataset.drop_vars("y").isel(y=slice(4)).dicom.labelmap()
    with pytest.raises(DicomError, match="no longer knows the object"):
        (dataset.segmentation + 0).dicom.labelmap()


def test_it_can_be_written(tmp_path: Any) -> None:
    labels = xr.open_dataset(organs(), engine="dicom").dicom.labelmap()
    labels.to_netcdf(tmp_path / "labels.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "labels.nc", engine="h5netcdf") as again:
        np.testing.assert_array_equal(again.labelmap, labels)
    labels.to_zarr(tmp_path / "labels.zarr", zarr_format=2, consolidated=True)
