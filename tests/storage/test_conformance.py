"""Every kind of source against the same requirements."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import fsspec
import pytest

from support.servers import Server
from support.source_conformance import ByteSourceConformance, Place


def archive_of(key: str, content: bytes) -> bytes:
    """A zip archive with one stored member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(key, content)
    return buffer.getvalue()


class TestBytes(ByteSourceConformance):
    immediate = True
    can_change = False

    @pytest.fixture
    def place(self) -> Place:
        return Place(lambda key, content: content)


class TestFileObject(ByteSourceConformance):
    immediate = True
    can_leave = False
    tells_same_size = False

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with ExitStack() as files:

            def put(key: str, content: bytes) -> Any:
                (tmp_path / key).write_bytes(content)
                return files.enter_context(open(tmp_path / key, "rb"))

            yield Place(put)


class TestLocal(ByteSourceConformance):
    immediate = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(key: str, content: bytes) -> Path:
            (tmp_path / key).write_bytes(content)
            return tmp_path / key

        return Place(put, lambda key: (tmp_path / key).unlink())


class TestMemory(ByteSourceConformance):
    immediate = True
    can_leave = False

    @pytest.fixture
    def place(self) -> Iterator[Place]:
        memory = fsspec.filesystem("memory")

        def put(key: str, content: bytes) -> str:
            memory.pipe_file(f"/conformance/{key}", content)
            return f"memory://conformance/{key}"

        yield Place(put, lambda key: memory.rm_file(f"/conformance/{key}"))
        for path in memory.find("/conformance"):
            memory.rm_file(path)


class TestOpenFsspecFile(ByteSourceConformance):
    immediate = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> Iterator[Place]:
        with ExitStack() as files:

            def put(key: str, content: bytes) -> Any:
                (tmp_path / key).write_bytes(content)
                return files.enter_context(fsspec.open(tmp_path / key))

            yield Place(put, lambda key: (tmp_path / key).unlink())


class TestZip(ByteSourceConformance):
    immediate = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(key: str, content: bytes) -> str:
            (tmp_path / f"{key}.zip").write_bytes(archive_of(key, content))
            return f"zip://{key}::{tmp_path / key}.zip"

        return Place(put, lambda key: (tmp_path / f"{key}.zip").unlink())


class TestTar(ByteSourceConformance):
    immediate = True

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(key: str, content: bytes) -> str:
            (tmp_path / key).write_bytes(content)
            with tarfile.open(tmp_path / f"{key}.tar", "w") as archive:
                archive.add(tmp_path / key, key)
            return f"tar://{key}::{tmp_path / key}.tar"

        return Place(put, lambda key: (tmp_path / f"{key}.tar").unlink())


class TestCachedFile(ByteSourceConformance):
    immediate = True
    tells_same_size = False

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        def put(key: str, content: bytes) -> str:
            (tmp_path / key).write_bytes(content)
            return f"simplecache::file://{tmp_path / key}"

        options = {"cache_storage": os.fspath(tmp_path / "cache")}
        return Place(put, lambda key: (tmp_path / key).unlink(), options)


class TestS3(ByteSourceConformance):
    @pytest.fixture
    def place(self, s3_server: Server) -> Place:
        return Place(s3_server.put, s3_server.delete, s3_server.storage_options)


class TestS3WithConditions(ByteSourceConformance):
    @pytest.fixture
    def place(self, moto_server: Server) -> Place:
        return Place(moto_server.put, moto_server.delete, moto_server.storage_options)


class TestS3WithoutObstore(TestS3WithConditions):
    @pytest.fixture(autouse=True)
    def off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XARRAY_DICOM_OBSTORE", "off")


class TestOpenS3File(ByteSourceConformance):
    @pytest.fixture
    def place(self, s3_server: Server) -> Place:
        def put(key: str, content: bytes) -> Any:
            url = s3_server.put(f"files/{key}", content)
            return fsspec.open(url, **s3_server.storage_options)

        return Place(put, lambda key: s3_server.delete(f"files/{key}"))


class TestZipInS3(ByteSourceConformance):
    @pytest.fixture
    def place(self, s3_server: Server) -> Place:
        def put(key: str, content: bytes) -> str:
            return f"zip://{key}::{s3_server.put(f'{key}.zip', archive_of(key, content))}"

        def delete(key: str) -> None:
            s3_server.delete(f"{key}.zip")

        return Place(put, delete, {"s3": s3_server.storage_options})


class TestCachedS3(ByteSourceConformance):
    # A cache goes on delivering what it has; what is new is noticed, but not delivered.
    tells_same_size = False

    @pytest.fixture
    def place(self, s3_server: Server, tmp_path: Path) -> Place:
        def put(key: str, content: bytes) -> str:
            return f"simplecache::{s3_server.put(f'cached/{key}', content)}"

        def delete(key: str) -> None:
            s3_server.delete(f"cached/{key}")

        options = {"s3": s3_server.storage_options, "cache_storage": os.fspath(tmp_path)}
        return Place(put, delete, options)


class TestGCS(ByteSourceConformance):
    @pytest.fixture
    def place(self, gcs_server: Server) -> Place:
        return Place(gcs_server.put, gcs_server.delete, gcs_server.storage_options)


class TestGCSWithoutObstore(TestGCS):
    @pytest.fixture(autouse=True)
    def off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XARRAY_DICOM_OBSTORE", "off")


class TestHTTP(ByteSourceConformance):
    tells_same_size = False

    @pytest.fixture
    def place(self, http_server: Server) -> Place:
        return Place(http_server.put, http_server.delete)


class TestHTTPWithConditions(ByteSourceConformance):
    """An S3 server is also an HTTP server with strong ETags and If-Match."""

    @pytest.fixture
    def place(self, moto_server: Server) -> Place:
        return Place(
            lambda key, content: moto_server.presign(moto_server.put(key, content)),
            moto_server.delete,
        )
