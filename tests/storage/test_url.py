"""Spelling of URLs and chains."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import fsspec
import pytest

from support.servers import Server
from xarray_dicom.runtime import run
from xarray_dicom.storage import URLSource, expand
from xarray_dicom.storage.clients.filesystems import frozen
from xarray_dicom.storage.url import URL, chain_url, display


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("s3://bucket/a@b/key.dcm", "s3://bucket/a@b/key.dcm"),
        ("https://user:secret@host:8/a.dcm?X-Amz-Signature=abc#part", "https://host:8/a.dcm"),
        ("https://host/a.dcm?token=a@b/c", "https://host/a.dcm"),
        ("https://host?token=secret", "https://host"),
        ("zip://m.dcm::https://u:p@host/a.zip?sig=1", "zip://m.dcm::https://host/a.zip"),
        ("simplecache::s3://b/k?versionId=7", "simplecache::s3://b/k"),
        (
            "simplecache::zip://m::sftp://me:pw@host/a.zip",
            "simplecache::zip://m::sftp://host/a.zip",
        ),
        ("/folder/what?.dcm", "/folder/what?.dcm"),
        ("relative/me@home::x.dcm", "relative/me@home::x.dcm"),
    ],
)
def test_display_hides_secrets(url: str, shown: str) -> None:
    assert display(url) == shown


@pytest.mark.parametrize(
    ("url", "protocol"),
    [
        ("s3://b/k", "s3"),
        ("zip://m::s3://b/k", "zip"),
        ("simplecache::s3://b/k", "simplecache"),
        ("/a/b", "file"),
        ("a.dcm", "file"),
        ("/a::b", "file"),
    ],
)
def test_protocol(url: str, protocol: str) -> None:
    assert URL.parse(url).protocol == protocol


@pytest.mark.parametrize(
    ("url", "links"),
    [
        ("zip://m::s3://b/k", ["zip://m", "s3://b/k"]),
        ("simplecache::zip://m::/a/b.zip", ["simplecache", "zip://m", "/a/b.zip"]),
        ("/a::b", ["/a::b"]),
        ("zip://m::/a::b", ["zip://m", "/a::b"]),
        ("s3://b/k::", ["s3://b/k::"]),
        ("a.dcm", ["a.dcm"]),
        ("", [""]),
    ],
)
def test_links(url: str, links: list[str]) -> None:
    parsed = URL.parse(url)
    assert [link.text for link in parsed.links] == links
    assert str(parsed) == url
    assert parsed.is_chain == (len(links) > 1)
    assert parsed.rest == (URL.parse("::".join(links[1:])) if parsed.is_chain else None)


def test_a_url_is_a_value() -> None:
    url = URL.parse("simplecache::s3://b/k?versionId=7")
    assert url == URL.parse("simplecache::s3://b/k?versionId=7")
    assert hash(url) == hash(URL.parse(str(url)))
    assert pickle.loads(pickle.dumps(url)) == url
    with pytest.raises(AttributeError):
        url.links = ()  # type: ignore[misc]


def test_a_file_is_never_taken_for_a_chain() -> None:
    url = URL.of_file("s3://b::zip://x")
    assert url.is_local
    assert url.path == str(url) == "s3://b::zip://x"


@pytest.mark.parametrize(
    ("url", "path", "has_magic"),
    [
        ("s3://b/k.dcm", "b/k.dcm", False),
        ("s3://b/k.dcm?versionId=7", "b/k.dcm?versionId=7", False),
        ("s3://b/what?.dcm", "b/what?.dcm", True),
        ("https://host/a.dcm?x=*", "host/a.dcm", False),
        ("https://host/*.dcm", "host/*.dcm", True),
        ("simplecache::s3://b/[ab].dcm", "b/[ab].dcm", True),
        ("zip://*.dcm::s3://b/a.zip", "*.dcm", True),
        ("zip://m.dcm::s3://b/*.zip", "m.dcm", False),
        ("/folder/*", "/folder/*", True),
    ],
)
def test_path_and_magic(url: str, path: str, has_magic: bool) -> None:
    assert URL.parse(url).path == path
    assert URL.parse(url).has_magic == has_magic


@pytest.mark.parametrize(
    ("url", "is_cache"),
    [("simplecache::s3://b/k", True), ("zip://m::s3://b/k", False), ("s3://b/k", False)],
)
def test_caches_have_no_path_of_their_own(url: str, is_cache: bool) -> None:
    assert URL.parse(url).is_cache == is_cache


def test_options_of_rest() -> None:
    options = {"s3": {"anon": True}, "zip": {"x": 1}, "cache_storage": "/c"}
    assert URL.parse("simplecache::s3://b/k").options_of_rest(options) == {"anon": True}
    assert URL.parse("simplecache::zip://m::s3://b/k").options_of_rest(options) == {
        "s3": {"anon": True},
        "zip": {"x": 1},
    }


@pytest.mark.parametrize(
    ("protocol", "path", "options", "expected"),
    [
        ("s3", "b/k", {"anon": True}, ("s3://b/k", {"anon": True})),
        (
            "zip",
            "m.dcm",
            {"fo": "b/k.zip", "target_protocol": "s3", "target_options": {"anon": True}},
            ("zip://m.dcm::s3://b/k.zip", {"s3": {"anon": True}}),
        ),
        (
            "simplecache",
            "b/k",
            {"target_protocol": "s3", "target_options": {"anon": True}, "cache_storage": "/c"},
            ("simplecache::s3://b/k", {"s3": {"anon": True}, "cache_storage": "/c"}),
        ),
    ],
)
def test_chain_url(
    protocol: str, path: str, options: dict[str, Any], expected: tuple[str, dict[str, Any]]
) -> None:
    assert chain_url(protocol, path, options) == expected


def test_frozen_options_compare_as_the_options_do() -> None:
    options = {"client_kwargs": {"region_name": "x", "verify": [1, 2]}, "anon": True}
    reordered = {"anon": True, "client_kwargs": {"verify": [1, 2], "region_name": "x"}}
    assert frozen(options) == frozen(reordered)
    assert hash(frozen(options)) == hash(frozen(reordered))
    assert frozen({"secret": "a"}) != frozen({"secret": "b"})
    assert frozen({"anon": True}) != frozen({"anon": 1})


@pytest.mark.parametrize("kind", ["local", "memory", "archive", "cache", "s3"])
def test_a_source_parses_its_url_once(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str
) -> None:
    content = bytes(1000)
    (tmp_path / "a.dcm").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.dcm", "a.dcm")
    options: dict[str, Any] = {}
    if kind == "s3":
        server: Server = request.getfixturevalue("s3_server")
        url, options = server.put("parsed/a.dcm", content), server.storage_options
    elif kind == "memory":
        fsspec.filesystem("memory").pipe_file("/parsed/a.dcm", content)
        url = "memory://parsed/a.dcm"
    else:
        url = {
            "local": os.fspath(tmp_path / "a.dcm"),
            "archive": f"zip://a.dcm::{tmp_path / 'a.zip'}",
            "cache": f"simplecache::{tmp_path / 'a.dcm'}",
        }[kind]
    parsed: list[str] = []
    parse = URL.parse

    def counted(text: str) -> URL:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(URL, "parse", counted)
    (source,) = run(expand(url, options))
    assert run(source.open(100)).content == content[:100]
    assert run(source.read(100, 100)) == content[:100]
    assert run(source.read_many([(0, 10), (900, 10)])) == [content[:10]] * 2
    run(source.verify())
    assert source.identity is not None or kind == "memory"
    assert source.request_sizing.window
    assert isinstance(source, URLSource)
    assert source.sibling(".xdi").url.endswith("a.dcm.xdi") or kind == "archive"
    assert parsed == [url]
