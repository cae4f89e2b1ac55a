"""Stores of obstore for the servers of the tests, as a user makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.servers import BUCKET, KEY, SECRET, Server

if TYPE_CHECKING:
    from obstore.store import GCSStore, HTTPStore, S3Store


def s3_store(endpoint_url: str, *, bucket: str = BUCKET, **keywords: Any) -> S3Store:
    """A store of S3 at `endpoint_url`, which `keywords` may give a prefix or other settings."""
    from obstore.store import S3Store

    settings = {"access_key_id": KEY, "secret_access_key": SECRET, **keywords.pop("config", {})}
    return S3Store(
        bucket,
        config={"endpoint": endpoint_url, "region": "us-east-1", **settings},
        client_options={"allow_http": True},
        **keywords,
    )


def gcs_store(server: Server) -> GCSStore:
    """A store of public objects in Google Cloud Storage."""
    from obstore.store import GCSStore

    return GCSStore(
        BUCKET,
        config={"base_url": server.endpoint_url, "skip_signature": True},
        client_options={"allow_http": True},
    )


def http_store(url: str) -> HTTPStore:
    """A store of what a web server has below `url`."""
    from obstore.store import HTTPStore

    return HTTPStore.from_url(url, client_options={"allow_http": True})
