"""Records of instances: whole or a miss, enough to lay the object out, and nothing beyond."""

from __future__ import annotations

import io
import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from support.generate.attributes import write
from support.generate.series import ct_series
from support.kinds import NAMES, kind
from xarray_dicom import index_cache
from xarray_dicom.frames.offsets import ExactOffsets, ItemOffsets, NativeOffsets, SingleFrame
from xarray_dicom.index_cache import header_subset, serialize
from xarray_dicom.index_cache.sections import Reader, RecordError, Sections
from xarray_dicom.index_cache.serialize_offsets import FORMS, read_offsets, write_offsets
from xarray_dicom.instance import Instance, open_instance
from xarray_dicom.layout.kinds import lay_out
from xarray_dicom.layout.options import LayoutOptions
from xarray_dicom.parsing.elements import Column
from xarray_dicom.runtime import run
from xarray_dicom.storage import ByteSource, open_source

OPTIONS = LayoutOptions(
    scale=True, stored=frozenset(), real_world=None, memory_budget=2**28, slide_label=True
)


def opened(path: Path) -> tuple[Instance, ByteSource]:
    source = open_source(path)
    return run(open_instance(source, first=2**18)), source


def recorded(one: Instance, *notices: str) -> bytes:
    blob = index_cache.encode(one, notices)
    assert blob is not None
    return blob


def again(one: Instance, source: ByteSource) -> Instance:
    found = index_cache.decode(recorded(one), source)
    assert found is not None
    return found[0]


def ct(tmp_path: Path, syntax: str = ExplicitVRLittleEndian, **attributes: Any) -> Path:
    (plane,) = ct_series(None, planes=1, shape=(24, 32))
    for keyword, value in attributes.items():
        setattr(plane, keyword, value)
    path = tmp_path / "ct.dcm"
    with open(path, "wb") as file:
        write(plane, file, syntax)
    return path


def objects(name: str, folder: Path) -> list[Path]:
    paths = []
    for file, blob in kind(name).objects.items():
        paths.append(folder / file)
        paths[-1].write_bytes(blob)
    return paths


class TestSections:
    @given(st.lists(st.binary(max_size=2000)))
    def test_bytes(self, contents: list[bytes]) -> None:
        sections = Sections()
        places = [sections.add(content) for content in contents]
        reader = Reader(sections.joined())
        assert [reader.bytes(place) for place in places] == contents

    @given(
        hnp.arrays(
            st.sampled_from(["<f8", "<i8", "<i4", "S1", "S7", ">f8", ">i8"]),
            hnp.array_shapes(max_dims=2),
        )
    )
    def test_arrays(self, array: np.ndarray) -> None:
        sections = Sections()
        told = json.loads(json.dumps(sections.add_array(array)))
        found = Reader(sections.joined()).array(told)
        assert found.dtype == array.dtype.newbyteorder("<")
        # Bit for bit, whatever kind of NaN.
        assert found.tobytes() == array.astype(found.dtype).tobytes()

    def test_even_steps_cost_next_to_nothing(self) -> None:
        numbers = np.arange(100_000, dtype=np.int64) * 1234 + 5678
        sections = Sections()
        told = sections.add_steps(numbers)
        assert len(sections.joined()) < 10_000
        np.testing.assert_array_equal(Reader(sections.joined()).steps(told), numbers)

    @pytest.mark.parametrize(
        "place", [[0, 5, 4], [0, 11, 11], [8, 4, 4], [-1, 4, 4], [0, 4, 10**6], [0, 4], ["0", 4, 4]]
    )
    def test_places_that_are_none(self, place: list[Any]) -> None:
        with pytest.raises((RecordError, ValueError)):
            Reader(b"0123456789").bytes(place)

    def test_a_section_never_grows_beyond_what_is_told(self) -> None:
        bomb = zlib.compress(bytes(10**6))
        with pytest.raises(RecordError):
            Reader(bomb).bytes([0, len(bomb), len(bomb) + 1])

    @pytest.mark.parametrize("dtype", ["|O", "<O", "<f4", "V8", "S0", "S99999999", "<M8[s]", "U4"])
    def test_types_that_no_column_has(self, dtype: str) -> None:
        with pytest.raises(RecordError):
            Reader(bytes(80)).array({"dtype": dtype, "shape": [10], "place": [0, 80, 80]})


OFFSETS = [
    NativeOffsets(7, 1000, 8 * 512, 5000),
    NativeOffsets(7, 1000, 8 * 512, 5000, 16),
    ExactOffsets.from_lengths(np.array([50, 208, 300]), np.array([150, 80, 7]), 400, "tiff"),
    # Frames in any order, with one of more than 4 GiB.
    ExactOffsets.from_lengths(np.array([2**40, 8]), np.array([2**33, 5]), 2**41),
    ItemOffsets(np.array([10, 30, 70, 71]), 3, 100),
    ItemOffsets(np.array([10, 30]), 3, 100),
    SingleFrame(10, 300),
]


class TestOffsets:
    @pytest.mark.parametrize("offsets", OFFSETS, ids=lambda one: type(one).__name__)
    def test_round_trip(self, offsets: Any) -> None:
        sections = Sections()
        told = write_offsets(offsets, sections)
        assert "here" not in json.dumps(told)
        found = read_offsets(told, Reader(sections.joined()), "there", offsets.n_frames)
        assert _state(found) == {**_state(offsets), "location": "there"}

    def test_every_kind_has_a_form(self) -> None:
        assert {form.kind for form in FORMS.values()} == {type(one) for one in OFFSETS}

    def test_offsets_of_some_frames_are_not_kept(self) -> None:
        with pytest.raises(RecordError):
            write_offsets(ItemOffsets(np.array([5, 9]), 10, 100, 4), Sections())


def _state(offsets: Any) -> dict[str, Any]:
    """All that offsets are made of."""
    values = {name: getattr(offsets, name) for name in type(offsets).__dataclass_fields__}
    return {
        name: (str(value.dtype), value.tolist()) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


class TestRecord:
    @pytest.mark.parametrize("name", NAMES)
    def test_every_kind(self, name: str, tmp_path: Path) -> None:
        for path in objects(name, tmp_path):
            one, source = opened(path)
            found = again(one, source)
            assert found.frames.format == one.frames.format
            assert found.frames.n_frames == one.frames.n_frames
            assert found.frames.has_offsets == one.frames.has_offsets == kind(name).has_table
            assert found.columns.keys() == one.columns.keys()
            for element, column in one.columns.items():
                np.testing.assert_array_equal(found.columns[element].values, column.values)
                np.testing.assert_array_equal(found.columns[element].count, column.count)
                assert found.columns[element].values.dtype == column.values.dtype
            for element in found.dataset:
                assert element.tag in header_subset.KEPT
                if header_subset.KEPT[element.tag] is None:
                    assert element == one.dataset[element.tag]

    @pytest.mark.parametrize(
        "syntax",
        [
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        ],
        ids=lambda uid: uid.name,
    )
    @pytest.mark.filterwarnings("ignore:.*deflated as a whole")
    def test_every_encoding(self, tmp_path: Path, syntax: str) -> None:
        written = {
            "SpecificCharacterSet": "ISO_IR 192",
            "Manufacturer": "Hersteller für Röntgen",
            "SoftwareVersions": ["1.0", "2.0"],
            "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
            "EchoTime": "2.50",
            "SmallestImagePixelValue": 5,
            "PixelPaddingValue": 2000,
            "KVP": "",
        }
        one, source = opened(ct(tmp_path, syntax, **written))
        found = again(one, source)
        for keyword in written:
            if keyword != "SmallestImagePixelValue":
                assert found.dataset[keyword] == one.dataset[keyword]
                assert found.dataset[keyword].VR == one.dataset[keyword].VR
        assert "SmallestImagePixelValue" not in found.dataset
        # Decimal strings as they are spelled.
        assert found.dataset.EchoTime.original_string == "2.50"
        (layouts, expected) = (lay_out([opened], OPTIONS, alone=True) for opened in (found, one))
        assert layouts[""].dataset_attrs == expected[""].dataset_attrs

    def test_texts_of_items_in_a_character_set_of_their_own(self, tmp_path: Path) -> None:
        (path,) = objects("segmentation", tmp_path)
        dataset = pydicom.dcmread(path)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        dataset.SegmentSequence[0].SegmentLabel = "Leber für Ärzte"
        dataset.SegmentSequence[1].SpecificCharacterSet = "ISO_IR 144"
        dataset.SegmentSequence[1].SegmentLabel = "Селезёнка"
        dataset.save_as(path)
        one, source = opened(path)
        labels = [item.SegmentLabel for item in again(one, source).dataset.SegmentSequence]
        assert labels == ["Leber für Ärzte", "Селезёнка", "Aorta"]

    def test_columns_that_frames_share_are_one_row(self, tmp_path: Path) -> None:
        (path,) = objects("segmentation", tmp_path)
        one, source = opened(path)
        found = again(one, source)
        strides = {path: column.values.strides[0] for path, column in found.columns.items()}
        assert strides[0x00209113, 0x00200032] > 0
        assert strides[0x00289110, 0x00280030] == 0

    def test_a_record_of_another_version_is_a_miss(self, tmp_path: Path) -> None:
        one, source = opened(ct(tmp_path))
        blob = recorded(one)
        fingerprint = source.fingerprint
        assert fingerprint is not None
        for other in (
            replace(fingerprint, size=fingerprint.size + 1),
            replace(fingerprint, version="mtime:1"),
        ):
            source._fingerprint = other  # type: ignore[attr-defined]
            assert index_cache.decode(blob, source) is None
        source._fingerprint = fingerprint  # type: ignore[attr-defined]
        assert index_cache.decode(blob, source) is not None

    def test_a_record_by_other_rules_is_a_miss(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, source = opened(ct(tmp_path))
        blob = recorded(one)
        with monkeypatch.context() as changed:
            changed.setitem(header_subset.KEPT, 0x00080070, None)
            assert index_cache.decode(blob, source) is not None
            changed.setitem(header_subset.KEPT, 0x00081010, None)
            serialize.rules.cache_clear()
            assert index_cache.decode(blob, source) is None
        serialize.rules.cache_clear()
        monkeypatch.setattr(serialize, "version", lambda _: "99.0")
        assert index_cache.decode(blob, source) is None
        serialize.rules.cache_clear()

    def test_an_object_without_a_version_has_no_record(self, tmp_path: Path) -> None:
        one, source = opened(ct(tmp_path))
        assert source.fingerprint is not None
        source._fingerprint = replace(source.fingerprint, version="")  # type: ignore[attr-defined]
        assert index_cache.encode(one) is None

    def test_notices_are_of_the_object_wherever_it_lies(self, tmp_path: Path) -> None:
        one, source = opened(ct(tmp_path))
        blob = recorded(one, f"{one.location}: too short")
        assert str(tmp_path).encode() not in blob
        found = index_cache.decode(blob, source)
        assert found is not None
        assert found[1] == [f"{one.location}: too short"]

    def test_offsets_found_later(self, tmp_path: Path) -> None:
        (path,) = objects("slide-no-table", tmp_path)
        one, source = opened(path)
        blob = recorded(one)
        offsets = run(one.frames.frame_offsets())
        whole = serialize.complete(blob, offsets, ["here: some frames"], "here")
        assert whole is not None
        found = index_cache.decode(whole, source)
        assert found is not None
        assert found[0].frames.has_offsets
        assert found[1] == [f"{source.location}: some frames"]
        assert _state(run(found[0].frames.frame_offsets())) == _state(offsets)
        # What is damaged can't be completed.
        assert serialize.complete(blob[:50], offsets, [], "here") is None


class TestDamage:
    """Records as they come out of a checksum that somebody forged."""

    @pytest.mark.parametrize("name", ["segmentation", "slide-eot", "slide-no-table"])
    def test_it_never_raises(self, name: str, tmp_path: Path) -> None:
        (path,) = objects(name, tmp_path)
        one, source = opened(path)
        blob = recorded(one)
        chance = random.Random(name)
        for _ in range(1500):
            damaged = bytearray(blob)
            for _ in range(chance.choice((1, 1, 2, 8))):
                damaged[chance.randrange(len(damaged))] = chance.randrange(256)
            index_cache.decode(bytes(damaged), source)
        for length in range(0, len(blob), 7):
            assert index_cache.decode(blob[:length], source) is None

    CHANGES = (
        ("n_frames", 10**12),
        ("n_frames", 0),
        ("n_frames", -1),
        ("n_frames", 2.5),
        ("n_frames", True),
        ("format", {}),
        ("inflated", -5),
        ("columns", [{"path": ["x"], "values": {}, "count": {}}]),
        ("columns", 5),
        ("offsets", {"form": "os.system"}),
        ("offsets", None),
        ("notices", [5]),
        ("header", [0, 10**15, 10**15]),
    )

    @pytest.mark.parametrize(("key", "value"), CHANGES)
    def test_what_is_not_as_it_should_be_is_a_miss(
        self, tmp_path: Path, key: str, value: Any
    ) -> None:
        (path,) = objects("segmentation", tmp_path)
        one, source = opened(path)
        head, content = serialize._parted(recorded(one))
        assert index_cache.decode(serialize._joined(head, Sections(content)), source) is not None
        head[key] = value
        assert index_cache.decode(serialize._joined(head, Sections(content)), source) is None

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("rows", 0),
            ("rows", "24"),
            ("photometric", None),
            ("word_swapped", 1),
            ("element", ["PixelData"]),
        ],
    )
    def test_a_pixel_format_that_is_none(self, tmp_path: Path, key: str, value: Any) -> None:
        one, source = opened(ct(tmp_path))
        head, content = serialize._parted(recorded(one))
        head["format"][key] = value
        assert index_cache.decode(serialize._joined(head, Sections(content)), source) is None


SENTINEL = "Doe^Jane"


def _fill(dataset: Dataset, allowed: dict[int, Any]) -> None:
    """Write a name into every text that is not to be kept."""
    for element in dataset:
        # Frames have the functional groups that they might share.
        known = 0x52009229 if element.tag == 0x52009230 else int(element.tag)
        inner = allowed.get(known, {})
        if element.VR == "SQ":
            for item in element.value:
                _fill(item, inner or {})
        elif int(element.tag) not in allowed and element.VR in ("LO", "SH", "PN", "LT", "ST", "UT"):
            element.value = SENTINEL
    for tag in (0x00081080, 0x00102160, 0x00104000, 0x00400280):
        if tag not in allowed:
            dataset.add_new(tag, "LT", SENTINEL)
    dataset.private_block(0x0011, SENTINEL, create=True).add_new(1, "LO", SENTINEL)


def _plain(blob: bytes) -> bytes:
    """A record with all its sections inflated."""
    head, content = serialize._parted(blob)
    told = json.dumps(head)

    def places(value: Any) -> Iterator[Any]:
        if isinstance(value, dict):
            if "place" in value:
                yield value["place"]
            for inner in value.values():
                yield from places(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from places(inner)

    sections = [head["header"], *places(head)]
    return told.encode() + b"".join(Reader(content).bytes(place) for place in sections)


class TestPrivacy:
    @pytest.mark.parametrize("name", NAMES)
    def test_no_text_is_kept_that_is_not_listed(self, name: str, tmp_path: Path) -> None:
        path = objects(name, tmp_path)[0]
        dataset = pydicom.dcmread(path)
        _fill(dataset, header_subset.KEPT)
        for keyword in ("PatientName", "PatientID", "InstitutionName", "OperatorsName"):
            setattr(dataset, keyword, SENTINEL)
        dataset.PatientBirthDate = "19470711"
        dataset.save_as(path)
        assert path.read_bytes().count(SENTINEL.encode()) > 8
        one, source = opened(path)
        plain = _plain(recorded(one))
        assert SENTINEL.encode() not in plain
        assert b"19470711" not in plain
        assert again(one, source).dataset.SOPInstanceUID == dataset.SOPInstanceUID

    @pytest.mark.parametrize("keyword", ["SeriesNumber", "SliceThickness", "ConcatenationUID"])
    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    @pytest.mark.filterwarnings("ignore")
    def test_text_under_the_vr_of_a_number(self, keyword: str, syntax: str, tmp_path: Path) -> None:
        path = ct(tmp_path, syntax)
        dataset = pydicom.dcmread(path)
        vr = pydicom.datadict.dictionary_VR(keyword)
        dataset.add_new(keyword, "LO", SENTINEL)
        dataset.save_as(path)
        if syntax == ExplicitVRLittleEndian:
            spelled = dataset[keyword].tag.to_bytes(4, "big")
            tag = bytes([spelled[1], spelled[0], spelled[3], spelled[2]])
            path.write_bytes(path.read_bytes().replace(tag + b"LO", tag + vr.encode()))
        one, _ = opened(path)
        assert index_cache.encode(one) is None

    def _pointing_to(self, tmp_path: Path, pointer: int, vr: str, value: Any) -> Instance:
        path = tmp_path / "mr.dcm"
        path.write_bytes(kind("enhanced-mr").objects["object.dcm"])
        dataset = pydicom.dcmread(path)
        item = Dataset()
        item.DimensionIndexPointer = pointer
        item.FunctionalGroupPointer = 0x00189114
        item.DimensionOrganizationUID = "1.2.3"
        dataset.DimensionIndexSequence.append(item)
        for frame in dataset.PerFrameFunctionalGroupsSequence:
            frame[0x00189114].value[0].add_new(pointer, vr, value)
        shared = dataset.SharedFunctionalGroupsSequence[0]
        shared.add_new(0x00189114, "SQ", Sequence([Dataset()]))
        shared[0x00189114].value[0].add_new(pointer, vr, value)
        dataset.save_as(path)
        return opened(path)[0]

    @pytest.mark.parametrize(
        "pointer", [0x00100020, 0x00080080, 0x00080050, 0x00321032, 0x00120040]
    )
    def test_a_dimension_by_something_of_the_patient(self, tmp_path: Path, pointer: int) -> None:
        assert index_cache.encode(self._pointing_to(tmp_path, pointer, "LO", SENTINEL)) is None

    def test_a_private_dimension(self, tmp_path: Path) -> None:
        one = self._pointing_to(tmp_path, 0x2001100A, "IS", "7")
        found = again(one, one.frames.source)
        assert found.columns[0x00189114, 0x2001100A].count.all()
        shared = found.dataset.SharedFunctionalGroupsSequence[0]
        assert shared[0x00189114].value[0][0x2001100A].value == 7


def test_words_in_another_order_are_not_kept(tmp_path: Path) -> None:
    item = Dataset()
    item.LUTDescriptor = [4, 0, 16]
    item.add_new(0x00283006, "OW", b"\1\2\3\4\5\6\7\x08")
    item.ModalityLUTType = "US"
    one, source = opened(ct(tmp_path, ModalityLUTSequence=Sequence([item])))
    assert again(one, source).dataset.ModalityLUTSequence[0].LUTData == item.LUTData
    path = ct(tmp_path, ExplicitVRBigEndian, ModalityLUTSequence=Sequence([item]))
    assert index_cache.encode(opened(path)[0]) is None


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_columns_of_any_shape(data: st.DataObject) -> None:
    n_frames = data.draw(st.integers(1, 20))
    width = data.draw(st.integers(1, 3))
    dtype = data.draw(st.sampled_from(["f8", "i8", "S1", "S9"]))
    values = data.draw(hnp.arrays(dtype, (n_frames, width)))
    count = data.draw(hnp.arrays("i4", n_frames, elements=st.integers(0, width)))
    sections = Sections()
    told = serialize._write_column((1, 2), Column(values, count), sections)
    path, column = serialize._read_column(told, Reader(sections.joined()), n_frames)
    assert path == (1, 2)
    assert column.values.tobytes() == values.tobytes()
    np.testing.assert_array_equal(column.count, count)
    assert (column.values.dtype, column.values.shape) == (values.dtype, values.shape)


def test_a_written_header_is_a_data_set(tmp_path: Path) -> None:
    one, _ = opened(ct(tmp_path))
    spelled = header_subset.write_kept(one.dataset)
    read = pydicom.dcmread(io.BytesIO(spelled), force=True)
    assert read.Modality == "CT"
    assert "PatientName" not in read
