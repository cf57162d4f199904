"""Sticky keys: equal shares, and nobody is moved who need not be."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio.registry import Entry
from pi_trio.registry.selection.rendezvous import _FEW, _MASK, Preference, Rendezvous

KEYS = [f"key {number}" for number in range(40)]

names = st.sets(st.integers(0, 10**6).map(lambda number: f"pi-{number}"), min_size=1, max_size=30)


def standing(*ids: str) -> Rendezvous:
    view = Rendezvous()
    for each in ids:
        view.add(Entry(each, None, None, ""))
    return view


def first(view: Rendezvous, key: str) -> str:
    return next(view.preferred(key))


@given(st.text(), st.lists(st.integers(0, _MASK), max_size=20))
def test_a_key_has_a_permutation_of_its_own_that_reads_both_ways(key: str, slots: list[int]) -> None:
    order = Preference.of(key)
    assert [order.slot(place) for place in order.places(slots)] == slots


@given(names, st.integers(0, 10**6))
def test_who_comes_takes_only_what_prefers_it_and_who_goes_gives_only_its_own(ids: set[str], number: int) -> None:
    view, newcomer = standing(*ids), f"new-{number}"
    before = {key: first(view, key) for key in KEYS}
    view.add(Entry(newcomer, None, None, ""))
    with_it = {key: first(view, key) for key in KEYS}
    assert all(with_it[key] in (before[key], newcomer) for key in KEYS)
    view.remove(newcomer)
    assert {key: first(view, key) for key in KEYS} == before


@given(names)
def test_the_order_of_preference_is_what_is_left_when_the_first_ones_go(ids: set[str]) -> None:
    view = standing(*ids)
    order = list(view.preferred("k"))
    assert sorted(order) == sorted(ids)
    for name in order:
        assert first(view, "k") == name
        view.remove(name)


def test_it_does_not_matter_who_came_when() -> None:
    ids = [f"pi-{number}" for number in range(50)]
    one, other = standing(*ids), standing(*reversed(ids))
    assert [first(one, key) for key in KEYS] == [first(other, key) for key in KEYS]


def test_asking_everybody_and_walking_the_order_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    view = standing(*(f"pi-{number}" for number in range(300)))
    asked = [list(view.preferred(key)) for key in KEYS[:5]]
    monkeypatch.setattr("pi_trio.registry.selection.rendezvous._FEW", 0)
    assert [list(view.preferred(key)) for key in KEYS[:5]] == asked


@pytest.mark.parametrize("count", [4, 100, _FEW + 500])
def test_shares_are_equal(count: int) -> None:
    view = standing(*(f"pi-{number}" for number in range(count)))
    per_instance = 100 if count < 1000 else 20
    shares = Counter(first(view, f"key {number}") for number in range(count * per_instance))
    # Those that share a slot have half of it or so; of the others, chance alone makes a deviation of a square root.
    far_off = [share for share in shares.values() if abs(share - per_instance) > 5 * per_instance**0.5]
    assert len(far_off) <= count // 50
    assert len(shares) >= count * 0.99
