"""Every command on the real Pi, in both versions."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from pi_trio import CommandFailed, ConnectionClosed, ProviderUnavailable, RestartType
from pi_trio.launch import PiInstall
from pi_trio.protocol import (
    AssistantMessage,
    CompactionEnd,
    CompactionEntry,
    CompactionStart,
    Entry,
    MessageEntry,
    ModelChangeEntry,
    SessionInfoEntry,
    TreeNode,
    UnknownEntry,
    UserMessage,
    Wire,
)
from pi_trio.protocol.convert import camel_case
from pi_trio.testing import ModelRequest, Turn
from tests.support import PiBehindEndpoint, ServedPi, run, scripted, until


def echo(request: ModelRequest) -> Turn:
    return Turn(f"heard {request.prompt}")


def said(entries: tuple[Entry, ...]) -> list[str]:
    """What the user and the model said in these entries."""
    messages = [entry.message for entry in entries if isinstance(entry, MessageEntry)]
    return [message.text for message in messages if isinstance(message, UserMessage | AssistantMessage)]


def test_what_is(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(ephemeral=False)).client
            assert await client.get_last_assistant_text() is None
            assert await client.get_messages() == ()
            reply = await client.send("one")
            assert await client.get_last_assistant_text() == "heard one"
            messages = [each for each in await client.get_messages() if isinstance(each, AssistantMessage)]
            assert [message.text for message in messages] == ["heard one"]
            assert messages[0].raw["role"] == "assistant"
            status = await client.status()
            assert status.model is not None
            assert (status.busy, status.model.id, status.tokens) == (False, "scripted-1", 110)
            assert status.cost == pytest.approx(reply.usage.cost.total) == pytest.approx(100e-6 + 20e-6)
            await client.set_session_name(" a name ")
            assert (await client.get_state()).session_name == "a name"
            with pytest.raises(CommandFailed, match="empty"):
                await client.set_session_name(" ")
            page = Path(await client.export_html(world.folder / "page.html"))
            assert page == world.folder / "page.html"
            assert "<html" in page.read_text()

    run(main)


def test_what_can_be_set(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn()).client
            await client.set_steering_mode("all")
            await client.set_follow_up_mode("all")
            await client.set_auto_compaction(False)
            state = await client.get_state()
            assert (state.steering_mode, state.follow_up_mode) == ("all", "all")
            assert state.auto_compaction_enabled is False
            await client.set_auto_retry(False)
            await client.abort_retry()
            await client.abort_bash()
            await client.abort()
            assert await client.clear_queue() == await client.clear_queue()
            assert await client.get_available_thinking_levels() == ("off",)
            assert await client.cycle_thinking_level() is None
            await client.set_thinking_level("high")
            assert (await client.get_state()).thinking_level == "off"  # the nearest that this model has

    run(main)


def test_what_can_be_prompted_with_a_slash(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            source = "export default (pi) => pi.registerCommand('hello', { description: 'Greets', handler: async () => {} });"
            prompts = tmp_path / "agent" / "prompts"
            prompts.mkdir()
            (prompts / "fix.md").write_text("---\ndescription: Fixes\n---\nFix it")
            client = (await world.spawn(extra_args=world.extension("hello", source))).client
            commands = {command.name: command for command in await client.get_commands()}
            assert (commands["hello"].source, commands["hello"].description) == ("extension", "Greets")
            assert (commands["fix"].source, commands["fix"].source_info.scope) == ("prompt", "user")
            assert commands["fix"].source_info.path == str(prompts / "fix.md")

    run(main)


def test_models_and_providers(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            world.model.configure(tmp_path / "agent", provider="scripted", models=["scripted-1", "scripted-2"])
            world.model.configure(tmp_path / "agent", provider="other", models=["other-1", "other-2"])
            client = (await world.spawn()).client
            models = await client.get_available_models()
            assert [model.id for model in models] == ["scripted-1", "scripted-2", "other-1", "other-2"]
            assert models[0].input == ("text", "image")
            assert models[0].cost is not None
            assert models[0].cost.output == 2.0
            await client.send("one")
            assert (await client.set_model("scripted", "scripted-2")).id == "scripted-2"
            await client.send("two")
            assert (await client.switch_provider("other")).id == "other-1"
            await client.send("three")
            assert (await client.switch_provider("other", "other-2")).id == "other-2"
            await client.send("four")
            assert [request.model for request in world.model.requests] == [
                "scripted-1",
                "scripted-2",
                "other-1",
                "other-2",
            ]
            cycled = await client.cycle_model()
            assert cycled is not None
            assert (cycled.model.id, cycled.thinking_level, cycled.is_scoped) == ("scripted-1", "off", False)
            with pytest.raises(ProviderUnavailable, match="'anthropic', or has no key .*: scripted, other") as no_key:
                await client.switch_provider("anthropic")
            assert (no_key.value.providers, no_key.value.models) == (("scripted", "other"), ())
            with pytest.raises(ProviderUnavailable, match="other has no model 'x'"):
                await client.switch_provider("other", "x")
            with pytest.raises(CommandFailed, match="Model not found: scripted/x"):
                await client.set_model("scripted", "x")
            changes = [each for each in (await client.get_entries()).entries if isinstance(each, ModelChangeEntry)]
            assert [change.model_id for change in changes][-4:] == ["scripted-2", "other-1", "other-2", "scripted-1"]

    run(main)


@pytest.mark.parametrize(("provider", "key"), [("anthropic", "ANTHROPIC_API_KEY"), ("openai", "OPENAI_API_KEY")])
def test_a_provider_is_switched_to_at_the_model_that_pi_takes_by_itself(
    pi: PiInstall, tmp_path: Path, provider: str, key: str
) -> None:
    """No model is asked anything: a key that opens nothing will do."""

    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(env={key: "none"})).client
            theirs = [model for model in await client.get_available_models() if model.provider == provider]
            expected = first = theirs[0].id
            # Nobody knows the default behind the stand-in, which is no package of Pi's, nor at the other end of an endpoint.
            if not isinstance(pi, ServedPi | PiBehindEndpoint):
                by_itself = await world.spawn(env={key: "none"}, provider=None, model=None)
                model = (await by_itself.client.get_state()).model
                assert model is not None
                assert model.provider == provider
                expected = model.id
                assert expected != first, "no default is needed, then"
            assert (await client.switch_provider(provider)).id == expected
            assert (await client.switch_provider(provider, first)).id == first

    run(main)


def test_nothing_of_a_model_is_in_raw_only(pi: PiInstall, tmp_path: Path) -> None:
    keys = {f"{name}_API_KEY": "none" for name in ("ANTHROPIC", "OPENAI", "GEMINI", "OPENROUTER", "XAI")}

    def look_at(value: Any, seen: set[str]) -> None:
        if isinstance(value, tuple):
            for each in value:
                look_at(each, seen)
        elif isinstance(value, Wire):
            fields = attrs.fields(type(value))
            assert set(value.raw) <= {camel_case(field.name) for field in fields}, type(value).__name__
            seen |= set(value.raw)
            for field in fields:
                if field.name != "raw":
                    look_at(getattr(value, field.name), seen)

    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            models = await (await world.spawn(env=keys)).client.get_available_models()
            assert len(models) > 100
            seen: set[str] = set()
            look_at(models, seen)
            assert {"tiers", "jpegQuality", "thinkingLevelMap", "promptCache"} <= seen

    run(main)


def test_there_is_nothing_to_cycle_to(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn()).client
            assert await client.cycle_model() is None

    run(main)


def test_a_heartbeat_goes_on_over_a_restart_and_ends_with_the_instance(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        beats: list[float] = []
        async with scripted(one_pi, tmp_path, echo) as world:
            pi = await world.spawn(restart=RestartType.PERMANENT, health=None)
            async with trio.open_nursery() as nursery:

                async def beat() -> None:
                    with pytest.raises(ConnectionClosed):
                        await pi.client.heartbeat(period=0.001, timeout=50, on_beat=beats.append)

                nursery.start_soon(beat)
                await until(lambda: len(beats) > 3)
                first = pi.pid
                assert first is not None
                os.kill(first, signal.SIGKILL)
                await until(lambda: pi.pid not in (first, None))
                before = len(beats)
                await until(lambda: len(beats) > before + 3)
                await world.runtime.kill(pi.id)

    run(main)


@pytest.mark.parametrize("ephemeral", [True, False])
def test_a_model_that_was_switched_to_stays_after_a_restart(pi: PiInstall, tmp_path: Path, ephemeral: bool) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            world.model.configure(tmp_path / "agent", provider="other", models=["other-1", "other-2"])
            instance = await world.spawn(restart=RestartType.PERMANENT, ephemeral=ephemeral)
            await instance.client.send("one")
            await instance.client.switch_provider("other", "other-2")
            assert (instance.status().provider, instance.status().model) == ("other", "other-2")
            first = instance.pid
            assert first is not None
            os.kill(first, signal.SIGKILL)
            await until(lambda: instance.pid not in (first, None))
            await instance.client.send("two")
            assert [request.model for request in world.model.requests] == ["scripted-1", "other-2"]

    run(main)


def test_sessions(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(ephemeral=False)).client
            await client.send("one")
            await client.send("two")
            first = await client.get_state()
            assert first.session_file is not None

            assert not (await client.clone()).cancelled
            clone = await client.get_state()
            assert clone.session_id == client.session_id != first.session_id
            assert said((await client.get_entries()).entries) == ["one", "heard one", "two", "heard two"]

            messages = await client.get_fork_messages()
            assert [message.text for message in messages] == ["one", "two"]
            fork = await client.fork(messages[1].entry_id)
            assert (fork.cancelled, fork.text) == (False, "two")
            assert said((await client.get_entries()).entries) == ["one", "heard one"]

            assert not (await client.new_session(parent_session=clone.session_file)).cancelled
            assert client.session_id not in (first.session_id, clone.session_id)
            assert (await client.get_entries()).leaf_id is None or said((await client.get_entries()).entries) == []

            assert not (await client.switch_session(first.session_file)).cancelled
            assert client.session_id == first.session_id
            await client.send("three")
            assert said((await client.get_entries()).entries)[-2:] == ["three", "heard three"]

            with pytest.raises(CommandFailed, match="Invalid entry ID"):
                await client.fork("nothing")
            with pytest.raises(CommandFailed, match="Entry not found: nothing"):
                await client.get_entries(since="nothing")

    run(main)


def test_an_extension_may_refuse_another_session(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        refuses = """export default function (pi) {
            pi.on("session_before_switch", async () => ({ cancel: true }));
            pi.on("session_before_fork", async () => ({ cancel: true }));
        }"""
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(ephemeral=False, extra_args=world.extension("refuses", refuses))).client
            await client.send("one")
            before = client.session_id
            assert (await client.new_session()).cancelled
            assert (await client.clone()).cancelled
            fork = await client.fork((await client.get_fork_messages())[0].entry_id)
            assert (fork.cancelled, fork.text) == (True, None)
            assert (await client.get_state()).session_id == before

    run(main)


def as_pi_tells(node: TreeNode) -> dict[str, object]:
    told: dict[str, object] = {"entry": node.entry.raw, "children": [as_pi_tells(child) for child in node.children]}
    if node.label is not None:
        told |= {"label": node.label, "labelTimestamp": node.label_timestamp}
    return told


def test_the_tree_is_the_one_that_pi_tells(pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        async with scripted(pi, tmp_path, echo) as world:
            client = (await world.spawn(branching=True)).client
            await client.send("one")
            await client.send("two")
            start = (await client.get_entries()).entries[0].id
            await client.branches.create((await client.get_fork_messages())[1].entry_id, name="again")
            await client.send("two again")
            await client.branches.rename("renamed")
            await client.branches.create(start)
            await client.set_session_name("tree")
            tree = await client.get_tree()
            told = await client.request("get_tree")
            assert [as_pi_tells(root) for root in tree.roots] == told["tree"]
            assert tree.leaf_id == told["leafId"]
            assert not [node for node in tree.nodes.values() if isinstance(node.entry, UnknownEntry)]
            assert isinstance(tree.path()[-1].entry, SessionInfoEntry)
            with pytest.raises(KeyError):
                tree.path("nothing")

    run(main)


def test_a_session_that_is_too_long_for_pis_own_tree(one_pi: PiInstall, tmp_path: Path) -> None:
    async def main() -> None:
        long = """export default (pi) => pi.registerCommand("long", { handler: async () => {
            for (let n = 0; n < 3000; n++) pi.appendEntry("long", { n });
        }});"""
        async with scripted(one_pi, tmp_path, echo) as world:
            client = (await world.spawn(extra_args=world.extension("long", long))).client
            await client.prompt("/long")
            tree = await client.get_tree()
            assert len(tree.path()) >= 3000
            assert repr(tree.path()[0])
            assert len(tree.branches()) == 1

    run(main)


def test_a_compaction(pi: PiInstall, tmp_path: Path) -> None:
    def script(request: ModelRequest) -> Turn:
        if request.prompt in ("one", "two", "three", "four"):
            return Turn("words " * 4000, input_tokens=6000, output_tokens=4000)
        return Turn("The summary.")

    async def main() -> None:
        settings = {"compaction": {"enabled": True, "reserveTokens": 1000, "keepRecentTokens": 2000}}
        async with scripted(pi, tmp_path, script) as world:
            world.model.configure(tmp_path / "agent", settings=settings)
            client = (await world.spawn()).client
            with pytest.raises(CommandFailed, match="(?i)nothing to compact|too small"):
                await client.compact()
            for prompt in ("one", "two", "three"):
                await client.send(prompt)
            with client.subscribe() as events:
                result = await client.compact("dwell on numbers")
                assert isinstance(await anext(events), CompactionStart)
                end = await anext(events)
            assert isinstance(end, CompactionEnd)
            assert (end.reason, end.result) == ("manual", result)
            assert "The summary." in result.summary
            assert any("dwell on numbers" in request.prompt for request in world.model.requests)
            assert result.tokens_before > 9000
            assert result.estimated_tokens_after is not None
            assert result.estimated_tokens_after < result.tokens_before
            entries = (await client.get_entries()).entries
            compaction = next(entry for entry in entries if isinstance(entry, CompactionEntry))
            assert compaction.first_kept_entry_id == result.first_kept_entry_id
            usage = (await client.get_session_stats()).context_usage
            assert usage is not None
            assert usage.tokens is None  # not known until the model has answered again
            await client.send("four")

    run(main)
