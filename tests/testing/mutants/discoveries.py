"""Bugs in what becomes of members that are somewhere else, and of prompts that anybody may have."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_RUNNER, _HEALTH = "registry.discovery.runner", "registry.health"

MUTANTS = (
    _of(
        _RUNNER,
        "not-listed-and-still-there",
        "what a discovery does not list any more stays a member",
        ("        gone = [name for name in self._known if name not in there]\n", "        gone = list[str]()\n"),
    ),
    _of(
        _RUNNER,
        "lost-and-still-there",
        "what a discovery has lost stays a member",
        ("        if known:\n            self._remove(instance_id, reason)\n", ""),
    ),
    _of(
        _RUNNER,
        "first-description-kept",
        "what a discovery describes anew stays as it was",
        (
            "        if before is not None:\n            self._remove(name, f",
            "        if before is None:\n            str(f",
        ),
    ),
    _of(
        _RUNNER,
        "found-for-ever",
        "what a discovery found stays when it is not wanted any more",
        ("        seen.forget_all()\n", ""),
    ),
    _of(
        _RUNNER,
        "failed-once-and-for-all",
        "a discovery that failed is not run again",
        (
            "                seen.failed(policy, str(error) or type(error).__name__)\n",
            "                seen.failed(policy, str(error) or type(error).__name__)\n                await trio.sleep_forever()\n",
        ),
    ),
    _of(
        _HEALTH,
        "asked-for-the-first-time-too-late",
        "a member that was found is asked how it is only when the first period is over",
        (
            "        with member.watching:\n            while True:\n",
            "        with member.watching:\n            await trio.sleep(self._watch.health.period)\n            while True:\n",
        ),
    ),
    _of(
        _HEALTH,
        "silent-and-still-a-member",
        "a member that is silent for too long stays one",
        (
            "        await trio.sleep_until(since + self._watch.remove_after)\n",
            "        await trio.sleep_until(since + 10 * self._watch.remove_after)\n",
        ),
    ),
    _of(
        _HEALTH,
        "out-for-good",
        "a member that was out for its silence does not come back when it answers",
        (
            "            self._registry.enter_found(member.found)  # it is back\n",
            "",
        ),
    ),
    _of(
        _HEALTH,
        "health-of-the-far-not-told",
        "that a member somewhere else is unhealthy is not published",
        (
            "        if entry.health is not after.health:\n",
            "        if entry.health is not after.health and answer.state is not None:\n",
        ),
    ),
    _of(
        _HEALTH,
        "silence-counts-for-nothing",
        "that a member somewhere else did not answer is not told to its breaker",
        (
            "        if answer.state is None:\n            self._registry.report_failure(instance_id)\n        else:\n",
            "        if answer.state is not None:\n",
        ),
    ),
)
