"""All of them at once."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Final

from ..trace import Trace
from . import (
    asking,
    breakers,
    connections,
    discoveries,
    giving_up,
    health,
    leases,
    ledger,
    limits,
    listeners,
    liveness,
    output,
    processes,
    publishing,
    requests,
    resources,
    restarts,
    runs,
    starting,
    stopping,
    subscribers,
    trees,
)
from .invariant import Invariant, Violation
from .story import Story

__all__ = ["INVARIANTS", "check_trace"]

_ALL: tuple[Invariant, ...] = (
    publishing.one_exit_one_end,
    publishing.nothing_after_the_end,
    publishing.states_follow_the_table,
    publishing.announced_once,
    processes.one_incarnation_at_a_time,
    processes.nothing_lives_after_the_end,
    processes.nothing_is_left_behind,
    processes.what_comes_out_went_in,
    stopping.sigkill_comes_last,
    stopping.sigcont_follows_sigterm,
    stopping.a_stop_ends_in_time,
    stopping.a_failed_spawn_leaves_nothing,
    asking.a_forced_stop_kills_at_once,
    asking.a_prompt_stop_begins_at_once,
    asking.a_stop_is_announced,
    asking.a_stop_returns_when_all_is_gone,
    starting.starts_are_limited,
    starting.a_start_has_its_time,
    starting.sessions_go_on,
    starting.requests_wait_for_the_ready,
    requests.runs_end_with_their_process,
    requests.what_is_sent_is_whole,
    requests.what_is_sent_gets_through,
    processes.no_signal_after_reaping,
    processes.every_process_is_reaped_once,
    requests.one_outcome_each,
    requests.calls_end,
    requests.timeouts_are_kept,
    requests.outcome_before_exited,
    giving_up.what_is_given_up_is_aborted,
    giving_up.shell_commands_take_turns,
    giving_up.runs_take_turns,
    output.records_arrive,
    output.logs_are_what_was_written,
    publishing.nothing_after_exited,
    publishing.exit_status_is_the_process_s_own,
    requests.errors_say_what_happened,
    requests.errors_are_ours,
    restarts.restarts_where_they_are_due,
    restarts.restarts_keep_to_the_budget,
    trees.a_spent_budget_ends_the_tree,
    restarts.delays_grow_and_are_forgotten,
    stopping.nothing_starts_after_a_stop,
    trees.children_rise_and_fall_in_order,
    trees.children_restart_together,
    trees.the_right_ones_fall_together,
    resources.resources_have_one_holder,
    limits.instances_are_limited,
    leases.leases_fit_their_criteria,
    leases.strategies_are_followed,
    leases.leases_are_counted,
    leases.leases_are_given_back_at_once,
    leases.a_lost_lease_is_told,
    leases.nobody_is_overtaken,
    leases.nobody_waits_in_vain,
    giving_up.who_is_given_is_a_member,
    ledger.members_are_what_they_were_asked_to_be,
    requests.responses_are_their_own,
    runs.a_reply_is_what_was_said,
    subscribers.no_gap_without_lagged,
    subscribers.snapshots_are_the_table,
    listeners.slow_readers_are_told,
    connections.nothing_is_asked_twice,
    connections.what_is_lost_is_told,
    connections.what_waits_is_limited,
    connections.gaps_are_marked,
    connections.connections_are_made_again,
    runs.runs_outlive_connections,
    runs.a_prompt_is_begun_once,
    runs.who_refuses_is_not_the_last,
    discoveries.members_are_what_discoveries_tell,
    discoveries.discoveries_are_run_again,
    discoveries.the_far_are_watched,
    discoveries.the_silent_are_out,
    ledger.events_are_numbered_as_they_came,
    ledger.the_report_adds_up,
    breakers.breakers_follow_their_table,
    breakers.a_probe_goes_out_when_due,
    resources.counts_return_to_their_baseline,
    liveness.everything_comes_right,
    health.health_is_what_probes_found,
    health.the_unhealthy_are_ended,
    publishing.reasons_are_true,
)

INVARIANTS: Final = MappingProxyType({each.name: each for each in _ALL})
"""Every invariant of one trace, by its name. :func:`~pi_trio.testing.invariants.same_trace` compares two."""


def check_trace(trace: Trace, invariants: Iterable[Invariant] = _ALL) -> list[Violation]:
    """What does not hold in a trace: nothing, if all is well. Safe to call on a trace of real processes, too."""
    story = Story(trace)
    return [violation for each in invariants for violation in each(story)]
