"""Frames through several instances, and the values of elements for each."""

from __future__ import annotations

import numpy as np

from support.plain_instances import plain_instance
from xarray_dicom.layout.frame_set import FrameSet

TWO_FRAMES = plain_instance(
    "two.dcm",
    n_frames=2,
    per_frame={"ImagePositionPatient": [[0, 0, 1.0], [0, 0, 2.0]], "StackID": ["a", "bb"]},
)
ONE_FRAME = plain_instance("one.dcm", ImagePositionPatient=[0, 0, 3.0], StackID="ccc")
WITHOUT = plain_instance("without.dcm", n_frames=2)


def test_values_run_through_all_instances() -> None:
    frames = FrameSet.of([TWO_FRAMES, ONE_FRAME])
    positions = frames.floats("ImagePositionPatient", 3)
    np.testing.assert_array_equal(positions, [[0, 0, 1], [0, 0, 2], [0, 0, 3]])
    assert FrameSet.of([TWO_FRAMES, WITHOUT]).floats("ImagePositionPatient", 3) is None


def test_columns_have_no_value_where_an_instance_has_none() -> None:
    frames = FrameSet.of([WITHOUT, TWO_FRAMES, ONE_FRAME])
    column = frames.columns(lambda instance: instance.column("StackID"))
    assert column is not None
    assert column.values[:, 0].tolist() == [b"", b"", b"a", b"bb", b"ccc"]
    assert column.count.tolist() == [0, 0, 1, 1, 1]
    assert FrameSet.of([WITHOUT]).columns(lambda instance: instance.column("StackID")) is None


def test_a_subset_drops_instances_without_frames_and_counts_anew() -> None:
    frames = FrameSet.of([WITHOUT, TWO_FRAMES, ONE_FRAME])
    subset = frames.subset(np.array([4, 3]))
    assert [instance.location for instance in subset.instances] == ["two.dcm", "one.dcm"]
    assert subset.frames.tolist() == [1, 2]
    np.testing.assert_array_equal(
        subset.floats("ImagePositionPatient", 3), [[0, 0, 2.0], [0, 0, 3.0]]
    )


def test_frames_are_located_by_object_and_number_from_one() -> None:
    frames = FrameSet.of([WITHOUT, TWO_FRAMES, ONE_FRAME])
    assert [frames.locate(i) for i in range(5)] == [
        ("without.dcm", 1),
        ("without.dcm", 2),
        ("two.dcm", 1),
        ("two.dcm", 2),
        ("one.dcm", 1),
    ]
    assert frames.subset(np.array([3])).locate(0) == ("two.dcm", 2)
