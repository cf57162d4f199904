"""Each promise is kept in a trace as it should be, and seen to be broken in one that was spoilt."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest

from pi_trio.abc import ExitStatus
from pi_trio.concurrency import Lagged
from pi_trio.lifecycle import (
    BreakerPolicy,
    Exited,
    Health,
    HealthChanged,
    HealthPolicy,
    InstanceState,
    Ready,
    Registered,
    RestartPolicy,
    RestartScheduled,
    RestartType,
    StateChanged,
    StopManner,
    Unregistered,
)
from pi_trio.registry import Capacity, CapacityReport, Criteria, Numbered, Snapshot
from pi_trio.supervisor import Strategy
from pi_trio.testing import trace as t
from pi_trio.testing.invariants import INVARIANTS, check_trace, same_trace
from pi_trio.testing.plans import (
    Acquire,
    Advance,
    Ask,
    Connect,
    Drop,
    Kill,
    Listen,
    Plan,
    Prompt,
    Report,
    Spawn,
    Step,
    Stop,
)
from pi_trio.testing.simulation import run_plan
from pi_trio.testing.trace import Trace
from tests.testing import elsewhere
from tests.testing.tales import (
    CLEAN,
    SPEC,
    Edit,
    Tale,
    a_life,
    changed,
    inserted,
    is_,
    moved,
    probed,
    told,
    twice,
    without,
)

_S = InstanceState
KILL = ExitStatus(signal="SIGKILL")


def family(strategy: Strategy = Strategy.ONE_FOR_ALL) -> Tale:
    """A tree of two, that is left."""
    tale = Tale()
    tale.open()
    tale.add(t.TreeOpened(0.0, "tree", strategy, 1, 20.0, ("a", "b")))
    for name in ("a", "b"):
        tale.register(name, "tree")
        tale.spawn(name)
        tale.ready(name)
    tale.add(t.ScopeEntered(tale.now, "tree"))
    tale.add(t.ScopeLeft(tale.now, "tree", "returned"))
    for name in ("b", "a"):
        tale.processes = {"a": 1, "b": 2}[name]
        tale.stop(name)
    tale.add(t.ScopeExited(tale.now, "tree", "returned"))
    tale.leave()
    tale.close()
    return tale


def fallen() -> Tale:
    """A tree of two; the second is started again."""
    tale = Tale(attrs.evolve(SPEC, health=None))
    tale.open()
    tale.add(t.TreeOpened(0.0, "tree", Strategy.REST_FOR_ONE, 1, 20.0, ("a", "b")))
    for name in ("a", "b"):
        tale.register(name, "tree")
        tale.spawn(name)
        tale.ready(name)
    tale.add(t.ScopeEntered(tale.now, "tree"))
    tale.crash("b")
    tale.back_off("b", 0.5, 1)
    tale.start_again("b", 0.5)
    tale.ready("b")
    tale.add(t.ScopeLeft(tale.now, "tree", "returned"))
    for name in ("b", "a"):
        tale.processes = {"a": 1, "b": 3}[name]
        tale.stop(name)
    tale.add(t.ScopeExited(tale.now, "tree", "returned"))
    tale.leave()
    tale.close()
    return tale


def calls() -> Tale:
    """A spawn that fails, and a run."""
    tale = Tale()
    tale.open()
    tale.add(t.CallStarted(tale.now, 1, "spawn", "a"))
    tale.register("a")
    tale.spawn("a")
    tale.add(t.ResourceReleased(tale.now, "start slot", "a/1"))
    tale.add(t.PipeWritten(tale.now, "a", 1, "stderr", 1, b"no such model\n"))
    tale.exit("a", CLEAN, requested=False)
    tale.state("a", _S.STOPPED, f"its process {CLEAN}")
    tale.add(t.CallEnded(tale.now, 1, "SpawnError", "it ended", CLEAN, b"no such model\n", "a"))
    tale.add(t.LogsRead(tale.now, "a", 1, "stderr", ("no such model",)))
    tale.leave()
    tale.close()
    return tale


def stuck() -> Tale:
    """Faults are over, and an instance is well again, in time."""
    tale = Tale()
    tale.open()
    tale.register("a")
    tale.spawn("a")
    tale.ready("a")
    tale.crash("a")
    tale.back_off("a", 0.5, 1)
    tale.add(t.FaultsOff(tale.now))
    tale.start_again("a", 0.5)
    tale.ready("a")
    tale.spec = attrs.evolve(SPEC, health=None)
    tale.wait(0.5)
    tale.stop("a")
    tale.leave()
    tale.close()
    return tale


def run(*steps: Step, **fields: object) -> Tale:
    """What really happens, in the simulated world."""
    spec = attrs.evolve(SPEC, health=None)
    tale = Tale(spec)
    tale.events += run_plan(Plan(seed=1, specs=(spec,), steps=steps, **fields)).events  # type: ignore[arg-type]
    return tale


def leased() -> Tale:
    """Two wait for the one lease that there is, and the last of them loses it."""
    long = Acquire(seconds=5.0)
    return run(Spawn(), Spawn(), Stop(1, wait=True), Acquire(), long, long, Advance(7.0), Kill(), Advance(1.0))


def broken() -> Tale:
    """A breaker opens, and closes again."""
    policy = BreakerPolicy(failures=1, reset_timeout=0.5)
    return run(Spawn(), Acquire(seconds=0.0), Report(), Advance(2.0), breaker=policy)


def dropped() -> Tale:
    """A connection drops with a request on its way."""
    return run(Spawn(), Connect(), Advance(0.5), Ask(), Ask(), Advance(0.01), Drop(), Ask(), Advance(2.0))


def slow() -> Tale:
    """A reader falls behind."""
    return run(Spawn(), Listen(capacity=2), Prompt(), Advance(5.0))


GOOD: dict[str, Callable[[], Tale]] = {
    "leased": leased,
    "broken": broken,
    "dropped": dropped,
    "slow": slow,
    "a life": a_life,
    "probed": probed,
    "a family": family,
    "fallen": fallen,
    "calls": calls,
    "stuck": stuck,
    **elsewhere.GOOD,
}


def _asks(event: object, mark: bytes) -> bool:
    return isinstance(event, t.LinkWritten) and mark in event.record


STOPPED = is_(StateChanged, state=_S.STOPPED)
UNREGISTERED = is_(Unregistered)
EXITED = is_(t.ProcessExited)

BAD: list[tuple[str, str, Tale, tuple[Edit, ...]]] = [
    ("one_exit_one_end", "exited twice", a_life(), (twice(is_(Exited)),)),
    ("one_exit_one_end", "stopped twice", a_life(), (twice(STOPPED),)),
    (
        "one_exit_one_end",
        "stopped and failed",
        probed(),
        (inserted(t.Published(9.0, StateChanged("a", 9.0, state=_S.STOPPED, incarnation=1)), is_(t.ScopeLeft)),),
    ),
    (
        "nothing_after_the_end",
        "health of the dead",
        a_life(),
        (
            inserted(
                t.Published(9.0, HealthChanged("a", 9.0, incarnation=3, health=Health.UNKNOWN, latency=None)),
                is_(t.ScopeExited),
            ),
        ),
    ),
    ("nothing_after_the_end", "not registered first", a_life(), (without(is_(Registered)),)),
    ("nothing_after_the_end", "still a member", a_life(), (without(UNREGISTERED),)),
    ("nothing_after_the_end", "taken out twice", a_life(), (twice(UNREGISTERED),)),
    ("nothing_after_the_end", "taken out while it lives", a_life(), (without(STOPPED),)),
    (
        "states_follow_the_table",
        "stopped, then stopping",
        a_life(),
        (changed(is_(StateChanged, state=_S.STOPPING), state=_S.STARTING),),
    ),
    ("states_follow_the_table", "no starting", a_life(), (without(is_(StateChanged, state=_S.STARTING), 1),)),
    (
        "states_follow_the_table",
        "a wrong incarnation",
        a_life(),
        (changed(is_(StateChanged, state=_S.RUNNING), 1, incarnation=7),),
    ),
    ("announced_once", "ready twice", a_life(), (twice(is_(Ready)),)),
    ("announced_once", "ready of another incarnation", a_life(), (changed(is_(Ready), 1, incarnation=1),)),
    ("announced_once", "running without ready", a_life(), (without(is_(Ready)),)),
    ("announced_once", "a restart without backing off", a_life(), (moved(is_(RestartScheduled), is_(Exited)),)),
    ("announced_once", "healthy twice", probed(), (twice(is_(HealthChanged)),)),
    ("one_incarnation_at_a_time", "spawned beside the last", a_life(), (moved(is_(t.ProcessSpawned), EXITED, nth=1),)),
    ("nothing_lives_after_the_end", "stopped before it was gone", a_life(), (moved(STOPPED, EXITED, before_nth=2),)),
    ("nothing_is_left_behind", "a process survives", a_life(), (without(EXITED, 2),)),
    ("nothing_is_left_behind", "a scope is never left", a_life(), (without(is_(t.ScopeExited)),)),
    ("sigkill_comes_last", "no SIGTERM", a_life(), (without(is_(t.ProcessSignalled, signal="SIGTERM")),)),
    (
        "sigkill_comes_last",
        "half the grace period",
        a_life(),
        (changed(is_(t.ProcessSignalled, signal="SIGKILL", sender="runtime"), at=5.0),),
    ),
    ("sigkill_comes_last", "no drain time", a_life(), (changed(is_(t.ProcessSignalled, signal="SIGTERM"), at=4.0),)),
    ("sigkill_comes_last", "no EOF", a_life(), (without(is_(t.PipeClosed, pipe="stdin"), 2),)),
    ("sigcont_follows_sigterm", "no SIGCONT", a_life(), (without(is_(t.ProcessSignalled, signal="SIGCONT")),)),
    ("a_stop_ends_in_time", "it takes longer", a_life(), (changed(STOPPED, at=30.0),)),
    (
        "a_stop_ends_in_time",
        "it never ends",
        a_life(),
        (
            without(STOPPED),
            changed(is_(t.Counted, when="after"), at=60.0),
        ),
    ),
    ("a_failed_spawn_leaves_nothing", "stopped after the error", calls(), (moved(STOPPED, is_(t.LogsRead)),)),
    (
        "no_signal_after_reaping",
        "a signal to a pid of the past",
        a_life(),
        (moved(is_(t.ProcessSignalled, signal="SIGTERM"), STOPPED),),
    ),
    ("no_signal_after_reaping", "reaped twice", a_life(), (twice(is_(t.ProcessReaped)),)),
    (
        "no_signal_after_reaping",
        "misuse",
        a_life(),
        (inserted(t.Misuse(1.0, "a", 1, "a descriptor was closed twice"), STOPPED),),
    ),
    ("every_process_is_reaped_once", "a zombie", a_life(), (without(is_(t.ProcessReaped), 1),)),
    ("one_outcome_each", "none", a_life(), (without(is_(t.RequestEnded)),)),
    ("one_outcome_each", "two", a_life(), (twice(is_(t.RequestEnded)),)),
    (
        "one_outcome_each",
        "after the end",
        a_life(),
        (
            changed(is_(t.RequestEnded), at=90.0),
            moved(is_(t.RequestEnded), is_(t.Counted, when="after")),
        ),
    ),
    ("calls_end", "none", calls(), (without(is_(t.CallEnded)),)),
    ("timeouts_are_kept", "late", a_life(), (changed(is_(t.RequestEnded), at=8.0),)),
    ("timeouts_are_kept", "early", a_life(), (changed(is_(t.RequestEnded), outcome="RequestTimeout"),)),
    ("timeouts_are_kept", "without one", a_life(), (changed(is_(t.RequestEnded), 1, outcome="RequestTimeout"),)),
    ("outcome_before_exited", "after exited", a_life(), (changed(is_(t.RequestEnded), 1, at=4.0),)),
    (
        "outcome_before_exited",
        "after stopping",
        a_life(),
        (
            changed(is_(t.RequestStarted), 1, mark="r3"),
            moved(is_(t.RequestEnded), is_(t.ScopeLeft), nth=1),
            changed(is_(t.RequestEnded), 1, at=5.5),
            moved(is_(t.RequestStarted), is_(StateChanged, state=_S.STOPPING), nth=1),
        ),
    ),
    ("records_arrive", "the last is lost", a_life(), (without(is_(t.RecordsDelivered), 1),)),
    ("records_arrive", "twice", a_life(), (twice(is_(t.RecordsDelivered)),)),
    ("records_arrive", "another", a_life(), (changed(is_(t.RecordsDelivered), records=("{}",)),)),
    ("records_arrive", "too late", a_life(), (changed(is_(t.RecordsDelivered), 1, at=4.0),)),
    (
        "logs_are_what_was_written",
        "the last line is lost",
        calls(),
        (changed(is_(t.LogsRead), lines=()), changed(is_(t.LogsRead), lines=("no such mo",))),
    ),
    ("logs_are_what_was_written", "of nobody", calls(), (changed(is_(t.LogsRead), incarnation=7),)),
    ("nothing_after_exited", "ready of the dead", a_life(), (moved(is_(Ready), is_(t.ScopeLeft), nth=1),)),
    (
        "nothing_after_exited",
        "ready without an answer",
        a_life(),
        (
            moved(is_(Ready), is_(t.PipeRead, pipe="stdin")),
            changed(is_(Ready), at=0.0, incarnation=1),
        ),
    ),
    ("nothing_after_exited", "another's pid", a_life(), (changed(is_(Ready), pid=7),)),
    ("exit_status_is_the_process_s_own", "another status", a_life(), (changed(is_(Exited), status=CLEAN),)),
    ("exit_status_is_the_process_s_own", "never published", a_life(), (without(is_(Exited)),)),
    ("exit_status_is_the_process_s_own", "before it ended", a_life(), (moved(is_(Exited), EXITED),)),
    ("exit_status_is_the_process_s_own", "not told to", a_life(), (changed(is_(Exited), 2, requested=False),)),
    ("exit_status_is_the_process_s_own", "told to by nobody", a_life(), (changed(is_(Exited), 0, requested=True),)),
    ("errors_say_what_happened", "another status", a_life(), (changed(is_(t.RequestEnded), 1, status=CLEAN),)),
    (
        "errors_say_what_happened",
        "no word of it",
        a_life(),
        (changed(is_(t.RequestEnded), 1, outcome="ConnectionClosed"),),
    ),
    (
        "errors_say_what_happened",
        "the end of stderr is lost",
        calls(),
        (changed(is_(t.CallEnded), stderr_tail=b"no such"),),
    ),
    (
        "restarts_where_they_are_due",
        "given up early",
        a_life(),
        (changed(is_(StateChanged, state=_S.BACKING_OFF), 1, state=_S.FAILED),),
    ),
    (
        "restarts_where_they_are_due",
        "no restart",
        a_life(),
        (changed(is_(StateChanged, state=_S.BACKING_OFF), state=_S.STOPPED),),
    ),
    (
        "restarts_where_they_are_due",
        "beyond the budget",
        probed(),
        (changed(is_(StateChanged, state=_S.FAILED), state=_S.BACKING_OFF),),
    ),
    (
        "restarts_where_they_are_due",
        "of a temporary one",
        a_life(),
        (changed(is_(t.Specified), spec=attrs.evolve(SPEC, restart=RestartPolicy(type=RestartType.TEMPORARY))),),
    ),
    (
        "restarts_where_they_are_due",
        "though it was clean",
        a_life(),
        (
            changed(
                is_(t.Specified),
                spec=attrs.evolve(SPEC, restart=attrs.evolve(SPEC.restart, type=RestartType.TRANSIENT)),
            ),
            changed(EXITED, status=CLEAN),
        ),
    ),
    (
        "restarts_keep_to_the_budget",
        "one too many",
        a_life(),
        (changed(is_(t.Specified), spec=attrs.evolve(SPEC, restart=attrs.evolve(SPEC.restart, intensity=1))),),
    ),
    ("delays_grow_and_are_forgotten", "no growth", a_life(), (changed(is_(RestartScheduled), 1, delay=0.5),)),
    ("delays_grow_and_are_forgotten", "no count", a_life(), (changed(is_(RestartScheduled), 1, in_a_row=1),)),
    (
        "delays_grow_and_are_forgotten",
        "before it is due",
        a_life(),
        (changed(is_(StateChanged, state=_S.STARTING), 1, at=0.9),),
    ),
    (
        "nothing_starts_after_a_stop",
        "a spawn",
        a_life(),
        (inserted(t.StopAsked(0.75, "a", StopManner.POLITE), is_(StateChanged, state=_S.BACKING_OFF)),),
    ),
    (
        "children_rise_and_fall_in_order",
        "the second first",
        family(),
        (moved(is_(Ready, instance_id="a"), is_(Ready, instance_id="b")),),
    ),
    (
        "children_rise_and_fall_in_order",
        "the first falls first",
        family(),
        (
            moved(
                is_(StateChanged, instance_id="a", state=_S.STOPPING),
                is_(StateChanged, instance_id="b", state=_S.STOPPING),
            ),
        ),
    ),
    (
        "children_rise_and_fall_in_order",
        "a child is left",
        family(),
        (moved(is_(StateChanged, instance_id="a", state=_S.STOPPED), is_(t.ScopeLeft, scope="runtime")),),
    ),
    (
        "children_restart_together",
        "the second still stands",
        family(),
        (inserted(t.ProcessSpawned(0.6, "a", 2, 9, 109, None), is_(t.ScopeEntered, scope="tree")),),
    ),
    ("resources_have_one_holder", "two", a_life(), (twice(is_(t.ResourceAcquired)),)),
    ("resources_have_one_holder", "given back twice", a_life(), (twice(is_(t.ResourceReleased)),)),
    ("resources_have_one_holder", "never given back", a_life(), (without(is_(t.ResourceReleased), 2),)),
    (
        "resources_have_one_holder",
        "given back early",
        a_life(),
        (
            inserted(t.ResourceAcquired(0.0, "port 4000", "a"), is_(t.ProcessSpawned)),
            inserted(t.ResourceReleased(0.5, "port 4000", "a"), is_(t.RequestEnded)),
        ),
    ),
    ("responses_are_their_own", "another's answer", a_life(), (changed(is_(t.RequestEnded), detail='{"x":2}'),)),
    ("responses_are_their_own", "nobody's answer", a_life(), (changed(is_(t.RequestEnded), 1, outcome="ok"),)),
    (
        "responses_are_their_own",
        "the answer had come",
        a_life(),
        (changed(is_(t.RequestEnded), outcome="RequestTimeout", at=5.25),),
    ),
    ("no_gap_without_lagged", "a gap", a_life(), (without(is_(t.SubscriberItem), 3),)),
    ("no_gap_without_lagged", "no snapshot", a_life(), (without(is_(t.SubscriberItem)),)),
    ("no_gap_without_lagged", "the end is lost", a_life(), (without(is_(t.SubscriberItem), -1),)),
    (
        "no_gap_without_lagged",
        "another event",
        a_life(),
        (changed(is_(t.SubscriberItem), 3, item=Numbered(3, Registered("z", 0.0))),),
    ),
    (
        "no_gap_without_lagged",
        "a wrong count",
        a_life(),
        (
            changed(is_(t.SubscriberItem), 3, item=Lagged(1)),
            changed(is_(t.SubscriberItem), 4, item=Snapshot(4, {})),
        ),
    ),
    ("snapshots_are_the_table", "an empty one", a_life(), (changed(is_(t.SubscriberItem), 4, item=Snapshot(4, {})),)),
    ("counts_return_to_their_baseline", "a task", a_life(), (changed(is_(t.Counted, when="after"), tasks=4),)),
    ("counts_return_to_their_baseline", "a descriptor", a_life(), (without(is_(t.PipeClosed, pipe="stderr")),)),
    (
        "everything_comes_right",
        "it never starts again",
        stuck(),
        (
            without(is_(StateChanged, state=_S.STARTING), 1),
            without(is_(StateChanged, state=_S.RUNNING), 1),
            without(is_(StateChanged, state=_S.STOPPING)),
            without(STOPPED),
            without(is_(t.StopAsked)),
            changed(is_(t.ScopeLeft), at=900.0),
        ),
    ),
    ("health_is_what_probes_found", "nobody is told", probed(), (without(is_(HealthChanged), 1),)),
    (
        "health_is_what_probes_found",
        "one miss too few",
        probed(),
        (
            changed(
                is_(t.Specified), spec=attrs.evolve(SPEC, health=HealthPolicy(period=1.0, timeout=0.25, slow_after=0.1))
            ),
        ),
    ),
    (
        "health_is_what_probes_found",
        "better than it is",
        probed(),
        (changed(is_(HealthChanged), 1, health=Health.UNHEALTHY),),
    ),
    ("the_unhealthy_are_ended", "nobody ends it", probed(), (without(is_(t.ProcessSignalled)),)),
    (
        "reasons_are_true",
        "another reason",
        a_life(),
        (changed(is_(StateChanged, state=_S.BACKING_OFF), reason="it is unhealthy"),),
    ),
    ("reasons_are_true", "none", a_life(), (changed(STOPPED, reason=""),)),
    ("what_comes_out_went_in", "another exception", a_life(), (changed(is_(t.ScopeExited), how="IllegalTransition"),)),
    ("a_forced_stop_kills_at_once", "SIGTERM", a_life(), (changed(is_(t.StopAsked), manner=StopManner.FORCE),)),
    (
        "a_prompt_stop_begins_at_once",
        "it waits",
        a_life(),
        (changed(is_(t.StopAsked), manner=StopManner.PROMPT),),
    ),
    ("sessions_go_on", "another session", a_life(), (changed(is_(Ready), 1, session_id="t"),)),
    (
        "requests_wait_for_the_ready",
        "one goes out before",
        a_life(),
        (changed(is_(Ready), 1, at=9.0),),
    ),
    (
        "runs_end_with_their_process",
        "one goes on",
        a_life(),
        (
            inserted(t.CallStarted(0.25, 7, "run", "a"), is_(t.RequestStarted)),
            inserted(t.PipeWritten(0.25, "a", 1, "stdin", None, b'{"type":"prompt","message":"<p7>"}\n'), EXITED),
            inserted(t.CallEnded(9.0, 7, "ConnectionClosed", "", None, b"", ""), STOPPED),
        ),
    ),
    (
        "what_is_sent_is_whole",
        "half a record",
        a_life(),
        (inserted(t.PipeWritten(0.25, "a", 1, "stdin", None, b'{"type":{"id":1}\n'), EXITED),),
    ),
    ("a_stop_is_announced", "it is not", a_life(), (without(is_(StateChanged, state=_S.STOPPING)),)),
    (
        "a_stop_returns_when_all_is_gone",
        "it returns at once",
        a_life(),
        (
            inserted(t.CallStarted(3.0, 5, "stop", "a"), is_(t.StopAsked)),
            inserted(t.CallEnded(3.0, 5, "ok", "", None, b"", ""), STOPPED),
        ),
    ),
    ("starts_are_limited", "two of one", family(), (moved(is_(t.ProcessSpawned, instance="b"), is_(Ready)),)),
    (
        "a_start_has_its_time",
        "more than it has",
        a_life(),
        (changed(is_(t.Specified), spec=attrs.evolve(SPEC, start_timeout=0.1)),),
    ),
    (
        "the_right_ones_fall_together",
        "one where all should",
        fallen(),
        (changed(is_(t.TreeOpened), strategy=Strategy.ONE_FOR_ALL),),
    ),
    (
        "the_right_ones_fall_together",
        "a temporary one stands up",
        fallen(),
        (changed(is_(t.Specified), 1, spec=attrs.evolve(SPEC, restart=RestartType.TEMPORARY)),),
    ),
    (
        "logs_are_what_was_written",
        "one stream is not kept",
        calls(),
        (
            inserted(t.LogsRead(0.0, "a", 1, "stdout", ()), is_(t.LogsRead)),
            without(is_(t.LogsRead, stream="stderr")),
        ),
    ),
    ("instances_are_limited", "one too many", leased(), (changed(is_(t.Limited), max_instances=1),)),
    (
        "leases_fit_their_criteria",
        "another region",
        leased(),
        (changed(is_(t.LeaseAsked), criteria=Criteria(region="north")),),
    ),
    ("leases_are_counted", "one is not given back", leased(), (without(is_(t.ResourceReleased, holder="lease 1")),)),
    (
        "leases_are_given_back_at_once",
        "one is not given back",
        leased(),
        (without(is_(t.ResourceReleased, holder="lease 1")),),
    ),
    (
        "a_lost_lease_is_told",
        "nobody was told",
        leased(),
        (changed(is_(t.LeaseEnded, outcome="LeaseLost"), outcome="ok"),),
    ),
    ("a_lost_lease_is_told", "though it was not", leased(), (changed(is_(t.LeaseEnded), outcome="LeaseLost"),)),
    (
        "nobody_is_overtaken",
        "the last is served first",
        leased(),
        (
            changed(is_(t.LeaseGranted, asker=2), asker=9),
            changed(is_(t.LeaseGranted, asker=3), asker=2),
            changed(is_(t.LeaseGranted, asker=9), asker=3),
        ),
    ),
    (
        "nobody_waits_in_vain",
        "for what is not there",
        leased(),
        (changed(is_(t.LeaseAsked), 1, criteria=Criteria(min_free=5)),),
    ),
    (
        "members_are_what_they_were_asked_to_be",
        "less room",
        leased(),
        (changed(is_(t.Specified), spec=attrs.evolve(SPEC, max_concurrent=7)),),
    ),
    ("events_are_numbered_as_they_came", "some are lost", leased(), (without(is_(t.Folded), 1),)),
    (
        "the_report_adds_up",
        "to something else",
        leased(),
        (changed(is_(t.CapacityReported), report=CapacityReport(Capacity(), {}, {}, {})),),
    ),
    ("breakers_follow_their_table", "a success opens it", broken(), (changed(is_(t.BreakerTold), worked=True),)),
    ("breakers_follow_their_table", "by itself", broken(), (without(is_(t.BreakerTold)),)),
    ("a_probe_goes_out_when_due", "none", broken(), (without(is_(t.ProbeSent)),)),
    ("a_probe_goes_out_when_due", "two", broken(), (twice(is_(t.ProbeSent)),)),
    (
        "slow_readers_are_told",
        "nobody told them",
        slow(),
        (without(lambda event: isinstance(event, t.Heard) and event.missed > 0, 1),),
    ),
    ("slow_readers_are_told", "they lose one", slow(), (without(is_(t.Heard), 3),)),
    (
        "a_spent_budget_ends_the_tree",
        "the body goes on",
        fallen(),
        (changed(is_(StateChanged, state=_S.BACKING_OFF), state=_S.FAILED),),
    ),
    (
        "what_is_sent_gets_through",
        "half of it",
        a_life(),
        (
            inserted(t.PipeWritten(0.3, "a", 1, "stdin", None, b"{"), is_(StateChanged, state=_S.STOPPING)),
            inserted(t.PipeRead(0.3, "a", 1, "stdin", 1, 1), is_(StateChanged, state=_S.STOPPING)),
        ),
    ),
    ("nothing_is_asked_twice", "once more", dropped(), (twice(lambda event: _asks(event, b"<a1>")),)),
    (
        "what_is_lost_is_told",
        "as if it had not been sent",
        dropped(),
        (changed(is_(t.AskEnded, uncertain=True), uncertain=False),),
    ),
    ("gaps_are_marked", "no mark", dropped(), (without(is_(t.ConnectionHeard, record=None)),)),
    ("connections_are_made_again", "at another time", dropped(), (changed(is_(t.LinkOpened), 1, at=0.0),)),
    ("errors_are_ours", "a bug", calls(), (changed(is_(t.CallEnded), outcome="AssertionError"),)),
    *elsewhere.BAD,
]


@pytest.mark.parametrize("tale", GOOD.values(), ids=GOOD)
def test_a_trace_as_it_should_be(tale: Callable[[], Tale]) -> None:
    assert [str(violation) for violation in check_trace(Trace(tuple(tale().events)))] == []


@pytest.mark.parametrize(
    ("name", "tale", "edits"),
    [(name, tale, edits) for name, _, tale, edits in BAD],
    ids=[f"{name}: {what}" for name, what, _, _ in BAD],
)
def test_what_is_broken_is_seen(name: str, tale: Tale, edits: tuple[Edit, ...]) -> None:
    violations = INVARIANTS[name](told(tale, *edits))
    assert violations
    assert {violation.invariant for violation in violations} == {name}
    assert all(violation.says and violation.events for violation in violations)


def test_every_promise_is_seen_to_be_broken() -> None:
    assert {name for name, _, _, _ in BAD} == set(INVARIANTS)


def test_every_promise_has_a_predicate() -> None:
    numbers = {invariant.number for invariant in INVARIANTS.values()}
    assert numbers == set(range(27)) - {25}  # 25 compares two traces


def test_what_shows_a_violation_is_in_order() -> None:
    trace = told(a_life(), moved(STOPPED, EXITED, before_nth=2))
    (violation,) = INVARIANTS["nothing_lives_after_the_end"](trace)
    inner: list[object] = [event.event if isinstance(event, t.Published) else event for event in trace.events]
    places = [inner.index(event) for event in violation.events]
    assert places == sorted(places)
    assert "over" in str(violation)


def test_two_traces() -> None:
    one = Trace(tuple(a_life().events))
    assert same_trace(one, Trace(tuple(a_life().events))) == []
    other = told(a_life(), changed(is_(t.RequestEnded), detail="{}"))
    (violation,) = same_trace(one, other)
    assert violation.invariant == "same_trace"
    assert len(violation.events) == 2
    assert one.digest() != other.digest()
    (shorter,) = same_trace(one, Trace(one.events[:-1]))
    assert shorter.events == (one.events[-1],)
