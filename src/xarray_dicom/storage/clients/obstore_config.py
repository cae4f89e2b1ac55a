"""What URLs and storage options, which are fsspec's, mean to obstore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fsspec.config import conf

from xarray_dicom.storage.url import URL

_PROTOCOLS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}

_BUCKET = re.compile(r"^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$")

#: Storage options that change nothing about ranged reads.
_IGNORED = {
    "asynchronous",
    "block_size",
    "cache_regions",
    "cache_timeout",
    "default_block_size",
    "default_cache_type",
    "default_fill_cache",
    "fixed_upload_size",
    "listings_expiry_time",
    "loop",
    "max_concurrency",
    "max_paths",
    "project",
    "skip_instance_cache",
    "use_listings_cache",
}

#: Environment variables that steer obstore or botocore, but not both alike.
_STEERING = {
    "s3": {
        "AWS_BUCKET",
        "AWS_BUCKET_NAME",
        "AWS_DEFAULT_PROFILE",
        "AWS_ENDPOINT",
        "AWS_ENDPOINT_URL_S3",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        "AWS_PROFILE",
        "AWS_REQUEST_PAYER",
        "AWS_S3_EXPRESS",
        "AWS_SERVER_SIDE_ENCRYPTION",
        "AWS_SKIP_SIGNATURE",
        "AWS_TOKEN",
        "AWS_USE_DUALSTACK_ENDPOINT",
        "AWS_USE_FIPS_ENDPOINT",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    },
    "gs": {"GOOGLE_BASE_URL", "GOOGLE_BUCKET", "GOOGLE_BUCKET_NAME", "GOOGLE_SKIP_SIGNATURE"},
}


@dataclass(frozen=True)
class Address:
    """An object as obstore names it.

    Attributes
    ----------
    kind
        ``s3`` or ``gs``.
    bucket, key
        Where it lies.
    config
        What the client of the bucket is made with.
    """

    kind: str
    bucket: str
    key: str
    config: Mapping[str, Any] = field(default_factory=dict)


def address_of(
    url: URL, options: Mapping[str, Any], environment: Mapping[str, str]
) -> Address | None:
    """What `url` and fsspec's `options` mean to obstore; None where that is not the same."""
    kind = _PROTOCOLS.get(url.protocol)
    if kind is None or url.is_chain:
        return None
    bucket, _, key = url.links[0].path.partition("/")
    if not _BUCKET.match(bucket) or not _is_plain(key):
        return None
    if any(environment.get(name) for name in _STEERING[kind]):
        return None
    given = {**conf.get(url.protocol, {}), **options}
    kept = {name: value for name, value in given.items() if name not in _IGNORED}
    config = (_s3_config if kind == "s3" else _gcs_config)(kept, environment)
    return None if config is None else Address(kind, bucket, key, config)


def _is_plain(key: str) -> bool:
    """Whether both clients ask for `key` as it is spelled."""
    parts = key.split("/")
    return bool(key) and "?versionId=" not in key and not {"", ".", ".."} & set(parts)


def _s3_config(
    options: dict[str, Any], environment: Mapping[str, str]
) -> dict[str, str | bool] | None:
    """Configuration of obstore's S3 client from s3fs' options; None if some have no like."""
    client = dict(options.pop("client_kwargs", None) or {})
    endpoint = options.pop("endpoint_url", None) or client.pop("endpoint_url", None)
    client.pop("endpoint_url", None)
    region = client.pop("region_name", None)
    anonymous = bool(options.pop("anon", False))
    key = options.pop("key", None) or options.pop("username", None)
    secret = options.pop("secret", None) or options.pop("password", None)
    token = options.pop("token", None)
    payer = bool(options.pop("requester_pays", False))
    pool = dict(options.pop("config_kwargs", None) or {})
    pool.pop("max_pool_connections", None)
    # What is left, if it asks for anything, asks for more than is known here.
    if pool or client or not options.pop("use_ssl", True) or any(options.values()):
        return None
    if endpoint is None:
        endpoint = environment.get("AWS_ENDPOINT_URL") or None
        if endpoint is None and _file_names_endpoint(environment):
            return None
    if environment.get("AWS_CA_BUNDLE") and not str(endpoint).startswith("http://"):
        return None
    if not anonymous and not (key or secret or token):
        key = environment.get("AWS_ACCESS_KEY_ID")
        secret = environment.get("AWS_SECRET_ACCESS_KEY")
        token = environment.get("AWS_SESSION_TOKEN")
    if not anonymous and not (key and secret):
        return None
    if not anonymous and not token and environment.get("AWS_SESSION_TOKEN"):
        # obstore would add the environment's token to keys that it doesn't belong to.
        return None
    if not region:
        region = environment.get("AWS_DEFAULT_REGION") or environment.get("AWS_REGION")
    config: dict[str, str | bool] = {"region": region or "us-east-1"}
    if endpoint:
        config["endpoint"] = endpoint
    if payer:
        config["request_payer"] = True
    if anonymous:
        return {**config, "skip_signature": True}
    config.update(access_key_id=key, secret_access_key=secret)
    return {**config, "session_token": token} if token else config


def _gcs_config(
    options: dict[str, Any], environment: Mapping[str, str]
) -> dict[str, str | bool] | None:
    """Configuration of obstore's GCS client from gcsfs' options; None if some have no like."""
    endpoint = options.pop("endpoint_url", None) or environment.get("STORAGE_EMULATOR_HOST")
    if options.pop("token", None) != "anon" or any(options.values()):
        return None
    config: dict[str, str | bool] = {"skip_signature": True}
    if endpoint:
        config["base_url"] = endpoint if "://" in endpoint else f"http://{endpoint}"
    return config


def _file_names_endpoint(environment: Mapping[str, str]) -> bool:
    """Whether Amazon's configuration file sends requests elsewhere, which obstore ignores."""
    path = environment.get("AWS_CONFIG_FILE") or "~/.aws/config"
    try:
        return "endpoint_url" in Path(path).expanduser().read_text("utf-8", "replace")
    except (OSError, RuntimeError):
        return False
