"""The runtime of the program, from anywhere in it."""

from __future__ import annotations

import threading

import pytest
import trio

from pi_trio import NoRuntime, current_runtime, open_runtime
from pi_trio.abc import ProcessCommand, ProcessHost, ProcessTree
from tests.support import run


class NoHost(ProcessHost):
    """Nothing is spawned in these tests."""

    async def spawn(self, command: ProcessCommand) -> ProcessTree:
        raise AssertionError


def test_it_is_the_innermost_that_is_open() -> None:
    async def main() -> None:
        with pytest.raises(NoRuntime):
            current_runtime()
        async with open_runtime(host=NoHost()) as outer:
            assert current_runtime() is outer
            async with open_runtime(host=NoHost()) as inner:
                assert current_runtime() is inner
            assert current_runtime() is outer
        with pytest.raises(NoRuntime):
            current_runtime()

    run(main)


def test_tasks_inherit_it_from_where_they_were_started() -> None:
    async def main() -> None:
        seen: list[object] = []
        go = trio.Event()

        async def look() -> None:
            seen.append(current_runtime())
            await go.wait()
            seen.append(current_runtime())  # the inner one is closed now

        async with open_runtime(host=NoHost()) as outer, trio.open_nursery() as nursery:
            async with open_runtime(host=NoHost()) as inner:
                nursery.start_soon(look)
                await trio.testing.wait_all_tasks_blocked()
            go.set()
        assert seen == [inner, outer]

    run(main)


def test_two_trio_runs_in_two_threads_do_not_see_each_other() -> None:
    async def other() -> list[object]:
        seen: list[object] = []
        with pytest.raises(NoRuntime):
            current_runtime()
        async with open_runtime(host=NoHost()) as runtime:
            seen += [runtime, current_runtime()]
        return seen

    async def main() -> None:
        async with open_runtime(host=NoHost()) as runtime:
            # The thread inherits the context, and so what is in it.
            seen = await trio.to_thread.run_sync(trio.run, other)
            assert seen[0] is seen[1] is not runtime
            with pytest.raises(NoRuntime):
                await trio.to_thread.run_sync(current_runtime)
            assert current_runtime() is runtime

    run(main)


def test_there_is_none_outside_of_trio() -> None:
    with pytest.raises(NoRuntime):
        current_runtime()
    caught: list[BaseException] = []

    def elsewhere() -> None:
        try:
            current_runtime()
        except NoRuntime as error:
            caught.append(error)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert len(caught) == 1
