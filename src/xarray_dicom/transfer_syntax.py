"""Transfer syntaxes: how data sets and their pixels are encoded (PS3.5 section 10, Annex A)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from pydicom import uid as uids
from pydicom.uid import UID

from xarray_dicom.errors import UnsupportedDicomError

#: Families of codecs, by the names that `xarray_dicom.pixels.codecs` has them under.
CodecFamily = Literal[
    "native", "deflated frame", "RLE", "JPEG", "JPEG-LS", "JPEG 2000", "JPEG XL"
]  # fmt: skip

#: Families whose codestreams have no marker at their start.
_UNMARKED: frozenset[CodecFamily] = frozenset({"native", "deflated frame", "RLE"})


@dataclass(frozen=True, slots=True)
class TransferSyntax:
    """One row of the table of transfer syntaxes.

    Attributes
    ----------
    uid
        UID of the transfer syntax; empty where an object states none.
    implicit_vr, little_endian
        Encoding of the elements of the data set.
    deflated
        True if the data set is one deflate stream (PS3.5 A.5, A.7).
    encapsulated
        True if the pixel data are a sequence of fragments (PS3.5 A.4).
    codec
        Family of codecs that frames are encoded by; None where none of this package's is.
    single_frames
        False for videos, and for pixels that lie on another server (JPIP, SMPTE ST 2110).
    pixels_little_endian
        Byte order of samples that are not compressed.
    """

    uid: str
    implicit_vr: bool = False
    little_endian: bool = True
    deflated: bool = False
    encapsulated: bool = True
    codec: CodecFamily | None = None
    single_frames: bool = True
    pixels_little_endian: bool = True

    @classmethod
    def of(cls, uid: str) -> TransferSyntax:
        """Return the transfer syntax that has a UID.

        Parameters
        ----------
        uid
            Transfer Syntax UID (0002,0010). None at all, an empty string, stands for DICOM's
            default, Implicit VR Little Endian (PS3.5 10.1).

        Returns
        -------
        TransferSyntax
            For a UID that is not in the table, explicit VR little endian with encapsulated
            pixel data, which every later addition to the standard is (PS3.5 A.4). Private
            ones have the encoding that they are registered with at pydicom.
        """
        row = TRANSFER_SYNTAXES.get(uid)
        if row is not None:
            return row
        if uid in uids.PrivateTransferSyntaxes:
            private = uids.PrivateTransferSyntaxes[uids.PrivateTransferSyntaxes.index(UID(uid))]
            return cls(uid, private.is_implicit_VR, private.is_little_endian)
        return cls(uid)

    @classmethod
    def of_data_set(cls, implicit_vr: bool, little_endian: bool) -> TransferSyntax:
        """Return the plain transfer syntax of a data set with this encoding.

        Implicit VR is always little endian (PS3.5 A.1).
        """
        if implicit_vr:
            return TRANSFER_SYNTAXES[uids.ImplicitVRLittleEndian]
        explicit = uids.ExplicitVRLittleEndian if little_endian else uids.ExplicitVRBigEndian
        return TRANSFER_SYNTAXES[explicit]

    @property
    def name(self) -> str:
        """Name in PS3.6, or the UID where it has none."""
        name = UID(self.uid).name
        return _NAMES.get(self.uid, name) if name == self.uid else name

    @property
    def plain(self) -> bool:
        """Return True if the encoding of the data set is all that the transfer syntax says."""
        return not self.uid or self == self.of_data_set(self.implicit_vr, self.little_endian)

    @property
    def has_start_markers(self) -> bool:
        """Return True if every codestream starts with a marker, which no other bytes do."""
        return self.codec not in _UNMARKED


def require_frames(uid: str) -> None:
    """Refuse a transfer syntax whose frames can't be read one by one.

    Parameters
    ----------
    uid
        Transfer Syntax UID (0002,0010).

    Raises
    ------
    UnsupportedDicomError
        For videos, and for pixels that lie on another server.
    """
    syntax = TransferSyntax.of(uid)
    if not syntax.single_frames:
        raise UnsupportedDicomError(
            f"transfer syntax {syntax.name} does not hold single frames: videos and references "
            "to a JPIP server are not read"
        )


#: Names of UIDs that pydicom 3.0 does not have in its dictionary.
_NAMES = {
    "1.2.840.10008.1.2.4.110": "JPEG XL Lossless",
    "1.2.840.10008.1.2.4.111": "JPEG XL JPEG Recompression",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.8.1": "Deflated Image Frame Compression",
    "1.2.840.113619.5.2": "Implicit VR Little Endian with big endian pixels (GE private)",
}

#: JPEG XL that the original JPEG is restored from bit for bit (PS3.5 8.2.16).
RECOMPRESSED_JPEG = "1.2.840.10008.1.2.4.111"

_NATIVE = (
    TransferSyntax("", implicit_vr=True, encapsulated=False, codec="native"),
    TransferSyntax(
        uids.ImplicitVRLittleEndian, implicit_vr=True, encapsulated=False, codec="native"
    ),
    TransferSyntax(uids.ExplicitVRLittleEndian, encapsulated=False, codec="native"),
    TransferSyntax(
        uids.DeflatedExplicitVRLittleEndian, deflated=True, encapsulated=False, codec="native"
    ),
    TransferSyntax(
        uids.ExplicitVRBigEndian,
        little_endian=False,
        encapsulated=False,
        codec="native",
        pixels_little_endian=False,
    ),
    # Encapsulated Uncompressed Explicit VR Little Endian: each frame in an item (PS3.5 A.4).
    TransferSyntax("1.2.840.10008.1.2.1.98", codec="native"),
    # Private to GE's DLX consoles: only the samples are big endian.
    TransferSyntax(
        "1.2.840.113619.5.2",
        implicit_vr=True,
        encapsulated=False,
        codec="native",
        pixels_little_endian=False,
    ),
    # Papyrus 3, retired: implicit by its name, though pydicom takes it for explicit.
    TransferSyntax("1.2.840.10008.1.20", implicit_vr=True, encapsulated=False),
)

_FAMILIES: dict[CodecFamily, tuple[str, ...]] = {
    "deflated frame": ("1.2.840.10008.1.2.8.1",),
    "RLE": (uids.RLELossless,),
    "JPEG": (
        uids.JPEGBaseline8Bit,
        uids.JPEGExtended12Bit,
        # Spectral selection and full progression, both non-hierarchical, Huffman-coded, retired.
        "1.2.840.10008.1.2.4.53",
        "1.2.840.10008.1.2.4.55",
        uids.JPEGLossless,
        uids.JPEGLosslessSV1,
    ),
    "JPEG-LS": (uids.JPEGLSLossless, uids.JPEGLSNearLossless),
    "JPEG 2000": (
        uids.JPEG2000Lossless,
        uids.JPEG2000,
        uids.JPEG2000MCLossless,
        uids.JPEG2000MC,
        uids.HTJ2KLossless,
        uids.HTJ2KLosslessRPCL,
        uids.HTJ2K,
    ),
    "JPEG XL": ("1.2.840.10008.1.2.4.110", RECOMPRESSED_JPEG, "1.2.840.10008.1.2.4.112"),
}

#: Encapsulated, but a fragment is not a frame.
_VIDEOS = (
    uids.MPEG2MPML,
    uids.MPEG2MPMLF,
    uids.MPEG2MPHL,
    uids.MPEG2MPHLF,
    uids.MPEG4HP41,
    uids.MPEG4HP41F,
    uids.MPEG4HP41BD,
    uids.MPEG4HP41BDF,
    uids.MPEG4HP422D,
    uids.MPEG4HP422DF,
    uids.MPEG4HP423D,
    uids.MPEG4HP423DF,
    uids.MPEG4HP42STEREO,
    uids.MPEG4HP42STEREOF,
    uids.HEVCMP51,
    uids.HEVCM10P51,
)

#: Transfer syntaxes of data sets without pixels, which lie on another server (PS3.5 A.6 to A.8);
#: True where the data set is deflated.
_ELSEWHERE = {
    "1.2.840.10008.1.2.4.94": False,  # JPIP Referenced
    "1.2.840.10008.1.2.4.95": True,  # JPIP Referenced Deflate
    uids.JPIPHTJ2KReferenced: False,
    uids.JPIPHTJ2KReferencedDeflate: True,
    uids.SMPTEST211020UncompressedProgressiveActiveVideo: False,
    uids.SMPTEST211020UncompressedInterlacedActiveVideo: False,
    uids.SMPTEST211030PCMDigitalAudio: False,
}

#: JPEG with arithmetic coding or hierarchical, and MIME and XML encoding: all retired, and
#: decoded by no codec of this package.
_WITHOUT_CODEC = (
    *(f"1.2.840.10008.1.2.4.{number}" for number in (52, 54, 56, *range(58, 67))),
    "1.2.840.10008.1.2.6.1",
    "1.2.840.10008.1.2.6.2",
)

_ENCAPSULATED = (
    *(
        TransferSyntax(uid, codec=family)
        for family, members in _FAMILIES.items()
        for uid in members
    ),
    *(TransferSyntax(uid, single_frames=False) for uid in _VIDEOS),
    *(TransferSyntax(uid) for uid in _WITHOUT_CODEC),
)
_REFERENCED = tuple(
    TransferSyntax(uid, deflated=deflated, encapsulated=False, single_frames=False)
    for uid, deflated in _ELSEWHERE.items()
)

#: Every transfer syntax of DICOM, and those of others that are read, by UID.
TRANSFER_SYNTAXES = {
    str(row.uid): replace(row, uid=str(row.uid)) for row in (*_NATIVE, *_ENCAPSULATED, *_REFERENCED)
}
