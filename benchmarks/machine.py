"""Description of the machine and its software, without a name of the machine."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from xarray_dicom.decode_threads import cpu_count

PACKAGES = (
    "xarray-dicom",
    "xarray",
    "dask",
    "numpy",
    "pydicom",
    "highdicom",
    "wsidicom",
    "openslide-python",
    "imagecodecs",
    "fsspec",
    "s3fs",
    "obstore",
    "zarr",
)


def describe() -> dict[str, str]:
    """Return processor, memory, system and versions, each in words."""
    gibibytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": f"{_processor()}, {cpu_count()} cores",
        "memory": f"{gibibytes:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "Python": ".".join(map(str, sys.version_info[:3])),
        **{name: _version(name) for name in PACKAGES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
