"""Arguments of all subcommands: objects, and options of their stores."""

from __future__ import annotations

import argparse
import json
from typing import Any, TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

#: Storage options for access without credentials, by protocol; others need none.
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
    """Add the arguments that name objects and options of their stores."""
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
    """Return the keywords of the filesystem of a URL."""
    anonymous = _anonymous(url) if arguments.anon else {}
    return {**anonymous, **dict(arguments.storage_option)}


def _storage_option(text: str) -> tuple[str, Any]:
    key, separator, value = text.partition("=")
    if not key or not separator:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def _anonymous(url: str) -> dict[str, Any]:
    """Return the options for anonymous access to a URL; those of further links are nested."""
    first, *rest = (link.partition("://")[0] for link in url.split("::"))
    nested = {protocol: ANONYMOUS[protocol] for protocol in rest if protocol in ANONYMOUS}
    return {**ANONYMOUS.get(first, {}), **nested}
