"""Everything that may be opened, and the source that it becomes."""

from __future__ import annotations

import io
import os
import pickle
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from support.servers import Server
from support.source_conformance import service_client
from xarray_dicom.errors import DicomError, UnsupportedDicomError
from xarray_dicom.runtime import run
from xarray_dicom.storage import (
    ByteSource,
    BytesSource,
    FileObjectSource,
    RecordingSource,
    URLSource,
    open_source,
)

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def memory_url() -> Iterator[str]:
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/opened/a.dcm", CONTENT)
    yield "memory://opened/a.dcm"
    memory.rm_file("/opened/a.dcm")


def check(source: ByteSource) -> None:
    assert run(source.open(5)).content == CONTENT[:5]
    assert run(source.read(300, 5)) == CONTENT[300:305]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_bytes(kind: type) -> None:
    source = open_source(kind(CONTENT))
    assert isinstance(source, BytesSource)
    check(source)


def test_local_paths_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.dcm").write_bytes(CONTENT)
    monkeypatch.chdir(tmp_path)
    expected = (tmp_path / "a.dcm").as_posix()
    for spelled in ("a.dcm", Path("a.dcm"), f"file://{expected}", tmp_path / "a.dcm"):
        source = open_source(spelled)
        assert source.location == expected
        check(source)


def test_upath(memory_url: str, tmp_path: Path) -> None:
    upath = pytest.importorskip("upath")
    source = open_source(upath.UPath(memory_url))
    assert isinstance(source, URLSource)
    check(source)
    (tmp_path / "a.dcm").write_bytes(CONTENT)
    check(open_source(upath.UPath(tmp_path / "a.dcm")))


def test_upath_keeps_its_storage_options(s3_server: Server) -> None:
    upath = pytest.importorskip("upath")
    url = s3_server.put("upath/a.dcm", CONTENT)
    check(open_source(upath.UPath(url, **s3_server.storage_options)))
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as writer:
        writer.writestr("m.dcm", CONTENT)
    chain = f"zip://m.dcm::{s3_server.put('upath/a.zip', archive.getvalue())}"
    source = open_source(upath.UPath(chain, s3=s3_server.storage_options))
    assert source.location == chain
    check(source)


def test_open_fsspec_files(memory_url: str, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(CONTENT)
    for url in (memory_url, os.fspath(tmp_path / "a.dcm")):
        with fsspec.open(url) as file:
            for obj in (file, fsspec.open(url)):
                source = open_source(obj)
                assert isinstance(source, URLSource)
                check(pickle.loads(pickle.dumps(source)))


def test_open_s3_file_pickles_with_its_credentials(s3_server: Server) -> None:
    url = s3_server.put("opened/a.dcm", CONTENT)
    with fsspec.open(url, **s3_server.storage_options) as file:
        source = open_source(file)
    assert source == URLSource(url, s3_server.storage_options)
    check(pickle.loads(pickle.dumps(source)))


def test_open_file_in_an_archive_on_s3(s3_server: Server) -> None:
    with zipfile.ZipFile(archive := io.BytesIO(), "w") as writer:
        writer.writestr("m.dcm", CONTENT)
    url = f"zip://m.dcm::{s3_server.put('opened/a.zip', archive.getvalue())}"
    source = open_source(fsspec.open(url, s3=s3_server.storage_options))
    assert source == URLSource(url, {"s3": s3_server.storage_options})
    check(source)


def test_compressed_fsspec_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedDicomError, match="decompress"):
        open_source(fsspec.open(tmp_path / "a.dcm.gz", compression="gzip"))


def test_file_objects(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(CONTENT)
    with open(tmp_path / "a.dcm", "rb") as file:
        source = open_source(file)
        assert isinstance(source, FileObjectSource)
        assert source.location == os.fspath(tmp_path / "a.dcm")
        check(source)
    check(open_source(io.BytesIO(CONTENT)))
    with tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(CONTENT)
        check(open_source(spooled))


def test_file_object_that_returns_less_than_asked_for() -> None:
    class Trickle(io.RawIOBase):
        def __init__(self) -> None:
            self.inner = io.BytesIO(CONTENT)

        def read(self, size: int = -1) -> bytes:
            return self.inner.read(min(size, 3))

        def seek(self, offset: int, whence: int = 0) -> int:
            return self.inner.seek(offset, whence)

        def tell(self) -> int:
            return self.inner.tell()

    check(open_source(Trickle()))


def test_smart_open(s3_server: Server) -> None:
    smart_open = pytest.importorskip("smart_open")
    boto3 = pytest.importorskip("boto3")
    url = s3_server.put("smart/a.dcm", CONTENT)
    options = s3_server.storage_options
    client = boto3.client(
        "s3",
        endpoint_url=options["endpoint_url"],
        aws_access_key_id=options["key"],
        aws_secret_access_key=options["secret"],
        region_name="us-east-1",
    )
    with smart_open.open(url, "rb", transport_params={"client": client}) as file:
        check(open_source(file))
    client.close()


def test_blob_of_google_cloud_storage(gcs_server: Server) -> None:
    storage = pytest.importorskip("google.cloud.storage")
    credentials = pytest.importorskip("google.auth.credentials")
    gcs_server.put("blob/a.dcm", CONTENT)
    client = storage.Client(
        project="tests",
        credentials=credentials.AnonymousCredentials(),
        client_options={"api_endpoint": gcs_server.endpoint_url},
    )
    with client.bucket("images").blob("blob/a.dcm").open("rb") as file:
        check(open_source(file))
    client.close()


def test_pickling_a_file_object_says_what_to_do() -> None:
    with pytest.raises(DicomError, match="open the URL or path instead"):
        pickle.dumps(open_source(io.BytesIO(CONTENT)))


def test_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("DICM")
    with (
        open(tmp_path / "a.dcm", encoding="ascii") as file,
        pytest.raises(UnsupportedDicomError, match="mode 'rb'"),
    ):
        run(open_source(file).open(4))


def test_pipe_as_file_object_is_refused() -> None:
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb") as file, pytest.raises(UnsupportedDicomError, match="can't seek"):
        run(open_source(file).open(4))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_named_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.dcm")
    with pytest.raises(OSError, match="not a file"):
        run(open_source(tmp_path / "pipe.dcm").open(4))


def test_local_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="a folder"):
        run(open_source(tmp_path).open(4))


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read all")
def test_forbidden_file(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(CONTENT)
    (tmp_path / "a.dcm").chmod(0)
    with pytest.raises(PermissionError, match=r"a\.dcm"):
        run(open_source(tmp_path / "a.dcm").open(4))


def test_forbidden_in_s3(s3_server: Server) -> None:
    url = s3_server.put("forbidden/a.dcm", CONTENT)
    source = open_source(url, {**s3_server.storage_options, "secret": "wrong"})
    with pytest.raises(PermissionError, match=r"forbidden/a\.dcm") as caught:
        run(source.open(4))
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("obj", [None, 7, object()])
def test_anything_else_is_refused(obj: Any) -> None:
    with pytest.raises(DicomError, match="pass a URL"):
        open_source(obj)


def test_unknown_protocol() -> None:
    with pytest.raises(DicomError, match="nosuch"):
        run(open_source("nosuch://a/b.dcm").open(4))


def test_wrong_storage_options(s3_server: Server) -> None:
    url = s3_server.put("options/a.dcm", CONTENT)
    with pytest.raises(OSError, match=r"options/a\.dcm: .*nosuch"):
        run(open_source(url, {**s3_server.storage_options, "nosuch": 1}).open(4))


def test_storage_options_that_no_filesystem_takes() -> None:
    pytest.importorskip("gcsfs")
    with pytest.raises(DicomError, match=r"storage_options: .*access"):
        run(open_source("gs://b/a.dcm", {"token": "anon", "access": "nosuch"}).open(4))


def test_sources_are_returned_as_they_are() -> None:
    source = RecordingSource(BytesSource(CONTENT))
    assert open_source(source) is source


def test_sources_of_one_store_share_a_filesystem(
    s3_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XARRAY_DICOM_OBSTORE", "off")
    clients = []
    for name in ("a", "b"):
        url = s3_server.put(f"shared/{name}.dcm", CONTENT)
        source = open_source(url, dict(s3_server.storage_options))
        run(source.open(4))
        assert isinstance(source, URLSource)
        clients.append(service_client(source))
    first, second = clients
    assert first.filesystem is second.filesystem
