"""A BINARY segmentation of any number of frames, assembled as bytes.

pydicom and highdicom take minutes for 100,000 items. Here they write one item, and NumPy
repeats it and fills in what differs from frame to frame.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from .attributes import Target, code, header_bytes, uid
from .segmentation import description, multi_organ_segmentation
from .series import ct_series

#: Placeholders that occur once in the template item, each as wide as what replaces it.
_INDEX = (0x3A3A3A01, 0x3A3A3A02)
_NUMBER = 0x5B5C
_Z = "-77777.777777777"
_SOURCE = "66666666"
PLANE_STEP = 2.5


def _template(undefined: bool) -> bytes:
    """One item of the Per-Frame Functional Groups Sequence, with placeholders."""
    content = Dataset()
    content.DimensionIndexValues = list(_INDEX)
    position = Dataset()
    position.ImagePositionPatient = ["-10.5", "-20.25", _Z]
    identification = Dataset()
    identification.ReferencedSegmentNumber = _NUMBER
    purpose = code(codes.DCM.SourceImageForImageProcessingOperation)
    source = Dataset()
    source.ReferencedSOPClassUID = CTImageStorage
    source.ReferencedSOPInstanceUID = f"1.2.826.0.1.3680043.10.999.{_SOURCE}"
    source.PurposeOfReferenceCodeSequence = [purpose]
    derivation = Dataset()
    derivation.SourceImageSequence = [source]
    derivation.DerivationCodeSequence = [code(Code("113076", "DCM", "Segmentation"))]
    item = Dataset()
    item.DerivationImageSequence = [derivation]
    item.FrameContentSequence = [content]
    item.PlanePositionSequence = [position]
    item.SegmentIdentificationSequence = [identification]
    if undefined:
        _leave_lengths_undefined(item)
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, item)
    body: bytes = buffer.getvalue()
    if undefined:
        return b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + body + b"\xfe\xff\x0d\xe0" + bytes(4)
    return b"\xfe\xff\x00\xe0" + len(body).to_bytes(4, "little") + body


def _leave_lengths_undefined(dataset: Dataset) -> None:
    dataset.is_undefined_length_sequence_item = True
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = True
            for item in element.value:
                _leave_lengths_undefined(item)


def _text(values: NDArray[np.generic], width: int) -> NDArray[np.uint8]:
    """ASCII of `values`, (n,) to (n, width); values of `width` characters exactly."""
    return values.astype(f"S{width}").view(np.uint8).reshape(-1, width)


def per_frame_items(
    plane: NDArray[np.int64], segment: NDArray[np.int64], *, undefined: bool = False
) -> bytes:
    """Items of (5200,9230), one for each pair of 0-based `plane` and 1-based `segment`."""
    template = _template(undefined)
    items = np.tile(np.frombuffer(template, np.uint8), (len(plane), 1))

    def put(placeholder: bytes, replacement: NDArray[np.uint8]) -> None:
        assert template.count(placeholder) == 1
        start = template.index(placeholder)
        items[:, start : start + len(placeholder)] = replacement

    def little(values: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
        return values.astype(f"<u{width}").view(np.uint8).reshape(-1, width)

    height = np.char.mod("%+016.6f", plane * PLANE_STEP)
    put(_INDEX[0].to_bytes(4, "little"), little(segment, 4))
    put(_INDEX[1].to_bytes(4, "little"), little(plane + 1, 4))
    put(_NUMBER.to_bytes(2, "little"), little(segment, 2))
    put(_Z.encode(), _text(height, len(_Z)))
    put(_SOURCE.encode(), _text(plane + 10_000_000, len(_SOURCE)))
    return items.tobytes()


def big_segmentation(
    target: Target,
    *,
    planes: int = 1000,
    segments: int = 100,
    shape: tuple[int, int] = (16, 16),
    undefined: bool = False,
) -> NDArray[np.bool_]:
    """Write a BINARY segmentation of ``planes x segments`` tiny frames.

    Parameters
    ----------
    target
        Path or open file.
    planes, segments
        Every segment has a frame on every plane; frames go by segment, then by plane.
    shape
        Rows and columns of a frame.
    undefined
        Whether sequences and items in the per-frame groups have undefined lengths.

    Returns
    -------
    NDArray[np.bool_]
        The pixels, shape ``(segments, planes, rows, columns)``.
    """
    images = ct_series(None, name="big segmentation", planes=2, shape=shape, shuffle=False)
    dataset = multi_organ_segmentation(
        io.BytesIO(), images, organs=["Liver"], omit_empty_frames=False
    )
    concept = Code("123037004", "SCT", "Anatomical structure")
    dataset.SegmentSequence = [
        description(number, f"Structure {number}", concept) for number in range(1, segments + 1)
    ]
    dataset.NumberOfFrames = planes * segments
    dataset.SOPInstanceUID = uid("big segmentation", planes, segments, shape, undefined)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    shared.PixelMeasuresSequence[0].SpacingBetweenSlices = PLANE_STEP
    if "SegmentIdentificationSequence" in shared:
        del shared.SegmentIdentificationSequence
    for keyword in ("ReferencedSeriesSequence", "ReferencedImageSequence"):
        if keyword in dataset:
            del dataset[keyword]
    for keyword in ("PerFrameFunctionalGroupsSequence", "PixelData"):
        del dataset[keyword]
    plain = Dataset()
    plain.update(dataset)

    segment, plane = (grid.ravel() for grid in np.mgrid[1 : segments + 1, :planes])
    items = per_frame_items(plane, segment, undefined=undefined)
    pixels = np.random.default_rng(3).random((segments, planes, *shape)) < 0.4
    packed = np.packbits(pixels, bitorder="little").tobytes()
    packed += bytes(len(packed) % 2)
    length = 0xFFFFFFFF if undefined else len(items)
    content = [
        header_bytes(plain, ExplicitVRLittleEndian),
        b"\x00\x52\x30\x92SQ\x00\x00" + length.to_bytes(4, "little"),
        items,
        b"\xfe\xff\xdd\xe0" + bytes(4) if undefined else b"",
        b"\xe0\x7f\x10\x00OB\x00\x00" + len(packed).to_bytes(4, "little"),
        packed,
    ]
    if hasattr(target, "write"):
        target.writelines(content)
    else:
        with open(target, "wb") as file:
            file.writelines(content)
    return pixels
