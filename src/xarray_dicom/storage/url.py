"""URLs as fsspec spells them: one link, or several chained by ``::``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode

from fsspec.implementations.local import LocalFileSystem

_SCHEME = re.compile(r"^[a-zA-Z][a-zA-Z0-9+.\-]*$")
_USERINFO = re.compile(r"^[^/?#]*@")

#: Protocols of files of this machine; what is left without a protocol is one as well.
LOCAL_PROTOCOLS = frozenset({"file", "local"})

_HTTP_PROTOCOLS = frozenset({"http", "https"})

#: Protocols of objects that other processes don't have, or have otherwise.
_UNNAMED_PROTOCOLS = frozenset({"memory", "dir", "reference"})

#: Query parameters of signed URLs: Amazon's, Google's and Azure's.
_SIGNATURE = re.compile(
    r"^(X-Amz-.*|X-Goog-.*|AWSAccessKeyId|GoogleAccessId|Signature|Expires"
    r"|s[veprit]|sig|sdd|sks|skoid|sktid|skt|ske|skv|srt|ss|saoid|suoid|scid|spr|sip)$",
    re.IGNORECASE,
)

#: Storage options with the address of the server.
_ADDRESS_OPTIONS = ("endpoint_url", "host", "port", "account_name", "account_host", "base_url")


@dataclass(frozen=True, slots=True)
class Link:
    """One link of a URL, which is a chain of links.

    Attributes
    ----------
    text
        The link as it is spelled.
    protocol
        Its protocol; ``file`` for a plain path.
    """

    text: str
    protocol: str

    @property
    def path(self) -> str:
        """Path and query; empty for a link that is a protocol only (``simplecache``)."""
        prefix = f"{self.protocol}://"
        if self.text.startswith(prefix):
            return self.text[len(prefix) :]
        return "" if self.text == self.protocol and not self.is_local else self.text

    @property
    def host(self) -> str:
        """Host and port, or the bucket."""
        return self.path.partition("/")[0]

    @property
    def is_local(self) -> bool:
        """True for a file of this machine."""
        return self.protocol in LOCAL_PROTOCOLS

    @property
    def is_http(self) -> bool:
        """True for an object of a web server."""
        return self.protocol in _HTTP_PROTOCOLS

    def split_query(self) -> tuple[str, str, str]:
        """Split into what precedes the query, the question mark, and the query.

        Question marks are part of the names of local files.
        """
        if self.is_local or "://" not in self.text:
            return self.text, "", ""
        return self.text.partition("?")

    def display(self) -> str:
        """Return the link without query, fragment, user name and password."""
        prefix = f"{self.protocol}://"
        if not self.text.startswith(prefix):
            return self.text
        path = _USERINFO.sub("", self.split_query()[0][len(prefix) :])
        return prefix + (path.partition("#")[0] if self.is_http else path)

    def identity(self) -> str:
        """Return the link without what signs it; a query that names an object stays."""
        path, mark, query = self.split_query()
        if not mark:
            return self.text
        named = [(k, v) for k, v in parse_qsl(query, True) if not _SIGNATURE.match(k)]
        return f"{path}?{urlencode(named)}" if named else path

    def sibling(self, suffix: str) -> Link:
        """Return the link with `suffix` appended to its path."""
        path, mark, query = self.split_query()
        return Link(f"{path}{suffix}{mark}{query}", self.protocol)


@dataclass(frozen=True, slots=True)
class URL:
    """A URL, parsed; the text of it is its `str`.

    Attributes
    ----------
    links
        The links of the chain, the outermost first; at least one.
    """

    links: tuple[Link, ...]

    @classmethod
    def parse(cls, text: str) -> URL:
        """Parse what fsspec takes.

        A plain path may contain ``::`` itself, so only a link that is a protocol, or has one,
        is followed by another one.
        """
        links = []
        while True:
            first, _, rest = text.partition("::")
            if not rest or not ("://" in first or _SCHEME.match(first)):
                links.append(Link(text, _protocol(text)))
                return cls(tuple(links))
            links.append(Link(first, _protocol(f"{first}::")))
            text = rest

    @classmethod
    def of_file(cls, path: str) -> URL:
        """Return the URL of a local file; nothing in `path` is taken for a protocol."""
        return cls((Link(path, "file"),))

    def __str__(self) -> str:
        links = self.links
        return links[0].text if len(links) == 1 else "::".join(link.text for link in links)

    @property
    def protocol(self) -> str:
        """Protocol of the first link."""
        return self.links[0].protocol

    @property
    def protocols(self) -> tuple[str, ...]:
        """Protocols of all links."""
        return tuple(link.protocol for link in self.links)

    @property
    def is_chain(self) -> bool:
        """True for more than one link."""
        return len(self.links) > 1

    @property
    def is_local(self) -> bool:
        """True for a file of this machine that is not reached through another link."""
        return len(self.links) == 1 and self.links[0].is_local

    @property
    def is_cache(self) -> bool:
        """True for a chain whose first link has no path of its own (``simplecache::…``)."""
        return len(self.links) > 1 and not self.links[0].path

    @property
    def rest(self) -> URL | None:
        """Chain behind the first link; None for a URL of one link."""
        return URL(self.links[1:]) if len(self.links) > 1 else None

    @property
    def target(self) -> Link:
        """First link that is no cache: the one that names the object."""
        return self.links[self._target()]

    @property
    def path(self) -> str:
        """Path of the object in its filesystem, without the query of a web server."""
        link = self.target
        return link.path.partition("?")[0] if link.is_http else link.path

    @property
    def has_magic(self) -> bool:
        """True for a glob pattern."""
        if self.target.is_http:
            return "*" in self.path
        return any(character in self.path.partition("?versionId=")[0] for character in "*?[")

    def display(self) -> str:
        """Return the URL fit to be shown: without queries, fragments, users and passwords."""
        links = self.links
        if len(links) == 1:
            return links[0].display()
        return "::".join(link.display() for link in links)

    def identity(self, options: Mapping[str, Any]) -> str | None:
        """Return what names the object in every process; None if it lies in this one's memory.

        Signatures of URLs, which differ each time, are left out; a query that says which object
        is meant stays. `options` add the address of the server, where they have it.
        """
        if not _UNNAMED_PROTOCOLS.isdisjoint(self.protocols):
            return None
        name = "::".join(link.identity() for link in self.links)
        return name + "".join(sorted(server_options(options)))

    def sibling(self, suffix: str) -> URL:
        """Return the URL of the object whose path is this one's and `suffix`."""
        return self.with_target(self.target.sibling(suffix))

    def with_target(self, link: Link) -> URL:
        """Return the URL with another `target`."""
        position = self._target()
        return URL((*self.links[:position], link, *self.links[position + 1 :]))

    def options_of_rest(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the storage options of `rest`.

        Options of a chain are keyed by the protocol of the link they are for, as in fsspec;
        those that are not belong to the first link.
        """
        protocols = self.protocols[1:]
        if len(protocols) == 1:
            return dict(options.get(protocols[0], {}))
        return {name: options[name] for name in protocols if name in options}

    def _target(self) -> int:
        for position, link in enumerate(self.links[:-1]):
            if link.path:
                return position
        return len(self.links) - 1


def _protocol(text: str) -> str:
    head, chained, _ = text.partition("::")
    scheme, separator, _ = head.partition("://")
    if separator and _SCHEME.match(scheme):
        return scheme
    return head if chained and _SCHEME.match(head) else "file"


def local_path(url: URL) -> str:
    """Return the absolute path of a local file, as fsspec reads it; ``~`` is the user's folder."""
    text = url.links[0].text
    # fsspec's own way takes four times as long.
    if os.sep == "/" and text.startswith("/"):
        return text.rstrip("/") or "/"
    strip: Any = LocalFileSystem._strip_protocol
    path: str = strip(text)
    return path


def display(url: str) -> str:
    """Return `url` fit to be shown, as `URL.display` does."""
    return URL.parse(url).display()


def server_options(options: Mapping[str, Any]) -> list[str]:
    """Return what storage options say of the address of the server."""
    stated = []
    for name, value in options.items():
        if isinstance(value, Mapping):
            stated += server_options(value)
        elif name in _ADDRESS_OPTIONS:
            stated.append(f" {name}={value}")
    return stated


def chain_url(protocol: str, path: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return URL and storage options of a path in a filesystem with a target in its options.

    The inverse of what fsspec does to a chain: ``zip`` with ``fo``, ``target_protocol``
    and ``target_options`` becomes ``zip://member::protocol://archive``.

    Parameters
    ----------
    protocol
        Protocol of the filesystem.
    path
        Path in it.
    options
        Storage options that it was made with.

    Returns
    -------
    tuple
        The URL, and the storage options of the chain, keyed by protocol.
    """
    own = dict(options)
    target = own.get("target_protocol")
    archive = own.get("fo", path)
    if not isinstance(target, str) or not isinstance(archive, str):
        return (path if "://" in path else f"{protocol}://{path}"), own
    for name in ("target_protocol", "target_options", "fo"):
        own.pop(name, None)
    is_cache = archive.strip("/") == path.strip("/") or "fo" not in options
    inner, inner_options = chain_url(target, archive, options.get("target_options") or {})
    if inner_options:
        own.update(inner_options if "::" in inner else {target: inner_options})
    return (f"{protocol}::{inner}" if is_cache else f"{protocol}://{path}::{inner}"), own
