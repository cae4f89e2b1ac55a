"""Names of objects that are the same in every process."""

from __future__ import annotations

import pytest

from xarray_dicom.storage import BytesSource, URLSource

SIGNED = "https://host/a.dcm?X-Amz-Signature={}&X-Amz-Date=20260101T000000Z"


def identity(url: str, **options: object) -> str | None:
    return URLSource(url, options).identity


@pytest.mark.parametrize(
    "url",
    [
        SIGNED,
        "https://storage.googleapis.com/b/a.dcm?X-Goog-Signature={}&X-Goog-Expires=60",
        "https://b.s3.amazonaws.com/a.dcm?AWSAccessKeyId=K&Signature={}&Expires=17",
        "https://account.blob.core.windows.net/c/a.dcm?sv=2024&st=2026&se=2027&sr=b&sp=r&sig={}",
    ],
)
def test_signatures_do_not_name_an_object(url: str) -> None:
    first, second = identity(url.format("one")), identity(url.format("two"))
    assert first == second
    assert first is not None
    assert "one" not in first


def test_a_query_may_name_an_object() -> None:
    assert identity("https://host/wado?uid=1") != identity("https://host/wado?uid=2")
    assert identity("https://host/a?uid=1&Signature=x") == identity("https://host/a?uid=1")


def test_the_server_is_part_of_the_name_and_credentials_are_not() -> None:
    one = identity("s3://b/a.dcm", endpoint_url="http://one", key="k", secret="s")
    assert one == identity("s3://b/a.dcm", endpoint_url="http://one", anon=True)
    assert one != identity("s3://b/a.dcm", endpoint_url="http://two", key="k", secret="s")
    assert one != identity("s3://b/a.dcm", client_kwargs={"endpoint_url": "http://two"})


def test_every_link_of_a_chain_counts() -> None:
    assert identity("zip://a.dcm::s3://b/one.zip") != identity("zip://a.dcm::s3://b/two.zip")


@pytest.mark.parametrize("url", ["memory://a.dcm", "simplecache::memory://a.dcm"])
def test_memory_of_this_process_has_no_name(url: str) -> None:
    assert identity(url) is None
    assert BytesSource(b"").identity is None


@pytest.mark.parametrize(
    ("url", "beside"),
    [
        ("s3://b/a.dcm", "s3://b/a.dcm.xdi"),
        ("https://host/a.dcm?uid=1", "https://host/a.dcm.xdi?uid=1"),
        ("/folder/what? a.dcm", "/folder/what? a.dcm.xdi"),
        ("simplecache::s3://b/a.dcm", "simplecache::s3://b/a.dcm.xdi"),
        ("zip://a.dcm::s3://b/one.zip", "zip://a.dcm.xdi::s3://b/one.zip"),
    ],
)
def test_the_object_beside_has_a_suffix_on_its_path(url: str, beside: str) -> None:
    assert URLSource(url).sibling(".xdi").url == beside
