"""Bugs in what puts it all together."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_HERE = "runtime.runtime"

MUTANTS = (
    _of(
        _HERE,
        "cancelled-spawn-goes-on",
        "what a cancelled spawn started is left to itself",
        (
            (
                '            supervisor.request_stop(StopManner.PROMPT, "was cancelled while it started")\n'
                "            with trio.CancelScope(shield=True):  # bounded by the supervisor's own deadlines\n"
                "                await supervisor.wait_stopped()\n"
            ),
            "",
        ),
    ),
    _of(
        _HERE,
        "cancelled-spawn-does-not-wait",
        "a cancelled spawn returns before what it started is over",
        (
            (
                "            with trio.CancelScope(shield=True):  # bounded by the supervisor's own deadlines\n"
                "                await supervisor.wait_stopped()\n"
            ),
            "",
        ),
    ),
    _of(
        _HERE,
        "stopped-one-by-one",
        "the instances of a runtime are stopped one behind the other",
        (
            (
                "        self._request_stop_of_all(manner, why)  # all at once: n of them take as long as one\n"
                "        for supervisor in self._supervisors.values():\n"
            ),
            "        for supervisor in self._supervisors.values():\n            supervisor.request_stop(manner, why)\n",
        ),
    ),
    _of(
        _HERE,
        "cancelled-scope-is-patient",
        "a runtime whose body raised or was cancelled stops its instances politely",
        ("iter((StopManner.PROMPT, StopManner.HASTY))", "iter((StopManner.POLITE, StopManner.HASTY))"),
    ),
    _of(
        _HERE,
        "returned-scope-is-impatient",
        "a runtime whose body returned gives its instances no time to finish",
        (
            '_stop_all(StopManner.POLITE, "was stopped with its runtime")',
            '_stop_all(StopManner.PROMPT, "was stopped with its runtime")',
        ),
    ),
    _of(
        _HERE,
        "spawned-while-closing",
        "something can still be spawned while the runtime is being closed",
        ("        if self.closing:\n", "        if self.closing is None:\n"),
    ),
    _of(
        "concurrency.service",
        "shield-forgotten",
        "cancellation reaches the supervisors themselves",
        ("        with trio.CancelScope(shield=True):\n            await task()", "        await task()"),
    ),
    _of(
        "concurrency.service",
        "stop-cancelled",
        "the teardown of a cancelled runtime is cancelled, too",
        (
            "            with trio.CancelScope(shield=True):\n                await stop(reason)\n",
            "            await stop(reason)\n",
        ),
    ),
    _of(
        "concurrency.service",
        "exception-swallowed",
        "what the body of a runtime raised does not come out of it",
        ("        if body_error is not None:\n            raise body_error\n        return\n", "        return\n"),
    ),
    _of(
        _HERE,
        "one-instance-too-many",
        "there may be one instance more than max_instances says",
        ("if self._count_alive() >= self._max_instances:", "if self._count_alive() > self._max_instances:"),
    ),
    _of(
        _HERE,
        "one-instance-too-few",
        "there may be one instance less than max_instances says",
        ("if self._count_alive() >= self._max_instances:", "if self._count_alive() + 1 >= self._max_instances:"),
    ),
    _of(
        _HERE,
        "one-more-may-start",
        "one process more than max_starting says may start at the same time",
        ("trio.CapacityLimiter(max_starting)", "trio.CapacityLimiter(max_starting + 1)"),
    ),
    _of(
        _HERE,
        "second-interrupt-ignored",
        "who interrupts twice is waited for as long as before",
        ('        self._request_stop_of_all(StopManner.HASTY, "was interrupted twice")\n', ""),
    ),
    _of(
        _HERE,
        "third-interrupt-ignored",
        "who interrupts three times is no nearer to the end than before",
        ('        self._request_stop_of_all(StopManner.FORCE, "was interrupted three times")\n', ""),
    ),
    _of(
        _HERE,
        "over-and-still-a-member",
        "an instance that is over stays a member of the registry",
        (
            "                    sender.send_nowait(Unregistered(name, trio.current_time(), str(supervisor.state)))\n",
            "",
        ),
    ),
    _of(
        "concurrency.service",
        "told-once-only",
        "a scope that is cancelled while it is being left is not told to make haste",
        (
            "        except BaseException as error:  # cancelled meanwhile: no more patience\n            reason = error\n",
            "        except BaseException as error:  # cancelled meanwhile: no more patience\n            return error\n",
        ),
    ),
)
