"""Objects in S3 and whatever speaks its protocol, through s3fs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xarray_dicom.storage.clients.base import Reply, TruncatedBodyError, object_size, range_header
from xarray_dicom.storage.source import Fingerprint

#: Connections of a client; botocore's own default of 10 serialises concurrent ranges.
MAX_POOL_CONNECTIONS = 128

_PRECONDITION_FAILED = {"412", "PreconditionFailed"}
_INVALID_RANGE = {"416", "InvalidRange"}


def tune(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return storage options with a connection pool for many ranges in flight."""
    config = {"max_pool_connections": MAX_POOL_CONNECTIONS, **options.get("config_kwargs", {})}
    return {**options, "config_kwargs": config}


class S3Client:
    """An object read with conditional GetObject; each reply has size and ETag."""

    def __init__(self, filesystem: Any, path: str) -> None:
        self.filesystem = filesystem
        bucket, key, version = filesystem.split_path(path)
        self.address = {"Bucket": bucket, "Key": key}
        if version:
            self.address["VersionId"] = version

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """GetObject with Range, and If-Match once the ETag is known."""
        if not self.address["Key"]:
            raise IsADirectoryError(self.address["Bucket"])
        condition = {}
        if pinned is not None and pinned.version.startswith("etag:"):
            condition["IfMatch"] = pinned.version.removeprefix("etag:")
        try:
            response = await self.filesystem._call_s3(
                "get_object", **self.address, **condition, Range=range_header(offset, length)
            )
        except OSError as error:
            code = _error_code(error)
            if code in _PRECONDITION_FAILED and pinned is not None:
                return await self.get(0, 1, None)
            if code in _INVALID_RANGE:
                return Reply(b"", await self._head())
            raise
        except Exception as error:
            if type(error).__name__ in ("NoCredentialsError", "PartialCredentialsError"):
                raise PermissionError(
                    'no credentials found; a public bucket wants storage_options={"anon": True}'
                ) from error
            raise
        async with response["Body"] as body:
            size = object_size(response.get("ContentRange"), offset, length)
            try:
                content: bytes = await body.read()
            except Exception as error:
                raise TruncatedBodyError(str(error)) from error
        return Reply(content, _fingerprint(size, response))

    async def stat(self) -> Fingerprint | None:
        """None: each reply has the version."""
        return None

    async def _head(self) -> Fingerprint:
        response = await self.filesystem._call_s3("head_object", **self.address)
        return _fingerprint(int(response["ContentLength"]), response)


def _fingerprint(size: int, response: Mapping[str, Any]) -> Fingerprint:
    if response.get("ETag"):
        return Fingerprint(size, f"etag:{response['ETag']}")
    modified = response.get("LastModified")
    return Fingerprint(size, f"mtime:{modified.isoformat()}" if modified else "")


def _error_code(error: BaseException) -> str:
    """Code of the S3 reply behind an error that s3fs has translated."""
    response = getattr(error.__cause__, "response", None) or {}
    return str(response.get("Error", {}).get("Code", ""))
