"""Bugs in the decisions: how to stop, whether to restart, how well an instance is."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_STOPPING, _RESTART, _HEALTH = "lifecycle.stopping", "lifecycle.restart", "lifecycle.health"
_of = Mutant.of

MUTANTS = (
    _of(
        _STOPPING,
        "killed-before-grace",
        "SIGKILL comes when half of the grace period is over",
        ("return self.grace_timeout if", "return self.grace_timeout / 2 if"),
    ),
    _of(
        _STOPPING,
        "drained-too-briefly",
        "SIGTERM comes when half of the drain time is over",
        ("return self.drain_timeout\n", "return self.drain_timeout / 2\n"),
    ),
    _of(
        _STOPPING,
        "prompt-stop-kills",
        "a prompt stop begins with SIGKILL",
        ("StopManner.PROMPT: StopStep.TERMINATE", "StopManner.PROMPT: StopStep.KILL"),
    ),
    _of(
        _STOPPING,
        "polite-stop-without-eof",
        "a polite stop does not close stdin first",
        ("StopManner.POLITE: StopStep.CLOSE_STDIN", "StopManner.POLITE: StopStep.TERMINATE"),
    ),
    _of(
        _STOPPING,
        "forced-stop-waits",
        "a forced stop sends SIGTERM first",
        ("StopManner.FORCE: StopStep.KILL", "StopManner.FORCE: StopStep.TERMINATE"),
    ),
    _of(
        _STOPPING,
        "last-step-left-out",
        "a stop never comes to SIGKILL",
        ("if step <= StopStep.KILL else", "if step < StopStep.KILL else"),
    ),
    _of(
        _RESTART,
        "one-restart-too-many",
        "the budget allows one restart more than it says",
        ("if len(recent) >= policy.intensity", "if len(recent) > policy.intensity"),
    ),
    _of(
        _RESTART,
        "one-restart-too-few",
        "the budget allows one restart less than it says",
        ("if len(recent) >= policy.intensity", "if len(recent) + 1 >= policy.intensity"),
    ),
    _of(
        _RESTART,
        "window-without-end",
        "restarts of long ago count, too",
        (" if start > due - policy.period)", ")"),
    ),
    _of(
        _RESTART,
        "backoff-never-reset",
        "the delay grows on after a while of running well",
        ("in_a_row = 0 if ran_for >= policy.reset_after else history.in_a_row", "in_a_row = history.in_a_row"),
    ),
    _of(
        _RESTART,
        "backoff-always-reset",
        "the delay never grows",
        ("in_a_row = 0 if ran_for >= policy.reset_after else history.in_a_row", "in_a_row = 0"),
    ),
    _of(
        _RESTART,
        "backoff-without-cap",
        "the delay doubles for ever",
        (
            "min(self.cap, self.base * 2.0 ** min(in_a_row, 1000))",
            "self.base * 2.0 ** min(in_a_row, 1000)",
        ),
    ),
    _of(
        _RESTART,
        "jitter-out-of-range",
        "the delay is spread by twice the jitter, and to one side",
        ("self.jitter * (2 * random - 1)", "self.jitter * 2 * random"),
    ),
    _of(
        _RESTART,
        "started-before-due",
        "the delay is announced and not kept",
        ("return Restart(due, delay,", "return Restart(now, delay,"),
    ),
    _of(
        _RESTART,
        "transient-restarted-after-exit-0",
        "a transient instance is started again though it ended with code 0",
        ("(self is RestartType.TRANSIENT and not clean)", "self is RestartType.TRANSIENT"),
    ),
    _of(
        _RESTART,
        "temporary-restarted",
        "a temporary instance that went wrong is started again",
        ("(self is RestartType.TRANSIENT and not clean)", "not clean"),
    ),
    _of(
        _RESTART,
        "permanent-not-restarted",
        "a permanent instance stays down when it ended with code 0",
        (
            "self is RestartType.PERMANENT or (self is RestartType.TRANSIENT and not clean)",
            "self is not RestartType.TEMPORARY and not clean",
        ),
    ),
    _of(
        _HEALTH,
        "one-miss-too-many",
        "an instance is unhealthy one missed probe too late",
        ("misses >= policy.misses", "misses > policy.misses"),
    ),
    _of(
        _HEALTH,
        "misses-kept-after-answer",
        "missed probes count on though one was answered between them",
        (
            "if probe.latency <= policy.slow_after else Health.DEGRADED)",
            "if probe.latency <= policy.slow_after else Health.DEGRADED, state.misses)",
        ),
    ),
    _of(
        _HEALTH,
        "busy-is-dead",
        "a Pi that says other things than the answer counts as dead",
        ("    if probe.heard:\n        return HealthState(Health.DEGRADED)\n", ""),
    ),
    _of(
        _HEALTH,
        "slow-is-healthy",
        "an answer that took too long counts as a quick one",
        ("if probe.latency <= policy.slow_after else", "if probe.latency <= policy.timeout else"),
    ),
    _of(
        _RESTART,
        "backoff-linear",
        "the delay grows by its base, and does not double",
        ("self.base * 2.0 ** min(in_a_row, 1000)", "self.base * (in_a_row + 1)"),
    ),
    _of(
        _RESTART,
        "window-over-endings",
        "the budget's window ends when the process did, not when the next start is due",
        ("if start > due - policy.period", "if start > now - policy.period"),
    ),
    _of(
        _STOPPING,
        "haste-kills",
        "a hasty stop gives no time behind SIGTERM",
        ("_HASTY_GRACE = 0.5", "_HASTY_GRACE = 0.01"),
    ),
    _of(
        _RESTART,
        "window-begins-now",
        "a restart counts from the ending before it, not from when it was due",
        ("RestartHistory((*recent, due), in_a_row + 1)", "RestartHistory((*recent, now - delay), in_a_row + 1)"),
    ),
    _of(
        _RESTART,
        "row-goes-on",
        "a restart behind a long run is counted with those before that",
        ("RestartHistory((*recent, due), in_a_row + 1)", "RestartHistory((*recent, due), history.in_a_row + 1)"),
    ),
    _of(
        _RESTART,
        "forgiven-too-late",
        "the delay is forgotten only after twice the time that it should take",
        ("if ran_for >= policy.reset_after else", "if ran_for >= 2 * policy.reset_after else"),
    ),
    _of(
        "lifecycle.health",
        "busy-keeps-its-misses",
        "a Pi that is busy keeps the misses from before",
        (
            "    if probe.heard:\n        return HealthState(Health.DEGRADED)",
            "    if probe.heard:\n        return HealthState(Health.DEGRADED, state.misses)",
        ),
    ),
)
