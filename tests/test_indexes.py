"""The index of segments, by what users do to arrays that carry it."""

import copy
import operator
import os
import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from xarray_dicom.errors import DicomError
from xarray_dicom.indexes import SegmentIndex, segment_coordinates

LABELS = ("Liver", "Spleen", "Kidney", "Kidney")
BOTH = ["segment", "segment_label"]


def segmentation(numbers=(1, 2, 3, 4), labels=LABELS, name="segmentation") -> xr.Dataset:
    values = np.arange(len(numbers) * 3.0).reshape(-1, 3)
    ds = xr.Dataset({name: (("segment", "y"), values)}, coords={"y": [0.0, 1.0, 2.0]})
    return ds.assign_coords(segment_coordinates(numbers, labels))


def numbers_of(obj) -> list[int]:
    return obj.segment.values.tolist()


def labels_of(obj) -> list[str]:
    return obj.segment_label.values.tolist()


def is_indexed(obj) -> bool:
    """Whether both coordinates share one SegmentIndex that says what they say."""
    index = obj.xindexes["segment"]
    return (
        isinstance(index, SegmentIndex)
        and obj.xindexes["segment_label"] is index
        and index.numbers.tolist() == numbers_of(obj)
        and index.labels.tolist() == labels_of(obj)
    )


class TestSegmentSelection:
    @pytest.mark.parametrize(
        ("by", "numbers"),
        [
            ({"segment": [1, 4]}, [1, 4]),
            ({"segment": slice(2, 5)}, [2, 3, 4]),
            ({"segment": np.array([4, 1])}, [4, 1]),
            ({"segment": [False, True, False, True]}, [2, 4]),
            ({"segment_label": "Kidney"}, [3, 4]),
            ({"segment_label": ["Kidney", "Liver"]}, [3, 4, 1]),
            ({"segment_label": ("Spleen",)}, [2]),
            ({"segment_label": np.array(["Liver"])}, [1]),
            ({"segment_label": [False, True, False, True]}, [2, 4]),
            ({"segment_label": []}, []),
        ],
    )
    def test_keeps_the_dimension(self, by, numbers):
        found = segmentation().sel(by)
        assert numbers_of(found) == numbers
        assert is_indexed(found)
        rows = [n - 1 for n in numbers]
        np.testing.assert_array_equal(found.segmentation, segmentation().segmentation.values[rows])

    @pytest.mark.parametrize(
        "by",
        [
            {"segment": 2},
            {"segment": np.int16(2)},
            {"segment_label": "Spleen"},
            {"segment_label": np.str_("Spleen")},
            {"segment_label": xr.DataArray("Spleen")},
        ],
    )
    def test_one_segment_drops_it(self, by):
        found = segmentation().sel(by)
        assert "segment" not in found.dims
        assert found.segment.item() == 2
        assert found.segment_label.item() == "Spleen"
        assert "segment" not in found.xindexes

    @pytest.mark.parametrize("kind", [xr.DataArray, lambda v, dims: xr.Variable(dims, v)])
    @pytest.mark.parametrize("by", [("segment", [2, 1]), ("segment_label", ["Spleen", "Liver"])])
    def test_pointwise(self, kind, by):
        name, labels = by
        found = segmentation().sel({name: kind(labels, dims="points")})
        assert found.segmentation.dims == ("points", "y")
        assert numbers_of(found) == [2, 1]
        assert labels_of(found) == ["Spleen", "Liver"]

    def test_pointwise_keeps_the_coordinates_of_the_labels(self):
        wanted = xr.DataArray(["Spleen"], dims="organ", coords={"organ": [7]})
        assert segmentation().sel(segment_label=wanted).organ.item() == 7

    def test_pointwise_by_a_label_of_two_segments_is_refused(self):
        with pytest.raises(DicomError, match=r"'Kidney' is that of segments \[3, 4\]"):
            segmentation().sel(segment_label=xr.DataArray(["Kidney"], dims="points"))

    def test_by_own_coordinate(self):
        ds = segmentation()
        assert numbers_of(ds.sel(segment=ds.segment[1:3])) == [2, 3]
        assert numbers_of(ds.sel(segment_label=ds.segment_label[:2])) == [1, 2]

    @pytest.mark.parametrize("wanted", ["Heart", ["Liver", "Heart"]])
    def test_unknown_label_lists_the_labels(self, wanted):
        with pytest.raises(KeyError, match=r"'Heart'; labels are \['Liver', 'Spleen', 'Kidney'\]"):
            segmentation().sel(segment_label=wanted)

    @pytest.mark.parametrize("wanted", [9, [1, 9]])
    def test_unknown_number_lists_the_numbers(self, wanted):
        with pytest.raises(KeyError, match=r"numbers are \[1, 2, 3, 4\]"):
            segmentation().sel(segment=wanted)

    @pytest.mark.parametrize(
        ("by", "options", "words"),
        [
            ({"segment_label": slice("Kidney", "Liver")}, {}, "no order to slice by"),
            ({"segment": 2}, {"method": "nearest"}, "selected exactly"),
            ({"segment_label": "Liver"}, {"tolerance": 1}, "selected exactly"),
            ({"segment": 1, "segment_label": "Liver"}, {}, "not by both"),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, by, options, words):
        with pytest.raises(DicomError, match=words):
            segmentation().sel(by, **options)

    @pytest.mark.parametrize(
        ("at", "numbers"),
        [
            (slice(None), [1, 2, 3, 4]),
            (slice(None, None, -2), [4, 2]),
            ([3, 0], [4, 1]),
            ([0, 0], [1, 1]),
            (np.array([True, False, True, False]), [1, 3]),
            (xr.Variable("segment", [2]), [3]),
        ],
    )
    def test_isel_keeps_the_index(self, at, numbers):
        found = segmentation().isel(segment=at)
        assert numbers_of(found) == numbers
        assert is_indexed(found)

    @pytest.mark.parametrize("at", [1, np.array(1), xr.Variable("points", [1, 0])])
    def test_isel_drops_the_index_with_the_dimension(self, at):
        found = segmentation().isel(segment=at)
        assert "segment" not in found.xindexes
        assert found.segment_label.values.ravel()[0] == "Spleen"


CONFLICTS = {
    "add": operator.add,
    **{
        f"align {join}": lambda a, b, join=join: xr.align(a, b, join=join)
        for join in ("inner", "outer", "left", "right", "exact")
    },
    "merge": lambda a, b: xr.merge(
        [a, b.rename(segmentation="other")], join="outer", compat="override"
    ),
    "concat": lambda a, b: xr.concat([a, b], "segment"),
    "concat new": lambda a, b: xr.concat([a, b], "t", join="outer"),
    "where": lambda a, b: a.where(b > 0),
    "reindex_like": lambda a, b: a.reindex_like(b),
}


class TestSegmentAlignment:
    @pytest.mark.parametrize(
        ("join", "numbers"),
        [
            ("inner", [3, 4]),
            ("outer", [1, 2, 3, 4, 9]),
            ("left", [1, 2, 3, 4]),
            ("right", [3, 4, 9]),
        ],
    )
    def test_by_number(self, join, numbers):
        other = segmentation((3, 4, 9), ("Kidney", "Kidney", "Lung"))
        names = dict(zip((1, 2, 3, 4, 9), (*LABELS, "Lung"), strict=True))
        for found in xr.align(segmentation(), other, join=join):
            assert numbers_of(found) == numbers
            assert labels_of(found) == [names[n] for n in numbers]
            assert is_indexed(found)
            assert isinstance(found.indexes["segment"], pd.Index)

    def test_values_go_with_their_numbers(self):
        ds = segmentation()
        found = ds - ds.isel(segment=[2, 0])
        assert numbers_of(found) == [1, 3]
        assert not found.segmentation.any()

    def test_exact_refuses_other_segments(self):
        with pytest.raises(ValueError, match="segment"):
            xr.align(segmentation(), segmentation().isel(segment=[0]), join="exact")

    def test_exact_accepts_equal_ones(self):
        a, b = xr.align(segmentation(), segmentation(), join="exact")
        assert is_indexed(a)
        assert is_indexed(b)

    def test_reindex_like_fills(self):
        other = segmentation((2, 7), ("Spleen", "Lung"))
        found = segmentation().reindex_like(other)
        assert is_indexed(found)
        assert np.isnan(found.segmentation.sel(segment_label="Lung")).all()

    @pytest.mark.parametrize("operation", CONFLICTS.values(), ids=CONFLICTS)
    def test_one_number_with_two_labels_names_both(self, operation):
        other = segmentation((1, 4), ("Liver", "Heart"))
        with pytest.raises(DicomError, match=r"segment 4 is '(Kidney|Heart)' and '(Kidney|Heart)'"):
            operation(segmentation(), other)

    def test_comparison_does_not_raise(self):
        other = segmentation(labels=("Liver", "Spleen", "Kidney", "Heart"))
        assert not segmentation().equals(other)
        assert not segmentation().identical(other)
        assert not segmentation().xindexes["segment"].equals(None)

    def test_repeated_numbers_do_not_align(self):
        twice = segmentation().isel(segment=[0, 0])
        with pytest.raises(DicomError, match="number twice"):
            xr.align(twice, segmentation(), join="left")[0].reindex_like(segmentation())

    def test_weights_by_number_multiply(self):
        weights = xr.DataArray([1, 2, 3, 4], dims="segment", coords={"segment": [1, 2, 3, 4]})
        found = segmentation() * weights
        assert is_indexed(found)
        assert found.segmentation.sel(segment=2, y=0).item() == 6


SAME = {
    "copy": lambda ds: ds.copy(deep=True),
    "deepcopy": copy.deepcopy,
    "pickle": lambda ds: pickle.loads(pickle.dumps(ds)),
    "chunk": lambda ds: ds.chunk(segment=2).compute(),
    "rename there and back": lambda ds: ds.rename(segment="s", segment_label="l").rename(
        s="segment", l="segment_label"
    ),
    "roll there and back": lambda ds: ds.roll(segment=3, roll_coords=True).roll(
        segment=-3, roll_coords=True
    ),
    "transpose": lambda ds: ds.transpose().transpose(),
    "set again": lambda ds: ds.drop_indexes(BOTH).set_xindex(BOTH, SegmentIndex),
    "map_blocks": lambda ds: xr.map_blocks(lambda d: d * 1, ds.chunk(segment=2)).compute(),
    "map_blocks over y": lambda ds: xr.map_blocks(lambda d: d * 1, ds.chunk(y=1)).compute(),
    "map_blocks template": lambda ds: xr.map_blocks(
        lambda d: d * 1, ds.chunk(segment=2), template=ds.chunk(segment=2)
    ).compute(),
    "map_blocks of an array": lambda ds: (
        xr.map_blocks(lambda d: d * 1, ds.segmentation.chunk(segment=2)).compute().to_dataset()
    ),
    "sort": lambda ds: ds.isel(segment=[3, 1, 0, 2]).sortby("segment"),
}


class TestSegmentShapes:
    def test_concat(self):
        ds = segmentation()
        found = xr.concat([ds.isel(segment=[3, 1]), ds.isel(segment=[0])], "segment")
        assert numbers_of(found) == [4, 2, 1]
        assert is_indexed(found)

    def test_concat_along_a_new_dimension(self):
        found = xr.concat([segmentation(), segmentation()], "time")
        assert found.segmentation.dims == ("time", "segment", "y")
        assert is_indexed(found)

    def test_combine_by_coords_orders_by_number(self):
        ds = segmentation()
        found = xr.combine_by_coords(
            [ds.isel(segment=[2, 3]), ds.isel(segment=[0, 1])],
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="outer",
        )
        xr.testing.assert_identical(found, ds)
        assert is_indexed(found)

    @pytest.mark.parametrize("operation", SAME.values(), ids=SAME)
    def test_survives(self, operation):
        found = operation(segmentation())
        xr.testing.assert_identical(found, segmentation())
        assert is_indexed(found)

    def test_map_blocks_blocks_carry_labels(self):
        def only_livers(block):
            return block.where(block.segment_label == "Liver", 0)

        found = xr.map_blocks(only_livers, segmentation().chunk(segment=1)).compute()
        expected = segmentation().segmentation.values * [[1], [0], [0], [0]]
        np.testing.assert_array_equal(found.segmentation, expected)

    def test_map_blocks_that_reduces(self):
        found = xr.map_blocks(lambda d: d.mean("y"), segmentation().chunk(segment=2)).compute()
        assert is_indexed(found)
        np.testing.assert_array_equal(found.segmentation, [1, 4, 7, 10])

    def test_rename_keeps_selection(self):
        found = segmentation().rename(segment_label="organ").sel(organ="Spleen")
        assert found.segment.item() == 2

    def test_roll(self):
        found = segmentation().roll(segment=1, roll_coords=True)
        assert numbers_of(found) == [4, 1, 2, 3]
        assert is_indexed(found)

    def test_stack_and_unstack(self):
        stacked = segmentation().stack(place=("segment", "y"))
        assert stacked.sizes == {"place": 12}
        back = stacked.unstack("place")
        np.testing.assert_array_equal(back.segmentation, segmentation().segmentation)

    def test_attrs_stay(self):
        ds = segmentation()
        ds.segment.attrs["long_name"] = "Segment Number"
        assert ds.isel(segment=[1]).segment.attrs == {"long_name": "Segment Number"}

    def test_group_by_after_dropping_the_index(self):
        found = segmentation().drop_indexes(BOTH).groupby("segment_label").sum()
        assert found.segmentation.sel(segment_label="Kidney", y=0).item() == 6 + 9

    def test_repr_is_short(self):
        many = segment_coordinates(range(1, 201), [f"s{i}" for i in range(200)])
        assert len(repr(many.xindexes["segment"])) < 250
        assert "SegmentIndex (200 segments)" in repr(many.to_dataset())


class TestSegmentConstruction:
    def test_numbers_and_labels_are_told_apart_by_kind(self):
        ds = segmentation().drop_indexes(BOTH)
        found = ds.set_xindex(["segment_label", "segment"], SegmentIndex)
        assert is_indexed(found)
        assert is_indexed(found + segmentation())

    @pytest.mark.parametrize(
        "labels",
        [np.array(LABELS), np.array(LABELS, "S"), np.array(LABELS, np.dtypes.StringDType())],
    )
    def test_strings_of_any_kind(self, labels):
        ds = xr.Dataset(coords={"segment": [1, 2, 3, 4], "segment_label": ("segment", labels)})
        found = ds.drop_indexes("segment").set_xindex(BOTH, SegmentIndex)
        assert found.sel(segment_label="Liver").segment.item() == 1

    def test_zarr_gives_plain_coordinates(self, tmp_path):
        segmentation().to_zarr(tmp_path, consolidated=False)
        with xr.open_zarr(tmp_path, consolidated=False) as plain:
            self.check_plain(plain)

    @pytest.mark.parametrize(("engine", "library"), [("h5netcdf", "h5py"), ("netcdf4", "netCDF4")])
    def test_netcdf_gives_plain_coordinates(self, tmp_path, engine, library):
        pytest.importorskip(library)
        segmentation().to_netcdf(tmp_path / "s.nc", engine=engine)
        with xr.open_dataset(tmp_path / "s.nc", engine=engine) as plain:
            self.check_plain(plain)

    def check_plain(self, plain):
        assert type(plain.xindexes["segment"]).__name__ == "PandasIndex"
        assert labels_of(plain) == list(LABELS)
        found = plain.drop_indexes("segment").set_xindex(BOTH, SegmentIndex)
        assert is_indexed(found)
        assert is_indexed(found + segmentation())

    @pytest.mark.parametrize(
        ("variables", "words"),
        [
            ({"segment": [1, 2]}, "two coordinates"),
            ({"segment": [1, 2], "segment_label": ("segment", [3, 4])}, "two coordinates"),
            ({"segment": [1.0, 2.0], "segment_label": ("segment", ["a", "b"])}, "float64"),
            ({"segment": [1], "segment_label": ("other", ["a"])}, "one dimension"),
            ({"segment": [1, 1], "segment_label": ("segment", ["a", "b"])}, "'a' and 'b'"),
            ({"segment": 1, "segment_label": "a"}, "one dimension"),
        ],
    )
    def test_other_coordinates_are_refused(self, variables, words):
        made = {
            name: xr.Variable(*value)
            if isinstance(value, tuple)
            else xr.Variable((name,) * np.ndim(value), value)
            for name, value in variables.items()
        }
        with pytest.raises(DicomError, match=words):
            SegmentIndex.from_variables(made, options={})

    def test_lengths_must_agree(self):
        with pytest.raises(DicomError, match="2 segment numbers, but 1 segment labels"):
            segment_coordinates([1, 2], ["a"])


def test_indexes_do_not_depend_on_the_order_of_hashes():
    """map_blocks passes names through a set, so string hashes decide their order."""
    program = (
        "import sys; sys.path[:0] = sys.argv[1:]\n"
        "import numpy as np, xarray as xr\n"
        "from test_indexes import is_indexed, segmentation\n"
        "ds = segmentation()\n"
        "found = xr.map_blocks(lambda d: d * 1, ds.chunk(segment=2))\n"
        "assert is_indexed(found + ds)\n"
    )
    for seed in ("1", "2", "3", "4"):
        subprocess.run(
            [sys.executable, "-c", program, __file__.rpartition("/")[0]],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
