"""Docstrings, taken apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pi_trio.tools.docstring import parse_docstring


def test_a_docstring_is_taken_apart() -> None:
    said = parse_docstring(
        """Look something up.

        In the dictionary: any language.

        Args:
            word (str): which word.
            languages: where to look,
                in this order: the first counts.

                Or the second.
            *rest: whatever.

        Returns:
            word: this is no parameter.

        Raises:
            KeyError: nor is this.
        """
    )
    assert said.description == "Look something up.\n\nIn the dictionary: any language."
    assert said.parameters == {
        "word": "which word.",
        "languages": "where to look, in this order: the first counts. Or the second.",
        "rest": "whatever.",
    }


def test_without_sections_all_of_it_is_the_description() -> None:
    assert parse_docstring("Say: hello.\n\n    name: x").description == "Say: hello.\n\nname: x"
    assert parse_docstring(None).description == ""
    assert parse_docstring("Args:\n    x: only this.").parameters == {"x": "only this."}
    assert parse_docstring("Args:\n").parameters == {}


@given(st.text(alphabet="Args:\n \tReturnsx*()", max_size=60))
def test_no_heading_is_part_of_the_description(text: str) -> None:
    said = parse_docstring(text)
    assert not any(line.rstrip() in ("Args:", "Returns:") for line in said.description.splitlines())


@given(st.dictionaries(st.from_regex(r"[a-z]\w{0,5}", fullmatch=True), st.from_regex(r"\w[\w ]{0,9}", fullmatch=True)))
def test_what_is_said_about_parameters_is_found_again(said: dict[str, str]) -> None:
    text = "Do it.\n\nArgs:\n" + "".join(f"    {name}: {what}\n" for name, what in said.items())
    assert parse_docstring(text).parameters == {name: what.strip() for name, what in said.items()}
