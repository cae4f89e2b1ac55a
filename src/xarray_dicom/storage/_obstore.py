"""Objects in S3 and Google Cloud Storage through obstore: a quarter of s3fs' time per request.

It is chosen where the storage options, which are fsspec's, mean exactly the same to it:
anonymous access, or keys given or in the environment. All else is left to fsspec.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import sys
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from fsspec.config import conf

from xarray_dicom.runtime import in_thread, runtime
from xarray_dicom.storage._store import Reply, Store, TruncatedBodyError
from xarray_dicom.storage._url import protocol_of, split_link
from xarray_dicom.storage.source import Fingerprint

#: ``off`` leaves all objects to fsspec.
SWITCH = "XARRAY_DICOM_OBSTORE"

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

#: As many as s3fs makes, with less waiting.
_RETRIES = {
    "max_retries": 5,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {
        "init_backoff": timedelta(milliseconds=100),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}

#: A reply may take long over a thin line; one that stands still has broken off.
_TIMEOUTS = {"connect_timeout": "10s", "read_timeout": "60s", "timeout": "10m"}

_STATUS = re.compile(r"status code: (\d{3})")

_NO_DATE = datetime.fromtimestamp(0, UTC)


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


@dataclass(eq=False)
class Bucket:
    """The client of one bucket, and what is known of the server through it.

    Attributes
    ----------
    client
        obstore's.
    reached
        Whether the server has given us something.
    unsuited
        Whether it gives through fsspec what it refuses to this client.
    first
        Held by the first request, so that a server that is unsuited is asked once.
    """

    client: Any
    reached: bool = False
    unsuited: bool = False
    first: asyncio.Lock = field(default_factory=asyncio.Lock)


class ObstoreStore:
    """An object read with conditional GET; each reply tells size and version.

    Parameters
    ----------
    bucket
        The client to ask.
    address
        The object.
    otherwise
        Makes the store that fsspec has for it: some servers reply in ways that obstore
        refuses (no status 206), and a bucket may lie in another region than was told.
    """

    def __init__(
        self, bucket: Bucket, address: Address, otherwise: Callable[[], Awaitable[Store]]
    ) -> None:
        self.bucket = bucket
        self.address = address
        self.otherwise = otherwise

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """GET with Range, and If-Match or a generation once the version is known."""
        if self.bucket.reached:
            return await self._get(offset, length, pinned)
        if not self.bucket.unsuited:
            async with self.bucket.first:
                if not (self.bucket.reached or self.bucket.unsuited):
                    return await self._first(offset, length, pinned)
        if self.bucket.unsuited:
            return await (await self.otherwise()).get(offset, length, pinned)
        return await self._get(offset, length, pinned)

    async def stat(self) -> Fingerprint | None:
        """None: each reply tells."""
        return None

    async def _first(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        """Ask a server for the first time; what it refuses, ask again by fsspec."""
        try:
            reply = await self._get(offset, length, pinned)
        except Exception as refusal:
            try:
                reply = await (await self.otherwise()).get(offset, length, pinned)
            except ImportError:
                raise refusal from None
            self.bucket.unsuited = True
        else:
            self.bucket.reached = True
        return reply

    async def _get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        import obstore
        from obstore import exceptions

        options: dict[str, Any] = {"range": (offset, offset + length), **_condition(pinned)}
        try:
            result = await obstore.get_async(
                self.bucket.client,
                self.address.key,
                options=options,  # type: ignore[arg-type]
            )
        except FileNotFoundError:
            # A generation that is gone looks like an object that is gone.
            if "version" not in options:
                raise
            return await self._get(0, 1, None)
        except exceptions.PreconditionError:
            if pinned is None:
                raise
            return await self._get(0, 1, None)
        except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
            raise PermissionError(_told(error)) from error
        except exceptions.BaseError as error:
            if _status(error) == 416:
                return Reply(b"", await self._head())
            raise OSError(_told(error)) from error
        found = _fingerprint(self.address.kind, result.meta)
        try:
            content = bytes(await result.bytes_async())
        except Exception as error:
            raise TruncatedBodyError(_told(error)) from error
        return Reply(content, found)

    async def _head(self) -> Fingerprint:
        import obstore

        meta = await obstore.head_async(self.bucket.client, self.address.key)
        return _fingerprint(self.address.kind, meta)


async def obstore_store(
    url: str, options: Mapping[str, Any], otherwise: Callable[[], Awaitable[Store]]
) -> ObstoreStore | None:
    """The store of the object at `url`, or None where it is fsspec's."""
    if not _available():
        return None
    address = address_of(url, options, os.environ)
    if address is None:
        return None
    key: Hashable = ("obstore", address.kind, address.bucket, tuple(sorted(address.config.items())))
    try:
        bucket = await in_thread(runtime().shared, key, lambda: Bucket(_client(address)))
    except Exception:
        # What obstore can't be configured with may be no trouble to fsspec, or be told better.
        return None
    return None if bucket.unsuited else ObstoreStore(bucket, address, otherwise)


def address_of(
    url: str, options: Mapping[str, Any], environment: Mapping[str, str]
) -> Address | None:
    """What `url` and fsspec's `options` mean to obstore; None where that is not the same."""
    kind = _PROTOCOLS.get(protocol_of(url))
    if kind is None or split_link(url)[1]:
        return None
    bucket, _, key = url.partition("://")[2].partition("/")
    if not _BUCKET.match(bucket) or not _is_plain(key):
        return None
    if any(environment.get(name) for name in _STEERING[kind]):
        return None
    given = {**conf.get(protocol_of(url), {}), **options}
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


def _client(address: Address) -> Any:
    from obstore.store import GCSStore, S3Store

    endpoint = str(address.config.get("endpoint") or address.config.get("base_url") or "")
    make: Any = S3Store if address.kind == "s3" else GCSStore
    return make(
        address.bucket,
        config=dict(address.config),
        client_options={**_TIMEOUTS, "allow_http": endpoint.startswith("http://")},
        retry_config=_RETRIES,
    )


def _condition(pinned: Fingerprint | None) -> dict[str, str]:
    kind, _, value = (pinned.version if pinned else "").partition(":")
    names = {"etag": "if_match", "generation": "version"}
    return {names[kind]: value} if kind in names and value else {}


def _fingerprint(kind: str, meta: Mapping[str, Any]) -> Fingerprint:
    """The same words for a version as the stores of fsspec have."""
    size, modified = meta["size"], meta["last_modified"]
    if kind == "gs":
        return Fingerprint(size, f"generation:{meta['version']}" if meta["version"] else "")
    if meta["e_tag"]:
        return Fingerprint(size, f"etag:{meta['e_tag']}")
    return Fingerprint(size, f"mtime:{modified.isoformat()}" if modified > _NO_DATE else "")


def _status(error: BaseException) -> int:
    """HTTP status in what obstore says, 0 if there is none."""
    match = _STATUS.search(str(error))
    return int(match[1]) if match else 0


def _told(error: BaseException) -> str:
    """What obstore says, without its account of its own structures."""
    return str(error).partition("\n\nDebug source")[0].strip()


#: Whether this process is the child of one that had loaded obstore: its threads are gone,
#: and whatever is asked of it would wait for them.
_orphaned = False


def _available() -> bool:
    if os.environ.get(SWITCH, "").lower() in ("off", "0", "false", "no"):
        return False
    return not _orphaned and _installed()


@cache
def _installed() -> bool:
    return importlib.util.find_spec("obstore") is not None


def _note_loss_of_threads() -> None:
    global _orphaned
    _orphaned = _orphaned or "obstore" in sys.modules


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_loss_of_threads)
