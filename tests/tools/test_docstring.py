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
def test_nothing_it_is_given_breaks_it(text: str) -> None:
    said = parse_docstring(text)
    assert said.description in "\n".join(line for line in [said.description])
    assert all(name.isidentifier() or name.isalnum() for name in said.parameters)
