"""Frames of reference as text, written and read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xarray_dicom.errors import DicomError
from xarray_dicom.layout.frame_of_reference import (
    frame_of_reference,
    parse_frame_of_reference,
    same_orientation,
)


@given(st.lists(st.floats(-1, 1), min_size=6, max_size=6))
def test_text_of_a_frame_of_reference_reads_back(cosines):
    text = frame_of_reference("1.2.840.5", cosines)
    uid, read = parse_frame_of_reference(text)
    assert uid == "1.2.840.5"
    np.testing.assert_allclose(read, cosines, atol=5.001e-5)
    assert "-0," not in text
    assert same_orientation(read, cosines)


def test_same_orientation_compares_numbers_not_text():
    assert same_orientation((0.70705,), (0.70714,))
    assert same_orientation((0.9999,), (1.0,))
    assert not same_orientation((0.9998,), (1.0,))


@pytest.mark.parametrize(
    "text", ["", "1.2.3", "1.2.3 [1,0,0]", "1.2 [a,0,0,0,1,0]", "1 [nan,0,0,0,1,0]"]
)
def test_text_that_is_no_frame_of_reference_is_refused(text):
    with pytest.raises(DicomError, match="frame of reference"):
        parse_frame_of_reference(text)
