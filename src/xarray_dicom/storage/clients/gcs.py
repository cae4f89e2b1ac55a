"""Objects in Google Cloud Storage, through gcsfs."""

from __future__ import annotations

from typing import Any

from xarray_dicom.runtime import runtime
from xarray_dicom.storage.clients.base import Reply, object_size, range_header
from xarray_dicom.storage.source import Fingerprint


class GCSClient:
    """An object read at one generation; each reply has size and generation."""

    def __init__(self, filesystem: Any, path: str) -> None:
        # gcsfs closes its session on `_loop`, and takes fsspec's loop where that is None.
        filesystem._loop = runtime().loop
        self.filesystem = filesystem
        self.path = path

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Media download with Range, of the pinned generation once it is known."""
        generation = None
        if pinned is not None and pinned.version.startswith("generation:"):
            generation = pinned.version.removeprefix("generation:")
        if not self.filesystem.split_path(self.path)[1]:
            raise IsADirectoryError(self.path)
        try:
            headers, content = await self.filesystem._call(
                "GET",
                self.filesystem.url(self.path, generation=generation),
                headers={"Range": range_header(offset, length), "Accept-Encoding": "identity"},
            )
        except FileNotFoundError:
            # A generation that is gone looks like an object that is gone.
            if generation is None:
                raise
            return await self.get(0, 1, None)
        except Exception as error:
            if getattr(error, "code", None) == 416:
                return Reply(b"", await self._current())
            if getattr(error, "code", None) == 401 or str(error).startswith("Forbidden"):
                raise PermissionError(str(error)) from error
            raise
        size = object_size(headers.get("Content-Range"), offset, length)
        return Reply(content, Fingerprint(size, _version(headers.get("X-Goog-Generation"))))

    async def stat(self) -> Fingerprint | None:
        """None: each reply has the version."""
        return None

    async def _current(self) -> Fingerprint:
        entry = await self.filesystem._info(self.path)
        if entry["type"] == "directory":
            raise FileNotFoundError(self.path)
        return Fingerprint(int(entry["size"]), _version(entry.get("generation")))


def _version(generation: object) -> str:
    return f"generation:{generation}" if generation else ""
