"""A torso of ellipsoids: Hounsfield units and organ masks at any point of the patient."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom.sr.coding import Code


@dataclass(frozen=True)
class Organ:
    """An ellipsoid in patient coordinates (LPS, mm) with its density and its meaning."""

    label: str
    centre: tuple[float, float, float]
    radii: tuple[float, float, float]
    hounsfield: float
    concept: Code

    def mask(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each of `points` (…, 3) lies inside."""
        inside: NDArray[np.bool_] = (
            ((points - np.array(self.centre)) / np.array(self.radii)) ** 2
        ).sum(axis=-1) <= 1
        return inside


RIGHT_KIDNEY = Code("9846003", "SCT", "Right kidney")
LEFT_KIDNEY = Code("18639004", "SCT", "Left kidney")
TORSO = Organ("Torso", (0, 0, 0), (165, 115, 400), 30, Code("22943007", "SCT", "Trunk"))

ORGANS = (
    Organ("Liver", (-70, -25, 15), (72, 62, 60), 105, Code("10200004", "SCT", "Liver")),
    Organ("Spleen", (95, 35, 25), (30, 40, 42), 120, Code("78961009", "SCT", "Spleen")),
    Organ("Right kidney", (-60, 62, -40), (26, 24, 50), 180, RIGHT_KIDNEY),
    Organ("Left kidney", (60, 62, -30), (26, 24, 50), 182, LEFT_KIDNEY),
    Organ("Stomach", (55, -45, 20), (42, 32, 38), 45, Code("69695003", "SCT", "Stomach")),
    Organ("Pancreas", (5, -5, -20), (45, 13, 12), 75, Code("15776009", "SCT", "Pancreas")),
    Organ("Aorta", (8, 40, 0), (11, 11, 300), 220, Code("15825003", "SCT", "Aorta")),
    Organ("Spine", (0, 72, 0), (22, 22, 300), 480, Code("421060004", "SCT", "Vertebral column")),
)

BY_LABEL = {organ.label: organ for organ in ORGANS}


def hounsfield(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hounsfield units at `points` of shape (…, 3): air, torso, organs, a fine texture."""
    values = np.full(points.shape[:-1], -1000.0)
    for organ in (TORSO, *ORGANS):
        values[organ.mask(points)] = organ.hounsfield
    x, y, z = np.moveaxis(points, -1, 0)
    texture = 9 * np.sin(x / 3.1) * np.cos(y / 2.7) + 6 * np.sin((x + y + 2 * z) / 1.9)
    values[values > -1000] += texture[values > -1000]
    return values
