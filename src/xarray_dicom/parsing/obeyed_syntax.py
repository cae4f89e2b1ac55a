"""Encoding that a data set obeys, whatever transfer syntax is stated (PS3.5 section 10)."""

from __future__ import annotations

from pydicom.uid import PrivateTransferSyntaxes

from xarray_dicom.parsing.encoding import EXPLICIT_LITTLE, IMPLICIT_LITTLE, Encoding, is_vr
from xarray_dicom.warn import warn

IMPLICIT_SYNTAX = "1.2.840.10008.1.2"
EXPLICIT_SYNTAX = "1.2.840.10008.1.2.1"
BIG_ENDIAN_SYNTAX = "1.2.840.10008.1.2.2"
_NATIVE_SYNTAXES = frozenset({"", IMPLICIT_SYNTAX, EXPLICIT_SYNTAX, BIG_ENDIAN_SYNTAX})

#: Data sets start with a group below this one.
_LARGE_GROUP = 0x0400


def obeyed_syntax(first: bytes, stated: str) -> tuple[Encoding, str]:
    """Find the encoding of a data set from its first element.

    Parameters
    ----------
    first
        First bytes of the data set, at least 6.
    stated
        Transfer Syntax UID in the file meta information; empty where there is none.

    Returns
    -------
    encoding, transfer_syntax
        Those that the data set obeys.

    Warns
    -----
    DicomWarning
        If the data set is encoded otherwise than stated.
    """
    explicit = is_vr(first[4:6])
    expected = _stated_encoding(stated)
    # The first group is a small number; only in the wrong byte order is it a large one.
    as_little, as_big = int.from_bytes(first[:2], "little"), int.from_bytes(first[:2], "big")
    little = expected.little_endian or not explicit
    if explicit and (as_little < _LARGE_GROUP) != (as_big < _LARGE_GROUP):
        little = as_little < _LARGE_GROUP
    if not explicit:
        encoding, obeyed = IMPLICIT_LITTLE, IMPLICIT_SYNTAX
    elif little:
        encoding, obeyed = EXPLICIT_LITTLE, EXPLICIT_SYNTAX
    else:
        encoding, obeyed = Encoding(False, False), BIG_ENDIAN_SYNTAX
    if stated and encoding != expected:
        warn(
            f"the transfer syntax is stated as {stated}, but the data set is encoded like "
            f"{obeyed}; it is read so"
        )
    return encoding, obeyed if stated in _NATIVE_SYNTAXES else stated


def _stated_encoding(transfer_syntax: str) -> Encoding:
    if transfer_syntax in (IMPLICIT_SYNTAX, ""):
        return IMPLICIT_LITTLE
    if transfer_syntax in PrivateTransferSyntaxes:
        private = PrivateTransferSyntaxes[PrivateTransferSyntaxes.index(transfer_syntax)]
        return Encoding(private.is_implicit_VR, private.is_little_endian)
    if transfer_syntax == BIG_ENDIAN_SYNTAX:
        return Encoding(False, False)
    return EXPLICIT_LITTLE
