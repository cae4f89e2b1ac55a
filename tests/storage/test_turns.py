"""A lock of coroutines that threads and the event loop drive."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from xarray_dicom.runtime import enter_loop, run
from xarray_dicom.storage.clients.chained import Turns

SECONDS = 30


def test_one_at_a_time_whoever_drives() -> None:
    turns = Turns()
    inside = most = entered = 0

    async def enter(on_loop: bool) -> None:
        nonlocal inside, most, entered
        if on_loop:
            await enter_loop()
        for _ in range(50):
            async with turns:
                inside += 1
                most, entered = max(most, inside), entered + 1
                if on_loop:
                    await asyncio.sleep(0)
                inside -= 1

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(run, enter(n % 2 == 0)) for n in range(8)]:
            done.result(SECONDS)
    assert (most, entered) == (1, 8 * 50)


def test_who_is_cancelled_while_waiting_takes_no_turn() -> None:
    turns = Turns()

    async def enter() -> None:
        async with turns:
            pass

    async def cancel_one() -> None:
        await enter_loop()
        async with turns:
            waiting = [asyncio.create_task(enter()) for _ in range(3)]
            await asyncio.sleep(0)
            waiting[1].cancel()
        done = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), SECONDS)
        assert [type(outcome) for outcome in done].count(asyncio.CancelledError) == 1

    run(cancel_one())
    run(enter())


def test_a_turn_given_to_who_is_cancelled_is_passed_on() -> None:
    turns = Turns()

    async def enter() -> None:
        async with turns:
            pass

    async def cancel_late() -> None:
        await enter_loop()
        await turns.__aenter__()
        waiting = [asyncio.create_task(enter()) for _ in range(2)]
        await asyncio.sleep(0)
        # The first one has its turn before it is cancelled, and does not know yet.
        await turns.__aexit__()
        waiting[0].cancel()
        await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), SECONDS)

    run(cancel_late())
    run(enter())


def test_a_thread_waits_for_the_loop() -> None:
    turns = Turns()
    taken, release = threading.Event(), threading.Event()

    async def hold() -> None:
        await enter_loop()
        async with turns:
            taken.set()
            while not release.is_set():
                await asyncio.sleep(0.001)

    async def enter() -> bool:
        async with turns:
            return release.is_set()

    with ThreadPoolExecutor(2) as pool:
        holding = pool.submit(run, hold())
        assert taken.wait(SECONDS)
        entering = pool.submit(run, enter())
        release.set()
        assert entering.result(SECONDS)
        holding.result(SECONDS)
