"""Folders, prefixes, patterns and lists."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from support.servers import Server
from support.source_conformance import driven, first_awaited
from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage import expand, list_folder, open_source

KEYS = ("s/2.dcm", "s/10.dcm", "s/deep/3.dcm", "s/.hidden", "t/4.dcm")
IN_FOLDER = ["s/10.dcm", "s/2.dcm", "s/deep/3.dcm"]

Filled = tuple[str, dict[str, object]]


def fill(put: Callable[[str, bytes], object]) -> None:
    for key in KEYS:
        put(key, key.encode())


@pytest.fixture(params=["local", "memory", "s3", "gcs", "http", "zip"])
def base(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """URL of a folder that holds `KEYS`, with a mark where their names go, and its options."""
    if request.param == "local":
        (tmp_path / "s/deep").mkdir(parents=True)
        (tmp_path / "t").mkdir()
        fill(lambda key, content: (tmp_path / key).write_bytes(content))
        yield f"{tmp_path}/{{}}", {}
    elif request.param == "memory":
        memory = fsspec.filesystem("memory")
        fill(lambda key, content: memory.pipe_file(f"/expand/{key}", content))
        yield "memory://expand/{}", {}
        for path in memory.find("/expand"):
            memory.rm_file(path)
    elif request.param == "zip":
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            fill(archive.writestr)
        yield f"zip://{{}}::{tmp_path}/a.zip", {}
    else:
        server: Server = request.getfixturevalue(f"{request.param}_server")
        fill(lambda key, content: server.put(f"expand/{key}", content))
        if request.param == "http":
            # Listings of web servers are read one level deep.
            server.delete("expand/s/deep/3.dcm")
        url = server.put("expand/s/2.dcm", b"s/2.dcm").replace("s/2.dcm", "{}")
        yield url, server.storage_options


def in_folder(base: Filled) -> list[str]:
    return [key for key in IN_FOLDER if not (base[0].startswith("http") and "deep" in key)]


def contents(obj: object, options: dict[str, object]) -> list[str]:
    return [run(source.open(100)).content.decode() for source in run(expand(obj, options))]


def test_folder_with_slash(base: Filled) -> None:
    url, options = base
    assert contents(url.format("s/"), options) == in_folder(base)


def test_pattern(base: Filled) -> None:
    url, options = base
    assert contents(url.format("s/*.dcm"), options) == ["s/10.dcm", "s/2.dcm"]


def test_list(base: Filled) -> None:
    url, options = base
    urls = [url.format("t/4.dcm"), url.format("s/")]
    assert contents(urls, options) == [*in_folder(base), "t/4.dcm"]


def test_folder_that_looks_like_an_object(base: Filled) -> None:
    url, options = base
    source = open_source(url.format("s"), options)
    with pytest.raises((FileNotFoundError, IsADirectoryError)):
        run(source.open(100))
    found = run(list_folder(source))
    assert [run(member.open(100)).content.decode() for member in found] == in_folder(base)


@pytest.mark.parametrize("name", ["nothing/", "nothing/*.dcm"])
def test_nothing_there(base: Filled, name: str) -> None:
    url, options = base
    with pytest.raises(FileNotFoundError, match="nothing"):
        run(expand(url.format(name), options))


def test_missing_object_is_no_folder_either(base: Filled) -> None:
    url, options = base
    (source,) = run(expand(url.format("nothing.dcm"), options))
    with pytest.raises(FileNotFoundError, match="nothing"):
        run(list_folder(source))


def test_local_folder_without_slash(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"a")
    assert contents(tmp_path, {}) == ["a"]


def test_local_names_with_magic_characters(tmp_path: Path) -> None:
    (tmp_path / "a[1].dcm").write_bytes(b"a")
    (tmp_path / ".cache").mkdir()
    (tmp_path / ".cache/b.dcm").write_bytes(b"b")
    assert contents(tmp_path / "a[1].dcm", {}) == ["a"]
    assert contents(f"{tmp_path}/.cache/*.dcm", {}) == ["b"]


def test_new_objects_are_seen(s3_server: Server) -> None:
    url = s3_server.put("growing/1.dcm", b"1").replace("1.dcm", "")
    assert contents(url, s3_server.storage_options) == ["1"]
    s3_server.put("growing/2.dcm", b"2")
    assert contents(url, s3_server.storage_options) == ["1", "2"]


def test_file_objects_and_bytes() -> None:
    assert contents(io.BytesIO(b"file"), {}) == ["file"]
    assert contents(b"bytes", {}) == ["bytes"]
    assert sorted(contents([io.BytesIO(b"file"), b"bytes"], {})) == ["bytes", "file"]


def test_listings_enter_the_loop_unless_they_are_immediate(base: Filled) -> None:
    url, options = base[0].format("s/"), base[1]
    if open_source(url, options).immediate:
        listed = driven(expand(url, options))
        assert [driven(source.open(20)).content.decode() for source in listed] == in_folder(base)
    else:
        assert first_awaited(expand(url, options)) is first_awaited(enter_loop())
