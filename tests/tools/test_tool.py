"""From a function to a tool."""

from __future__ import annotations

import functools
from functools import partial
from typing import Annotated, Any

import pytest
import trio

from pi_trio import InstanceSpec, SpecError, Tool, ToolContext, ToolSpecError, tool


@tool
async def bare(x: int) -> int:
    """Do it."""
    return x + 1


@tool(name="other-name", description="Another description.", timeout=2.5)
async def dressed(context: Annotated[ToolContext, "ours"], *, x: int = 1) -> int:
    """Do it."""
    return x


async def plain(a: int, b: str, c: float = 1.0) -> str:
    """Put together.

    Args:
        b: the second.
    """
    return f"{a} {b} {c}"


class Counter:
    def __init__(self) -> None:
        self.count = 0

    async def add(self, amount: int) -> int:
        """Count."""
        self.count += amount
        return self.count


async def nothing(_: Any) -> None:
    await trio.lowlevel.checkpoint()


CONTEXT = ToolContext("t", "c", "pi-1", nothing)


def test_the_decorator_is_bare_or_dressed() -> None:
    assert (bare.name, bare.description, bare.timeout) == ("bare", "Do it.", None)
    assert (dressed.name, dressed.description, dressed.timeout) == ("other-name", "Another description.", 2.5)
    assert list(dressed.parameters["properties"]) == ["x"], "the context is not the model's"
    assert "required" not in dressed.parameters


def test_it_is_still_the_function() -> None:
    async def main() -> None:
        assert await bare(1) == 2
        assert await bare.call({"x": 2}, CONTEXT) == 3
        assert await dressed.call({}, CONTEXT) == 1

    trio.run(main)


def test_methods_and_partials_are_tools_too() -> None:
    async def main() -> None:
        counter = Counter()
        add = Tool.from_function(counter.add)
        assert (add.name, list(add.parameters["properties"])) == ("add", ["amount"])
        await add.call({"amount": 2}, CONTEXT)
        assert counter.count == 2
        bound = Tool.from_function(partial(plain, 7, c=3.0), name="bound")
        assert bound.parameters["properties"] == {"b": {"type": "string", "description": "the second."}}
        assert await bound.call({"b": "x"}, CONTEXT) == "7 x 3.0"

    trio.run(main)


async def no_annotation(x) -> None:  # type: ignore[no-untyped-def]
    """Do it."""


async def many(*args: int) -> None:
    """Do it."""


async def keywords(**kwargs: int) -> None:
    """Do it."""


async def positional(x: int, /) -> None:
    """Do it."""


async def silent(x: int) -> None:
    pass


async def unknown(x: Nowhere) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Do it."""


async def of_bytes(x: list[bytes]) -> None:
    """Do it."""


async def misspelled(x: functools.Nothing) -> None:  # type: ignore[name-defined]
    """Do it."""


async def two_contexts(one: ToolContext, two: ToolContext) -> None:
    """Do it."""


async def itself(self: int) -> None:
    """Do it."""


async def misfit(x: int = "1") -> None:  # type: ignore[assignment]
    """Do it."""


async def none(x: int = None) -> None:  # type: ignore[assignment]  # noqa: RUF013
    """Do it."""


def not_async(x: int) -> None:
    """Do it."""


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (no_annotation, "no_annotation: the parameter x has no annotation"),
        (Counter.add, r"the parameter self has no annotation; of a method, use Tool.from_function\(object.method\)"),
        (many, r"many: a model cannot give \*args"),
        (keywords, r"keywords: a model cannot give \*args or \*\*kwargs"),
        (positional, "positional: the parameter x must not be positional-only"),
        (silent, "silent: the model has to be told what it does"),
        (unknown, "unknown: .*Nowhere.*must be known at the module's level"),
        (of_bytes, r"of_bytes.x\[\]: bytes has no JSON schema"),
        (misspelled, "misspelled: .*Nothing.*must be known"),
        (two_contexts, "two_contexts: one and two both ask"),
        (itself, "itself: no parameter that a model gives can be called self"),
        (misfit, "misfit: the default of x does not fit its annotation: a string where an integer is wanted"),
        (none, "none: the default of x does not fit its annotation: null where an integer is wanted"),
        (not_async, "not_async: a tool must be an async function"),
    ],
)
def test_a_function_that_cannot_be_a_tool_says_why_at_once(function: Any, said: str) -> None:
    with pytest.raises(ToolSpecError, match=said):
        tool(function)


@pytest.mark.parametrize("name", ["", "with space", "ü", "x" * 65, 5])
def test_a_name_is_one_that_every_provider_takes(name: Any) -> None:
    with pytest.raises(ToolSpecError, match="cannot be a tool's name"):
        Tool.from_function(plain, name=name)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True])
def test_a_timeout_is_positive(timeout: Any) -> None:
    with pytest.raises(ToolSpecError, match="timeout"):
        Tool.from_function(plain, timeout=timeout)


def test_a_description_is_text() -> None:
    description: Any = 5
    with pytest.raises(ToolSpecError, match="told what it does"):
        Tool.from_function(plain, description=description)


def test_a_context_may_be_optional() -> None:
    @tool
    async def either(x: int, context: ToolContext | None = None) -> bool:
        """Do it."""
        return context is not None

    async def main() -> None:
        assert list(either.parameters["properties"]) == ["x"]
        assert await either.call({"x": 1}, ToolContext("either", "c", "pi-1", trio.sleep))

    trio.run(main)


def test_a_spec_takes_tools_and_nothing_else() -> None:
    assert InstanceSpec(python_tools=[bare]).python_tools == (bare,)
    with pytest.raises(SpecError, match="made with @tool"):
        InstanceSpec(python_tools=(plain,))
    with pytest.raises(SpecError, match="two tools with the name 'bare'"):
        InstanceSpec(python_tools=(bare, bare))
    with pytest.raises(SpecError, match="max_concurrent_tools"):
        InstanceSpec(max_concurrent_tools=0)


def test_a_spec_names_python_tools_where_it_names_tools() -> None:
    def named(spec: InstanceSpec) -> str | None:
        arguments = spec.arguments()
        return arguments[arguments.index("--tools") + 1] if "--tools" in arguments else None

    assert named(InstanceSpec(tools=("read", "bare"), python_tools=(bare, dressed))) == "read,bare,other-name"
    assert named(InstanceSpec(tools=(), python_tools=(bare,))) == "bare"
    assert named(InstanceSpec(python_tools=(bare,))) is None
    assert "--no-tools" in InstanceSpec(tools=(), python_tools=()).arguments()
    assert "-e" not in InstanceSpec().arguments()
