"""The part of the shell's grammar that a simulated world needs: lists, loops, subshells, redirections."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias

import attrs

__all__ = ["Item", "Loop", "Node", "Redirect", "Simple", "Subshell", "SyntaxNotSimulated", "expand", "parse"]


class SyntaxNotSimulated(Exception):
    """The script uses what this shell does not know."""


@attrs.frozen
class Redirect:
    """``2>&1``, ``>&-``, ``</dev/null``."""

    fd: int
    target: str
    """``&n`` for another descriptor, ``&-`` for none, else a path."""


@attrs.frozen
class Simple:
    """A command with its words, unexpanded."""

    words: tuple[str, ...]
    redirects: tuple[Redirect, ...] = ()


@attrs.frozen
class Loop:
    """``while condition; do body; done``."""

    condition: tuple[Item, ...]
    body: tuple[Item, ...]


@attrs.frozen
class Subshell:
    """``( body )``."""

    body: tuple[Item, ...]


Node: TypeAlias = Simple | Loop | Subshell


@attrs.frozen
class Item:
    """A command in a list, and what stands behind it: ``;``, ``&``, ``&&`` or ``||``."""

    node: Node
    separator: str


_TOKEN = re.compile(
    r"""[ \t]+
    | \# [^\n]*
    | (?P<redirect> \d* (?: >& | <& | >> | > | < ) )
    | (?P<operator> && | \|\| | [;&|()\n] )
    | (?P<word> (?: '[^']*' | "(?:\\.|[^"\\])*" | \\. | [^\s;&|()<>'"\\] )+ )""",
    re.VERBOSE,
)


def _tokens(script: str) -> list[str]:
    found: list[str] = []
    position = 0
    while position < len(script):
        match = _TOKEN.match(script, position)
        if match is None:
            raise SyntaxNotSimulated(f"syntax error near {script[position:]!r}")
        if match.lastgroup is not None:
            found.append(";" if match.group() == "\n" else match.group())
        position = match.end()
    return found


def parse(script: str) -> tuple[Item, ...]:
    """The script as a list of commands.

    Raises:
        SyntaxNotSimulated: there is something in it that this shell does not know.
    """
    tokens = _tokens(script)
    items = _list(tokens, ())
    if tokens:
        raise SyntaxNotSimulated(f"syntax error near {tokens[0]!r}")
    return items


def _list(tokens: list[str], closing: tuple[str, ...]) -> tuple[Item, ...]:
    items: list[Item] = []
    while tokens and tokens[0] not in closing:
        if tokens[0] == ";":
            tokens.pop(0)
            continue
        node = _command(tokens)
        separator = ";"
        if tokens and tokens[0] in (";", "&", "&&", "||"):
            separator = tokens.pop(0)
        items.append(Item(node, separator))
    return tuple(items)


def _expect(tokens: list[str], word: str) -> None:
    if not tokens or tokens.pop(0) != word:
        raise SyntaxNotSimulated(f"{word!r} is missing")


def _command(tokens: list[str]) -> Node:
    if tokens[0] == "while":
        tokens.pop(0)
        condition = _list(tokens, ("do",))
        _expect(tokens, "do")
        body = _list(tokens, ("done",))
        _expect(tokens, "done")
        return Loop(condition, body)
    if tokens[0] == "(":
        tokens.pop(0)
        body = _list(tokens, (")",))
        _expect(tokens, ")")
        return Subshell(body)
    return _simple(tokens)


_REDIRECT = re.compile(r"(\d*)(>&|<&|>>|>|<)")


def _simple(tokens: list[str]) -> Simple:
    words: list[str] = []
    redirects: list[Redirect] = []
    while tokens and tokens[0] not in (";", "&", "&&", "||", ")"):
        token = tokens.pop(0)
        if token in ("|", "("):
            raise SyntaxNotSimulated(f"{token!r} is not simulated")
        match = _REDIRECT.fullmatch(token)
        if match is None:
            words.append(token)
            continue
        if not tokens:
            raise SyntaxNotSimulated("a redirection to nowhere")
        number, operator = match.groups()
        fd = int(number) if number else (0 if operator.startswith("<") else 1)
        redirects.append(Redirect(fd, ("&" if operator.endswith("&") else "") + tokens.pop(0)))
    return Simple(tuple(words), tuple(redirects))


_PART = re.compile(r"'([^']*)'|\"((?:\\.|[^\"\\])*)\"|\\(.)|([^'\"\\]+)", re.DOTALL)
_VARIABLE = re.compile(r"\$(\$|\?|!|\w+|\{\w+\})")


def expand(word: str, variable: Callable[[str], str]) -> str:
    """A word without its quotes, with its variables replaced. Fields are not split."""

    def replace(text: str) -> str:
        return _VARIABLE.sub(lambda match: variable(match.group(1).strip("{}")), text)

    parts = []
    for quoted, double, escaped, plain in _PART.findall(word):
        if double:
            parts.append(re.sub(r"\\([\\\"$`])", r"\1", replace(double)))
        else:
            parts.append(quoted or escaped or replace(plain))
    return "".join(parts)
