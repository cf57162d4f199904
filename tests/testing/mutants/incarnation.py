"""Bugs in the life of one process."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE = "supervisor.incarnation"

MUTANTS = (
    _of(
        _HERE,
        "no-sigcont",
        "a stopped process never sees its SIGTERM",
        ("                tree.send_signal(Signal.CONT)  # a stopped process would not see the first\n", ""),
    ),
    _of(
        _HERE,
        "slot-given-back-early",
        "the place among those that are starting is given back before the process is ready",
        ("        self._slot = starts\n", "        starts.release_on_behalf_of(self)\n"),
    ),
    _of(
        _HERE,
        "slot-leaked-on-failure",
        "a spawn that fails does not give back its place among those that are starting",
        (
            "        finally:\n            self._release_slot()\n",
            "        finally:\n            if self._ready:\n                self._release_slot()\n",
        ),
    ),
    _of(
        _HERE,
        "pump-cut-off",
        "what is left in the pipes when the process has ended is not waited for",
        (
            "            with trio.move_on_after(_PIPE_TIMEOUT):\n                await pumps_done.wait()\n",
            "            await trio.lowlevel.checkpoint()\n",
        ),
    ),
    _of(
        _HERE,
        "stderr-tail-taken-early",
        "the end of stderr is kept when the process begins, not when all of it was read",
        (
            "            status = await self._until_exit(tree, transport)\n",
            "            tail = self._tail.get()\n            status = await self._until_exit(tree, transport)\n",
        ),
        ("            tail = self._output.redactor(self._tail.get())\n", ""),
    ),
    _of(
        _HERE,
        "exit-status-lost",
        "how the process ended is not kept",
        ("            status = await tree.wait_exit()\n", "            await tree.wait_exit()\n"),
    ),
    _of(
        _HERE,
        "over-before-empty",
        "the end is announced while processes of the tree may live",
        ("            await tree.wait_empty()\n", "            await trio.lowlevel.checkpoint()\n"),
    ),
    _of(
        _HERE,
        "no-sweep",
        "what is left of the tree after the process's own end is not killed",
        ("            self._gone = True\n            tree.kill_tree()\n", "            self._gone = True\n"),
        ("                tree.kill_tree()\n                tree.close()", "                tree.close()"),
    ),
    _of(
        _HERE,
        "ready-without-an-answer",
        "a Pi that was too slow to answer counts as ready, with what the one before said",
        (
            "            state = await self._client.probe(timeout=self._spec.start_timeout)\n",
            (
                "            try:\n"
                "                state = await self._client.probe(timeout=self._spec.start_timeout / 4)\n"
                "            except RequestTimeout:\n"
                '                state = State("s", False, {})  # type: ignore[call-arg]\n'
            ),
        ),
    ),
    _of(
        _HERE,
        "pid-of-another",
        "another pid than the process's is announced",
        ("nursery.start_soon(self._become_ready, tree.pid)", "nursery.start_soon(self._become_ready, tree.pid + 1)"),
    ),
    _of(
        _HERE,
        "start-never-times-out",
        "a Pi that never answers is waited for without end",
        ("probe(timeout=self._spec.start_timeout)", "probe(timeout=1e9)"),
    ),
    _of(
        _HERE,
        "stop-lost-while-starting",
        "a stop does not interrupt the wait for a place, nor the spawn",
        ("            if self._starting is not None:\n                self._starting.cancel()\n", ""),
    ),
    _of(
        _HERE,
        "wait-without-deadline",
        "a process that ignores SIGTERM is waited for without end",
        ("with trio.CancelScope(deadline=deadline) as self._waiting", "with trio.CancelScope() as self._waiting"),
    ),
    _of(
        _HERE,
        "harsher-stop-ignored",
        "a stop that is under way does not become harsher",
        ("        elif manner > self._manner:\n", "        elif manner < self._manner:\n"),
    ),
    _of(
        _HERE,
        "requests-wait-for-the-end",
        "requests in flight do not fail when the stop begins",
        ('        self._client.refuse(lambda: ConnectionClosed(f"{self._id} {self._why}"))\n', ""),
    ),
    _of(
        _HERE,
        "stop-not-announced",
        "an end that was asked for is not published as it begins",
        ("        self._observer.stopping(self._why)\n", ""),
    ),
    _of(
        _HERE,
        "unhealthy-not-restarted",
        "an unhealthy instance is left as it is",
        ('and policy.action != "report":', 'and policy.action == "stop":'),
    ),
    _of(
        _HERE,
        "unhealthy-restarted-not-stopped",
        "an unhealthy instance that is to be stopped is started again",
        ('                if policy.action == "stop":', '                if policy.action == "report":'),
    ),
    _of(
        _HERE,
        "everybody-is-busy",
        "a Pi that says nothing at all counts as busy",
        ("self._client.records_received > heard_before", "self._client.records_received >= heard_before"),
    ),
    _of(
        _HERE,
        "first-probe-at-once",
        "the first probe is sent without waiting for the period to pass",
        (
            "            await trio.sleep(policy.period)\n",
            "            await trio.sleep(policy.period if state.health is not Health.UNKNOWN else 0)\n",
        ),
    ),
    _of(
        _HERE,
        "health-told-every-time",
        "health is published though it is what it was",
        ("            if state.health is not before:\n", "            if state.health is not Health.UNKNOWN:\n"),
    ),
    _of(
        _HERE,
        "cancelled-spawn-leaks",
        "a process that is there though its start was given up has no owner",
        (
            "        self._starting = None\n        return tree\n",
            "        self._starting = None\n        return None if self._manner is not None else tree\n",
        ),
    ),
    _of(
        _HERE,
        "pipes-left-open",
        "the pipes of a process that is gone are not closed",
        (
            "                tree.kill_tree()\n                tree.close()",
            "                tree.kill_tree()",
        ),
    ),
    _of(
        _HERE,
        "wrong-error-for-the-asked",
        "requests fail with a crash when the end was asked for, and the other way round",
        ("                    if asked\n", "                    if not asked\n"),
    ),
    _of(
        _HERE,
        "stderr-not-logged",
        "what is said on stderr is not kept in the logs",
        ('            self._output.add("stderr", self._number, data)\n', ""),
    ),
    _of(
        "supervisor.tail",
        "tail-of-the-last-read",
        "only what was read last of stderr is kept for errors",
        ("        self._bytes += data[-self._max :]\n", "        self._bytes = bytearray(data[-self._max :])\n"),
    ),
    _of(
        _HERE,
        "unhealthy-ended-though-only-to-report",
        "an unhealthy instance is ended though its policy only wants to know",
        (' and policy.action != "report":', ":"),
    ),
    _of(
        "supervisor.incarnation",
        "polite-to-the-unready",
        "an instance that is not ready yet is stopped politely",
        ('(not self._ready or self._spec.launch == "server")', '(self._spec.launch == "server")'),
    ),
    _of(
        "supervisor.incarnation",
        "slot-kept-while-running",
        "the place among those that are starting is kept until the process ends",
        (
            "        self._observer.ready(state, pid)\n        self._release_slot()\n",
            "        self._observer.ready(state, pid)\n",
        ),
    ),
)
