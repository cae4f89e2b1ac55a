"""Hypothesis strategies of plane geometries."""

import numpy as np
from hypothesis import strategies as st

from xarray_dicom.layout.plane_geometry import PlaneGeometry

angles = st.floats(-np.pi, np.pi)
lengths = st.floats(0.01, 10)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    """Rotation by three Euler angles."""

    def about(axis: int, angle: float) -> np.ndarray:
        matrix = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        matrix[[i, i, j, j], [i, j, i, j]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        return matrix

    return about(0, a) @ about(1, b) @ about(2, c)


@st.composite
def planes(draw: st.DrawFn) -> PlaneGeometry:
    turned = rotation(draw(angles), draw(angles), draw(angles))
    return PlaneGeometry.from_elements([*turned[0], *turned[1]], [draw(lengths), draw(lengths)])
