"""The registry's rows, one by one, each with what it must say; and that the document names them as they are."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest
import trio
import trio.testing

import pi_trio
from pi_trio import lifecycle
from pi_trio.errors import InstanceExists, InstanceNotFound
from pi_trio.lifecycle import Health, HealthChanged, HealthPolicy, InstanceState, RegistryEvent, Retired
from pi_trio.registry import Capacity, Registry, RegistryStatistics, Watch
from tests.concurrency.virtual import run
from tests.registry.members import Remote, found, moved, open_registry

DOCUMENT = Path(__file__).parents[2] / "docs" / "registry.md"
RARELY = Watch(health=HealthPolicy(period=1000.0))

MEMBERS = (
    found("eu-1", room=4, provider="p", region="eu"),
    found("eu-2", room=2, provider="q", region="eu"),
    found("us-1", room=3, provider="p", region="us"),
    found("gone", room=1, provider="p", region="us"),
    found("plain", room=1),
)


def names(entries: tuple[pi_trio.registry.Entry, ...]) -> list[str]:
    return [entry.instance_id for entry in entries]


# --- who is there ---------------------------------------------------------------------------------------


def test_register_get_all_and_unregister_with_a_reason() -> None:
    async def main() -> None:
        async with open_registry(watch=RARELY) as registry:
            assert (registry.all(), dict(registry.instances)) == ((), {})
            entry = registry.register(found("a", room=3, region="eu"), open_client=Remote().open)
            assert registry.get("a") is entry is registry.all()[0] is registry.instances["a"]
            assert (entry.state, entry.health, entry.free) == (InstanceState.RUNNING, Health.UNKNOWN, 3)
            with pytest.raises(InstanceExists):
                registry.register(found("a"), open_client=Remote().open)
            registry.register(found("b"), open_client=Remote().open)
            assert names(registry.all()) == ["a", "b"]
            with registry.subscribe() as feed:
                await anext(feed)
                registry.unregister("a", "it moved")
                told = await anext(feed)
                assert isinstance(told, pi_trio.registry.Numbered)
                assert isinstance(told.event, lifecycle.Unregistered)
                assert (told.event.instance_id, told.event.reason) == ("a", "it moved")
            assert names(registry.all()) == ["b"]
            for ask in (registry.get, registry.unregister):
                with pytest.raises(InstanceNotFound, match="'a'"):
                    ask("a")

    run(main)


def test_by_status_gives_those_in_that_state_and_no_others() -> None:
    async def main() -> None:
        async with open_registry(*MEMBERS, watch=RARELY) as registry:
            registry.enter(moved("eu-2", InstanceState.BACKING_OFF), moved("us-1", InstanceState.STOPPING))
            registry.enter(moved("gone", InstanceState.BACKING_OFF), moved("gone", InstanceState.FAILED))
            assert {state: names(registry.by_status(state)) for state in InstanceState} == {
                InstanceState.STARTING: [],
                InstanceState.RUNNING: ["eu-1", "plain"],
                InstanceState.BACKING_OFF: ["eu-2"],
                InstanceState.STOPPING: ["us-1"],
                InstanceState.STOPPED: [],
                InstanceState.FAILED: ["gone"],
            }
            registry.enter(moved("eu-2", InstanceState.RUNNING))
            assert names(registry.by_status(InstanceState.RUNNING)) == ["eu-1", "eu-2", "plain"]
            assert names(registry.by_status(InstanceState.BACKING_OFF)) == []

    run(main)


def test_healthy_are_those_that_new_work_can_be_given_to() -> None:
    async def main() -> None:
        async with open_registry(*MEMBERS, watch=RARELY) as registry:
            now = trio.current_time()
            assert names(registry.healthy()) == ["eu-1", "eu-2", "us-1", "gone", "plain"]
            registry.enter(HealthChanged("eu-1", now, 0, Health.DEGRADED, 9.0))
            registry.enter(HealthChanged("eu-2", now, 0, Health.UNHEALTHY, None))
            registry.enter(moved("us-1", InstanceState.STOPPING))
            registry.enter(Retired("gone", now))
            assert names(registry.healthy()) == ["eu-1", "plain"]
            for _ in range(3):
                registry.report_failure("plain")
            assert names(registry.healthy()) == ["eu-1"]

    run(main)


# --- how much there is ----------------------------------------------------------------------------------


def test_the_report_says_what_there_is_in_total_and_by_provider_region_and_model() -> None:
    async def main() -> None:
        async with open_registry(*MEMBERS, watch=RARELY) as registry:
            now = trio.current_time()
            for name, model in [("eu-1", "m"), ("eu-2", "m"), ("us-1", "n")]:
                provider = registry.get(name).provider
                registry.enter(lifecycle.ModelChanged(name, now, provider, model))
            registry.unregister("gone")
            registry.enter(HealthChanged("us-1", now, 0, Health.UNHEALTHY, None))  # with three places
            for _ in range(3):
                registry.report_failure("plain")  # with one
            async with registry.lease("eu-1"), registry.lease("eu-1"), registry.lease("eu-2"), registry.lease("us-1"):
                report = registry.capacity()
                #                         instances, total, in use, free, unavailable
                eu_1, eu_2 = Capacity(1, 4, 2, 2, 0), Capacity(1, 2, 1, 1, 0)
                us_1, plain = Capacity(1, 3, 1, 0, 2), Capacity(1, 1, 0, 0, 1)
                assert report.total == Capacity(4, 10, 4, 3, 3)
                assert report.by_provider == {"p": Capacity(2, 7, 3, 2, 2), "q": eu_2, None: plain}
                assert report.by_region == {"eu": Capacity(2, 6, 3, 3, 0), "us": us_1, None: plain}
                assert report.by_model == {"m": Capacity(2, 6, 3, 3, 0), "n": us_1, None: plain}
                assert eu_1.free + eu_2.free == report.by_model["m"].free
                assert report.waiting == 0
                assert {name: str(each.state) for name, each in report.breakers.items()} == {"plain": "open"}
            assert registry.capacity().total == Capacity(4, 10, 0, 6, 4)

    run(main)


def test_the_report_and_the_statistics_say_who_waits() -> None:
    async def main() -> None:
        async with open_registry(found("a"), watch=RARELY) as registry, trio.open_nursery() as nursery:

            async def want() -> None:
                async with registry.acquire():
                    raise AssertionError

            async with registry.acquire():
                for _ in range(3):
                    nursery.start_soon(want)
                await trio.testing.wait_all_tasks_blocked()
                assert (registry.capacity().waiting, registry.statistics().waiting, registry.waiting) == (3, 3, 3)
                nursery.cancel_scope.cancel()

    run(main)


def test_the_statistics_count_everything_once() -> None:
    async def main() -> None:
        async with open_registry() as registry:
            registry.quiesce()  # so that no health check tells anything
            assert registry.statistics() == RegistryStatistics(0, 0, 0, {}, {}, 0, 0, 0)
            for each in MEMBERS:  # two events each: registered, running
                registry.register(each, open_client=Remote().open)
            registry.unregister("gone")
            registry.register(found("gone"), open_client=Remote().open)
            registry.enter(moved("us-1", InstanceState.BACKING_OFF))
            registry.enter(HealthChanged("eu-1", 0.0, 0, Health.HEALTHY, 0.1))
            async with registry.acquire():  # two more: taken, given back
                pass
            with pytest.raises(pi_trio.LeaseLost):
                async with registry.lease("eu-2"):  # three more
                    registry.enter(moved("eu-2", InstanceState.STOPPING))
                    await trio.sleep_forever()
            assert registry.statistics() == RegistryStatistics(
                events=10 + 3 + 1 + 1 + 2 + 3,
                registered=6,
                unregistered=1,
                by_state={InstanceState.RUNNING: 3, InstanceState.BACKING_OFF: 1, InstanceState.STOPPING: 1},
                by_health={Health.UNKNOWN: 4, Health.HEALTHY: 1},
                leases_taken=2,
                leases_lost=1,
                waiting=0,
            )

    run(main)


# --- the document -----------------------------------------------------------------------------------------


def table(head: str) -> list[list[str]]:
    """The cells of the document's table that begins with this row."""
    lines = DOCUMENT.read_text().split(f"{head}\n")[1].split("\n\n")[0].splitlines()[1:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def code(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_every_name_in_the_documents_table_is_there_and_takes_what_it_says() -> None:
    registry = Registry()
    rows = table("| there | here |")
    assert len(rows) >= 15
    for there, here in rows:
        calls = re.findall(r"\b(registry\.)?(\w+)(\((?:[^()]|\([^()]*\))*\))?", " ".join(code(here)))
        documented = [call for call in calls if call[0] or call[1] in pi_trio.__all__]
        assert documented, f"{there} names nothing"
        for of_registry, name, arguments in documented:
            target = getattr(registry, name) if of_registry else getattr(pi_trio, name)
            if arguments:
                parameters = inspect.signature(target).parameters
                assert set(re.findall(r"(\w+)=", re.sub(r"\(.*?\)", "", arguments[1:-1]))) <= set(parameters), name


@pytest.mark.parametrize("event", get_args(RegistryEvent), ids=lambda event: event.__name__)
def test_every_event_is_in_the_document(event: type) -> None:
    assert event.__name__ in {name for row in table("| event | says |") for name in code(row[0])}


def test_every_event_of_the_document_is_there() -> None:
    for row in table("| event | says |"):
        for name in code(row[0]):
            assert getattr(lifecycle, name) in get_args(RegistryEvent)


def test_the_strategies_and_the_discoveries_of_the_document_are_there() -> None:
    listed = {name.split("(")[0] for row in table("| strategy | takes | costs, of n |") for name in code(row[0])}
    assert listed == {"LeastLoaded", "RoundRobin", "Random", "PowerOfTwoChoices", "CapabilityMatch", "Sticky"}
    assert all(issubclass(getattr(pi_trio, name), pi_trio.registry.Strategy) for name in listed)
    for row in table("| discovery | finds |"):
        (name, *_) = code(row[0])
        owner, _, method = name.split("(")[0].rpartition(".")
        assert hasattr(pi_trio.Runtime if owner == "runtime" else pi_trio, method) or name == "pi_trio.discoveries"
