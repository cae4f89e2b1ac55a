"""Encoding that a data set obeys, whatever transfer syntax is stated (PS3.5 section 10)."""

from __future__ import annotations

from xarray_dicom.parsing.encoding import Encoding, is_vr
from xarray_dicom.transfer_syntax import TransferSyntax
from xarray_dicom.warn import warn

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
    syntax = TransferSyntax.of(stated)
    expected = Encoding(syntax.implicit_vr, syntax.little_endian)
    # The first group is a small number; only in the wrong byte order is it a large one.
    as_little, as_big = int.from_bytes(first[:2], "little"), int.from_bytes(first[:2], "big")
    little = expected.little_endian or not explicit
    if explicit and (as_little < _LARGE_GROUP) != (as_big < _LARGE_GROUP):
        little = as_little < _LARGE_GROUP
    encoding = Encoding(not explicit, little)
    obeyed = TransferSyntax.of_data_set(not explicit, little)
    if stated and encoding != expected:
        warn(
            f"the transfer syntax is stated as {stated}, but the data set is encoded like "
            f"{obeyed.uid}; it is read so"
        )
    return encoding, obeyed.uid if syntax.plain else stated
