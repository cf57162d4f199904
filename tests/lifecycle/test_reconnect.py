"""Whether to connect again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pi_trio import Backoff, ReconnectPolicy
from pi_trio.lifecycle import is_final_close, is_final_status


@given(attempts=st.integers(0, 50), random=st.floats(0, 1))
def test_it_is_tried_as_often_as_the_policy_says_with_its_delays(attempts: int, random: float) -> None:
    policy = ReconnectPolicy(attempts=attempts)
    delays: list[float] = []
    while (delay := policy.delay(len(delays), random)) is not None:
        delays.append(delay)
    assert delays == [Backoff().delay(n, random) for n in range(attempts)]


def test_a_number_of_attempts_is_one() -> None:
    with pytest.raises(ValueError, match="must not be negative"):
        ReconnectPolicy(attempts=-1)


def test_what_is_final() -> None:
    assert [code for code in (1000, 1001, 1006, 1008, 1009, 1011, 1012, 1013, 4000, 4999) if is_final_close(code)] == [
        1000,
        1001,
        1008,
        4000,
    ]
    assert [code for code in (301, 400, 401, 403, 404, 408, 425, 426, 429, 500, 503) if is_final_status(code)] == [
        400,
        401,
        403,
        404,
        426,
    ]
