"""What the engine makes of every kind of object, held to what users may rely on."""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from distributed import Client, LocalCluster
from pydicom import dcmread
from xarray.backends import BackendEntrypoint

from support import kinds
from support.counting import CountingFileSystem
from support.generate.many_frames import big_segmentation
from support.generate.multiframe import enhanced_mr
from support.generate.slide import big_slide_repeating, slide
from support.servers import Server
from xarray_dicom import DicomError, SegmentIndex
from xarray_dicom.backend import DicomBackendEntrypoint

#: Type of the values of each kind: as presented by default, and as stored.
DTYPES = {
    "slide-eot": ("u1", "u1"),
    "slide-bot": ("u1", "u1"),
    "slide-no-table": ("u1", "u1"),
    "slide-channels": ("f4", "u1"),
    "slide-focal": ("u1", "u1"),
    "segmentation": ("u1", "u1"),
    "fractional": ("f4", "u1"),
    "labelmap": ("u1", "u1"),
    "slide-segmentation": ("u1", "u1"),
    "series": ("f4", "u2"),
    "enhanced-ct": ("f4", "u2"),
    "enhanced-mr": ("f4", "i2"),
    "cine": ("u1", "u1"),
    "single": ("f4", "u2"),
    "parametric-map": ("f4", "f4"),
}

PATIENT = ("series", "enhanced-ct", "enhanced-mr", "single", "segmentation", "parametric-map")

PRIVATE = ("Phantom", "generated-1")


@pytest.fixture(autouse=True)
def fresh_counts() -> Iterator[None]:
    CountingFileSystem.forget()
    yield
    CountingFileSystem.forget()


def opened(name: str, **options: Any) -> xr.Dataset:
    return xr.open_dataset(kinds.kind(name).put(), engine="dicom", **options)


def image_of(name: str, **options: Any) -> xr.DataArray:
    return opened(name, **options)[kinds.kind(name).variable]


every_kind = pytest.mark.parametrize("name", kinds.NAMES)


@every_kind
def test_variable_and_dimensions(name: str) -> None:
    made = kinds.kind(name)
    dataset = opened(name)
    assert list(dataset.data_vars) == [made.variable]
    assert dataset[made.variable].dims == made.dims
    assert dataset[made.variable].dtype == DTYPES[name][0]


@every_kind
def test_coordinates(name: str) -> None:
    dataset = opened(name)
    for dim in ("z", "y", "x"):
        if dim not in dataset.coords:
            continue
        coordinate = dataset.coords[dim]
        assert coordinate.dtype == np.float64
        assert coordinate.attrs["units"] == "mm"
        assert coordinate.attrs["long_name"]
        if coordinate.ndim:
            assert (np.diff(coordinate) > 0).all()
            assert dim in dataset.indexes
    assert ("x" in dataset.coords) == (name != "cine")
    assert ("z" in dataset.coords) == (name in (*PATIENT, "fractional", "labelmap", "slide-focal"))
    if "c" in dataset.dims:
        assert dataset.c.values.tolist() == ["r", "g", "b"]
    if "segment" in dataset.dims:
        assert isinstance(dataset.xindexes["segment"], SegmentIndex)
        assert dataset.xindexes["segment"] is dataset.xindexes["segment_label"]
        described = {"segment_category", "segment_type", "segment_algorithm_type", "tracking_uid"}
        assert described <= set(dataset.coords)
    if "optical_path" in dataset.dims:
        assert dataset.optical_path.values.tolist() == ["1", "2", "3"]
        np.testing.assert_array_equal(dataset.wavelength, [461, 520, 617])
    assert "frame_of_reference" in dataset.coords
    assert dataset.frame_of_reference.ndim == 0


@every_kind
def test_attributes_and_encoding(name: str) -> None:
    dataset = opened(name)
    image = dataset[kinds.kind(name).variable]
    assert dataset.encoding["source"].startswith("counted://") or dataset.encoding["source"]
    assert image.encoding["source"] == dataset.encoding["source"]
    assert image.encoding["frame_shape"][0] <= image.sizes["y"]
    assert set(image.encoding["preferred_chunks"]) == set(image.dims)
    assert not {"scale_factor", "add_offset", "dtype", "_FillValue"} & set(image.encoding)
    assert not {"scale_factor", "add_offset"} & set(image.attrs)
    assert dataset.attrs["SOPClassUID"]
    assert dataset.attrs["SeriesInstanceUID"]
    for value in (*dataset.attrs.values(), *image.attrs.values()):
        assert isinstance(value, (str, int, float, list, np.ndarray))
        assert not isinstance(value, bool)
        if isinstance(value, list):
            assert len({type(v) for v in value}) == 1
    told = repr(dict(dataset.attrs)) + repr(image.attrs) + repr(dataset.coords)
    assert not any(text in told for text in PRIVATE)
    if name == "series":
        assert "SOPInstanceUID" not in dataset.attrs
        assert image.attrs["units"] == "[hnsf'U]"


@every_kind
def test_stored_values(name: str) -> None:
    made = kinds.kind(name)
    stored = image_of(name, mask_and_scale=False)
    assert stored.dtype == DTYPES[name][1]
    by_name = image_of(name, mask_and_scale={made.variable: False})
    xr.testing.assert_identical(stored, by_name)
    elsewhere = image_of(name, mask_and_scale={"another": False})
    xr.testing.assert_identical(image_of(name), elsewhere)
    xr.testing.assert_identical(image_of(name), image_of(name, mask_and_scale=True))


def test_modality_values() -> None:
    stored, values = image_of("series", mask_and_scale=False), image_of("series")
    expected = stored.values.astype(np.float32) * np.float32(1) + np.float32(-1024)
    np.testing.assert_array_equal(values.values, expected)
    assert values.values.std() > 100
    planes = [dcmread(io.BytesIO(blob)) for blob in kinds.kind("series").objects.values()]
    planes.sort(key=lambda plane: plane.ImagePositionPatient[2])
    np.testing.assert_array_equal(stored.values, np.stack([p.pixel_array for p in planes]))
    np.testing.assert_allclose(stored.z, [p.ImagePositionPatient[2] for p in planes])


def test_fractions() -> None:
    stored, values = image_of("fractional", mask_and_scale=False), image_of("fractional")
    np.testing.assert_array_equal(values.values, stored.values / np.float32(255))
    assert 0 < values.values.max() <= 1


def test_grid_of_dimensions() -> None:
    written: list[Any] = []
    blob = kinds.content(lambda file: written.append(enhanced_mr(file)))
    image = xr.open_dataset(blob, engine="dicom").image
    np.testing.assert_array_equal(image.values, written[0])
    assert image.echo_time.values.tolist() == [10.0, 30.0]
    assert image.temporal_position.values.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(image.sel(echo_time=30.0, temporal_position=2), written[0][1, 1])


@every_kind
def test_dropped_variables(name: str) -> None:
    made = kinds.kind(name)
    whole = opened(name)
    coordinates = [str(c) for c in whole.coords]
    for dropped in (*coordinates, made.variable):
        for spelled in (dropped, [dropped]):
            dataset = opened(name, drop_variables=spelled)
            assert dropped not in dataset.variables
            pair = {"segment", "segment_label"}
            gone = pair if dropped in pair else {dropped}
            assert set(whole.variables) - set(dataset.variables) <= gone
    assert set(opened(name, drop_variables=["nothing"]).variables) == set(whole.variables)


@pytest.fixture(scope="module")
def big_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("big") / "slide.dcm"
    big_slide_repeating(path, shape=(30_000, 20_000))
    return path


def test_chunks_of_a_slide(big_slide: Path) -> None:
    image = xr.open_dataset(big_slide, engine="dicom", chunks={}).image
    assert image.encoding["frame_shape"] == (512, 512, 3)
    assert image.encoding["preferred_chunks"] == {"y": 2048, "x": 2048, "c": 3}
    assert [sizes[0] for sizes in image.chunks] == [2048, 2048, 3]
    auto = xr.open_dataset(big_slide, engine="dicom", chunks="auto").image
    assert 32 * 2**20 < math.prod(sizes[0] for sizes in auto.chunks) <= 128 * 2**20
    for sizes in auto.chunks[:2]:
        assert not any(size % 2048 for size in sizes[:-1])
    with pytest.warns(UserWarning, match="separate the stored chunks"):
        xr.open_dataset(big_slide, engine="dicom", chunks={"y": 1000})


def test_chunks_of_volumes_and_segmentations() -> None:
    blob = kinds.content(
        lambda file: enhanced_mr(file, times=2, echoes=(1.0,), planes=40, shape=(512, 512))
    )
    image = xr.open_dataset(blob, engine="dicom").image
    chunks = image.encoding["preferred_chunks"]
    # 512 × 512 in float32 is a MiB.
    assert chunks == {"temporal_position": 1, "z": 16, "y": 512, "x": 512}
    chunks = image_of("segmentation").encoding["preferred_chunks"]
    assert chunks == {"segment": 1, "z": 6, "y": 24, "x": 32}


class PlainLabels(BackendEntrypoint):
    """An engine whose coordinate without an index is an ordinary variable."""

    def open_dataset(
        self, filename_or_obj: Any, *, drop_variables: Any = None, dtype: Any = object
    ) -> xr.Dataset:
        image = xr.Variable(("n",), np.zeros(4), encoding={"preferred_chunks": {"n": 2}})
        labels = xr.Variable(("n",), np.array(["a", "b", "c", "d"], dtype))
        return xr.Dataset({"image": image, "label": labels}).set_coords("label")


def test_xarray_would_chunk_coordinates_that_have_no_index() -> None:
    """What `dataset.LabelVariable` is there for: it may go when this fails."""
    chunked = xr.open_dataset("any", engine=PlainLabels, chunks={})
    with pytest.raises(ValueError, match="inconsistent chunks"):
        chunked.chunks  # noqa: B018
    with pytest.raises(NotImplementedError, match="object dtype"):
        xr.open_dataset("any", engine=PlainLabels, chunks="auto")
    assert "'a' 'b'" not in repr(xr.open_dataset("any", engine=PlainLabels))


@pytest.mark.parametrize("chunks", [None, {}, "auto"])
@pytest.mark.parametrize("name", ["segmentation", "slide-channels", "series", "single"])
def test_coordinates_stay_in_memory(name: str, chunks: Any) -> None:
    whole = opened(name, chunks=chunks)
    tree = xr.open_datatree(kinds.kind(name).put(), engine="dicom", chunks=chunks)
    (node,) = (node.to_dataset() for node in tree.subtree if node.has_data)
    for dataset in (whole, node):
        (variable,) = dataset.data_vars
        assert dataset.chunks == dataset[variable].chunksizes
        assert set(dataset.coords) > set(dataset.xindexes)
        for coordinate in dataset.coords.values():
            assert coordinate.variable._in_memory


@every_kind
def test_chunked_equals_unchunked(name: str) -> None:
    plain = opened(name).load()
    for chunks in ({}, "auto"):
        xr.testing.assert_identical(opened(name, chunks=chunks).compute(), plain)
    xr.testing.assert_identical(opened(name).chunk(x=90, y=50).compute(), plain)


@every_kind
def test_a_pickle_reads_frames_alone(name: str) -> None:
    dataset = opened(name)
    before = pickle.dumps(dataset)
    again = pickle.loads(before)
    CountingFileSystem.forget()
    values = again.compute()
    header = {path for path, start, _ in CountingFileSystem.ranges if start < 132}
    assert not header
    assert CountingFileSystem.ranges
    xr.testing.assert_identical(values, dataset.compute())


@every_kind
def test_a_pickle_of_a_chunked_dataset_is_the_same_before_and_after_reads(name: str) -> None:
    from dask.base import tokenize

    dataset = opened(name, chunks={})
    image = dataset[kinds.kind(name).variable]
    array = image.encoding["dicom"].array
    before = pickle.dumps(array), tokenize(array)
    image.isel(y=slice(0, 10)).compute()
    assert (pickle.dumps(array), tokenize(array)) == before
    again = pickle.loads(before[0])
    assert (pickle.dumps(again), tokenize(again)) == before


def test_a_pickle_is_compact(tmp_path: Path) -> None:
    path = tmp_path / "many.dcm"
    big_segmentation(path, planes=200, segments=100)
    dataset = xr.open_dataset(path, engine="dicom")
    assert len(pickle.dumps(dataset)) < 16 * 200 * 100 + 40_000
    header = dcmread(path, stop_before_pixels=True)
    told = pickle.dumps(dataset)
    assert str(header.PatientName).encode() not in told
    assert str(header.PatientID).encode() not in told


#: What xarray writes by default, and zarr remarks on.
CONSOLIDATED = pytest.mark.filterwarnings("ignore:Consolidated metadata:UserWarning")


@CONSOLIDATED
@every_kind
def test_to_zarr(name: str, tmp_path: Path) -> None:
    dataset = opened(name, chunks={})
    dataset.to_zarr(tmp_path / "written.zarr")
    with xr.open_zarr(tmp_path / "written.zarr") as back:
        _assert_written(dataset, back)


@every_kind
@pytest.mark.parametrize("engine", ["h5netcdf", "netcdf4"])
def test_to_netcdf(name: str, engine: str, tmp_path: Path) -> None:
    dataset = opened(name)
    dataset.to_netcdf(tmp_path / "written.nc", engine=engine)
    with xr.open_dataset(tmp_path / "written.nc", engine=engine) as back:
        _assert_written(dataset, back)


def _assert_written(dataset: xr.Dataset, back: xr.Dataset) -> None:
    (name,) = dataset.data_vars
    assert back[name].dtype == dataset[name].dtype
    np.testing.assert_array_equal(back[name].values, dataset[name].values)
    assert set(back.variables) == set(dataset.variables)
    for coordinate in dataset.coords:
        # Strings come back in another type.
        assert back[coordinate].values.tolist() == dataset[coordinate].values.tolist()


@CONSOLIDATED
def test_zarr_keeps_nan_and_float32(tmp_path: Path) -> None:
    dataset = opened("series")
    dataset["image"] = dataset.image.where(dataset.image > 0)
    assert dataset.image.isnull().any()
    dataset.to_zarr(tmp_path / "written.zarr")
    with xr.open_zarr(tmp_path / "written.zarr") as back:
        assert back.image.dtype == np.float32
        np.testing.assert_array_equal(back.image.values, dataset.image.values)


@every_kind
def test_map_blocks(name: str) -> None:
    dataset = opened(name, chunks={})
    (variable,) = dataset.data_vars
    doubled = dataset.map_blocks(lambda block: block * 2)
    expected = dataset[variable].values * 2
    np.testing.assert_array_equal(doubled[variable].values, expected)


@every_kind
def test_concat(name: str) -> None:
    dataset = opened(name, chunks={})
    halves = [dataset.isel(x=slice(0, 10)), dataset.isel(x=slice(10, None))]
    xr.testing.assert_identical(xr.concat(halves, "x").compute(), dataset.compute())
    for dim in dataset.dims:
        if dim == "segment" or dataset.sizes[dim] < 2:
            continue
        parts = [dataset.isel({dim: slice(0, 1)}), dataset.isel({dim: slice(1, None)})]
        xr.testing.assert_equal(xr.concat(parts, dim).compute(), dataset.compute())


@every_kind
def test_align(name: str) -> None:
    dataset = opened(name, chunks={})
    if not {"x", "y"} <= set(dataset.indexes):
        xr.testing.assert_equal(xr.align(dataset, dataset)[1].compute(), dataset.compute())
        return
    halves = dataset.isel(x=slice(0, 12)), dataset.isel(x=slice(8, None))
    one, two = xr.align(*halves, join="inner")
    xr.testing.assert_equal(one.compute(), two.compute())
    assert one.sizes["x"] == 4
    assert (dataset + dataset.isel(y=slice(3, 9))).sizes["y"] == 6


@every_kind
def test_stack(name: str) -> None:
    dataset = opened(name, chunks={})
    (variable,) = dataset.data_vars
    stacked = dataset[variable].stack(pixel=["y", "x"])
    first = dataset[variable].transpose(..., "y", "x").values
    expected = first.reshape(*first.shape[:-2], -1)
    np.testing.assert_array_equal(stacked.transpose(..., "pixel").values, expected)


@every_kind
def test_reduction_and_selection(name: str) -> None:
    dataset = opened(name, chunks={})
    (variable,) = dataset.data_vars
    values = dataset[variable].values.astype(np.float64)
    mean = dataset[variable].astype("float64").mean(("y", "x")).values
    np.testing.assert_allclose(mean, values.mean(dataset[variable].get_axis_num(("y", "x"))))
    if "x" in dataset.indexes:
        x = dataset.x.values
        chosen = dataset[variable].sel(x=x[5], method="nearest")
        np.testing.assert_array_equal(chosen.values, dataset[variable].isel(x=5).values)


def test_selecting_segments() -> None:
    image = image_of("segmentation")
    by_label = image.sel(segment_label="Spleen")
    np.testing.assert_array_equal(by_label.values, image.sel(segment=2).values)
    assert by_label.values.any()
    assert image.sel(segment=[1, 3]).sizes["segment"] == 2
    with pytest.raises(KeyError, match="Liver"):
        image.sel(segment_label="Brain")


@pytest.fixture
def two_series(tmp_path: Path) -> list[Path]:
    paths = []
    for name in ("series", "segmentation"):
        for key, blob in kinds.kind(name).objects.items():
            path = tmp_path / name / key
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(blob)
            paths.append(path)
    return paths


def test_several_series_are_a_tree(two_series: list[Path]) -> None:
    tree = xr.open_datatree(two_series, engine="dicom")
    groups = xr.open_groups(two_series, engine="dicom")
    named = {node.path: node.to_dataset() for node in tree.subtree if node.has_data}
    assert len(named) == 2
    assert set(groups) == {"/", *named}
    assert not tree.to_dataset().variables
    kinds_found = {next(iter(dataset.data_vars)) for dataset in named.values()}
    assert kinds_found == {"image", "segmentation"}
    for path, dataset in named.items():
        assert dataset.encoding["source"]
        assert "frame_of_reference" in dataset.coords
        one = xr.open_dataset(two_series, engine="dicom", group=path)
        xr.testing.assert_identical(one.compute(), dataset.compute())
    with pytest.raises(DicomError) as caught:
        xr.open_dataset(two_series, engine="dicom")
    for path, dataset in named.items():
        assert path.strip("/") in str(caught.value)
        assert f"z {dataset.sizes['z']}" in str(caught.value)
    with pytest.raises(DicomError, match="no group"):
        xr.open_dataset(two_series, engine="dicom", group="nothing")


@every_kind
def test_one_image_is_a_tree_too(name: str) -> None:
    tree = xr.open_datatree(kinds.kind(name).put(), engine="dicom")
    dataset = opened(name)
    nodes = [node for node in tree.subtree if node.has_data]
    assert len(nodes) == 1
    xr.testing.assert_equal(nodes[0].to_dataset().compute(), dataset.compute())


def test_a_folder_is_a_series(two_series: list[Path]) -> None:
    folder = two_series[0].parent
    expected = image_of("series").load()
    for obj in (folder, str(folder), f"{folder}/*.dcm", sorted(folder.iterdir())):
        image = xr.open_dataset(obj, engine="dicom").image
        np.testing.assert_array_equal(image.values, expected.values)
    one = xr.open_dataset([folder / "0001.dcm"], engine="dicom").image
    assert one.dims == ("z", "y", "x")


def test_guess_can_open(tmp_path: Path) -> None:
    guess = DicomBackendEntrypoint().guess_can_open
    path = tmp_path / "without-suffix"
    blob = kinds.kind("single").objects["object.dcm"]
    path.write_bytes(blob)
    other = tmp_path / "other.bin"
    other.write_bytes(b"nothing of that kind" * 20)
    urls = "s3://bucket/a.dcm", "https://host/a.DCM?token=1", "a.dicom"
    for obj in (path, str(path), blob, *urls):
        assert guess(obj) is True
    nothings = (other, b"", b"x" * 200, "s3://bucket/key", tmp_path, tmp_path / "none", 7, None)
    for obj in (*nothings, object(), io.BytesIO(blob), ["a.dcm"]):
        assert guess(obj) is False
    np.testing.assert_array_equal(xr.open_dataset(path).image, image_of("single").values)
    with pytest.raises(ValueError, match="engine"):
        xr.open_dataset(other)


def test_the_decoder_goes_with_the_pickle() -> None:
    dataset = opened("slide-eot", decoder="highdicom")
    again = pickle.loads(pickle.dumps(dataset))
    for image in (dataset.image, again.image):
        assert image.encoding["dicom"].array.frames.decoder == "highdicom"
    assert opened("slide-eot").image.encoding["dicom"].array.frames.decoder == "imagecodecs"
    (tree,) = xr.open_groups(
        kinds.kind("single").put(), engine="dicom", decoder="highdicom"
    ).values()
    assert tree.image.encoding["dicom"].array.frames.decoder == "highdicom"


def test_trees_take_the_keywords_of_datasets_and_no_others() -> None:
    url = kinds.kind("series").put()
    tree = xr.open_datatree(url, engine="dicom", mask_and_scale=False, drop_variables="z")
    assert tree.image.dtype == np.uint16
    assert "z" not in tree.coords
    for open_all in (xr.open_datatree, xr.open_groups):
        with pytest.raises(TypeError, match=r"no keyword 'slide_labels'; it has .*slide_label,"):
            open_all(url, engine="dicom", slide_labels=True)


def test_two_processes_take_a_mean_over_s3(s3_server: Server) -> None:
    blob = kinds.content(lambda file: slide(file, shape=(900, 1100), tile=128))
    url = s3_server.put("cluster.dcm", blob)
    options = {"engine": "dicom", "storage_options": s3_server.storage_options}
    expected = xr.open_dataset(url, **options).image.values.mean()
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        image = xr.open_dataset(url, chunks={}, **options).image.chunk(y=256, x=256)
        assert image.data.npartitions >= 16
        np.testing.assert_allclose(image.mean().compute(), expected)
