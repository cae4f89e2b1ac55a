"""Stored bytes of an entry: a payload behind a header with its checksum.

============  =====  ====================================================
bytes         size   content
============  =====  ====================================================
0 to 7        8      `MAGIC`, which text-mode transfers damage
8 to 11       4      `VERSION`, little endian
12 to 19      8      length of the payload, little endian
20 to 51      32     BLAKE2b of the bytes 8 to 19 and the payload
from 52              payload
============  =====  ====================================================
"""

from __future__ import annotations

import struct
from hashlib import blake2b

#: End of the names of stored entries, so that no listing takes one for a DICOM object.
ENTRY_SUFFIX = ".xdi"

MAGIC = b"\x89XDI\r\n\x1a\n"
VERSION = 1

#: Bytes of the largest payload that is read, far more than any entry has.
MAX_PAYLOAD = 512 * 2**20

_VERSION_AND_LENGTH = struct.Struct("<IQ")
_DIGEST_SIZE = 32
HEADER_SIZE = len(MAGIC) + _VERSION_AND_LENGTH.size + _DIGEST_SIZE


def add_checksum(payload: bytes) -> bytes:
    """Return `payload` behind its header."""
    measures = _VERSION_AND_LENGTH.pack(VERSION, len(payload))
    return b"".join([MAGIC, measures, _digest(measures, payload), payload])


def verified_payload(content: bytes) -> bytes | None:
    """Return the payload of stored bytes; None if they are damaged or of another version."""
    if stored_size(content) != len(content):
        return None
    payload = content[HEADER_SIZE:]
    measures = content[len(MAGIC) : len(MAGIC) + _VERSION_AND_LENGTH.size]
    digest = content[HEADER_SIZE - _DIGEST_SIZE : HEADER_SIZE]
    return payload if _digest(measures, payload) == digest else None


def stored_size(start: bytes) -> int | None:
    """Return the size of the stored bytes that begin with `start`.

    Parameters
    ----------
    start
        At least the header.

    Returns
    -------
    int or None
        Bytes of header and payload; None if this is no header of this version.
    """
    if len(start) < HEADER_SIZE or start[: len(MAGIC)] != MAGIC:
        return None
    version, length = _VERSION_AND_LENGTH.unpack_from(start, len(MAGIC))
    return HEADER_SIZE + length if version == VERSION and length <= MAX_PAYLOAD else None


def _digest(measures: bytes, payload: bytes) -> bytes:
    digest = blake2b(measures, digest_size=_DIGEST_SIZE)
    digest.update(payload)
    return digest.digest()
