"""Bugs in who gets an instance: leases, what is selected, breakers, the report of capacity."""

from __future__ import annotations

from .mutant import Mutant

__all__ = ["MUTANTS"]

_of = Mutant.of
_LEASES, _BREAKERS, _TABLE = "registry.leases", "registry.breakers", "lifecycle.breaker"
_CRITERIA, _INDEX = "registry.selection.criteria", "registry.selection.index"

MUTANTS = (
    _of(
        _LEASES,
        "lease-kept-on-error",
        "a lease whose body raised or was cancelled is not given back",
        (
            "        self._leases.give_back(lease, error if left is None else left)\n",
            "        if error is None:\n            self._leases.give_back(lease, None)\n",
        ),
    ),
    _of(
        _LEASES,
        "lost-lease-counted-down-twice",
        "a lease that is lost is counted down at once, and when its body is over",
        (
            "                lease._scope.cancel()\n",
            (
                "                lease._scope.cancel()\n"
                "                if counted:\n"
                "                    entry = self._registry.instances[name]\n"
                "                    self._registry.enter(CapacityChanged(name, trio.current_time(), entry.in_use - 1))\n"
            ),
        ),
    ),
    _of(
        _LEASES,
        "lost-lease-stays-counted",
        "a lease that is lost is never counted down",
        ("lease._counted = lease._counted and counted", "lease._counted = False"),
    ),
    _of(
        _LEASES,
        "given-up-and-still-waiting",
        "who does not wait any more stays in the queue, and is given a lease",
        (
            "            del self._waiting[waiter]\n            return trio.lowlevel.Abort.SUCCEEDED\n",
            (
                "            task, waiter.task = waiter.task, trio.lowlevel.current_root_task()\n"
                "            return trio.lowlevel.Abort.SUCCEEDED\n"
            ),
        ),
        (
            "        trio.lowlevel.reschedule(waiter.task)\n",
            "        if waiter.task is not trio.lowlevel.current_root_task():\n            trio.lowlevel.reschedule(waiter.task)\n",
        ),
    ),
    _of(
        _LEASES,
        "last-come-first-served",
        "those who wait are served in the reverse of the order they came",
        ("        for waiter in tuple(self._waiting):\n", "        for waiter in reversed(tuple(self._waiting)):\n"),
    ),
    _of(
        _LEASES,
        "newcomers-take-what-is-kept",
        "who asks takes a place on an instance that somebody waits for more room on",
        (
            "self._first(criteria, strategy, self._reservations.names)",
            "self._first(criteria, strategy, frozenset())",
        ),
    ),
    _of(
        _LEASES,
        "kept-from-nobody-in-the-line",
        "who waits for more room on an instance is overtaken by those who wait behind",
        ("kept = kept if name is None else kept | {name}", "kept = frozenset()"),
    ),
    _of(
        _LEASES,
        "served-one-at-a-time",
        "of those who wait, only one is served when there is room for more",
        (
            "                self._answer(waiter, self.take(entry))\n",
            "                self._answer(waiter, self.take(entry))\n                break\n",
        ),
    ),
    _of(
        _LEASES,
        "served-only-when-one-is-given-back",
        "those who wait do not hear of an instance that is running again, or whose breaker is closed",
        (
            "        if self._waiting and not self._serving:\n",
            (
                "        given_back = any(b is not None and a is not None and a.in_use < b.in_use for _, b, a in changes)\n"
                "        gone = any(after is None for _, _, after in changes)\n"
                "        if self._waiting and not self._serving and (given_back or gone):\n"
            ),
        ),
    ),
    _of(
        _LEASES,
        "loss-told-when-all-is-over",
        "whoever has a lease hears of its loss only when the instance is over for good",
        (
            "        elif before.state is InstanceState.RUNNING and after.state is not InstanceState.RUNNING:\n",
            "        elif after.state is InstanceState.STOPPED:\n",
        ),
    ),
    _of(
        _LEASES,
        "loss-not-told",
        "the body of a lost lease ends, and nobody says why",
        (
            "        if lease.lost is not None and error is not None and (left",
            "        if lease.lost is not None and left is not None and (left",
        ),
    ),
    _of(
        _LEASES,
        "loss-told-to-one",
        "of several leases of an instance that goes, only one is lost",
        ("        for lease in self._held[name]:\n", "        for lease in list(self._held[name])[:1]:\n"),
    ),
    _of(
        _LEASES,
        "waits-without-end",
        "the time-out of a lease that is asked for does not count",
        ("math.inf if timeout is None else timeout", "math.inf"),
    ),
    _of(
        _LEASES,
        "hopes-in-vain",
        "who waits for what there is no more is not told",
        (
            "            elif tell_hopeless and not self._hopeful(criteria, waiter.newcomers):\n",
            "            elif False:\n",
        ),
    ),
    _of(
        _LEASES,
        "gives-up-hope-too-early",
        "who wants what is not running just now is told that there is none",
        (
            "        return self._index.any_fits(criteria) or (newcomers and self._may_come())\n",
            (
                "        return (newcomers and self._may_come()) or any(\n"
                "            criteria.fits(each) and each.state is InstanceState.RUNNING\n"
                "            for each in self._registry.instances.values()\n"
                "        )\n"
            ),
        ),
    ),
    _of(
        _LEASES,
        "lost-lease-a-success",
        "a lease that was lost counts as a success of its instance",
        ("self._leases.give_back(lease, error if left is None else left)", "self._leases.give_back(lease, left)"),
    ),
    _of(
        _LEASES,
        "blame-forgotten",
        "that a lease's holder blamed the instance does not count",
        (
            "failed = lease._blamed or (error is not None and",
            "failed = (error is not None and",
        ),
    ),
    _of(
        _LEASES,
        "place-before-the-breaker",
        "the place on an instance that failed is given away before the failure counts",
        (
            (
                "            if failed:  # before its place is free: who waits is not to get one that has just failed once too often\n"
                "                self._breakers.failed(lease.instance_id)\n"
            ),
            "",
        ),
        (
            "entry.in_use - 1))\n",
            "entry.in_use - 1))\n            if failed:\n                self._breakers.failed(lease.instance_id)\n",
        ),
    ),
    _of(
        "registry.table",
        "one-lease-too-many",
        "an instance may hold one lease more than it has room for",
        (
            "        return self.profile.max_concurrent - self.in_use\n",
            "        return self.profile.max_concurrent - self.in_use + 1\n",
        ),
    ),
    _of(
        "registry.table",
        "capacity-not-folded",
        "that a lease was given back does not change the table",
        ("_but(entry, in_use=event.in_use)", "_but(entry, in_use=max(entry.in_use, event.in_use))"),
    ),
    _of(
        "launch.spec",
        "room-for-one",
        "an instance is registered with room for one lease, whatever its spec says",
        ("            max_concurrent=self.max_concurrent,\n", ""),
    ),
    _of(
        _CRITERIA,
        "half-open-is-closed",
        "an instance whose breaker is half open is selected",
        (
            "            and entry.breaker.state is BreakerState.CLOSED\n            and self.fits",
            "            and entry.breaker.state is not BreakerState.OPEN\n            and self.fits",
        ),
    ),
    _of(
        _CRITERIA,
        "open-breaker-selected",
        "an instance whose breaker is open is selected",
        (
            "            and entry.breaker.state is BreakerState.CLOSED\n            and self.fits",
            "            and self.fits",
        ),
    ),
    _of(
        _CRITERIA,
        "unhealthy-selected",
        "an unhealthy instance is selected",
        ("            and entry.health in self.health\n", ""),
    ),
    _of(
        _CRITERIA,
        "not-running-selected",
        "an instance that is not running is selected",
        (
            "            entry.state is InstanceState.RUNNING\n            and not entry.retired",
            "            not entry.retired",
        ),
    ),
    _of(
        _CRITERIA,
        "region-ignored",
        "instances of another region are selected",
        ("            and (self.region is None or profile.region == self.region)\n", ""),
    ),
    _of(
        _CRITERIA,
        "min-free-ignored",
        "an instance with less room than asked for is selected",
        ("            and entry.free >= self.min_free\n", "            and entry.free >= 1\n"),
    ),
    _of(
        _INDEX,
        "exclude-ignored",
        "an excluded instance is selected",
        (
            "            if name not in criteria.exclude:\n                strategy.chosen",
            "            if name:\n                strategy.chosen",
        ),
    ),
    _of(
        _TABLE,
        "breaker-opens-too-late",
        "a breaker opens one failure too late",
        ("failures < policy.failures", "failures <= policy.failures"),
    ),
    _of(
        _TABLE,
        "breaker-never-widens",
        "a breaker is open for the same time however often its probe fails",
        ("self.widening ** min(openings - 1, 64)", "self.widening ** 0"),
    ),
    _of(
        _TABLE,
        "breaker-widens-for-ever",
        "a breaker is open for longer than the limit says",
        (
            "min(self.max_reset_timeout, self.reset_timeout * self.widening ** min(openings - 1, 64))",
            "self.reset_timeout * self.widening ** min(openings - 1, 64)",
        ),
    ),
    _of(
        _BREAKERS,
        "failures-not-in-a-row",
        "a success between failures does not count",
        ("not (entry.breaker.failures or entry.breaker.state is not", "not (entry.breaker.state is not"),
    ),
    _of(
        _BREAKERS,
        "no-probe",
        "an open breaker never sends a probe",
        (
            "            self._start_soon(lambda: self._probe_when_due(endpoint, breaker, news=news))\n",
            "            pass\n",
        ),
    ),
    _of(
        _BREAKERS,
        "probe-taken-for-an-answer",
        "a probe that is not answered closes the breaker",
        (
            "        if report.latency is None:\n            self._fail(",
            "        if report is None:\n            self._fail(",
        ),
    ),
    _of(
        _BREAKERS,
        "half-open-and-no-probe",
        "a breaker is half open, and closes without a probe",
        (
            "            report = await self._registry.check_health(name)\n",
            (
                "            from .health import Health, HealthReport\n\n"
                "            await trio.sleep(0.1)\n"
                "            report = HealthReport(name, Health.HEALTHY, 0.1)\n"
            ),
        ),
    ),
    _of(
        _BREAKERS,
        "two-probes",
        "an instance is asked twice when its breaker is half open",
        (
            "            report = await self._registry.check_health(name)\n",
            (
                "            await self._registry.check_health(name)\n"
                "            report = await self._registry.check_health(name)\n"
            ),
        ),
    ),
    _of(
        "registry.capacity",
        "broken-counted-free",
        "what cannot be had counts as free",
        ("self.free + (entry.free if usable else 0)", "self.free + entry.free"),
    ),
    _of(
        "registry.capacity",
        "unhealthy-is-usable",
        "what an unhealthy instance has room for counts as free",
        ("        and entry.health is not Health.UNHEALTHY\n", ""),
    ),
    _of(
        "registry.ledger",
        "taken-in-backwards",
        "events that come at once are taken in the wrong way round",
        (
            "        self.enter(*(item for item in batch if not isinstance(item, Mark)))\n",
            "        self.enter(*reversed([item for item in batch if not isinstance(item, Mark)]))\n",
        ),
    ),
    _of(
        "registry.ledger",
        "own-events-not-passed-on",
        "what the registry itself decides is numbered, and not passed on",
        (
            "            numbered.append(Numbered(self._seq, event))\n",
            (
                "            if type(event).__name__ != 'CapacityChanged':\n"
                "                numbered.append(Numbered(self._seq, event))\n"
            ),
        ),
    ),
    _of(
        "registry.leases",
        "unregistered-and-counted",
        "a lease whose instance was unregistered is counted down though that is no member",
        (
            'self._lose(name, "it was unregistered", counted=False)',
            'self._lose(name, "it was unregistered", counted=True)',
        ),
    ),
    _of(
        "registry.breakers",
        "probe-of-a-closed-breaker",
        "a breaker that was closed meanwhile is probed",
        (
            "        while self.of(endpoint) == opened and (name := self._next_to_ask(endpoint)) is not None:\n",
            "        if (name := self._next_to_ask(endpoint)) is not None:\n",
        ),
        (
            "                if self.of(endpoint) == opened and self._registry.is_known(name):\n",
            "                if self._registry.is_known(name):\n",
        ),
    ),
    _of(
        "lifecycle.breaker",
        "openings-never-forgotten",
        "a success does not shorten the next opening",
        (
            'def after_success(_breaker: Breaker) -> Breaker:\n    """The breaker after a success."""\n    return Breaker()',
            'def after_success(_breaker: Breaker) -> Breaker:\n    """The breaker after a success."""\n    return Breaker(openings=_breaker.openings)',
        ),
    ),
)
