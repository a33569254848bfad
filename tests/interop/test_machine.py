"""When a machine is short of processor time."""

from __future__ import annotations

import asyncio
import time

from bokbok_interop.machine import LATE, STEP, Machine

REAL = Machine.shortage


async def measured(machine: Machine, block: float = 0.0) -> str:
    start = time.monotonic()
    watch = asyncio.ensure_future(machine.watch())
    await asyncio.sleep(STEP / 2)
    time.sleep(block)  # the loop is late: that is measured
    while len(machine._measured) < 3:
        await asyncio.sleep(STEP / 2)
    watch.cancel()
    return REAL(machine, start)


async def test_a_late_event_loop_is_a_shortage() -> None:
    assert "the runner's event loop was up to " in await measured(Machine(lambda: None), LATE + 2 * STEP)


async def test_a_pause_that_is_not_over_yet_is_one_also_for_what_began_in_it() -> None:
    machine = Machine(lambda: None)
    watch = asyncio.ensure_future(machine.watch())
    await asyncio.sleep(0)
    time.sleep(LATE + 2 * STEP)  # this is the pause: the loop stands still
    assert "the runner's event loop was up to " in REAL(machine, time.monotonic())
    watch.cancel()


async def test_the_kernels_figure_is_a_shortage() -> None:
    # A second of waiting in each second, by the kernel.
    assert "programs waited for a processor in 100% of the time" in await measured(Machine(time.monotonic))


async def test_a_time_of_which_nothing_was_measured_is_no_shortage() -> None:
    machine = Machine(time.monotonic)
    await measured(machine)
    assert REAL(machine, time.monotonic()) == ""
