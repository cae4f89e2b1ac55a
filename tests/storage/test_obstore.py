"""Which objects obstore is asked for, and that it says the same as fsspec."""

from __future__ import annotations

import asyncio
import os
import select
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.proxy import LatencyProxy
from support.servers import Server
from support.source_conformance import service_client
from xarray_dicom.errors import SourceChangedError
from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage import URL, URLSource, open_source
from xarray_dicom.storage.clients.obstore_choice import SWITCH, AutomaticClient
from xarray_dicom.storage.clients.obstore_config import address_of

pytest.importorskip("obstore")

CONTENT = np.random.default_rng(0).bytes(400_000)
KEYS = {"key": "k", "secret": "s"}
REGION = {"region": "us-east-1"}
SIGNED = {"access_key_id": "k", "secret_access_key": "s"}
NO_FILE = {"AWS_CONFIG_FILE": os.devnull}


def source_of(url: str, options: dict[str, Any]) -> URLSource:
    source = open_source(url, options)
    assert isinstance(source, URLSource)
    return source


def through(server: Server, proxy: LatencyProxy) -> dict[str, Any]:
    return {**server.storage_options, "endpoint_url": proxy.endpoint_url}


@pytest.mark.parametrize(
    ("options", "environment", "config"),
    [
        ({"anon": True}, {}, {"skip_signature": True}),
        ({"anon": True, **KEYS}, {"AWS_SESSION_TOKEN": "t"}, {"skip_signature": True}),
        (KEYS, {}, SIGNED),
        ({"username": "k", "password": "s"}, {}, SIGNED),
        ({**KEYS, "token": "t"}, {}, {**SIGNED, "session_token": "t"}),
        ({}, {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, SIGNED),
        ({**KEYS, "endpoint_url": "http://h:1"}, {}, {**SIGNED, "endpoint": "http://h:1"}),
        (
            {**KEYS, "client_kwargs": {"endpoint_url": "http://h:1", "region_name": "eu-west-3"}},
            {"AWS_DEFAULT_REGION": "us-west-2"},
            {**SIGNED, "endpoint": "http://h:1", "region": "eu-west-3"},
        ),
        (KEYS, {"AWS_DEFAULT_REGION": "us-west-2"}, {**SIGNED, "region": "us-west-2"}),
        (KEYS, {"AWS_ENDPOINT_URL": "http://h:1"}, {**SIGNED, "endpoint": "http://h:1"}),
        ({**KEYS, "requester_pays": True}, {}, {**SIGNED, "request_payer": True}),
        ({**KEYS, "default_block_size": 5, "use_listings_cache": False}, {}, SIGNED),
        ({**KEYS, "config_kwargs": {"max_pool_connections": 5}}, {}, SIGNED),
        ({**KEYS, "endpoint_url": "http://h:1"}, {"AWS_CA_BUNDLE": "/ca.pem"}, None),
    ],
)
def test_options_of_s3_that_obstore_has_too(
    options: dict[str, Any], environment: dict[str, str], config: dict[str, Any] | None
) -> None:
    found = address_of(URL.parse("s3://bucket/a/b.dcm"), options, {**NO_FILE, **environment})
    assert found is not None
    assert (found.kind, found.bucket, found.key) == ("s3", "bucket", "a/b.dcm")
    if config is not None:
        assert found.config == {**REGION, **config}


@pytest.mark.parametrize(
    ("options", "environment"),
    [
        ({}, {}),
        ({"key": "k"}, {}),
        ({"profile": "p", "anon": True}, {}),
        ({**KEYS, "session": object()}, {}),
        ({**KEYS, "version_aware": True}, {}),
        ({**KEYS, "use_ssl": False}, {}),
        ({**KEYS, "client_kwargs": {"verify": False}}, {}),
        ({**KEYS, "config_kwargs": {"s3": {"addressing_style": "virtual"}}}, {}),
        ({**KEYS, "s3_additional_kwargs": {"SSECustomerKey": "x"}}, {}),
        ({**KEYS, "some_new_option": 1}, {}),
        (KEYS, {"AWS_SESSION_TOKEN": "t"}),
        (KEYS, {"AWS_PROFILE": "p"}),
        (KEYS, {"AWS_ENDPOINT_URL_S3": "http://h:1"}),
        (KEYS, {"AWS_SKIP_SIGNATURE": "true"}),
        (KEYS, {"AWS_CA_BUNDLE": "/ca.pem"}),
        ({}, {"AWS_ACCESS_KEY_ID": "k"}),
    ],
)
def test_options_of_s3_that_are_left_to_s3fs(
    options: dict[str, Any], environment: dict[str, str]
) -> None:
    assert address_of(URL.parse("s3://bucket/a.dcm"), options, {**NO_FILE, **environment}) is None


def test_an_endpoint_in_a_configuration_file_is_left_to_s3fs(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("[default]\nendpoint_url = http://h:1\n")
    environment = {"AWS_CONFIG_FILE": str(file)}
    assert address_of(URL.parse("s3://bucket/a.dcm"), {"anon": True}, environment) is None
    given = {"anon": True, "endpoint_url": "http://h:2"}
    assert address_of(URL.parse("s3://bucket/a.dcm"), given, environment) is not None


@pytest.mark.parametrize(
    ("options", "environment", "config"),
    [
        ({"token": "anon"}, {}, {"skip_signature": True}),
        (
            {"token": "anon", "project": "p", "endpoint_url": "http://h:1"},
            {},
            {"skip_signature": True, "base_url": "http://h:1"},
        ),
        (
            {"token": "anon"},
            {"STORAGE_EMULATOR_HOST": "h:1"},
            {"skip_signature": True, "base_url": "http://h:1"},
        ),
        ({}, {}, None),
        ({"token": "google_default"}, {}, None),
        ({"token": "anon", "requester_pays": True}, {}, None),
        ({"token": "anon"}, {"GOOGLE_BASE_URL": "http://h:1"}, None),
    ],
)
def test_options_of_gcs(
    options: dict[str, Any], environment: dict[str, str], config: dict[str, Any] | None
) -> None:
    found = address_of(URL.parse("gs://bucket/a.dcm"), options, environment)
    assert (found.config if found else None) == config


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/a//b.dcm",
        "s3://bucket/../a.dcm",
        "s3://bucket/a.dcm?versionId=1",
        "s3://arn:aws:s3:eu-west-1:1:accesspoint/p/a.dcm",
        "s3://Upper/a.dcm",
        "zip://a.dcm::s3://bucket/a.zip",
        "simplecache::s3://bucket/a.dcm",
        "https://host/a.dcm",
        "/bucket/a.dcm",
    ],
)
def test_urls_that_are_left_to_fsspec(url: str) -> None:
    assert address_of(URL.parse(url), {"anon": True}, NO_FILE) is None


@pytest.mark.parametrize("kind", ["s3", "moto", "gcs"])
@pytest.mark.parametrize("content", [CONTENT, b""], ids=["bytes", "empty"])
def test_fingerprints_are_those_of_fsspec(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, kind: str, content: bytes
) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    url = server.put("obstore/same ü+%41.dcm", content)
    monkeypatch.setenv(SWITCH, "off")
    without = source_of(url, server.storage_options)
    expected = run(without.open(1000))
    assert not isinstance(service_client(without), AutomaticClient)
    monkeypatch.setenv(SWITCH, "on")
    # The version that one client found is what the other insists on.
    pinned = URLSource(url, server.storage_options, expected.fingerprint)
    assert run(pinned.open(1000)) == expected
    if content:
        assert run(pinned.read(399_990, 10)) == CONTENT[-10:]


@pytest.mark.parametrize("kind", ["moto", "gcs"])
def test_the_servers_of_these_tests_are_asked_by_obstore(
    request: pytest.FixtureRequest, kind: str
) -> None:
    server: Server = request.getfixturevalue(f"{kind}_server")
    source = source_of(server.put("obstore/asked.dcm", CONTENT), server.storage_options)
    run(source.open(10))
    store = service_client(source)
    assert isinstance(store, AutomaticClient)
    assert store.bucket.suited


def test_a_changed_object_is_caught_by_the_request_itself(moto_server: Server) -> None:
    url = moto_server.put("obstore/changed.dcm", CONTENT)
    with LatencyProxy(moto_server.port) as proxy:
        source = source_of(url, through(moto_server, proxy))
        run(source.open(10))
        moto_server.put("obstore/changed.dcm", CONTENT[::-1])
        sent = proxy.bytes_sent
        with pytest.raises(SourceChangedError, match="open it again"):
            run(source.read(0, 300_000))
        assert proxy.bytes_sent - sent < 10_000


def test_a_server_that_is_unsuited_is_asked_once(s3_server: Server) -> None:
    """One that sends status 200 for a range: obstore refuses that, s3fs doesn't."""
    urls = [s3_server.put(f"obstore/{name}.dcm", CONTENT) for name in "abcdef"]
    with LatencyProxy(s3_server.port) as proxy:
        sources = [source_of(url, through(s3_server, proxy)) for url in urls]

        async def open_all() -> None:
            await enter_loop()
            await asyncio.gather(*(source.open(10) for source in sources[:3]))

        run(open_all())
        assert proxy.requests == 3 + 1
        assert run(sources[4].read(0, 400_000)) == CONTENT
        assert proxy.requests == 3 + 1 + 2
        assert not isinstance(service_client(sources[5]), AutomaticClient)


def test_bodies_that_break_off_are_resumed(moto_server: Server) -> None:
    url = moto_server.put("obstore/cut.dcm", CONTENT)
    with LatencyProxy(moto_server.port) as proxy:
        source = source_of(url, through(moto_server, proxy))
        run(source.open(10))
        proxy.cut_bodies(after=50_000, times=2)
        assert run(source.read(1000, 300_000)) == CONTENT[1000:301_000]
        assert proxy.cuts_left == 0


def test_bodies_that_keep_breaking_off_raise(moto_server: Server) -> None:
    url = moto_server.put("obstore/cut again.dcm", CONTENT)
    with LatencyProxy(moto_server.port) as proxy:
        source = source_of(url, through(moto_server, proxy))
        run(source.open(10))
        before = proxy.requests
        proxy.cut_bodies(after=0, times=10_000)
        with pytest.raises(OSError, match=r"cut again\.dcm: bytes 0 to 300000 .*broke off"):
            run(source.read(0, 300_000))
        assert proxy.requests - before < 30


def test_missing_keys_and_buckets(moto_server: Server) -> None:
    options = moto_server.storage_options
    run(open_source(moto_server.put("obstore/there.dcm", b"1"), options).open(1))
    for url in ("s3://images/obstore/not.dcm", "s3://no-such-bucket/a.dcm"):
        with pytest.raises(FileNotFoundError, match="no such object"):
            run(open_source(url, options).open(1))


def test_refused_access(s3_server: Server) -> None:
    url = s3_server.put("obstore/refused.dcm", b"1")
    options = {**s3_server.storage_options, "secret": "another"}
    with pytest.raises(PermissionError, match="access is refused") as caught:
        run(open_source(url, options).open(1))
    assert "another" not in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system can't fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
def test_a_forked_child_asks_by_fsspec(moto_server: Server) -> None:
    """The threads of obstore stay behind: a request to it would wait forever."""
    source = source_of(
        moto_server.put("obstore/forked.dcm", CONTENT), dict(moto_server.storage_options)
    )
    run(source.open(10))
    assert isinstance(service_client(source), AutomaticClient)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            content = run(source.read(9, 10))
            store = service_client(source)
            os.write(writing, content + type(store).__name__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        ready, _, _ = select.select([reading], [], [], 30)
        assert ready, "the forked process hangs"
        assert os.read(reading, 100) == CONTENT[9:19] + b"S3Client"
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    assert run(source.read(0, 100)) == CONTENT[:100]
