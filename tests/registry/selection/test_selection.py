"""Selecting, held against looking at everybody one by one."""

from __future__ import annotations

import itertools
from collections import Counter

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.abc import Profile
from pi_trio.errors import NoMatchingInstance
from pi_trio.lifecycle import Health, InstanceState
from pi_trio.registry import (
    CapabilityMatch,
    Criteria,
    Entry,
    LeastLoaded,
    PowerOfTwoChoices,
    Random,
    RoundRobin,
    Sticky,
    Strategy,
)
from pi_trio.registry.selection import Index
from tests.registry.strategies import entries

words = st.frozensets(st.sampled_from(["x", "y", "z"]), max_size=2)

criteria_of_any_kind = st.builds(
    Criteria,
    provider=st.sampled_from([None, None, "p", "q"]),
    model=st.sampled_from([None, None, "m"]),
    capabilities=words,
    region=st.sampled_from([None, None, "eu"]),
    tags=words,
    exclude=st.frozensets(st.sampled_from(["pi-0", "pi-1", "pi-2"]), max_size=2),
    min_free=st.integers(1, 2),
    health=st.sampled_from([Criteria().health, frozenset(Health), frozenset({Health.HEALTHY})]),
)
strategies_of_any_kind: st.SearchStrategy[Strategy] = st.one_of(
    st.just(LeastLoaded()),
    st.just(RoundRobin()),
    st.builds(Random, st.integers(0, 9)),
    st.builds(PowerOfTwoChoices, st.integers(0, 9)),
    st.builds(CapabilityMatch, words),
    st.builds(Sticky, st.sampled_from("abc")),
)


def entry(name: str, *, in_use: int = 0, room: int = 4, capabilities: str = "") -> Entry:
    profile = Profile(max_concurrent=room, capabilities=frozenset(capabilities))
    return Entry(name, None, None, "", state=InstanceState.RUNNING, in_use=in_use, profile=profile)


def index_of(*members: Entry) -> tuple[Index, dict[str, Entry]]:
    table = {each.instance_id: each for each in members}
    return Index(table), table


def put(index: Index, table: dict[str, Entry], name: str, value: Entry | None) -> None:
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value
    index.changed(name, value)


def fitting(table: dict[str, Entry], wanted: Criteria) -> list[str]:
    """Those that match, found the slow way."""
    return [
        name
        for name, each in table.items()
        if each.profile.selectable
        and (wanted.provider is None or each.provider == wanted.provider)
        and (wanted.model is None or each.model == wanted.model)
        and (wanted.region is None or each.profile.region == wanted.region)
        and each.profile.capabilities >= wanted.capabilities
        and each.profile.tags >= wanted.tags
        and name not in wanted.exclude
        and str(each.state) == "running"
        and not each.retired
        and str(each.breaker.state) == "closed"
        and each.health in wanted.health
        and each.in_use + wanted.min_free <= each.profile.max_concurrent
    ]


# --- any table, any criteria, any strategy -------------------------------------------------------


@given(entries(), st.lists(st.tuples(criteria_of_any_kind, strategies_of_any_kind, entries()), max_size=6))
def test_it_selects_among_those_that_match_whatever_has_changed(
    table: dict[str, Entry], steps: list[tuple[Criteria, Strategy, dict[str, Entry]]]
) -> None:
    index = Index(table)
    asked: list[tuple[Criteria, Strategy]] = []
    for criteria, strategy, following in steps:
        asked.append((criteria, strategy))
        for wanted, how in asked:  # the earlier ones again: what they have in the index has changed since
            matching = fitting(table, wanted)
            if matching:
                selection = index.select(wanted, how, alternatives=99)
                assert sorted((selection.instance_id, *selection.alternatives)) == sorted(matching)
                assert selection.entry == table[selection.instance_id]
                assert selection.why
                in_order = [table[name] for name in (selection.instance_id, *selection.alternatives)]
                if isinstance(how, LeastLoaded):
                    assert in_order == sorted(in_order, key=lambda each: each.load)
                elif isinstance(how, CapabilityMatch):
                    assert in_order == sorted(
                        in_order, key=lambda each: (*how.score(each.profile.capabilities), each.load)
                    )
            else:
                with pytest.raises(NoMatchingInstance):
                    index.select(wanted, how, alternatives=99)
                assert index.first(wanted, how) is None
        for name in {*table, *following}:
            put(index, table, name, following.get(name))


@given(entries(), criteria_of_any_kind)
def test_nobody_matching_says_which_criterion_was_too_much(table: dict[str, Entry], criteria: Criteria) -> None:
    index = Index(table)
    if fitting(table, criteria):
        return
    error = index.nobody(criteria)
    counts = [count for _, count in error.passed]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 0
    assert all(counts[:-1])
    assert error.passed[-1][0] == error.criterion
    assert counts[0] == len(table)


@pytest.mark.parametrize(
    ("criteria", "criterion"),
    [
        (Criteria(provider="q"), "provider"),
        (Criteria(capabilities={"gpu"}), "capabilities"),
        (Criteria(region="eu"), "region"),
        (Criteria(exclude={"a", "b"}), "exclude"),
        (Criteria(health=Health.HEALTHY), "health"),
        (Criteria(min_free=3), "free capacity"),
    ],
)
def test_each_criterion_is_named(criteria: Criteria, criterion: str) -> None:
    index, _ = index_of(entry("a", in_use=3), entry("b", in_use=2))
    with pytest.raises(NoMatchingInstance) as caught:
        index.select(criteria, LeastLoaded(), alternatives=0)
    assert caught.value.criterion == criterion
    assert criterion in str(caught.value)


def test_an_empty_registry_says_so() -> None:
    with pytest.raises(NoMatchingInstance, match="there is no instance"):
        Index({}).select(Criteria(), LeastLoaded(), alternatives=0)


# --- each strategy ----------------------------------------------------------------------------------


@given(entries())
def test_the_least_loaded_is(table: dict[str, Entry]) -> None:
    matching = fitting(table, Criteria())
    if matching:
        selection = Index(table).select(Criteria(), LeastLoaded(), alternatives=99)
        loads = [table[name].load for name in (selection.instance_id, *selection.alternatives)]
        assert loads == sorted(loads)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=30))
def test_the_least_loaded_is_whatever_has_been_taken_and_given_back(changes: list[tuple[int, int]]) -> None:
    index, table = index_of(*(entry(f"pi-{number}") for number in range(5)))
    for number, in_use in changes:
        put(index, table, f"pi-{number}", entry(f"pi-{number}", in_use=in_use))
        for strategy in (LeastLoaded(), CapabilityMatch()):
            selection = index.select(Criteria(), strategy, alternatives=9)
            loads = [table[name].load for name in (selection.instance_id, *selection.alternatives)]
            assert loads == sorted(loads)


changes = st.lists(st.tuples(st.sampled_from(["pick", "pick", "pick", "come", "go"]), st.integers(0, 5)), max_size=80)


@given(changes)
def test_between_two_turns_of_one_every_other_that_was_there_has_one(plan: list[tuple[str, int]]) -> None:
    index, table = index_of(entry("pi-0"), entry("pi-1"))
    turns: list[str] = []
    came: dict[str, int] = dict.fromkeys(table, 0)  # at which turn
    for step, number in plan:
        name = f"pi-{number}"
        if step == "come" and name not in table:
            put(index, table, name, entry(name))
            came[name] = len(turns)
        elif step == "go" and name in table:
            put(index, table, name, None)
            del came[name]
        elif step == "pick" and table:
            chosen = index.select(Criteria(), RoundRobin(), alternatives=0).instance_id
            earlier = [turn for turn, who in enumerate(turns) if who == chosen and turn >= came[chosen]]
            if earlier:
                between = Counter(turns[earlier[-1] + 1 :])
                for other in table:
                    if other != chosen and came[other] <= earlier[-1]:
                        assert between[other] == 1, f"{other} between two turns of {chosen} in {turns}"
            turns.append(chosen)


# More than there are pools: when all are asked in turn, each has been forgotten when it is asked again.
many_criteria = [
    Criteria(region=region, tags=tags, capabilities=capabilities, health=health)
    for region in (None, "eu")
    for tags in ((), ("x",), ("y",))
    for capabilities in ((), ("x",))
    for health in (Criteria().health, frozenset(Health), {Health.HEALTHY, Health.UNKNOWN})
]
turns_asked_for = st.lists(
    st.one_of(
        st.sampled_from(many_criteria).map(lambda each: [each]),
        st.permutations(many_criteria),
        st.integers(17, 20),  # so many other views are asked for
        entries(),  # this is what there is from now on
    ),
    max_size=10,
)


@given(entries(), turns_asked_for)
def test_the_turn_is_of_who_had_none_for_the_longest_whatever_has_been_forgotten(
    table: dict[str, Entry], plan: list[list[Criteria] | int | dict[str, Entry]]
) -> None:
    assert len(many_criteria) > 32
    index = Index(table)
    last = {name: number for number, name in enumerate(table)}
    turns = itertools.count(len(table))
    for step in plan:
        if isinstance(step, list):
            for wanted in step:
                in_order = sorted(fitting(table, wanted), key=lambda name: last[name])
                if in_order:
                    selection = index.select(wanted, RoundRobin(), alternatives=99)
                    assert [selection.instance_id, *selection.alternatives] == in_order
                    last[selection.instance_id] = next(turns)
        elif isinstance(step, int):
            for seed in range(step):
                index.first(Criteria(), Random(seed))
        else:
            for name in sorted({*table, *step}):
                put(index, table, name, step.get(name))
                if name not in step:
                    del last[name]
                elif name not in last:
                    last[name] = next(turns)


def test_criteria_that_are_used_once_take_turns_with_each_other() -> None:
    index, _ = index_of(*(entry(f"pi-{number}", room=100) for number in range(5)))
    taken = Counter[str]()
    for number in range(800):  # each is another, and any instance will do for it
        health = {Health.UNKNOWN, *(each for bit, each in enumerate(Health) if number >> bit & 1)}
        wanted = Criteria(health=health, min_free=1 + number // 8)
        taken[index.select(wanted, RoundRobin(), alternatives=0).instance_id] += 1
    assert set(taken.values()) == {160}


def test_what_a_rotation_remembers_is_no_more_than_the_members() -> None:
    index, table = index_of(*(entry(f"pi-{number}") for number in range(3)))
    for number in range(1000):
        put(index, table, f"other-{number}", entry(f"other-{number}"))
        index.first(Criteria(), RoundRobin())
        put(index, table, f"other-{number}", None)
    assert sorted(index._turns) == ["pi-0", "pi-1", "pi-2"]


def test_who_was_busy_has_its_turn_as_if_it_had_not_been() -> None:
    index, table = index_of(*(entry(name, room=1) for name in "abc"))
    assert index.select(Criteria(), RoundRobin(), alternatives=0).instance_id == "a"
    put(index, table, "b", entry("b", room=1, in_use=1))
    assert index.select(Criteria(), RoundRobin(), alternatives=9).alternatives == ("a",)
    put(index, table, "b", entry("b", room=1))
    assert index.select(Criteria(), RoundRobin(), alternatives=9).instance_id == "b"


def test_random_follows_its_seed_and_favours_nobody() -> None:
    def draws(seed: int) -> list[str]:
        index, _ = index_of(*(entry(f"pi-{number}") for number in range(5)))
        return [index.select(Criteria(), Random(seed), alternatives=0).instance_id for _ in range(1000)]

    assert draws(1) == draws(1) != draws(2)
    # Each of five is expected 200 times of 1,000, with a deviation of 13.
    assert all(120 < count < 280 for count in Counter(draws(3)).values())


def test_random_alternatives_are_all_the_others_each_once() -> None:
    index, table = index_of(*(entry(f"pi-{number}") for number in range(30)))
    for _ in range(20):
        selection = index.select(Criteria(), Random(5), alternatives=99)
        assert sorted((selection.instance_id, *selection.alternatives)) == sorted(table)


def test_of_two_choices_the_less_loaded_is_taken() -> None:
    index, table = index_of(*(entry(f"pi-{number}", in_use=number % 4) for number in range(20)))
    for _ in range(100):
        selection = index.select(Criteria(), PowerOfTwoChoices(7), alternatives=1)
        (other,) = selection.alternatives
        assert selection.entry.load <= table[other].load


def test_two_choices_keep_the_load_even() -> None:
    index, table = index_of(*(entry(f"pi-{number}", room=1000) for number in range(50)))
    for _ in range(1000):
        chosen = index.select(Criteria(), PowerOfTwoChoices(3), alternatives=0).entry
        put(index, table, chosen.instance_id, attrs.evolve(chosen, in_use=chosen.in_use + 1))
    assert max(each.in_use for each in table.values()) <= 25, "a fair share is 20, and chance alone would make it 32"


def test_the_best_at_what_is_preferred_and_not_wasted_on_it() -> None:
    members = [
        entry("all", capabilities="abcd"),
        entry("fits", capabilities="ab"),
        entry("busy", capabilities="ab", in_use=1),
        entry("half", capabilities="a"),
        entry("none", capabilities="z"),
    ]
    index, _ = index_of(*members)
    selection = index.select(Criteria(), CapabilityMatch({"a", "b"}), alternatives=9)
    assert (selection.instance_id, *selection.alternatives) == ("fits", "busy", "all", "half", "none")
    assert selection.why == "has 2 of 2 preferred capabilities and 0 more"
