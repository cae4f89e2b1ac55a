"""The table of transfer syntaxes, against pydicom's dictionary."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydicom import uid as uids
from pydicom._uid_dict import UID_dictionary
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from xarray_dicom.errors import UnsupportedDicomError
from xarray_dicom.pixels.codecs import CODECS
from xarray_dicom.transfer_syntax import TRANSFER_SYNTAXES, TransferSyntax, require_frames

PREFIX = "1.2.840.10008.1.2"
DICTIONARY = [uid for uid, entry in UID_dictionary.items() if entry[1] == "Transfer Syntax"]

PAPYRUS = "1.2.840.10008.1.20"
#: The whole data set is deflated (PS3.5 A.7), which pydicom says of one transfer syntax only.
DEFLATED = {f"{PREFIX}.4.95", f"{PREFIX}.4.205"}
#: There is no pixel data element to encapsulate; pydicom says so of none but native ones.
WITHOUT_PIXELS = {
    *(f"{PREFIX}.4.{number}" for number in (94, 95, 204, 205)),
    *(f"{PREFIX}.7.{number}" for number in (1, 2, 3)),
}


@pytest.mark.parametrize("uid", DICTIONARY)
def test_rows_agree_with_pydicom(uid: str) -> None:
    row, oracle = TRANSFER_SYNTAXES[uid], UID(uid)
    assert row == TransferSyntax.of(uid) == TransferSyntax.of(oracle)
    assert type(row.uid) is str
    assert row.name == oracle.name
    assert row.implicit_vr == (oracle.is_implicit_VR or uid == PAPYRUS)
    assert row.little_endian == row.pixels_little_endian == oracle.is_little_endian
    assert row.deflated == (oracle.is_deflated or uid in DEFLATED)
    expected = oracle.is_encapsulated and uid not in WITHOUT_PIXELS | {PAPYRUS}
    assert row.encapsulated == expected
    assert oracle.is_compressed == oracle.is_encapsulated
    # What is neither encapsulated nor absent is uncompressed.
    if not row.encapsulated and row.single_frames and uid != PAPYRUS:
        assert row.codec == "native"


@pytest.mark.parametrize("uid", DICTIONARY)
def test_videos_and_references_hold_no_single_frames(uid: str) -> None:
    name = UID(uid).name
    elsewhere = any(word in name for word in ("MPEG", "HEVC", "JPIP", "SMPTE"))
    assert TransferSyntax.of(uid).single_frames == (not elsewhere)
    if elsewhere:
        with pytest.raises(UnsupportedDicomError) as caught:
            require_frames(uid)
        assert str(caught.value).startswith(f"transfer syntax {name} does not hold single frames")
    else:
        require_frames(uid)


def test_codecs_are_those_of_the_names() -> None:
    for uid in DICTIONARY:
        name, codec = UID(uid).name, TransferSyntax.of(uid).codec
        if codec in ("JPEG", "JPEG-LS", "JPEG 2000"):
            family = {"JPEG-LS": "JPEG-LS", "JPEG 2000": ("JPEG 2000", "High-Throughput")}
            assert name.startswith(family.get(codec, "JPEG "))
        elif codec == "RLE":
            assert name == "RLE Lossless"
    assert {row.codec for row in TRANSFER_SYNTAXES.values()} - {None} == CODECS.keys()


@pytest.mark.parametrize(
    ("uid", "codec", "name"),
    [
        (f"{PREFIX}.4.110", "JPEG XL", "JPEG XL Lossless"),
        (f"{PREFIX}.4.111", "JPEG XL", "JPEG XL JPEG Recompression"),
        (f"{PREFIX}.4.112", "JPEG XL", "JPEG XL"),
        (f"{PREFIX}.8.1", "deflated frame", "Deflated Image Frame Compression"),
    ],
)
def test_later_additions_to_the_standard(uid: str, codec: str, name: str) -> None:
    row = TransferSyntax.of(uid)
    assert row == TransferSyntax(uid, codec=codec)  # type: ignore[arg-type]
    assert row.name == name


def test_the_private_one_of_ge() -> None:
    row = TransferSyntax.of("1.2.840.113619.5.2")
    assert row.implicit_vr
    assert row.little_endian
    assert not row.pixels_little_endian
    assert not row.encapsulated
    assert row.codec == "native"
    assert not row.plain


def test_an_unknown_one_is_encapsulated() -> None:
    row = TransferSyntax.of("1.2.3.4.5")
    assert row == TransferSyntax("1.2.3.4.5")
    assert (row.implicit_vr, row.little_endian, row.deflated) == (False, True, False)
    assert row.encapsulated
    assert row.codec is None
    assert row.name == "1.2.3.4.5"
    require_frames("1.2.3.4.5")


@pytest.mark.parametrize("implicit_vr", [False, True])
@pytest.mark.parametrize("little_endian", [False, True])
def test_private_ones_have_the_encoding_that_they_are_registered_with(
    implicit_vr: bool, little_endian: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uids, "PrivateTransferSyntaxes", [])
    uids.register_transfer_syntax("1.2.3.4.6", implicit_vr, little_endian)
    row = TransferSyntax.of("1.2.3.4.6")
    assert (row.implicit_vr, row.little_endian) == (implicit_vr, little_endian)
    assert row.encapsulated


def test_none_is_the_default_of_dicom() -> None:
    assert TransferSyntax.of("").implicit_vr
    assert not TransferSyntax.of("").encapsulated


def test_plain_ones_say_no_more_than_how_the_data_set_is_encoded() -> None:
    plain = {uid for uid, row in TRANSFER_SYNTAXES.items() if row.plain}
    assert plain == {"", ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian}
    assert TransferSyntax.of_data_set(True, True).uid == ImplicitVRLittleEndian
    assert TransferSyntax.of_data_set(False, True).uid == ExplicitVRLittleEndian
    assert TransferSyntax.of_data_set(False, False).uid == ExplicitVRBigEndian


def test_start_markers() -> None:
    without = {uid for uid, row in TRANSFER_SYNTAXES.items() if not row.has_start_markers}
    encapsulated = {uid for uid in without if TransferSyntax.of(uid).encapsulated}
    assert encapsulated == {f"{PREFIX}.5", f"{PREFIX}.8.1", f"{PREFIX}.1.98"}


def test_no_codec_is_imported_with_the_table() -> None:
    program = (
        "import sys, xarray_dicom.transfer_syntax\n"
        "assert not {'imagecodecs', 'highdicom'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
