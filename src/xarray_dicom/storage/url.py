"""URLs as fsspec spells them: one link, or several chained by ``::``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*$")
_USERINFO = re.compile(r"^[^/?#]*@")


def protocol_of(url: str) -> str:
    """Protocol of the first link: ``file`` for a plain path."""
    first, chained, _ = url.partition("::")
    protocol, separator, _ = first.partition("://")
    if separator and _SCHEME.match(protocol):
        return protocol
    return first if chained and _SCHEME.match(first) else "file"


def split_link(url: str) -> tuple[str, str]:
    """Split a chain into its first link and the rest; the rest of one link is empty.

    A plain path may hold ``::`` itself, so only a first link that is a protocol or
    has one starts a chain.
    """
    first, _, rest = url.partition("::")
    if rest and ("://" in first or _SCHEME.match(first)):
        return first, rest
    return url, ""


def display(url: str) -> str:
    """`url` fit to be shown: without query strings, fragments and user names or passwords.

    Plain paths stay as they are: a question mark in them is part of a name.
    """
    first, rest = split_link(url)
    scheme, separator, path = first.partition("://")
    if separator:
        path = _USERINFO.sub("", path).partition("?")[0]
        if scheme in ("http", "https"):
            path = path.partition("#")[0]
        first = f"{scheme}://{path}"
    return f"{first}::{display(rest)}" if rest else first


#: Query parameters of signed URLs: Amazon's, Google's and Azure's.
_SIGNATURE = re.compile(
    r"^(X-Amz-.*|X-Goog-.*|AWSAccessKeyId|GoogleAccessId|Signature|Expires"
    r"|s[veprit]|sig|sdd|sks|skoid|sktid|skt|ske|skv|srt|ss|saoid|suoid|scid|spr|sip)$",
    re.IGNORECASE,
)

#: Storage options that say which server is asked.
_ADDRESS = ("endpoint_url", "host", "port", "account_name", "account_host", "base_url")


def identity_of(url: str, options: Mapping[str, Any]) -> str | None:
    """What names the object at `url` in every process; None for what is in this one's memory.

    Signatures of URLs, which differ each time, are left out; a query that says which object
    is meant stays.
    """
    parts = []
    for link in _links(url):
        if protocol_of(link) in ("memory", "dir", "reference"):
            return None
        path, separator, query = link.partition("?")
        if separator and protocol_of(link) not in ("file", "local"):
            kept = [(k, v) for k, v in parse_qsl(query, True) if not _SIGNATURE.match(k)]
            link = f"{path}?{urlencode(kept)}" if kept else path
        parts.append(link)
    return "::".join(parts) + "".join(sorted(addresses_of(options)))


def with_suffix(url: str, suffix: str) -> str:
    """`url` with `suffix` appended to the path of its first link with a path."""
    first, rest = split_link(url)
    if rest and is_cache(url):
        return f"{first}::{with_suffix(rest, suffix)}"
    _, separator, _ = first.partition("://")
    path, mark, query = first.partition("?") if separator else (first, "", "")
    changed = f"{path}{suffix}{mark}{query}"
    return f"{changed}::{rest}" if rest else changed


def _links(url: str) -> list[str]:
    first, rest = split_link(url)
    return [first, *_links(rest)] if rest else [first]


def addresses_of(options: Mapping[str, Any]) -> list[str]:
    """What `options` say of the server that is asked."""
    found = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            found += addresses_of(value)
        elif name in _ADDRESS:
            found.append(f" {name}={value}")
    return found


def is_cache(url: str) -> bool:
    """Whether the first link of a chain has no path of its own (``simplecache::…``)."""
    first, rest = split_link(url)
    return bool(rest) and not first.partition("://")[2]


def options_of_rest(url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Storage options of a chain's second link and what follows it.

    Options of a chain are keyed by the protocol of the link they are for, as in fsspec;
    what is left belongs to the first link.
    """
    _, rest = split_link(url)
    protocols = []
    while rest:
        protocols.append(protocol_of(rest))
        rest = split_link(rest)[1]
    if len(protocols) == 1:
        return dict(options.get(protocols[0], {}))
    return {name: options[name] for name in protocols if name in options}


def chain_url(protocol: str, path: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """URL and storage options of a path in a filesystem whose target is among its `options`.

    The inverse of what fsspec does to a chain: ``zip`` with ``fo``, ``target_protocol``
    and ``target_options`` becomes ``zip://member::protocol://archive``.
    """
    own = dict(options)
    target = own.get("target_protocol")
    archive = own.get("fo", path)
    if not isinstance(target, str) or not isinstance(archive, str):
        return (path if "://" in path else f"{protocol}://{path}"), own
    for name in ("target_protocol", "target_options", "fo"):
        own.pop(name, None)
    cached = archive.strip("/") == path.strip("/") or "fo" not in options
    inner, inner_options = chain_url(target, archive, options.get("target_options") or {})
    if inner_options:
        own.update(inner_options if "::" in inner else {target: inner_options})
    return (f"{protocol}::{inner}" if cached else f"{protocol}://{path}::{inner}"), own
