"""Wrappers of clients: each alone, over a client with scripted replies."""

from __future__ import annotations

from typing import Any

import pytest

from support.source_conformance import driven
from xarray_dicom.errors import DicomError, SourceChangedError, UnsupportedDicomError
from xarray_dicom.storage.clients.base import RangesUnsupportedError, Reply, TruncatedBodyError
from xarray_dicom.storage.request_sizing import ConnectionMeter
from xarray_dicom.storage.source import Fingerprint
from xarray_dicom.storage.url import URL
from xarray_dicom.storage.wrappers.error_names import ErrorNamingClient
from xarray_dicom.storage.wrappers.retry import ATTEMPTS, RetryingClient
from xarray_dicom.storage.wrappers.timing import TimedClient
from xarray_dicom.storage.wrappers.version_pin import VersionPinningClient

OLD, NEW = Fingerprint(10, "etag:old"), Fingerprint(10, "etag:new")
SIGNED = URL.parse("https://user:pw@host/a.dcm?sig=secret")


class Scripted:
    """Client that replies, or raises, what a test says."""

    def __init__(self, *script: Any, there: Any = None) -> None:
        self.script = list(script)
        self.there = there
        self.stats = 0

    async def get(self, offset: int, length: int, pinned: Fingerprint | None) -> Reply:
        reply = self.script.pop(0)
        if isinstance(reply, Exception):
            raise reply
        assert isinstance(reply, Reply)
        return reply

    async def stat(self) -> Fingerprint | None:
        self.stats += 1
        if isinstance(self.there, Exception):
            raise self.there
        assert self.there is None or isinstance(self.there, Fingerprint)
        return self.there


class TestRetry:
    def test_short_and_broken_replies_are_requested_again(self) -> None:
        client = Scripted(TruncatedBodyError("cut"), Reply(b"012", OLD), Reply(b"01234", OLD))
        assert driven(RetryingClient(client).get(0, 5, OLD)).content == b"01234"

    def test_after_the_last_attempt_it_raises(self) -> None:
        client = Scripted(*[Reply(b"012", OLD)] * (ATTEMPTS - 1), TruncatedBodyError("cut"), None)
        with pytest.raises(OSError, match=r"in 3 attempts .*TruncatedBodyError: cut"):
            driven(RetryingClient(client).get(0, 5, OLD))
        assert client.script == [None]

    def test_a_reply_may_end_with_the_object(self) -> None:
        client = Scripted(Reply(b"89", OLD), Reply(b"", OLD))
        assert driven(RetryingClient(client).get(8, 5, None)).content == b"89"
        assert driven(RetryingClient(client).get(20, 5, None)).content == b""

    def test_bytes_of_another_version_are_not_requested_again(self) -> None:
        client = Scripted(Reply(b"", NEW))
        assert driven(RetryingClient(client).get(0, 5, OLD)) == Reply(b"", NEW)

    def test_other_errors_are_left_to_others(self) -> None:
        with pytest.raises(OSError, match="refused"):
            driven(RetryingClient(Scripted(OSError("refused"))).get(0, 5, OLD))


class TestVersionPin:
    def test_another_version_raises(self) -> None:
        with pytest.raises(SourceChangedError, match=r"was 10 bytes etag:old.* 10 bytes etag:new"):
            driven(VersionPinningClient(Scripted(Reply(b"", NEW))).get(0, 5, OLD))

    def test_replies_without_a_version_are_of_the_pinned_one(self) -> None:
        client = VersionPinningClient(Scripted(Reply(b"01234", None)))
        assert driven(client.get(0, 5, OLD)) == Reply(b"01234", OLD)

    def test_somebody_must_say_how_long_the_object_is(self) -> None:
        with pytest.raises(OSError, match="how long the object is"):
            driven(VersionPinningClient(Scripted(Reply(b"01234", None))).get(0, 5, None))

    def test_a_failure_is_explained_by_another_version(self) -> None:
        client = VersionPinningClient(Scripted(ValueError("no archive"), there=NEW))
        with pytest.raises(SourceChangedError):
            driven(client.get(0, 5, OLD))

    @pytest.mark.parametrize("there", [OLD, None])
    def test_a_failure_of_the_same_version_is_raised(self, there: Fingerprint | None) -> None:
        client = VersionPinningClient(Scripted(ValueError("no archive"), there=there))
        with pytest.raises(ValueError, match="no archive"):
            driven(client.get(0, 5, OLD))

    @pytest.mark.parametrize(
        "error", [FileNotFoundError(), PermissionError(), RangesUnsupportedError()]
    )
    def test_refusals_need_no_explanation(self, error: Exception) -> None:
        client = Scripted(error)
        with pytest.raises(type(error)):
            driven(VersionPinningClient(client).get(0, 5, OLD))
        assert not client.stats


class TestErrorNames:
    @pytest.mark.parametrize(
        "error", [FileNotFoundError("x"), IsADirectoryError("x"), PermissionError("x")]
    )
    def test_builtin_errors_have_the_place_as_filename(self, error: OSError) -> None:
        client = ErrorNamingClient(Scripted(error, there=error), SIGNED)
        for coroutine in (client.get(0, 5, OLD), client.stat()):
            with pytest.raises(type(error)) as caught:
                driven(coroutine)
            assert caught.value.filename == "https://host/a.dcm"
            assert caught.value.__cause__ is error

    def test_other_errors_say_what_could_not_be_read_without_secrets(self) -> None:
        error = RuntimeError(f"failed at {SIGNED}")
        client = ErrorNamingClient(Scripted(error, there=error), SIGNED)
        with pytest.raises(OSError, match=r"a\.dcm: bytes 3 to 8 could not be read") as caught:
            driven(client.get(3, 5, OLD))
        assert "secret" not in str(caught.value)
        assert "pw" not in str(caught.value)
        with pytest.raises(OSError, match=r"a\.dcm: the version could not be read: RuntimeError"):
            driven(client.stat())

    def test_errors_of_this_package_get_a_location(self) -> None:
        client = ErrorNamingClient(Scripted(DicomError("is empty"), ImportError("s3fs")), SIGNED)
        with pytest.raises(DicomError) as caught:
            driven(client.get(0, 5, OLD))
        assert caught.value.location == "https://host/a.dcm"
        with pytest.raises(ImportError, match="s3fs"):
            driven(client.get(0, 5, OLD))

    def test_a_server_without_ranges(self) -> None:
        client = ErrorNamingClient(Scripted(RangesUnsupportedError("whole")), SIGNED)
        with pytest.raises(UnsupportedDicomError, match="simplecache") as caught:
            driven(client.get(0, 5, OLD))
        assert caught.value.location == "https://host/a.dcm"


def test_requests_are_timed_and_failures_have_no_bytes() -> None:
    ended: list[int] = []

    class Meter(ConnectionMeter):
        def end_request(self, started: float, size: int) -> None:
            ended.append(size)
            super().end_request(started, size)

    client = TimedClient(Scripted(Reply(b"01234", OLD), OSError("cut")), Meter())
    driven(client.get(0, 5, OLD))
    with pytest.raises(OSError, match="cut"):
        driven(client.get(0, 5, OLD))
    assert ended == [5, 0]
