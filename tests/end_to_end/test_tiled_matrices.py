"""Tiles that lie anywhere, are cut off, or say little of themselves."""

from __future__ import annotations

import io
import warnings
from typing import Any

import highdicom
import imagecodecs
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate

from support.generate.attributes import write
from support.generate.segmentation import slide_segmentation
from support.generate.slide import slide
from support.generate.texture import histology
from support.kinds import content
from xarray_dicom import CorruptDicomError, DicomWarning

TILE = 48
SHAPE = (150, 203)

Tile = tuple[int, int, NDArray[Any]]


def opened(dataset: Dataset, **options: Any) -> xr.DataArray:
    syntax = dataset.file_meta.TransferSyntaxUID
    file = content(lambda file: write(dataset, file, syntax))
    return xr.open_dataset(file, engine="dicom", **options).image


def template(**options: Any) -> Dataset:
    """A slide that highdicom and pydicom read, to be changed."""
    options = {"shape": SHAPE, "tile": TILE, "codec": "native"} | options
    return dcmread(io.BytesIO(content(lambda file: slide(file, **options))))


def sparse(tiles: list[Tile], organization: str | None, monochrome: bool = False) -> Dataset:
    """A slide whose tiles say where they are, counted from 0 here and from 1 in the file."""
    dataset = template(monochrome=monochrome)
    if organization is None:
        del dataset.DimensionOrganizationType
    else:
        dataset.DimensionOrganizationType = organization
    items = []
    for top, left, _ in tiles:
        position = Dataset()
        position.RowPositionInTotalImagePixelMatrix = top + 1
        position.ColumnPositionInTotalImagePixelMatrix = left + 1
        position.XOffsetInSlideCoordinateSystem = 0
        position.YOffsetInSlideCoordinateSystem = 0
        position.ZOffsetInSlideCoordinateSystem = 0
        item = Dataset()
        item.PlanePositionSlideSequence = [position]
        items.append(item)
    dataset.PerFrameFunctionalGroupsSequence = items
    dataset.NumberOfFrames = len(tiles)
    stored = b"".join(pixels.tobytes() for _, _, pixels in tiles)
    dataset.PixelData = stored + bytes(len(stored) % 2)
    return dataset


def random_tiles(seed: int, count: int, colour: bool) -> list[Tile]:
    rng = np.random.default_rng(seed)
    shape = (TILE, TILE, 3) if colour else (TILE, TILE)
    return [
        (
            int(rng.integers(-TILE // 2, SHAPE[0] - 1)),
            int(rng.integers(-TILE // 2, SHAPE[1] - 1)),
            rng.integers(0, 256, shape).astype(np.uint8),
        )
        for _ in range(count)
    ]


def pasted(tiles: list[Tile], fill: Any, dtype: Any = np.uint8) -> NDArray[Any]:
    """Tiles pasted one over the other onto an area of `fill`."""
    margin = TILE
    extent = (SHAPE[0] + 2 * margin, SHAPE[1] + 2 * margin, *tiles[0][2].shape[2:])
    area = np.full(extent, fill, dtype)
    for top, left, pixels in tiles:
        area[top + margin : top + margin + TILE, left + margin : left + margin + TILE] = pixels
    return area[margin : margin + SHAPE[0], margin : margin + SHAPE[1]]


@pytest.mark.parametrize("organization", ["TILED_SPARSE", None])
@pytest.mark.parametrize(("seed", "count"), [(1, 1), (2, 3), (3, 12), (4, 60)])
def test_tiles_anywhere(organization: str | None, seed: int, count: int) -> None:
    tiles = random_tiles(seed, count, colour=True)
    found = opened(sparse(tiles, organization))
    assert found.dims == ("y", "x", "c")
    expected = pasted(tiles, 255)
    np.testing.assert_array_equal(found, expected)
    part = {"y": slice(11, 130, 3), "x": slice(40, 140)}
    np.testing.assert_array_equal(found.isel(part), expected[11:130:3, 40:140])
    rows = [149, 3, 3, 77]
    np.testing.assert_array_equal(found.isel(y=rows, x=50), expected[rows, 50])


def test_holes_of_values_in_float_are_nan() -> None:
    tiles = random_tiles(5, 4, colour=False)
    dataset = sparse(tiles, "TILED_SPARSE", monochrome=True)
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -7
    found = opened(dataset)
    expected = pasted(
        [(top, left, pixels * np.float32(2) - np.float32(7)) for top, left, pixels in tiles],
        np.nan,
        np.float32,
    )
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(opened(dataset, mask_and_scale=False), pasted(tiles, 0))


def test_holes_of_stored_values_are_padding() -> None:
    tiles = random_tiles(6, 4, colour=False)
    dataset = sparse(tiles, "TILED_SPARSE", monochrome=True)
    dataset.add_new("PixelPaddingValue", "US", 77)
    np.testing.assert_array_equal(opened(dataset, mask_and_scale=False), pasted(tiles, 77))


@pytest.mark.parametrize("lab", [(96.0, 1.0, -2.0), (30.0, 40.0, 25.0), (60.0, -30.0, 10.0)])
def test_holes_have_the_recommended_colour(lab: tuple[float, float, float]) -> None:
    tiles = random_tiles(7, 3, colour=True)
    dataset = sparse(tiles, "TILED_SPARSE")
    colour = highdicom.color.CIELabColor(*lab)
    dataset.OpticalPathSequence[0].RecommendedAbsentPixelCIELabValue = list(colour.value)
    found = opened(dataset)
    hole = (pasted(tiles, np.nan, np.float32)[..., 0] != pasted(tiles, 0)[..., 0]).nonzero()
    shown = found.values[hole[0][0], hole[1][0]]
    np.testing.assert_allclose(shown.astype(int), colour.to_rgb(), atol=2)
    np.testing.assert_array_equal(found, pasted(tiles, shown))


def cut(dataset: Dataset, pixels: NDArray[Any], least: int | None = None) -> list[bytes]:
    """JPEG of each tile of a matrix, those at its edge cut off, tile `least` as well."""
    frames = []
    for number in range(int(dataset.NumberOfFrames)):
        row, column = divmod(number, -(-SHAPE[1] // TILE))
        tile = pixels[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        if number == least:
            tile = tile[:-5]
        frames.append(imagecodecs.jpeg8_encode(np.ascontiguousarray(tile), 95, subsampling="444"))
    return frames


@pytest.fixture
def with_cut_tiles() -> tuple[Dataset, NDArray[Any], NDArray[Any]]:
    dataset = template(codec="jpeg-ybr422")
    dataset.PhotometricInterpretation = "YBR_FULL"
    for keyword in ("ExtendedOffsetTable", "ExtendedOffsetTableLengths"):
        del dataset[keyword]
    pixels = histology(slice(0, SHAPE[0]), slice(0, SHAPE[1]))
    frames = cut(dataset, pixels)
    dataset.PixelData = encapsulate(frames)
    across = -(-SHAPE[1] // TILE)
    rows = [
        np.hstack([imagecodecs.jpeg8_decode(frame) for frame in frames[i : i + across]])
        for i in range(0, len(frames), across)
    ]
    return dataset, pixels, np.vstack(rows)


def test_edge_tiles_may_be_stored_smaller(
    with_cut_tiles: tuple[Dataset, NDArray[Any], NDArray[Any]],
) -> None:
    dataset, _, expected = with_cut_tiles
    assert expected.shape == (*SHAPE, 3)
    np.testing.assert_array_equal(opened(dataset), expected)


def test_sparse_edge_tiles_may_be_stored_smaller(
    with_cut_tiles: tuple[Dataset, NDArray[Any], NDArray[Any]],
) -> None:
    dataset, _, expected = with_cut_tiles
    across = -(-SHAPE[1] // TILE)
    places = [divmod(number, across) for number in range(int(dataset.NumberOfFrames))]
    blank = np.zeros((TILE, TILE, 3), np.uint8)
    tiles = [(row * TILE, column * TILE, blank) for row, column in places]
    dataset.PerFrameFunctionalGroupsSequence = sparse(
        tiles, "TILED_SPARSE"
    ).PerFrameFunctionalGroupsSequence
    dataset.DimensionOrganizationType = "TILED_SPARSE"
    np.testing.assert_array_equal(opened(dataset), expected)


@pytest.mark.parametrize("number", [0, 4, 16])
def test_other_tiles_may_not(
    with_cut_tiles: tuple[Dataset, NDArray[Any], NDArray[Any]], number: int
) -> None:
    """A tile that lacks pixels of the matrix is damaged, at its edge too."""
    dataset, pixels, expected = with_cut_tiles
    dataset.PixelData = encapsulate(cut(dataset, pixels, least=number))
    found = opened(dataset)
    with pytest.raises(CorruptDicomError, match=rf"frame {number + 1}: .*Rows \(0028,0010\)"):
        found.load()
    whole = slice(2 * TILE, 3 * TILE)
    np.testing.assert_array_equal(found.isel(y=whole), expected[whole])


OPTIONAL = (
    "OpticalPathSequence",
    "NumberOfOpticalPaths",
    "TotalPixelMatrixOriginSequence",
    "TotalPixelMatrixFocalPlanes",
    "ImageOrientationSlide",
    "DimensionOrganizationType",
    "DimensionOrganizationSequence",
    "PlanarConfiguration",
    "SamplesPerPixel",
    "HighBit",
    "ImageType",
    "FrameOfReferenceUID",
    "SharedFunctionalGroupsSequence",
)


@pytest.mark.parametrize("keyword", [*OPTIONAL, "all of them"])
def test_what_may_be_missing_without_doubt(keyword: str) -> None:
    dataset = template()
    expected = opened(dataset)
    for name in OPTIONAL if keyword == "all of them" else (keyword,):
        del dataset[name]
    found = opened(dataset)
    assert found.dims == expected.dims
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "keyword", ["PhotometricInterpretation", "BitsStored", "PixelRepresentation"]
)
def test_what_is_assumed_with_a_warning(keyword: str) -> None:
    dataset = template()
    expected = opened(dataset).values
    del dataset[keyword]
    with pytest.warns(DicomWarning, match=r"\(0028,....\) is missing"):
        found = opened(dataset)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("keyword", ["Rows", "Columns", "BitsAllocated"])
def test_what_nothing_can_stand_for(keyword: str) -> None:
    dataset = template()
    del dataset[keyword]
    with pytest.raises(CorruptDicomError, match=rf"{keyword} \(0028,"):
        opened(dataset)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("organization", ["TILED_FULL", "TILED_SPARSE"])
@pytest.mark.parametrize("tile", [(37, 53), (64, 64)])
def test_segmentations_on_another_grid_than_the_slide(
    kind: str, organization: str, tile: tuple[int, int]
) -> None:
    below = template(tile=64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = content(
            lambda file: slide_segmentation(
                file, below, segmentation_type=kind, organization=organization, tile=tile
            )
        )
        written = highdicom.seg.segread(io.BytesIO(file))
        expected = written.get_total_pixel_matrix(
            combine_segments=kind == "LABELMAP", rescale_fractional=kind == "FRACTIONAL"
        )
    found = xr.open_dataset(file, engine="dicom").segmentation
    if kind != "LABELMAP":
        expected = np.moveaxis(expected, -1, 0)
    assert (found.sizes["y"], found.sizes["x"]) == SHAPE
    np.testing.assert_array_equal(found, expected)


def test_positions_that_are_missing() -> None:
    dataset = sparse(random_tiles(3, 5, colour=True), "TILED_SPARSE")
    del dataset.PerFrameFunctionalGroupsSequence
    with pytest.raises(CorruptDicomError, match=r"\(0048,021F\)"):
        opened(dataset)


def test_number_of_frames_that_is_not_that_of_the_tiles() -> None:
    dataset = template()
    dataset.NumberOfFrames = int(dataset.NumberOfFrames) - 1
    with pytest.raises(CorruptDicomError, match=r"Number of Frames \(0028,0008\) is 19, but 150"):
        opened(dataset)
