"""Our own client at an endpoint, in a process of its own, which does what the pipe's reader does: it takes in the text.

Run as a script: ``endpoint_client.py URL TOKEN COUNT``. It says ``ready``, waits for a line, reads until so many pieces of
text have come, prints the seconds.
"""

from __future__ import annotations

import sys
from time import perf_counter

import trio

from pi_trio import WhenFull, open_client


async def main(url: str, token: str, count: int) -> None:
    """See the module."""
    async with open_client(url, token=token) as client:
        with client.subscribe(when_full=WhenFull.WAIT) as events:
            print("ready", flush=True)
            await trio.to_thread.run_sync(sys.stdin.readline)
            began = perf_counter()
            async for _ in events.text():
                count -= 1
                if not count:
                    break
            took = perf_counter() - began
        print(took, flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
