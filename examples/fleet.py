"""Several Pis as one: spawned as there is work, selected by what they are, leased so that none has too much."""

from __future__ import annotations

import trio

from pi_trio import Criteria, InstanceSpec, ScalingPolicy, Sticky, open_runtime

MODEL = InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", tags={"writers"})


async def main() -> None:
    async with open_runtime() as runtime:
        registry = runtime.registry
        writers = runtime.auto_spawn(MODEL, ScalingPolicy(min_instances=1, max_instances=3))
        async with registry.discover(writers), trio.open_nursery() as nursery:

            async def write(animal: str) -> None:
                reply = await registry.run(f"A limerick about a {animal}", Criteria(tags={"writers"}))
                print(reply.text)

            for animal in ("goat", "newt", "wren", "mole", "hare", "toad"):
                nursery.start_soon(write, animal)

        async with runtime.warm_pool(MODEL, size=1) as pool:
            await pool.wait_full()
            async with pool.acquire(timeout=30) as lease, lease.open_client() as client:
                print((await client.send("Say that you were ready.")).text)

        for region in ("eu", "us"):
            await runtime.spawn(InstanceSpec(provider="anthropic", model="claude-sonnet-4-5", region=region))
        user = Sticky("user 7")
        chosen = registry.select(Criteria(), user)
        print(f"user 7 goes to {chosen.entry.profile.region}: {chosen.why}; else to {', '.join(chosen.alternatives)}")
        async with registry.acquire(Criteria(), user) as lease:
            print("and again:", lease.instance_id == chosen.instance_id)
        total = registry.capacity().total
        print(f"{total.free} of {total.total} places are free")


trio.run(main)
