"""Arguments that all commands take: which objects, and how their stores are asked."""

from __future__ import annotations

import argparse
import json
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

#: What makes each kind of store ask for no credentials; all others have none to ask for.
ANONYMOUS: dict[str, dict[str, Any]] = {
    "s3": {"anon": True},
    "s3a": {"anon": True},
    "gs": {"token": "anon"},
    "gcs": {"token": "anon"},
    "az": {"anon": True},
    "abfs": {"anon": True},
    "abfss": {"anon": True},
}


def add_objects(parser: argparse.ArgumentParser) -> None:
    """Add what names objects."""
    parser.add_argument(
        "urls",
        nargs="+",
        metavar="URL",
        help="an object, a folder or prefix, or a glob pattern: s3://…, gs://…, https://…, a path",
    )
    parser.add_argument(
        "--anon",
        action="store_true",
        help="ask for no credentials, for public buckets (S3, GCS, Azure)",
    )
    parser.add_argument(
        "--storage-option",
        action="append",
        default=[],
        type=_storage_option,
        metavar="KEY=VALUE",
        help="keyword of the fsspec filesystem; VALUE is JSON, else text; may be repeated",
    )


def storage_options(url: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Keywords of the filesystem that serves `url`."""
    return {**_anonymous(url, arguments.anon), **dict(arguments.storage_option)}


def _storage_option(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _anonymous(url: str, wanted: bool) -> dict[str, Any]:
    """Options for anonymous access to `url`; those of links behind the first are nested."""
    first, *rest = (link.partition("://")[0] for link in url.split("::"))
    if not wanted:
        return {}
    behind = {protocol: ANONYMOUS[protocol] for protocol in rest if protocol in ANONYMOUS}
    return {**ANONYMOUS.get(first, {}), **behind}
