"""Reads from any thread, loop or process, and reads that break off."""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import multiprocessing
import pickle
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import fsspec.asyn
import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from support import kinds
from support.counting import CountingFileSystem
from support.generate.slide import slide
from support.servers import Server
from xarray_dicom import CorruptDicomError, DicomError
from xarray_dicom.runtime import enter_loop, runtime
from xarray_dicom.storage import ByteSource, BytesSource, FileObjectSource, Fingerprint, Head
from xarray_dicom.storage.request_sizing import RequestSizing

SECONDS = 30

ATTACH = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def blob() -> bytes:
    return kinds.content(lambda file: slide(file, shape=(300, 400), tile=64))


@pytest.fixture(scope="module")
def expected(blob: bytes) -> NDArray[Any]:
    pixels = xr.open_dataset(blob, engine="dicom").image.values
    assert pixels.std() > 20
    return pixels


Opener = Callable[..., xr.Dataset]


@pytest.fixture(params=["bytes", "file", "local", "memory", "s3", "http", "zip"])
def opener(
    request: pytest.FixtureRequest, blob: bytes, tmp_path_factory: pytest.TempPathFactory
) -> Opener:
    """Opens the slide from one of the kinds of store."""
    kind = request.param
    options: dict[str, Any] = {}
    obj: Any
    if kind == "bytes":
        obj = blob
    elif kind == "file":
        obj = io.BytesIO(blob)
    elif kind == "memory":
        obj = CountingFileSystem.put("loops.dcm", blob)
    elif kind in ("local", "zip"):
        path = tmp_path_factory.mktemp("local") / "slide.dcm"
        path.write_bytes(blob)
        obj = path
        if kind == "zip":
            archive = path.with_name("slides.zip")
            with zipfile.ZipFile(archive, "w") as target:
                target.writestr("slide.dcm", blob)
            obj = f"zip://slide.dcm::{archive}"
    else:
        server: Server = request.getfixturevalue(f"{kind}_server")
        obj = server.put("loops.dcm", blob)
        options["storage_options"] = server.storage_options

    def opened(chunks: dict[str, int] | None = None) -> xr.Dataset:
        if kind == "bytes" and chunks is not None:
            # xarray takes bytes for a path when it names chunks.
            return xr.open_dataset(obj, engine="dicom").chunk(chunks)
        return xr.open_dataset(obj, engine="dicom", chunks=chunks, **options)

    return opened


def on_fsspec_loop(function: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine in the thread on which fsspec runs its own."""
    return asyncio.run_coroutine_threadsafe(function(), fsspec.asyn.get_loop()).result(SECONDS)


def test_from_the_loop_of_fsspec(opener: Opener, expected: NDArray[Any]) -> None:
    async def synchronous() -> Any:
        dataset = opener()
        part = dataset.image.isel(y=[3, 70], x=slice(None, None, 50)).values
        points = xr.DataArray([1, 299], dims="p")
        return dataset.image.values, part, dataset.image.isel(y=points, x=points).values

    async def asynchronous() -> Any:
        dataset = opener()
        return (await dataset.load_async()).image.values

    whole, part, points = on_fsspec_loop(synchronous)
    np.testing.assert_array_equal(whole, expected)
    np.testing.assert_array_equal(part, expected[[3, 70], ::50])
    np.testing.assert_array_equal(points, expected[[1, 299], [1, 299]])
    np.testing.assert_array_equal(on_fsspec_loop(asynchronous), expected)


def test_from_a_running_loop(opener: Opener, expected: NDArray[Any]) -> None:
    async def main() -> None:
        dataset = opener()
        np.testing.assert_array_equal(dataset.image[:70, :70].values, expected[:70, :70])
        parts = [dataset.isel(y=slice(row, row + 30)) for row in range(0, 300, 30)]
        loaded = await asyncio.gather(*(part.load_async() for part in parts))
        np.testing.assert_array_equal(np.concatenate([p.image.values for p in loaded]), expected)
        turned = await dataset.image.transpose("c", "x", "y").load_async()
        np.testing.assert_array_equal(turned.values, expected.transpose(2, 1, 0))

    asyncio.run(asyncio.wait_for(main(), SECONDS))


def test_a_loop_goes_on_while_a_read_waits(blob: bytes) -> None:
    async def main() -> int:
        image = opened_slowly(blob, 0.02).image
        ticks = 0
        reading = asyncio.ensure_future(image.load_async())
        while not reading.done():
            await asyncio.sleep(0.002)
            ticks += 1
        await reading
        return ticks

    assert asyncio.run(main()) > 3


def test_from_many_threads(opener: Opener, expected: NDArray[Any]) -> None:
    dataset = opener()
    dataset.image.shape  # noqa: B018

    def read(row: int) -> NDArray[Any]:
        return dataset.image[row : row + 10].copy().values

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        parts = list(pool.map(read, range(0, 300, 10), timeout=SECONDS))
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_many_threads_scan_once(expected: NDArray[Any]) -> None:
    made = kinds.kind("slide-no-table")
    dataset = xr.open_dataset(made.put(), engine="dicom")
    CountingFileSystem.forget()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        means = list(pool.map(lambda x: dataset.image[:, x].copy().values.mean(), range(8)))
    assert min(means) > 0
    (blob,) = made.objects.values()
    frames = 8 * 10 * (len(blob) // 100)
    assert CountingFileSystem.bytes_read() < len(blob) + 2 * frames


def checksum(dataset: xr.Dataset) -> int:
    # dask's own pool of threads does not survive a fork.
    return int(dataset.image.astype("int64").sum().compute(scheduler="synchronous"))


def tell(connection: Any, dataset: xr.Dataset) -> None:
    """Send what a child process reads, or why it can't."""
    try:
        connection.send(checksum(dataset))
    except BaseException as error:
        connection.send(repr(error))
        raise


def in_child(method: str, dataset: xr.Dataset) -> Any:
    """What another process reads of `dataset`."""
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    process = context.Process(target=tell, args=(theirs, dataset), daemon=True)
    process.start()
    try:
        return ours.recv() if ours.poll(SECONDS) else "the child hangs"
    finally:
        process.kill()
        process.join()


@ATTACH
@pytest.mark.parametrize("chunks", [None, {}])
def test_in_a_forked_process(
    opener: Opener, expected: NDArray[Any], chunks: dict[str, int] | None
) -> None:
    dataset = opener(chunks=chunks)
    assert dataset.image[:100].copy().values.any()
    total = int(expected.astype("int64").sum())
    assert in_child("fork", dataset) == total
    assert checksum(dataset) == total


@ATTACH
def test_in_a_process_forked_amid_reads(blob: bytes, expected: NDArray[Any]) -> None:
    total = int(expected.astype("int64").sum())
    for table in (True, False):
        content = blob if table else kinds.kind("slide-no-table").objects["object.dcm"]
        dataset = opened_slowly(content, 0.05)
        rows = [dataset.image[row].copy() for row in range(4)]
        threads = [threading.Thread(target=row.load) for row in rows]
        for thread in threads:
            thread.start()
        time.sleep(0.02)
        told = in_child("fork", dataset)
        assert told == (total if table else checksum(dataset))
        for thread in threads:
            thread.join(SECONDS)
            assert not thread.is_alive()


@pytest.mark.parametrize("store", ["local", "s3"])
def test_in_a_spawned_process(
    store: str, blob: bytes, expected: NDArray[Any], tmp_path: Any, s3_server: Server
) -> None:
    (tmp_path / "slide.dcm").write_bytes(blob)
    if store == "local":
        dataset = xr.open_dataset(tmp_path / "slide.dcm", engine="dicom")
    else:
        url = s3_server.put("spawned.dcm", blob)
        options = s3_server.storage_options
        dataset = xr.open_dataset(url, engine="dicom", storage_options=options)
    assert dataset.image[:100].copy().values.any()
    assert in_child("spawn", dataset) == int(expected.astype("int64").sum())


class Delayed:
    """A source whose reads take their time, and fail behind a given offset."""

    def __init__(self, source: ByteSource, seconds: float, broken_from: int | None = None) -> None:
        self.source = source
        self.seconds = seconds
        self.broken_from = broken_from
        self.started = threading.Event()

    @property
    def location(self) -> str:
        return self.source.location

    @property
    def fingerprint(self) -> Fingerprint | None:
        return self.source.fingerprint

    @property
    def identity(self) -> str | None:
        return None

    @property
    def url(self) -> str | None:
        return None

    @property
    def immediate(self) -> bool:
        return False

    @property
    def request_sizing(self) -> RequestSizing:
        return self.source.request_sizing

    async def open(self, length: int) -> Head:
        await enter_loop()
        return await self.source.open(length)

    async def read(self, offset: int, length: int) -> bytes:
        await enter_loop()
        self.started.set()
        await asyncio.sleep(self.seconds)
        if self.broken_from is not None and offset + length > self.broken_from:
            raise OSError(f"{self.location}: the line is cut")
        return await self.source.read(offset, length)

    async def read_many(self, ranges: Sequence[tuple[int, int]]) -> list[bytes]:
        return [await self.read(*one) for one in ranges]

    async def verify(self) -> None:
        await enter_loop()
        await self.source.verify()


def opened_slowly(blob: bytes, seconds: float) -> xr.Dataset:
    """The dataset of a source that takes `seconds` for each request."""
    return xr.open_dataset(Delayed(BytesSource(blob), seconds), engine="dicom")


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests of a few frames, so that one read makes many."""
    small = RequestSizing(largest=8192)
    monkeypatch.setattr("xarray_dicom.storage.file_source.RequestSizing", lambda: small)
    monkeypatch.setattr("xarray_dicom.storage.url_source.sizing_without_meter", lambda url: small)


def budget_is_given_back() -> bool:
    deadline = time.monotonic() + 10
    while runtime().budget.used and time.monotonic() < deadline:
        time.sleep(0.01)
    return runtime().budget.used == 0


@pytest.fixture(autouse=True)
def no_budget_is_lost() -> Iterator[None]:
    yield
    assert budget_is_given_back()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Interrupts raise, also where tests run in the background of a shell, which ignores them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("small_requests", "interruptible")
def test_an_interrupt_gives_the_budget_back(blob: bytes, expected: NDArray[Any]) -> None:
    source = Delayed(BytesSource(blob), 0)
    image = xr.open_dataset(source, engine="dicom", memory_budget=2**17).image
    source.seconds = SECONDS
    source.started.clear()

    def interrupt() -> None:
        source.started.wait(SECONDS)
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        image.values  # noqa: B018
    thread.join()
    assert budget_is_given_back()
    source.seconds = 0
    np.testing.assert_array_equal(image.values, expected)


@pytest.mark.usefixtures("small_requests")
def test_a_failure_amid_a_read_gives_the_budget_back(blob: bytes, expected: NDArray[Any]) -> None:
    source = Delayed(BytesSource(blob), 0.01, broken_from=len(blob) // 2)
    image = xr.open_dataset(source, engine="dicom", memory_budget=2**18).image
    for _ in range(3):
        with pytest.raises(OSError, match="the line is cut"):
            image.values  # noqa: B018
        assert budget_is_given_back()
    np.testing.assert_array_equal(image[:64].values, expected[:64])
    source.broken_from = None
    np.testing.assert_array_equal(image.values, expected)


@pytest.mark.usefixtures("small_requests")
def test_a_cancelled_load_gives_the_budget_back(blob: bytes, expected: NDArray[Any]) -> None:
    source = Delayed(BytesSource(blob), 0.05)
    image = xr.open_dataset(source, engine="dicom", memory_budget=2**17).image

    async def main() -> None:
        for seconds in (0.0, 0.01, 0.06, 0.12):
            reading = asyncio.ensure_future(image.copy().load_async())
            await asyncio.sleep(seconds)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            assert budget_is_given_back()
        loaded = await image.load_async()
        np.testing.assert_array_equal(loaded.values, expected)

    asyncio.run(main())


@pytest.mark.parametrize("memory_budget", [1, 10_000, 100_000])
def test_a_tiny_budget_reads_one_frame_after_the_other(
    blob: bytes, expected: NDArray[Any], memory_budget: int
) -> None:
    dataset = xr.open_dataset(blob, engine="dicom", memory_budget=memory_budget)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda row: dataset.image[row].copy().values, range(0, 300, 60)))
    np.testing.assert_array_equal(np.stack(rows), expected[::60])
    np.testing.assert_array_equal(dataset.image.values, expected)


def damaged(blob: bytes, frame: int) -> bytes:
    """`blob` with nothing but zeros in the codestream of one frame, counted from 0."""
    items = [at for at in range(len(blob)) if blob.startswith(b"\xfe\xff\x00\xe0", at)]
    # The first item that holds a JPEG is frame 0.
    first = next(i for i, at in enumerate(items) if blob.startswith(b"\xff\xd8\xff", at + 8))
    start = items[first + frame] + 8
    length = int.from_bytes(blob[start - 4 : start], "little")
    return blob[:start] + bytes(length) + blob[start + length :]


def test_a_damaged_frame_is_named_and_the_others_read(
    blob: bytes, expected: NDArray[Any], tmp_path: Any
) -> None:
    path = tmp_path / "damaged.dcm"
    path.write_bytes(damaged(blob, 9))
    image = xr.open_dataset(path, engine="dicom").image
    # 7 tiles across: frame 9, counted from 0, is the third of the second row.
    with pytest.raises(CorruptDicomError, match=r"damaged\.dcm: frame 10: ") as caught:
        image.values  # noqa: B018
    assert str(caught.value).count("damaged.dcm") == 1
    assert (caught.value.location, caught.value.frame) == (str(path), 10)
    with pytest.raises(CorruptDicomError, match="frame 10"):
        image[100, 150].values  # noqa: B018
    np.testing.assert_array_equal(image[:64].values, expected[:64])
    np.testing.assert_array_equal(image[128:].values, expected[128:])
    np.testing.assert_array_equal(image[:, :128].values, expected[:, :128])


def test_a_damaged_instance_of_a_series_is_named(tmp_path: Any) -> None:
    for name, content in kinds.kind("series").objects.items():
        (tmp_path / name).write_bytes(content)
    image = xr.open_dataset(tmp_path, engine="dicom").image
    whole = image.copy().load()
    path = tmp_path / "0003.dcm"
    content = path.read_bytes()
    path.write_bytes(content[:-7])
    with pytest.warns(UserWarning, match=r"0003\.dcm: the object is truncated"):
        image = xr.open_dataset(tmp_path, engine="dicom").image
    with pytest.raises(CorruptDicomError, match=r"0003\.dcm: frame 1: its bytes are missing"):
        image.values  # noqa: B018
    readable = 0
    for z in range(image.sizes["z"]):
        try:
            np.testing.assert_array_equal(image[z].values, whole[z].values)
            readable += 1
        except CorruptDicomError:
            continue
    assert readable == image.sizes["z"] - 1


def test_a_file_object_does_not_pickle(blob: bytes) -> None:
    dataset = xr.open_dataset(FileObjectSource(io.BytesIO(blob)), engine="dicom")
    with pytest.raises(DicomError, match="can't be sent to another process"):
        pickle.dumps(dataset)
