"""Plans about one thing each.

Whatever is drawn from everything meets rarely: a crash is no test of a restart when nobody stays to see it, and a Pi that
ignores SIGTERM none of the grace period when nobody stops it. Here what belongs together comes together, and time passes.
"""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from ....lifecycle import RestartType
from ....supervisor import Strategy
from ..plan import Plan
from ..strategies import health_policies, restart_policies
from .breakers import breakers
from .connections import connections
from .discoveries import discoveries
from .health import health
from .leases import leases
from .parts import Specs, specs_or
from .requests import requests
from .restarts import restarts
from .starts import starts
from .stops import stops
from .trees import trees

__all__ = ["themes"]


def themes(
    specs: Specs | None = None, *, checkpoints: int = 30, strategies: Sequence[Strategy] = tuple(Strategy)
) -> tuple[st.SearchStrategy[Plan], ...]:
    """Plans about restarts, stops, health, supervision trees, requests, readers, leases, breakers, and many starts at
    once: a strategy for each.

    ``specs`` are the only ones that are used; by default, those that have something to do with the theme.
    """
    falling = trees(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=st.none()), strategies)
    return (
        requests(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_MOSTLY_UNASKED)),
        falling,
        restarts(
            specs_or(
                specs, start_timeout=_TO_START, restart=st.one_of(_RESTARTS, _NARROW, _AT_THE_EDGE), health=st.none()
            )
        ),
        leases(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_TOLD, **_ROOMS)),
        stops(specs_or(specs, grace_timeout=(0.05, 0.5, 2.0), drain_timeout=(0.05, 0.5, 2.0))),
        falling,  # there is much that can go wrong in them
        health(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=health_policies())),
        breakers(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_TOLD, max_concurrent=(1, 1, 2))),
        connections(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=_MOSTLY_UNASKED)),
        discoveries(specs_or(specs, start_timeout=_TO_START, restart=_RESTARTS, health=st.none())),
        starts(specs_or(specs, start_timeout=(0.25, 1.0), restart=_RESTARTS), checkpoints),
    )


_ROOMS = {"max_concurrent": (1, 1, 2, 3), "region": (None, "north", "south")}
_RESTARTS = restart_policies(
    types=(RestartType.PERMANENT, RestartType.TRANSIENT, RestartType.PERMANENT, RestartType.TEMPORARY),
    intensity=(1, 2, 3, 8, 8),
    base=(0.1, 1.0),
    cap=(0.15, 2.0, 30.0),
    jitter=(0.0, 0.2, 1.0),
    reset_after=(0.5, 3.0, 30.0),
)
# Where one more restart, or a delay that is a little longer, makes the difference.
_NARROW = restart_policies(
    types=(RestartType.PERMANENT, RestartType.TRANSIENT),
    intensity=(2, 1, 3),
    period=(5.0, 2.0, 3.0),
    base=(1.0, 0.5),
    cap=(2.0, 30.0),
    jitter=(0.0, 0.2),
    reset_after=(30.0, 0.5),
)
# The one restart that is allowed is in the window when the process ends, and out of it when the next is due.
_AT_THE_EDGE = restart_policies(
    types=(RestartType.PERMANENT,),
    intensity=(1,),
    period=(2.0, 3.0),
    base=(1.0,),
    cap=(2.0, 30.0),
    jitter=(0.0,),
    reset_after=(30.0,),
)
# What is unhealthy is left as it is, for others to see.
_TOLD = st.one_of(
    st.none(),
    health_policies(period=(0.5,), timeout=(0.1,), misses=(1,), actions=("report",)),
    health_policies(period=(0.5,), timeout=(0.1,), misses=(1, 2), actions=("report", "restart")),
)
_MOSTLY_UNASKED = st.one_of(st.none(), st.none(), health_policies())
# One that has not the time to start is given up at once, and nothing is seen of it.
_TO_START = (1.0, 3.0)
