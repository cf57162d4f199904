"""Supervision trees of real Pis."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import trio

from pi_trio import (
    Backoff,
    ChildSpec,
    InstanceState,
    RestartIntensityExceeded,
    RestartPolicy,
    RestartType,
    SpawnError,
    SpecError,
    Strategy,
)
from pi_trio.launch import PiInstall
from pi_trio.lifecycle import Exited, Ready, RegistryEvent, StateChanged
from pi_trio.registry import EventFeed, Numbered
from tests.support import Scripted, left_of, run, scripted

SOON = Backoff(base=0.01, cap=0.01, jitter=0.0)


def children(world: Scripted, *names: str, **types: RestartType) -> list[ChildSpec]:
    return [
        ChildSpec(
            name,
            world.spec(restart=RestartPolicy(type=types.get(name, RestartType.PERMANENT), backoff=SOON)),
        )
        for name in names
    ]


async def read_until(feed: EventFeed, ready: set[tuple[str, int]]) -> list[RegistryEvent]:
    """The events until these incarnations are ready."""
    seen: list[RegistryEvent] = []
    missing = set(ready)
    async for item in feed:
        if isinstance(item, Numbered):
            seen.append(item.event)
            if isinstance(item.event, Ready):
                missing.discard((item.event.instance_id, item.event.incarnation))
            if not missing:
                return seen
    raise AssertionError(f"the feed ended without {missing}")


def story(events: list[RegistryEvent]) -> list[str]:
    """Who exited and who got ready, in order."""
    return [
        f"{'-' if isinstance(event, Exited) else '+'}{event.instance_id}"
        for event in events
        if isinstance(event, Exited | Ready)
    ]


@pytest.mark.parametrize(
    ("strategy", "again", "rest"),
    [
        (Strategy.ONE_FOR_ONE, ["b"], ["a", "c"]),
        (Strategy.REST_FOR_ONE, ["b", "c"], ["a"]),
        (Strategy.ONE_FOR_ALL, ["a", "b", "c"], []),
    ],
)
def test_who_falls_and_rises_with_a_child(
    one_pi: PiInstall, tmp_path: Path, strategy: Strategy, again: list[str], rest: list[str]
) -> None:
    async def main() -> None:
        async with (
            scripted(one_pi, tmp_path, []) as world,
            world.runtime.open_supervisor(children(world, "a", "b", "c"), strategy=strategy) as tree,
        ):
            assert list(tree) == ["a", "b", "c"]
            pid = tree["b"].pid
            assert pid is not None
            with world.runtime.events() as feed:
                os.kill(pid, signal.SIGKILL)
                events = await read_until(feed, {(name, 2) for name in again})
            told = story(events)
            told = told[told.index("-b") :]  # the feed may begin with what came just before
            # all that fall are down before the first rises, and they rise in order
            assert [step for step in told if step[0] == "+"] == [f"+{name}" for name in again]
            assert sorted(told[: len(again)]) == [f"-{name}" for name in again]
            for name in again:
                assert tree[name].status().incarnation == 2
            for name in rest:
                assert tree[name].status().incarnation == 1

    run(main)


def test_a_tree_starts_in_order_and_stops_in_reverse(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, []) as world:
            with world.runtime.events() as feed:
                async with world.runtime.open_supervisor(
                    children(world, "a", "b", "c"), strategy=Strategy.REST_FOR_ONE
                ) as tree:
                    assert all(instance.state is InstanceState.RUNNING for instance in tree.values())
                seen: list[RegistryEvent] = []
                async for item in feed:
                    if isinstance(item, Numbered):
                        seen.append(item.event)
                        if (
                            isinstance(item.event, StateChanged)
                            and item.event.state is InstanceState.STOPPED
                            and item.event.instance_id == "a"
                        ):
                            break
            assert story(seen) == ["+a", "+b", "+c", "-c", "-b", "-a"]
            order = [
                (event.instance_id, event.state)
                for event in seen
                if isinstance(event, StateChanged) and event.state in (InstanceState.STOPPING, InstanceState.STOPPED)
            ]
            assert order == [
                (name, state) for name in "cba" for state in (InstanceState.STOPPING, InstanceState.STOPPED)
            ]
            assert world.runtime.statistics().running == 0

    run(main)


def test_a_spent_budget_goes_to_the_parent_scope(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            with pytest.raises(RestartIntensityExceeded, match="restarted 1 times") as caught:
                async with world.runtime.open_supervisor(children(world, "a", "b"), intensity=1, period=1000.0) as tree:
                    for name, number in (("a", 2), ("b", 3)):
                        pid = tree[name].pid
                        assert pid is not None
                        with world.runtime.events() as feed:
                            os.kill(pid, signal.SIGKILL)
                            await read_until(feed, {(name, number)})
            # the second child's first ending was the tree's second
            assert caught.value.instance_id == "b"
            assert left_of(world.runtime) == []
            assert world.runtime.get("a").state is InstanceState.STOPPED
            assert world.runtime.get("b").state is InstanceState.FAILED

    run(main)


def test_a_temporary_child_that_has_to_fall_does_not_rise(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with (
            scripted(one_pi, tmp_path, []) as world,
            world.runtime.open_supervisor(
                children(world, "a", "b", b=RestartType.TEMPORARY), strategy=Strategy.ONE_FOR_ALL
            ) as tree,
        ):
            pid = tree["a"].pid
            assert pid is not None
            with world.runtime.events() as feed:
                os.kill(pid, signal.SIGKILL)
                await read_until(feed, {("a", 2)})
            assert tree["b"].state is InstanceState.STOPPED

    run(main)


def test_a_child_that_does_not_start_stops_those_before_it(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            wrong = ChildSpec("wrong", world.spec(provider="nobody", model="none"))
            with pytest.raises(SpawnError, match="wrong did not become ready"):
                async with world.runtime.open_supervisor([*children(world, "a"), wrong]):
                    raise AssertionError("the tree is not complete")
            assert world.runtime.get("a").state is InstanceState.STOPPED
            assert left_of(world.runtime) == []

    run(main)


def test_a_tree_that_cannot_be(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            for wrong, said in (([], "at least one"), (children(world, "a", "a"), "twice there: a")):
                with pytest.raises(SpecError, match=said):
                    async with world.runtime.open_supervisor(wrong):
                        raise AssertionError
            with pytest.raises(SpecError, match="child's id"):
                ChildSpec("", world.spec())

    run(main)


def test_cancelling_the_scope_of_a_tree(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            with trio.CancelScope() as scope:
                async with world.runtime.open_supervisor(children(world, "a", "b")):
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught
            assert left_of(world.runtime) == []

    run(main)


def test_children_of_one_for_one_do_not_wait_for_each_other(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            patient = RestartPolicy(type=RestartType.PERMANENT, backoff=Backoff(base=1e6, cap=1e6))
            slow = ChildSpec("slow", world.spec(restart=patient))
            async with world.runtime.open_supervisor([slow, *children(world, "quick")]) as tree:
                with world.runtime.events() as feed:
                    for name in ("slow", "quick"):
                        pid = tree[name].pid
                        assert pid is not None
                        os.kill(pid, signal.SIGKILL)
                    await read_until(feed, {("quick", 2)})
                assert tree["slow"].state is InstanceState.BACKING_OFF

    run(main)


def test_a_body_that_talks_to_the_child_gets_the_cause_not_the_effect(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(one_pi, tmp_path, []) as world:
            with pytest.raises(RestartIntensityExceeded) as caught:
                async with world.runtime.open_supervisor(children(world, "a"), intensity=0) as tree:
                    await tree["a"].client.bash("kill -9 $PPID; sleep 1000")
            assert caught.value.instance_id == "a"

    run(main)
