"""Spelling of URLs and chains."""

from __future__ import annotations

from typing import Any

import pytest

from xarray_dicom.storage.clients.filesystems import frozen
from xarray_dicom.storage.url import chain_url, display, options_of_rest, protocol_of, split_link


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
def test_protocol_of(url: str, protocol: str) -> None:
    assert protocol_of(url) == protocol


def test_split_link() -> None:
    assert split_link("zip://m::s3://b/k") == ("zip://m", "s3://b/k")
    assert split_link("/a::b") == ("/a::b", "")


def test_options_of_rest() -> None:
    options = {"s3": {"anon": True}, "zip": {"x": 1}, "cache_storage": "/c"}
    assert options_of_rest("simplecache::s3://b/k", options) == {"anon": True}
    assert options_of_rest("simplecache::zip://m::s3://b/k", options) == {
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
