"""The index of frames of reference, by what users do to arrays that carry it."""

import copy
import operator
import pickle

import numpy as np
import pytest
import xarray as xr

from xarray_dicom.errors import DicomError
from xarray_dicom.indexes import FrameOfReferenceIndex, frame_of_reference_coordinates

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def image(uid="1.2.3", orientation=AXIAL, first=0.0) -> xr.Dataset:
    ds = xr.Dataset(
        {"image": (("z", "y", "x"), np.arange(24.0).reshape(2, 3, 4))},
        coords={"z": [first, first + 1], "y": [0.0, 1.0, 2.0], "x": [0.0, 1.0, 2.0, 3.0]},
    )
    return ds.assign_coords(frame_of_reference_coordinates(uid, orientation))


def is_framed(obj) -> bool:
    """Whether the coordinate is a scalar with its index."""
    index = obj.xindexes.get("frame_of_reference")
    return isinstance(index, FrameOfReferenceIndex) and obj.frame_of_reference.ndim == 0


def below(ds: xr.Dataset) -> xr.Dataset:
    """The same planes further along z."""
    return ds.assign_coords(z=ds.z + 2)


COMBINE = {"data_vars": "minimal", "compat": "override"}

TOGETHER = {
    "add": operator.add,
    "add arrays": lambda a, b: a.image + b.image,
    "where": lambda a, b: a.where(b > 3),
    "where other": lambda a, b: a.where(a > 3, b),
    "xr.where": lambda a, b: xr.where(a.image > 3, a.image, b.image),
    "fillna": lambda a, b: a.fillna(b),
    "combine_first": lambda a, b: a.combine_first(b),
    "dot": lambda a, b: xr.dot(a.image, b.image, dim="z"),
    "reindex_like": lambda a, b: a.reindex_like(b),
    "concat different coords": lambda a, b: xr.concat(
        [a, below(b)], "z", data_vars="minimal", coords="different", compat="equals"
    ),
    "concat all coords": lambda a, b: xr.concat([a, b], "t", coords="all"),
    "dataset.merge": lambda a, b: a.merge(b.rename(image="other")),
}
for _join in ("inner", "outer", "left", "right", "exact"):
    TOGETHER |= {
        f"align {_join}": lambda a, b, join=_join: xr.align(a, b, join=join)[0],
        f"merge {_join}": lambda a, b, join=_join: xr.merge(
            [a, b.rename(image="other")], join=join, compat="override"
        ),
        f"concat {_join}": lambda a, b, join=_join: xr.concat(
            [a, below(b)], "z", join=join, coords="minimal", **COMBINE
        ),
        f"concat new {_join}": lambda a, b, join=_join: xr.concat(
            [a, b], "t", join=join, coords="minimal", compat="override", data_vars="all"
        ),
        f"combine_by_coords {_join}": lambda a, b, join=_join: xr.combine_by_coords(
            [a, below(b)], join=join, coords="minimal", **COMBINE
        ),
        f"apply_ufunc {_join}": lambda a, b, join=_join: xr.apply_ufunc(
            np.add, a.image, b.image, join=join
        ),
    }


KEPT = {
    "isel": lambda ds: ds.isel(z=0),
    "sel": lambda ds: ds.sel(z=slice(0, 1)),
    "points": lambda ds: ds.isel(z=xr.Variable("p", [0, 1]), y=xr.Variable("p", [0, 1])),
    "transpose": lambda ds: ds.transpose("x", ...),
    "rename": lambda ds: ds.rename(image="ct", z="depth"),
    "rename there and back": lambda ds: ds.rename(frame_of_reference="f").rename(
        f="frame_of_reference"
    ),
    "copy": lambda ds: ds.copy(),
    "deep copy": copy.deepcopy,
    "pickle": lambda ds: pickle.loads(pickle.dumps(ds)),
    "roll": lambda ds: ds.roll(z=1, roll_coords=True),
    "expand_dims": lambda ds: ds.expand_dims(t=[1, 2]),
    "stack": lambda ds: ds.stack(p=("z", "y")),
    "unstack": lambda ds: ds.stack(p=("z", "y")).unstack("p"),
    "array": lambda ds: ds.image,
    "to_dataset": lambda ds: ds.image.to_dataset(name="ct"),
    "to_dataset by z": lambda ds: ds.image.to_dataset("z"),
    "to_dataarray": lambda ds: ds.to_dataarray(),
    "mean": lambda ds: ds.mean("z"),
    "rolling": lambda ds: ds.rolling(z=2).mean(),
    "groupby": lambda ds: ds.groupby("z").map(lambda d: d + 1),
    "pad": lambda ds: ds.pad(z=1),
    "reindex": lambda ds: ds.reindex(z=[0, 1, 2]),
    "interp": lambda ds: ds.interp(z=[0.5]),
    "astype": lambda ds: ds.astype("f4"),
    "chunk": lambda ds: ds.chunk(z=1).compute(),
    "map_blocks": lambda ds: xr.map_blocks(lambda d: d + 1, ds.chunk(z=1)).compute(),
    "map_blocks mean": lambda ds: xr.map_blocks(
        lambda d: d.mean("x"), ds.image.chunk(z=1)
    ).compute(),
    "map_blocks template": lambda ds: xr.map_blocks(
        lambda d: d + 1, ds.chunk(z=1), template=ds.chunk(z=1)
    ).compute(),
    "apply_ufunc": lambda ds: xr.apply_ufunc(np.sqrt, ds.chunk(z=1), dask="parallelized"),
    "tree": lambda ds: (
        xr.DataTree.from_dict({"/a": ds, "/b": image("9")})
        .map_over_datasets(lambda d: d + 1)["a"]
        .to_dataset()
    ),
    "plain partner": lambda ds: ds + ds.drop_vars("frame_of_reference"),
}


class TestFrameOfReference:
    @pytest.mark.parametrize(
        "other",
        [
            image("1.2.4"),
            image(orientation=(1, 0, 0, 0, -1, 0)),
            image(orientation=(1, 2e-4, 0, 0, 1, 0)),
        ],
        ids=["uid", "prone", "slightly turned"],
    )
    @pytest.mark.parametrize("operation", TOGETHER.values(), ids=TOGETHER)
    def test_another_one_is_refused(self, operation, other):
        with pytest.raises(DicomError, match="frames of reference differ") as caught:
            operation(image(), other)
        for each in (image(), other):
            assert repr(each.frame_of_reference.item()) in str(caught.value)

    @pytest.mark.parametrize("operation", TOGETHER.values(), ids=TOGETHER)
    def test_the_same_one_within_tolerance_is_kept(self, operation):
        nearly = image(orientation=(1, 6e-5, 0, 0, 1, 0))
        assert nearly.frame_of_reference.item() != image().frame_of_reference.item()
        found = operation(image(), nearly)
        assert is_framed(found)
        assert found.frame_of_reference.item() == image().frame_of_reference.item()

    @pytest.mark.parametrize("operation", TOGETHER.values(), ids=TOGETHER)
    def test_dropping_the_coordinate_opts_out(self, operation):
        a, b = image(), image("1.2.4")
        operation(a.drop_vars("frame_of_reference"), b.drop_vars("frame_of_reference"))

    def test_override_asks_xarray_not_to_look(self):
        _, found = xr.align(image(), image("1.2.4"), join="override")
        assert found.frame_of_reference.item() == "1.2.3 [1,0,0,0,1,0]"

    @pytest.mark.parametrize("operation", KEPT.values(), ids=KEPT)
    def test_survives(self, operation):
        found = operation(image())
        assert is_framed(found)
        assert found.frame_of_reference.item() == "1.2.3 [1,0,0,0,1,0]"
        assert found.xindexes["frame_of_reference"].equals(image().xindexes["frame_of_reference"])

    def test_full_precision_outlives_the_text(self):
        cosines = (0.70710678, 0.70710678, 0, 0, 0, -1)
        index = pickle.loads(pickle.dumps(image(orientation=cosines))).xindexes[
            "frame_of_reference"
        ]
        assert index.orientation == cosines

    def test_comparison_does_not_raise(self):
        a, b = image(), image("1.2.4")
        assert not a.equals(b)
        assert not a.identical(b)
        with pytest.raises(AssertionError, match=r"1\.2\.4"):
            xr.testing.assert_identical(a, b)

    def test_parent_and_child_of_a_tree_must_agree(self):
        with pytest.raises(ValueError, match="not aligned with its parents"):
            xr.DataTree.from_dict({"/": image(), "/a": image("1.2.4")})

    def test_zarr_gives_a_plain_coordinate(self, tmp_path):
        image().to_zarr(tmp_path, consolidated=False)
        with xr.open_zarr(tmp_path, consolidated=False) as plain:
            self.check_plain(plain)

    @pytest.mark.parametrize(("engine", "library"), [("h5netcdf", "h5py"), ("netcdf4", "netCDF4")])
    def test_netcdf_gives_a_plain_coordinate(self, tmp_path, engine, library):
        pytest.importorskip(library)
        image().to_netcdf(tmp_path / "s.nc", engine=engine)
        with xr.open_dataset(tmp_path / "s.nc", engine=engine) as plain:
            self.check_plain(plain)

    def check_plain(self, plain):
        assert "frame_of_reference" in plain.coords
        assert "frame_of_reference" not in plain.xindexes
        found = plain.set_xindex("frame_of_reference", FrameOfReferenceIndex)
        assert is_framed(found)
        with pytest.raises(DicomError, match="frames of reference differ"):
            xr.align(found, image("1.2.4"))

    @pytest.mark.parametrize("value", ["", "1.2.3", ["1.2.3 [1,0,0,0,1,0]"]])
    def test_other_coordinates_are_refused(self, value):
        variable = xr.Variable(("z",) * np.ndim(value), value)
        with pytest.raises(DicomError):
            FrameOfReferenceIndex.from_variables({"frame_of_reference": variable}, options={})

    def test_coordinates_from_the_index_alone(self):
        index = FrameOfReferenceIndex("1.2.3", AXIAL)
        coords = xr.Coordinates.from_xindex(index)
        assert coords["frame_of_reference"].item() == "1.2.3 [1,0,0,0,1,0]"
        assert "FrameOfReferenceIndex (1.2.3 [1,0,0,0,1,0])" in repr(coords.to_dataset())
