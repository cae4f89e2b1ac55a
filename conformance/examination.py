"""Examination of one file: the engine's pixels, their cost, and those of other readers."""

from __future__ import annotations

import functools
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import JPEGLossless, JPEGLosslessSV1

from conformance.planes import Planes, difference, is_tiled
from conformance.readers import (
    READERS,
    Reader,
    jpeg_by_libjpeg_turbo,
    read_header,
    read_with_engine,
)
from xarray_dicom import DicomError

#: Lossy codecs, whose decoders may differ by rounding.
LOSSY = frozenset(f"1.2.840.10008.1.2.4.{n}" for n in (50, 51, 53, 55, 91, 112, 203))

#: Levels that decoders of lossy syntaxes may differ by.
ROUNDING = 1.0

#: Marker of a baseline JPEG frame (SOF0), found in some files with a lossless syntax as well.
_BASELINE = b"\xff\xc0"


@dataclass
class Comparison:
    """The result of another reader, next to the engine's.

    Attributes
    ----------
    error
        Type and text of the error that it raised; None if it read the file.
    levels
        Greatest difference from the engine's values.
    message
        The difference in words; empty if values are equal.
    """

    error: str | None = None
    levels: float = 0.0
    message: str = ""


@dataclass
class Examination:
    """The result of examining one file.

    Attributes
    ----------
    error, error_type
        Text and type of the error that the engine raised; None if it opened the file and read
        every pixel.
    is_documented
        True if the error, if any, is of a type that the documentation names.
    seconds, nbytes
        Time and peak memory of opening and reading; memory is above that of the process
        before its first file, so memory left by earlier files counts.
    warned
        Texts of the engine's warnings.
    comparisons
        Results of other readers, by name.
    """

    error: str | None = None
    error_type: str | None = None
    is_documented: bool = True
    seconds: float = 0.0
    nbytes: int = 0
    warned: list[str] = field(default_factory=list)
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """Return True if the engine read all of the file."""
        return self.error is None

    @property
    def differing(self) -> dict[str, Comparison]:
        """Comparisons with readers whose values are not equal."""
        return {name: other for name, other in self.comparisons.items() if other.message}


def examine(path: Path) -> Iterator[Examination]:
    """Examine one file.

    Yields
    ------
    Examination
        The same object twice: after the engine alone, so that it survives a crash of another
        reader, and after all readers.
    """
    header, tiled = _read_header(path)
    examination = Examination()
    _reset_peak_memory()
    start, floor = time.perf_counter(), _initial_memory()
    stored: Planes | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            stored = read_with_engine(path, tiled, scaled=False)
        except Exception as error:
            examination.error = str(error)
            examination.error_type = type(error).__name__
            examination.is_documented = isinstance(
                error, (DicomError, FileNotFoundError, PermissionError)
            )
    examination.seconds = time.perf_counter() - start
    examination.nbytes = _peak_memory() - floor
    examination.warned = sorted({str(warning.message) for warning in caught})
    yield examination
    if header is None:
        return
    with warnings.catch_warnings(), jpeg_by_libjpeg_turbo(header):
        warnings.simplefilter("ignore")
        for reader in READERS:
            if reader.takes(path, tiled):
                examination.comparisons[reader.name] = _compare(reader, path, header, stored)
    yield examination


def _compare(reader: Reader, path: Path, header: Dataset, stored: Planes | None) -> Comparison:
    try:
        expected = reader.read(path, header)
    except Exception as error:
        return Comparison(f"{type(error).__name__}: {error}")
    if stored is None:
        return Comparison()
    ours = read_with_engine(path, is_tiled(header), scaled=True) if reader.scaled else stored
    result = difference(ours, expected, ROUNDING if _is_lossy(header) else 0.0)
    return Comparison(None, result.levels, result.message)


def _read_header(path: Path) -> tuple[Dataset | None, bool]:
    try:
        header = read_header(path)
        return header, is_tiled(header)
    except Exception:
        return None, False


def _is_lossy(header: Dataset) -> bool:
    syntax: Any = header.file_meta.get("TransferSyntaxUID", "")
    if syntax in LOSSY:
        return True
    lossless_jpeg = syntax in (JPEGLossless, JPEGLosslessSV1)
    return lossless_jpeg and _BASELINE in bytes(header.PixelData[:4096])


def _reset_peak_memory() -> None:
    """Set the peak memory of this process to the present one (Linux)."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


@functools.cache
def _initial_memory() -> int:
    """Return the peak memory of this process before its first file, in bytes."""
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
