"""One file, examined: what the engine makes of it, at what cost, and whether others agree."""

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

#: Frame header of a baseline JPEG, which files that say they are lossless have as well.
_BASELINE = b"\xff\xc0"


@dataclass
class Comparison:
    """What another reader made of the file.

    Attributes
    ----------
    error
        What it raised; None if it read the file.
    levels
        Greatest difference to the engine's values.
    message
        What is not equal; empty if all is.
    """

    error: str | None = None
    levels: float = 0.0
    message: str = ""


@dataclass
class Examination:
    """What came of one file.

    Attributes
    ----------
    error, error_type
        What the engine raised; None if it opened the file and read every pixel.
    is_told
        Whether that is of a type that this package promises.
    seconds, nbytes
        What opening and reading took: time, and peak memory above that of the process
        before its first file, so what earlier files left behind is counted in.
    warned
        What the engine warned of.
    comparisons
        By reader.
    """

    error: str | None = None
    error_type: str | None = None
    is_told: bool = True
    seconds: float = 0.0
    nbytes: int = 0
    warned: list[str] = field(default_factory=list)
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    @property
    def opens(self) -> bool:
        """Whether the engine read all of the file."""
        return self.error is None

    @property
    def differing(self) -> dict[str, Comparison]:
        """Readers that make something else of the file."""
        return {name: one for name, one in self.comparisons.items() if one.message}


def examine(path: Path) -> Iterator[Examination]:
    """Examine one file: first by the engine alone, then with what the other readers make of it."""
    header, tiled = _prepared(path)
    found = Examination()
    _forget_peak_memory()
    start, floor = time.perf_counter(), _resting_memory()
    stored: Planes | None = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            stored = read_with_engine(path, tiled, scaled=False)
        except Exception as error:
            found.error = str(error)
            found.error_type = type(error).__name__
            found.is_told = isinstance(error, (DicomError, FileNotFoundError, PermissionError))
    found.seconds = time.perf_counter() - start
    found.nbytes = _peak_memory() - floor
    found.warned = sorted({str(one.message) for one in caught})
    yield found
    if header is None:
        return
    with warnings.catch_warnings(), jpeg_by_libjpeg_turbo(header):
        warnings.simplefilter("ignore")
        for reader in READERS:
            if reader.takes(path, tiled):
                found.comparisons[reader.name] = _compared(reader, path, header, stored)
    yield found


def _compared(reader: Reader, path: Path, header: Dataset, stored: Planes | None) -> Comparison:
    try:
        expected = reader.read(path, header)
    except Exception as error:
        return Comparison(f"{type(error).__name__}: {error}")
    if stored is None:
        return Comparison()
    ours = read_with_engine(path, is_tiled(header), scaled=True) if reader.scaled else stored
    apart = difference(ours, expected, ROUNDING if _is_lossy(header) else 0.0)
    return Comparison(None, apart.levels, apart.message)


def _prepared(path: Path) -> tuple[Dataset | None, bool]:
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


def _forget_peak_memory() -> None:
    """Let the peak of this process start anew (Linux alone can)."""
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5")


@functools.cache
def _resting_memory() -> int:
    """Memory of this process before its first file."""
    return _peak_memory()


def _peak_memory() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return 0
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(fields["VmHWM"].split()[0]) * 1024
