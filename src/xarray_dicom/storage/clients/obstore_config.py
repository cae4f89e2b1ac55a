"""Configuration of obstore's clients that means the same as fsspec's storage options."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fsspec.config import conf

from xarray_dicom.storage.url import URL

Config = dict[str, Any]
Stated = Callable[[str], str | None]

_PROTOCOLS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}

#: Names of buckets that both clients put into the path of a request alike.
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")

#: What obstore calls a setting, the storage options that say it, and the variables of the
#: environment that fsspec's client reads where no option says it; the first one set counts.
_SETTINGS = {
    "s3": {
        "endpoint": ("endpoint_url client_kwargs.endpoint_url", "AWS_ENDPOINT_URL"),
        "region": ("client_kwargs.region_name", "AWS_DEFAULT_REGION AWS_REGION"),
        "skip_signature": ("anon", ""),
        "request_payer": ("requester_pays", ""),
        "access_key_id": ("key username", "AWS_ACCESS_KEY_ID"),
        "secret_access_key": ("secret password", "AWS_SECRET_ACCESS_KEY"),
        "session_token": ("token", "AWS_SESSION_TOKEN"),
    },
    "gs": {"base_url": ("endpoint_url", "STORAGE_EMULATOR_HOST"), "skip_signature": ("token", "")},
}

_KEYS = ("access_key_id", "secret_access_key")
_CREDENTIALS = (*_KEYS, "session_token")

#: Storage options that change nothing about ranged reads.
_IGNORED = re.compile(
    r"asynchronous|block_size|cache_regions|cache_timeout|config_kwargs\.max_pool_connections"
    r"|default_(block_size|cache_type|fill_cache)|fixed_upload_size|listings_expiry_time|loop"
    r"|max_concurrency|max_paths|project|skip_instance_cache|use_listings_cache"
)

#: Variables of the environment that steer one of the two clients, or both in two ways.
_STEERING = {
    "s3": "AWS_BUCKET AWS_BUCKET_NAME AWS_DEFAULT_PROFILE AWS_ENDPOINT AWS_ENDPOINT_URL_S3 "
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS AWS_PROFILE AWS_REQUEST_PAYER AWS_S3_EXPRESS "
    "AWS_SERVER_SIDE_ENCRYPTION AWS_SKIP_SIGNATURE AWS_TOKEN AWS_USE_DUALSTACK_ENDPOINT "
    "AWS_USE_FIPS_ENDPOINT AWS_VIRTUAL_HOSTED_STYLE_REQUEST",
    "gs": "GOOGLE_BASE_URL GOOGLE_BUCKET GOOGLE_BUCKET_NAME GOOGLE_SKIP_SIGNATURE",
}


@dataclass(frozen=True)
class Address:
    """Kind of store (``s3`` or ``gs``), bucket and key of an object; settings of its client."""

    kind: str
    bucket: str
    key: str
    config: Config


def address_of(
    url: URL, options: Mapping[str, Any], environment: Mapping[str, str]
) -> Address | None:
    """Translate `url` and fsspec's `options`; None where obstore would do something else.

    Parameters
    ----------
    url, options
        As fsspec takes them.
    environment
        Variables of the environment.
    """
    kind = _PROTOCOLS.get(url.protocol)
    if kind is None or url.is_chain:
        return None
    bucket, _, key = url.links[0].path.partition("/")
    # Empty and relative parts of a key are spelled differently by the two clients.
    if not _BUCKET.fullmatch(bucket) or "?versionId=" in key or {"", ".", ".."} & {*key.split("/")}:
        return None
    if any(map(environment.get, _STEERING[kind].split())):
        return None
    flat = _flat({**conf.get(url.protocol, {}), **options})
    given = {
        name: next(filter(None, [flat.pop(option, None) for option in spellings.split()]), None)
        for name, (spellings, _) in _SETTINGS[kind].items()
    }
    # An option without a counterpart is left to fsspec, unless it is switched off.
    if any((flat[name] or "." in name) and not _IGNORED.fullmatch(name) for name in flat):
        return None

    def stated(name: str) -> str | None:
        variables = _SETTINGS[kind][name][1].split()
        return next(filter(None, map(environment.get, variables)), None)

    config = (_s3_config if kind == "s3" else _gcs_config)(given, stated, environment)
    if config is None:
        return None
    return Address(kind, bucket, key, {name: value for name, value in config.items() if value})


def _flat(options: Mapping[str, Any]) -> Config:
    """Return the options with those of botocore named ``client_kwargs.region_name``."""
    flat = dict(options)
    for group in ("client_kwargs", "config_kwargs"):
        nested = flat.pop(group, None) or {}
        flat.update({f"{group}.{name}": value for name, value in nested.items()})
    # Plain text by choice is no setting of obstore.
    return {**flat, "use_ssl": not flat.get("use_ssl", True)}


def _s3_config(given: Config, stated: Stated, environment: Mapping[str, str]) -> Config | None:
    config = {**given, "skip_signature": bool(given["skip_signature"])}
    config["request_payer"] = bool(given["request_payer"])
    config["region"] = given["region"] or stated("region") or "us-east-1"
    config["endpoint"] = given["endpoint"] or stated("endpoint")
    if not config["endpoint"] and _file_names_endpoint(environment):
        return None
    if environment.get("AWS_CA_BUNDLE") and not str(config["endpoint"]).startswith("http://"):
        return None
    if config["skip_signature"]:
        return {**config, **dict.fromkeys(_CREDENTIALS)}
    if not any(map(given.get, _CREDENTIALS)):
        config.update({name: stated(name) for name in _CREDENTIALS})
    elif not given["session_token"] and stated("session_token"):
        # obstore would add the environment's token to keys that it doesn't belong to.
        return None
    return config if all(map(config.get, _KEYS)) else None


def _gcs_config(given: Config, stated: Stated, _: Mapping[str, str]) -> Config | None:
    if given["skip_signature"] != "anon":
        return None
    url = given["base_url"] or stated("base_url") or ""
    return {"skip_signature": True, "base_url": url if not url or "://" in url else f"http://{url}"}


def _file_names_endpoint(environment: Mapping[str, str]) -> bool:
    """Return True if Amazon's configuration file has an endpoint, which obstore ignores."""
    path = environment.get("AWS_CONFIG_FILE") or "~/.aws/config"
    try:
        return "endpoint_url" in Path(path).expanduser().read_text("utf-8", "replace")
    except (OSError, RuntimeError):
        return False
