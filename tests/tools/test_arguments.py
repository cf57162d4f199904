"""Arguments, from JSON to what the annotations say."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from pi_trio import Tool, ToolContext, ToolError
from pi_trio.launch import PiInstall
from pi_trio.protocol import ShapeError
from pi_trio.tools.arguments import structure_arguments
from pi_trio.tools.misfits import misfits_in
from pi_trio.tools.schema import schema_of
from tests.tools.kinds import EVERYTHING, TAKEN, Colour, Even, Level, Line, Options, Point, everything
from tests.tools.test_schema import KINDS


async def _nothing(_: Any) -> None:
    await trio.lowlevel.checkpoint()


CONTEXT = ToolContext("t", "c", "pi-1", _nothing)


def misfits(kind: Any, value: Any) -> list[tuple[str, str]]:
    with pytest.raises(Exception) as caught:
        structure_arguments(value, kind)
    return list(misfits_in(caught.value))


def test_everything_arrives_as_it_is_annotated() -> None:
    said = trio.run(Tool.from_function(everything).call, EVERYTHING, CONTEXT)
    assert said == repr(dict(sorted(TAKEN.items())))


@pytest.mark.parametrize(
    ("kind", "value", "wrong"),
    [
        (str, 5, [("", "an integer where a string is wanted")]),
        (int, True, [("", "true or false where an integer is wanted")]),
        (int, 5.5, [("", "a number where an integer is wanted")]),
        (int, "5", [("", "a string where an integer is wanted")]),
        (float, "5", [("", "a string where a number is wanted")]),
        (float, 10**400, [("", "a number that is too large")]),
        (bool, 1, [("", "an integer where true or false is wanted")]),
        (type(None), 0, [("", "an integer where null is wanted")]),
        (Colour, "green", [("", "'green' where one of 'red', 'blue' is wanted")]),
        (Level, True, [("", "True where one of 1, 2 is wanted")]),
        (list[int], "ab", [("", "a string where a list is wanted")]),
        (
            list[int],
            [1, "x", None],
            [("[1]", "a string where an integer is wanted"), ("[2]", "null where an integer is wanted")],
        ),
        (set[str], {"a": 1}, [("", "an object where a list is wanted")]),
        (tuple[int, str], [1], [("", "a list of 1 where one of 2 is wanted")]),
        (tuple[()], [1], [("", "a list of 1 where one of 0 is wanted")]),
        (dict[str, int], [], [("", "a list where an object is wanted")]),
        (dict[str, int], {"a": 1, "b": "x"}, [("b", "a string where an integer is wanted")]),
        (Point, 1, [("", "an integer where an object is wanted")]),
        (Point, {"y": 1}, [("x", "is missing")]),
        (Point, {"x": 1, "z": 2}, [("z", "there is no such argument")]),
        (
            Line,
            {"start": {"x": "a", "y": None}},
            [("start.x", "a string where a number is wanted"), ("start.y", "null where a number is wanted")],
        ),
        (Line, {"start": {"x": 1}, "points": [{"x": 1}, {}]}, [("points[1].x", "is missing")]),
        (
            Options,
            {"depth": "x", "names": {"k": [1]}},
            [("depth", "a string where an integer is wanted"), ("names.k[0]", "an integer where a string is wanted")],
        ),
        (Options, [], [("", "a list where an object is wanted")]),
        (Options, {}, [("depth", "is missing")]),
        (int | None, "x", [("", "a string where an integer is wanted")]),
        (int | str, None, [("", "null where an integer is wanted; or null where a string is wanted")]),
        (Even, {"value": 3}, [("", "3 is odd")]),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named_with_what_is_wanted(kind: Any, value: Any, wrong: list[tuple[str, str]]) -> None:
    assert misfits(kind, value) == wrong


def test_numbers_are_what_json_says_they_are() -> None:
    assert structure_arguments(5.0, int) == 5
    assert type(structure_arguments(5.0, int)) is int
    assert type(structure_arguments(5, float)) is float
    assert type(structure_arguments(5, float | int)) is int


def test_the_model_is_told_all_that_is_wrong_at_once() -> None:
    async def main() -> None:
        with pytest.raises(ToolError) as caught:
            await Tool.from_function(everything).call({**EVERYTHING, "whole": "x", "extra": 1}, CONTEXT)
        assert str(caught.value).splitlines()[1:] == [
            "- whole: a string where an integer is wanted",
            "- extra: there is no such argument",
            "Nothing was done. Correct them and call it again.",
        ]

    trio.run(main)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(-(2**53) + 1, 2**53 - 1)
    | st.sampled_from(["a", "red", ""]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", "y", "depth", "k"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize("value", [2**53, -(2**53), 10**25, 1e300])
def test_an_integer_that_does_not_arrive_exactly_is_refused(value: float) -> None:
    with pytest.raises(ShapeError, match="does not arrive exactly"):
        structure_arguments(value, int)
    assert structure_arguments(value, float) == float(value)


def test_the_largest_integers_that_arrive_exactly_are_taken() -> None:
    assert structure_arguments([2**53 - 1, 1.0 - 2**53], list[int]) == [2**53 - 1, 1 - 2**53]


class Validator:
    """Pi's own validator, in a Node.js of its own."""

    def __init__(self, pi: PiInstall) -> None:
        package = next(folder for folder in pi.path.parents if (folder / "package.json").exists())
        script = Path(__file__).with_name("validator.js")
        self._process = subprocess.Popen(
            [pi.command[0], str(script), str(package)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def takes(self, schema: Any, value: Any) -> bool:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(orjson.dumps({"schema": schema, "value": value}) + b"\n")
        stdin.flush()
        return bool(orjson.loads(stdout.readline()))

    def close(self) -> None:
        self._process.communicate(timeout=10)


def fits(kind: Any, value: Any) -> bool:
    try:
        structure_arguments(value, kind)
    except Exception as error:
        return not list(misfits_in(error))  # whatever is wrong can be said
    return True


def test_what_is_taken_is_what_pis_validator_takes(pi: PiInstall) -> None:
    validator = Validator(pi)

    @settings(max_examples=300)
    @given(KINDS, JSON)
    def check(kind: Any, value: Any) -> None:
        schema = schema_of(kind, "x")
        if fits(kind, value):
            assert validator.takes(schema, value)
        elif "minItems" not in str(schema):  # which item of a tuple is of which type, it does not say
            assert not validator.takes(schema, value)

    with closing(validator):
        assert validator.takes(Tool.from_function(everything).parameters, EVERYTHING)
        assert not validator.takes(Tool.from_function(everything).parameters, {**EVERYTHING, "choice": 2})
        check()
