"""The gateway discovery, where the stand-in can be made to be what a real gateway is at times."""

from __future__ import annotations

import pytest
import trio

from pi_trio.abc import Mode
from pi_trio.errors import CommandFailed, ConnectFailed, GatewayError, Unsupported
from pi_trio.lifecycle import DiscoveryCompleted
from pi_trio.openclaw import GatewayOptions, SessionTranslation, open_gateway
from pi_trio.openclaw.translation import Step
from pi_trio.registry import Criteria, OpenClawDiscovery, Registry
from tests.support import run

from .conformance import Lab, completed, open_registry
from .gateways import TOKEN, VERSIONS
from .scenario import COUNT
from .standin import Standin, open_standin
from .test_conformance import standin_laboratory

PI = {
    "threadId": "thread-1",
    "name": "what somebody does",
    "cwd": "/home/user",
    "status": "idle",
    "source": "pi-cli",
    "modelProvider": "pi",
    "archived": False,
    "canContinue": False,
    "canArchive": False,
}


def with_catalog(standin: Standin) -> OpenClawDiscovery:
    standin.catalog = [
        PI,
        {**PI, "threadId": "thread-2", "archived": True},
        {**PI, "threadId": "thread-3", "canContinue": True},
    ]
    return OpenClawDiscovery(standin.url, token=TOKEN, name="there")


def test_of_a_catalog_what_is_archived_is_left_out() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            async with registry.discover(with_catalog(standin)):
                await completed(registry)
                selectable = {each.instance_id: each.profile.selectable for each in registry.all()}
                assert selectable == {"there/pi/thread-1": False, "there/pi/thread-3": True}

    run(main)


def test_a_session_that_goes_on_with_a_thread_is_that_thread() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            key, other = await lab.create(), await lab.create()
            standin.catalog = [{**PI, "sessionKey": key}]
            assert set(await lab.found()) == {"there/pi/thread-1", f"there/{other}"}
            assert set(await lab.found(catalog=False)) == {f"there/{key}", f"there/{other}"}
            async with lab.registry() as registry:
                await completed(registry)
                entry = registry.get("there/pi/thread-1")
                assert (entry.provider, entry.model) == ("local", "scripted-1"), "those of the session"
                async with registry.open_client("there/pi/thread-1") as client:
                    assert (await client.get_state()).session_id == standin.sessions[key].session_id
                    assert (await client.send(COUNT)).text == "one two three"
            assert [each["method"] for each in standin.asked if "continue" in each["method"]] == []

    run(main)


def test_a_catalog_that_cannot_be_listed_now_hides_nobody() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            discovery = with_catalog(standin)
            async with registry.discover(discovery):
                await completed(registry)
                standin.catalog_fails = True
                async with open_gateway(standin.url, GatewayOptions(token=TOKEN)) as gateway:
                    await gateway.request("sessions.create", {"key": "agent:main:new"})
                await registry.wait_for(lambda table: "there/agent:main:new" in table)
                assert {"there/pi/thread-1", "there/pi/thread-3"} < set(registry.instances)
                report = await registry.check_health("there/pi/thread-1")
                assert report.error is not None
                assert "it is busy" in report.error

    run(main)


def test_a_thread_that_the_gateway_will_not_go_on_with_says_why() -> None:
    """A gateway may change its mind after it has been listed."""

    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            async with registry.discover(with_catalog(standin)):
                await completed(registry)
                async with registry.open_client("there/pi/thread-3") as client:
                    standin.catalog = []
                    with pytest.raises(CommandFailed, match="there is no session 'thread-3' in the catalog 'pi'"):
                        await client.send(COUNT)

    run(main)


def test_what_the_gateway_cannot_do_is_unsupported_on_a_thread_too() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            async with registry.discover(with_catalog(standin)):
                await completed(registry)
                async with registry.open_client("there/pi/thread-3") as client:
                    with pytest.raises(Unsupported, match="'bash' is not supported by the session 'thread-3' of"):
                        await client.bash("true")
                    # Only the session that goes on with it knows that this is not.
                    with pytest.raises(CommandFailed, match="'compact with custom_instructions' is not supported"):
                        await client.compact("only what matters")
                    with pytest.raises(Unsupported, match="'compact with custom_instructions' is not supported"):
                        await client.compact("only what matters")

    run(main)


def test_a_thread_that_is_gone_does_not_answer() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, open_registry() as registry:
            async with registry.discover(with_catalog(standin)):
                await completed(registry)
                standin.catalog = []
                report = await registry.check_health("there/pi/thread-1")
                assert report.error is not None
                assert "there is no session 'thread-1'" in report.error

    run(main)


@pytest.mark.parametrize(("options", "found"), [({"catalog": False}, 0), ({"kinds": {"pi"}}, 1), ({"kinds": set()}, 0)])
def test_the_catalog_can_be_left_out(options: dict[str, object], found: int) -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            standin.catalog = [PI]
            assert len(await lab.found(**options)) == found

    run(main)


def test_only_the_filters_that_a_gateway_knows_are_sent() -> None:
    async def main(version: str, sent: set[str]) -> None:
        async with open_standin(version, TOKEN) as standin, standin_laboratory(standin) as lab:
            await lab.found(filters={"archived": False, "sortBy": "updated", "search": "x"})
            (asked,) = [each["params"] for each in standin.asked if each["method"] == "sessions.list"]
            assert set(asked) == sent | {"limit", "search"}

    run(lambda: main("2026.9.6", {"archived", "sortBy"}))
    run(lambda: main("2026.5.22", set()))


def test_changes_in_a_burst_are_looked_at_once() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            async with lab.registry(period=3600.0) as registry:
                await completed(registry)
                async with registry.subscribe(match=lambda event: isinstance(event, DiscoveryCompleted)) as feed:
                    await anext(feed)
                    for _ in range(20):
                        await lab.create()
                    await registry.wait_for(lambda table: len(table) == 20)
                listed = [each for each in standin.asked if each["method"] == "sessions.list"]
                assert 2 <= len(listed) <= 4

    run(main)


def test_it_looks_again_though_nothing_is_said() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            async with lab.registry(period=0.05) as registry:
                await completed(registry)
                for peer in standin.peers:
                    peer.subscribed = False
                key = await lab.create()
                await registry.wait_for(lambda table: f"there/{key}" in table)

    run(main)


def test_a_change_of_what_a_session_does_is_no_other_session() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            key = await lab.create()
            async with lab.registry(period=0.02) as registry:
                await registry.wait_for(lambda table: f"there/{key}" in table)
                async with registry.acquire() as lease, lease.open_client() as client:
                    for _ in range(3):
                        await client.send(COUNT)
                    assert lease.lost is None
                assert registry.statistics().registered == 1

    run(main)


def test_many_clients_share_one_connection() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            keys = [await lab.create() for _ in range(30)]
            async with lab.registry() as registry:
                await registry.wait_for(lambda table: len(table) == 30)
                reports = await registry.check_all()
                assert [report.error for report in reports] == [None] * 30
                assert len(standin.peers) == 2, "ours, and the laboratory's own"
                replies: list[str] = []

                async def prompt(key: str) -> None:
                    async with registry.open_client(f"there/{key}") as client:
                        replies.append((await client.send(COUNT)).text)

                async with trio.open_nursery() as nursery:
                    for key in keys:
                        nursery.start_soon(prompt, key)
                assert replies == ["one two three"] * 30

    run(main)


def test_two_gateways_in_one_registry() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as one, open_standin(VERSIONS[1], TOKEN) as other:
            async with standin_laboratory(one) as here, standin_laboratory(other) as there:
                keys = {await here.create(), await there.create()}
                assert len(keys) == 1
                discoveries = [
                    OpenClawDiscovery(each.url, token=TOKEN, region=region)
                    for each, region in ((one, "eu"), (other, "us"))
                ]
                async with open_registry() as registry, registry.discover(*discoveries):
                    await registry.wait_for(lambda table: len(table) == 2)
                    for standin, region in ((one, "eu"), (other, "us")):
                        chosen = registry.select(Criteria(region=region)).entry
                        assert chosen.instance_id == f"openclaw:127.0.0.1:{standin.port}/{min(keys)}"
                        assert chosen.profile.mode is Mode.LOCAL

    run(main)


def test_a_client_of_a_discovery_that_does_not_run() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            key = await lab.create()
            discovery = lab.discovery()
            registry = Registry()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(registry.serve)
                async with registry.discover(discovery):
                    await registry.wait_for(lambda table: f"there/{key}" in table)
                    opener = registry._members[f"there/{key}"].open_client
                with pytest.raises(ConnectFailed, match="the discovery does not run"):
                    async with opener():
                        pass
                registry.quiesce()
                registry.close()

    run(main)


def test_a_message_that_is_too_long_ends_the_connection() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin:
            options = GatewayOptions(token=TOKEN, max_message_bytes=20_000)
            async with standin_laboratory(standin) as lab:
                for _ in range(30):
                    await lab.create()
                async with open_gateway(standin.url, options) as gateway:
                    with pytest.raises(Exception, match="1009"):
                        await gateway.request("sessions.list", {})

    run(main)


def test_errors_of_a_gateway_are_raised_where_they_were_asked_for() -> None:
    async def main(lab: Lab) -> None:
        with pytest.raises(GatewayError, match="unknown session catalog: pi"):
            await lab.admin.request("sessions.catalog.list", {"catalogId": "pi"})

    async def in_the_laboratory() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            await main(lab)

    run(in_the_laboratory)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": {"kinds": ["direct"]}}, "a gateway has no filter kinds"),
        ({"period": 0}, "period must be positive"),
        ({"url": "http://127.0.0.1"}, "not a WebSocket URL"),
        ({"url": "ws://gateway.example:18789"}, "a token is not sent to another machine in the clear"),
        ({"scopes": "operator.read"}, "expected several strings"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(arguments: dict[str, object], message: str) -> None:
    chosen: dict[str, object] = {"url": "ws://127.0.0.1:18789", "token": TOKEN, **arguments}
    with pytest.raises(ValueError, match=message):
        OpenClawDiscovery(**chosen)  # type: ignore[arg-type]


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(GatewayOptions(token="secret"))


def test_another_model_is_no_other_session_and_the_gateways_own_words_are_no_model() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            key = await lab.create()
            row = standin.sessions[key].row
            async with lab.registry(period=0.02) as registry:
                await registry.wait_for(lambda table: f"there/{key}" in table)
                async with registry.acquire(Criteria(model="scripted-1")) as lease:
                    row.update(modelProvider="openclaw", model="gateway-injected")
                    times = registry.snapshot().discoveries["there"].completed
                    await registry.wait_for(lambda _: registry.snapshot().discoveries["there"].completed > times + 1)
                    assert registry.get(f"there/{key}").model == "scripted-1"
                    row.update(modelProvider="another", model="better")
                    await registry.wait_for(lambda table: table[f"there/{key}"].model == "better")
                    assert lease.lost is None
                assert registry.select(Criteria(provider="another", model="better")).entry.instance_id == f"there/{key}"

    run(main)


def test_pages_that_do_not_add_up_are_turned_again() -> None:
    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            keys = [await lab.create() for _ in range(5)]

            def lose_one() -> None:  # of the first page: those behind it move up, and one of them is passed over
                standin.sessions.pop(keys[-1], None)

            standin.after_page = lose_one
            found = await lab.found(filters={"limit": 2})
            assert set(found) == {f"there/{key}" for key in keys[:-1]}

    run(main)


def test_what_cannot_be_translated_ends_one_link_and_not_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def stumble(translation: SessionTranslation, response: object) -> Step:
        if translation.key == keys[0]:
            raise RuntimeError("of our own making")
        return plain(translation, response)  # type: ignore[arg-type]

    keys: list[str] = []
    plain = SessionTranslation.response

    async def main() -> None:
        async with open_standin(VERSIONS[0], TOKEN) as standin, standin_laboratory(standin) as lab:
            keys.extend([await lab.create(), await lab.create()])
            async with lab.registry() as registry:
                await registry.wait_for(lambda table: len(table) == 2)
                monkeypatch.setattr(SessionTranslation, "response", stumble)
                async with registry.open_client(f"there/{keys[1]}") as client:
                    with pytest.raises(ConnectFailed, match="could not be translated"):
                        async with registry.open_client(f"there/{keys[0]}"):
                            pass
                    assert (await client.send(COUNT)).text == "one two three"

    run(main)
