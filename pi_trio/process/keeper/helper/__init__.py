"""What runs outside of the runtime's process, so that it can outlive it: the helper and its keepers.

The standard library only, a single thread, no Trio: this package is started as a program of its own, once
per runtime, by ``python -I -S .../helper/__main__.py SOCKET PIDFD``, and forks. Nothing in it may import
the rest of ``pi_trio``; the rest imports :mod:`.messages` and :mod:`.kernel`.

::

    runtime ─── helper socket ──── helper            one per runtime; a child subreaper
       │                             │ forks
       ├──── control socket ────── keeper            one per agent; a child subreaper, in its own session
       │                             │ forks, execs
       └──── stdin, stdout, stderr ─ agent           in its own session; dies with its keeper

The runtime makes the pipes and the control socket and passes the far ends on; neither the helper nor the
keeper is in the way of the agent's bytes.

**The helper socket** is a pair of ``SOCK_SEQPACKET``: one message is one packet, so nobody can be cut off in
the middle of one. All messages are JSON objects.

====================  ===========================================================================================
helper to runtime     ``{"ready": pid}``, once, when it can be used
                      ``{"crashed": traceback}``, as its last word, if it has an error of its own
runtime to helper     ``{"grace": seconds}`` with four descriptors: the control socket, then the agent's stdin,
                      stdout and stderr. A keeper is forked for them. ``grace`` is how long its end may take.
end of the file       the runtime wants nothing more: the helper waits for its keepers, and exits
====================  ===========================================================================================

**A control socket** is a pair of ``SOCK_STREAM`` that carries lines, each a JSON object.

====================  ===========================================================================================
runtime to keeper     ``{"start": {"argv", "env", "cwd", "grace", "stamp"}}``, first and once. Strings stand for
                      bytes (see :mod:`.messages`); ``stamp`` is a number for :data:`.kernel.STAMP_LIMIT`, or null.
                      ``{"kill": true}``: end the tree now.
keeper to runtime     ``{"started": [pid, ticks], "keeper": [pid, ticks]}``: the agent's program is running. A pid
                      and the start time in clock ticks name a process for ever.
                      ``{"refused": errno, "of": "program" or "cwd"}``: it is not; this is the last word then.
                      ``{"exit": code}``: the agent ended. A negative code is a signal.
                      ``{"empty": true}``: no process of the tree is left. The last word.
                      ``{"crashed": traceback}``: the keeper had an error of its own; the helper takes over.
helper to runtime     ``{"exits": {pid: code}}`` and ``{"empty": true}``, on behalf of a keeper that was killed:
                      ``exits`` is how the processes that it left ended, the agent among them.
end of the file       for the keeper: end the agent politely (SIGTERM and SIGCONT, ``grace``, SIGKILL).
                      For the runtime, before a last word: keeper and helper are both gone.
====================  ===========================================================================================

Both ends of every socket stay valid only as long as somebody lives, and a fork()ed child of the runtime's
program may hold the runtime's ends open for ever. So the helper and each keeper watch the runtime's *pidfd*
as well: it tells of the death of that process and of nothing else.

Who notices what:

==================  =========================================================================================
an agent's exit     its keeper: reports it, and kills what is left of the tree, until it has no child any more
the runtime's end   every keeper, by the pidfd or the end of its socket; the helper, which waits for them
a keeper's death    the kernel kills the agent (PDEATHSIG); the helper inherits the rest, kills it, reports
the helper's death  nobody needs to: keepers need it no more. The runtime inherits them, and starts a new one
both at once        the runtime, by the end of the control socket: it inherits what they leave, and kills it
==================  =========================================================================================
"""
