"""Bugs in the life of one instance."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE = "supervisor.supervisor"

MUTANTS = (
    _of(
        _HERE,
        "exit-status-of-the-one-before",
        "the exit status that is published is that of the incarnation before",
        (
            "                    status=ending.status,\n                    requested=ending.asked,",
            (
                "                    status=(self._ending.status if self._ending else None) or ending.status,\n"
                "                    requested=ending.asked,"
            ),
        ),
    ),
    _of(
        _HERE,
        "ended-twice",
        "the end of an instance is published once more when its task is done",
        (
            "            asked = self._ending is not None and self._ending.asked\n",
            (
                "            asked = self._ending is not None and self._ending.asked\n"
                '            self._publish_state("is over")\n'
            ),
        ),
    ),
    _of(
        _HERE,
        "event-after-stopped",
        "health goes back to unknown when the end has been published",
        (
            "        if self.health is not Health.UNKNOWN:\n            self._health_changed(Health.UNKNOWN, None)\n",
            "",
        ),
        (
            "            self.output.close()\n",
            (
                "            self.output.close()\n"
                "            if self.health is not Health.UNKNOWN:\n"
                "                self._health_changed(Health.UNKNOWN, None)\n"
            ),
        ),
    ),
    _of(
        _HERE,
        "health-of-the-one-before",
        "the next incarnation begins with the health of the last",
        (
            "        if self.health is not Health.UNKNOWN:\n            self._health_changed(Health.UNKNOWN, None)\n",
            "",
        ),
    ),
    _of(
        _HERE,
        "exit-not-published",
        "the end of a process is not published when it was asked for",
        ("        if ending.status is not None:\n", "        if ending.status is not None and not ending.asked:\n"),
    ),
    _of(
        _HERE,
        "stop-waits-for-the-backoff",
        "a stop does not interrupt a backoff",
        (
            "            await self._stop_wanted.wait()\n            nursery.cancel_scope.cancel()\n",
            "            await self._stop_wanted.wait()\n",
        ),
    ),
    _of(
        _HERE,
        "stop-lost-while-backing-off",
        "a stop ends the backoff, and then the instance is started all the same",
        (
            "        if self._stop is not None:\n            self._ending = attrs.evolve",
            "        if self._stop is None:\n            self._ending = attrs.evolve",
        ),
    ),
    _of(
        _HERE,
        "stop-lost-before-the-first-start",
        "a stop that came before there was an incarnation is forgotten",
        ("        if self._stop is not None:\n            self._incarnation.request_stop(*self._stop)\n", ""),
    ),
    _of(
        _HERE,
        "first-start-restarted",
        "an instance that never was ready is started again, like one that was",
        ("if self._pi_state is None and self._replace_why is None:", "if self.failure is not None:"),
    ),
    _of(
        _HERE,
        "running-time-of-the-one-before",
        "an incarnation that never was ready has run since the one before became it",
        ("        self._ready_at = None\n", ""),
    ),
    _of(
        _HERE,
        "history-forgotten",
        "every restart is the first",
        ("        self.history = restart.history\n", ""),
    ),
    _of(
        _HERE,
        "session-lost",
        "a restarted Pi does not continue the session of the one before",
        ("spec = self.spec if last is None else self.spec.continued(last)", "spec = self.spec"),
    ),
    _of(
        _HERE,
        "failed-called-stopped",
        "an instance whose budget is spent is said to be stopped",
        (
            "self._enter(InstanceState.FAILED, self._what_happened(ending))",
            "self._enter(InstanceState.STOPPED, self._what_happened(ending))",
        ),
    ),
    _of(
        _HERE,
        "spawn-error-without-status",
        "who asked for an instance that died at once is not told how",
        (
            "                instance_id=self.instance_id,\n                status=ending.status,\n                stderr_tail=ending.stderr_tail,\n            )\n\n    async def wait_stopped",
            "                instance_id=self.instance_id,\n                status=ending.status,\n            )\n\n    async def wait_stopped",
        ),
    ),
    _of(
        _HERE,
        "spawn-waits-for-the-dead",
        "who asked for an instance that died at once is never told",
        ("            self._settled.set()\n            self._over.set()\n", "            self._over.set()\n"),
    ),
    _of(
        _HERE,
        "ready-not-published",
        "that a restarted instance is ready is not published",
        (
            '        self._enter(InstanceState.RUNNING, "")\n        self._publish(',
            '        self._enter(InstanceState.RUNNING, "")\n        (self._publish if self._incarnations == 1 else id)(',
        ),
    ),
    _of(
        _HERE,
        "logs-forgotten-at-the-end",
        "the output of an instance that is over cannot be read any more",
        (
            "            self.output.close()\n",
            "            self.output.close()\n            self.output._chunks.clear()\n",
        ),
    ),
    _of(
        _HERE,
        "restart-count-off-by-one",
        "how many restarts there were in a row is published one too low",
        ("in_a_row=restart.history.in_a_row,", "in_a_row=restart.history.in_a_row - 1,"),
    ),
    _of(
        _HERE,
        "wrong-reason",
        "a process that was ended from here is said to have ended by itself",
        ("return ending.failure if ending.failure is not None else f", "return f"),
    ),
    _of(
        "supervisor.instance",
        "stop-does-not-wait",
        "a stop returns before the instance is over",
        (
            '"was killed" if force else "was stopped")\n        await self._supervisor.wait_stopped()\n',
            '"was killed" if force else "was stopped")\n        await self._supervisor.wait_ready()\n',
        ),
    ),
    _of(
        "supervisor.instance",
        "force-forgotten",
        "a stop by force is a polite one",
        ("StopManner.FORCE if force else StopManner.POLITE", "StopManner.POLITE"),
    ),
    _of(
        _HERE,
        "harsher-request-lost",
        "of two requests to stop, the gentler one counts",
        ("if self._stop is None or manner > self._stop[0]:", "if self._stop is None or manner < self._stop[0]:"),
    ),
    _of(
        "supervisor.supervisor",
        "model-told-every-time",
        "which model answers is published with each start",
        (
            " and (told := (state.model.provider, state.model.id)) != self._told_model:",
            " and (told := (state.model.provider, state.model.id)):",
        ),
    ),
)
