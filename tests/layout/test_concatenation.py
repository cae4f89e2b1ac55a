"""Parts of concatenations, joined by their numbers (PS3.3 C.7.6.16.2.2.4)."""

from __future__ import annotations

import pytest

from support.plain_instances import plain_instance
from xarray_dicom.errors import CorruptDicomError, DicomWarning
from xarray_dicom.instance import Instance
from xarray_dicom.layout.concatenation import join


def part(number: int, offset: int | None, n_frames: int, total: int | None = 3) -> Instance:
    return plain_instance(
        f"part{number}.dcm",
        n_frames=n_frames,
        ConcatenationUID="1.2.840.7",
        InConcatenationNumber=number,
        InConcatenationTotalNumber=total,
        ConcatenationFrameOffsetNumber=offset,
    )


def test_parts_are_joined_in_the_order_of_their_frames() -> None:
    parts = [part(3, 7, 1), part(1, 0, 4), part(2, 4, 3)]
    alone = plain_instance("alone.dcm", n_frames=2)
    joined, other = join([parts[0], alone, *parts[1:]])
    assert [p.location for p in joined.parts] == ["part1.dcm", "part2.dcm", "part3.dcm"]
    assert joined.location == "part1.dcm"
    assert joined.first_frames == (0, 4, 7)
    assert joined.numbers.tolist() == list(range(8))
    assert len(joined.frames) == 8
    assert other.parts == (alone,)
    assert other.numbers.tolist() == [0, 1]


def test_offsets_follow_from_the_frames_where_they_are_not_given() -> None:
    (joined,) = join([part(2, None, 3, None), part(1, None, 4, None)])
    assert joined.first_frames == (0, 4)


def test_a_missing_part_is_a_warning_and_leaves_a_gap() -> None:
    with pytest.warns(DicomWarning, match=r"part 2 is missing") as caught:
        (joined,) = join([part(1, 0, 4), part(3, 7, 1)])
    assert caught[0].message.location == "part1.dcm"
    assert joined.numbers.tolist() == [0, 1, 2, 3, 7]
    assert joined.frames.frames.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("second", "location"),
    [(part(1, 4, 3), "part1.dcm"), (part(2, 3, 3), "part2.dcm")],
    ids=["number twice", "frames shared"],
)
def test_parts_that_contradict_each_other_are_an_error(second: Instance, location: str) -> None:
    with pytest.raises(CorruptDicomError, match="stands twice, or shares frames") as caught:
        join([part(1, 0, 4), second])
    assert caught.value.location == location
    assert caught.value.tag == "InConcatenationNumber"
