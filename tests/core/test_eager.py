"""What has begun without a task ends as it would have in one."""

import asyncio

import pytest

from core.eager import begun


async def test_what_does_not_wait_is_done_at_once() -> None:
    done: list[str] = []

    async def work() -> None:
        done.append("done")

    assert begun(work()) is None
    assert done == ["done"]


async def test_what_waits_goes_on_in_a_task() -> None:
    steps: list[str] = []
    first, second = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        steps.append("begun")
        await first.wait()
        steps.append("first")
        await second.wait()
        steps.append("second")

    rest = begun(work())
    assert rest is not None
    assert steps == ["begun"]

    async def end() -> None:
        await rest

    task = asyncio.create_task(end())
    first.set()
    await asyncio.sleep(0.01)
    assert steps == ["begun", "first"]
    second.set()
    await task
    assert steps[-1] == "second"


@pytest.mark.parametrize("waits_again", [False, True])
async def test_an_end_put_to_it_is_raised_where_it_waits(waits_again: bool) -> None:
    ended: list[str] = []
    release = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if waits_again:
                await release.wait()
            ended.append("cancelled")
            raise

    rest = begun(work())
    assert rest is not None
    asyncio.get_running_loop().call_later(0.05, release.set)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await rest
    assert ended == ["cancelled"]


async def test_work_that_takes_an_end_for_its_own() -> None:
    async def work() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            return

    rest = begun(work())
    assert rest is not None

    async def end() -> None:
        await rest

    task = asyncio.create_task(end())
    await asyncio.sleep(0)
    task.cancel()
    await task


async def test_errors_are_raised() -> None:
    async def at_once() -> None:
        raise OSError("gone")

    async def later() -> None:
        await asyncio.sleep(0)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        begun(at_once())
    rest = begun(later())
    assert rest is not None
    with pytest.raises(OSError, match="gone"):
        await rest


async def test_what_is_no_coroutine_is_left_as_it_is() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    assert begun(future) is future
