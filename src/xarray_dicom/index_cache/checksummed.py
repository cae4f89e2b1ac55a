"""Bytes that tell whether they are whole: a payload behind a header with its digest.

============  =====  ====================================================
bytes         size   what
============  =====  ====================================================
0 to 7        8      `MAGIC`, which text-mode transfers damage
8 to 11       4      `VERSION`, little endian
12 to 19      8      length of the payload, little endian
20 to 51      32     BLAKE2b of the bytes 8 to 19 and the payload
52 …                 the payload
============  =====  ====================================================
"""

from __future__ import annotations

import struct
from hashlib import blake2b

#: How names of sealed blobs end, so that nobody takes one for an object.
SUFFIX = ".xdi"

MAGIC = b"\x89XDI\r\n\x1a\n"
VERSION = 1

#: Bytes of the largest payload; nothing that opening learns comes near it.
LARGEST = 512 * 2**20

_MEASURES = struct.Struct("<IQ")
_DIGEST = 32
HEADER = len(MAGIC) + _MEASURES.size + _DIGEST


def seal(payload: bytes) -> bytes:
    """`payload` behind its header."""
    measures = _MEASURES.pack(VERSION, len(payload))
    return b"".join([MAGIC, measures, _digest(measures, payload), payload])


def unseal(sealed: bytes) -> bytes | None:
    """The payload; None if anything at all is wrong with it."""
    if sealed_length(sealed) != len(sealed):
        return None
    payload = sealed[HEADER:]
    measures = sealed[len(MAGIC) : len(MAGIC) + _MEASURES.size]
    told = sealed[HEADER - _DIGEST : HEADER]
    return payload if _digest(measures, payload) == told else None


def sealed_length(start: bytes) -> int | None:
    """Bytes of the whole that begins with `start`; None if it is of no kind that is read."""
    if len(start) < HEADER or start[: len(MAGIC)] != MAGIC:
        return None
    version, length = _MEASURES.unpack_from(start, len(MAGIC))
    return HEADER + length if version == VERSION and length <= LARGEST else None


def _digest(measures: bytes, payload: bytes) -> bytes:
    digest = blake2b(measures, digest_size=_DIGEST)
    digest.update(payload)
    return digest.digest()
