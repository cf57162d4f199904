"""A tool: an async function, and what Pi has to know about it."""

from __future__ import annotations

import functools
import inspect
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Self, get_args, get_origin, get_type_hints, overload

import attrs

from ..errors import ToolError, ToolSpecError
from ..protocol import Record
from .arguments import structure_arguments
from .coercion import says_the_same
from .context import ToolContext
from .docstring import parse_docstring
from .fields import MISSING, UNRESOLVED, Field
from .misfits import misfits_in
from .schema import UNIONS, object_schema

__all__ = ["Tool", "tool"]

ToolFunction = Callable[..., Awaitable[Any]]

# What every provider takes as the name of a tool.
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@attrs.frozen(eq=False)
class Tool:
    """An async function that Pi's model may call. Made by :func:`tool`, or by :meth:`from_function`.

    Called in Python, it is the function itself.
    """

    name: str
    description: str = attrs.field(repr=False)
    """What the model is told about it."""
    parameters: Mapping[str, Any] = attrs.field(repr=False)
    """The JSON schema of its arguments, an object's."""
    function: ToolFunction = attrs.field(repr=False)
    timeout: float | None = None
    """Seconds that a call may take, from its turn; then the function is cancelled."""
    _arguments: type[Any] = attrs.field(repr=False, kw_only=True)
    _context: str | None = attrs.field(repr=False, kw_only=True)

    @classmethod
    def from_function(
        cls,
        function: ToolFunction,
        *,
        name: str | None = None,
        description: str | None = None,
        timeout: float | None = None,
    ) -> Self:
        """A tool of an async function, a bound method, or a ``functools.partial`` of one.

        The model sees every parameter that has no value yet, each with the schema of its annotation and what the
        docstring says about it under ``Args:``. A parameter annotated with :class:`ToolContext` is not shown.

        Args:
            function: what to call. It is cancelled when Pi aborts, and when the time is up.
            name: how the model calls it; the function's name by default. One of Pi's own (``"read"``) replaces that.
            description: what the model is told; by default the docstring, down to its first section.
            timeout: seconds that a call may take; ``None`` for as long as it likes.

        Raises:
            ToolSpecError: it is not async, has no name or description, or a parameter cannot be expressed in JSON.
        """
        inner = function.func if isinstance(function, functools.partial) else function
        name = getattr(inner, "__name__", "") if name is None else name
        if not _is_name(name):
            raise ToolSpecError(f"{name!r} cannot be a tool's name: 1 to 64 letters, digits, _ and -; give it name=")
        if not inspect.iscoroutinefunction(function):
            raise ToolSpecError(f"{name}: a tool must be an async function, not {function!r}")
        if timeout is not None and not (type(timeout) in (int, float) and 0 < timeout < math.inf):
            raise ToolSpecError(
                f"{name}: timeout must be a positive number of seconds, or None for no limit, not {timeout!r}"
            )
        said = parse_docstring(inner.__doc__)
        description = said.description if description is None else description
        if not _says_something(description):
            raise ToolSpecError(
                f"{name}: the model has to be told what it does; write a docstring, or give description="
            )
        fields, context = _parameters(name, function, said.parameters)
        return cls(
            name,
            description,
            object_schema(fields, name),
            function,
            timeout,
            arguments=_class_of(fields),
            context=context,
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        """Call the function itself."""
        return self.function(*args, **kwargs)

    def declaration(self) -> Record:
        """What Pi is told."""
        return {"name": self.name, "description": self.description, "parameters": dict(self.parameters)}

    async def call(self, arguments: Mapping[str, Any], context: ToolContext, *, written: Any = None) -> Any:
        """Call the function with the arguments that Pi passes on.

        ``written`` is what the model wrote, where Pi made something else of it: it has to fit, too, unless that is the
        same in other words (``"5"`` and ``5``).

        Raises:
            ToolError: they do not fit; the message tells the model which, and what is wanted.
            Exception: what the function raises.
        """
        try:
            if written is not None and not says_the_same(written, arguments):
                structure_arguments(written, self._arguments)
            made = structure_arguments(arguments, self._arguments)
        except Exception as error:
            raise ToolError(_explained(self.name, error)) from error
        # A default is left to the function: it may not be what JSON can say.
        given = {name: getattr(made, name) for name in arguments}
        if self._context is not None:
            given[self._context] = context
        return await self.function(**given)


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _says_something(description: object) -> bool:
    return isinstance(description, str) and bool(description.strip())


def _explained(name: str, error: Exception) -> str:
    lines = [f"- {where}: {reason}" if where else f"- {reason}" for where, reason in misfits_in(error)]
    return "\n".join(
        [f"The arguments of {name} do not fit:", *lines, "Nothing was done. Correct them and call it again."]
    )


def _class_of(fields: list[Field]) -> type[Any]:
    """A class whose instances are the arguments of one call: what cattrs structures."""
    made: dict[str, Any] = {
        field.name: attrs.field(
            default=attrs.NOTHING if field.required else field.default, type=field.type, alias=field.name
        )
        for field in fields
    }
    return attrs.make_class("Arguments", made, frozen=True, kw_only=True, eq=False)


def _parameters(name: str, function: ToolFunction, said: Mapping[str, str]) -> tuple[list[Field], str | None]:
    """What the model has to give, and which parameter gets the context."""
    inner: Any = function.func if isinstance(function, functools.partial) else function
    bound = function.keywords if isinstance(function, functools.partial) else {}
    try:
        hints = get_type_hints(inner, include_extras=True)
    except UNRESOLVED as error:
        raise ToolSpecError(
            f"{name}: {error}; what its annotations name must be known at the module's level"
        ) from error
    fields: list[Field] = []
    context: str | None = None
    for each in inspect.signature(function).parameters.values():
        if each.name in bound:
            continue
        _check(name, each, each.name in hints)
        kind = hints[each.name]
        if _is_context(kind):
            if context is not None:
                raise ToolSpecError(f"{name}: {context} and {each.name} both ask for the call's context; one is enough")
            context = each.name
        else:
            required = each.default is each.empty
            if not required:
                _check_default(name, each.name, kind, each.default)
            fields.append(
                Field(each.name, kind, required, MISSING if required else each.default, said.get(each.name, ""))
            )
    return fields, context


def _is_context(kind: Any) -> bool:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return kind is ToolContext or (get_origin(kind) in UNIONS and ToolContext in get_args(kind))


def _check(name: str, parameter: inspect.Parameter, annotated: bool) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
        raise ToolSpecError(f"{name}: a model cannot give *args or **kwargs ({parameter}); name each parameter")
    if parameter.kind is parameter.POSITIONAL_ONLY:
        raise ToolSpecError(f"{name}: the parameter {parameter.name} must not be positional-only")
    if annotated and parameter.name == "self":
        raise ToolSpecError(f"{name}: no parameter that a model gives can be called self; call it something else")
    if not annotated:
        hint = "; of a method, use Tool.from_function(object.method)" if parameter.name == "self" else ""
        raise ToolSpecError(f"{name}: the parameter {parameter.name} has no annotation{hint}")


def _check_default(name: str, parameter: str, kind: Any, default: Any) -> None:
    """The model is told a plain default, so it has to be what it may give itself."""
    if type(default) in (str, int, float, bool, type(None)):
        try:
            structure_arguments(default, kind)
        except Exception as error:
            reasons = "; ".join(reason for _, reason in misfits_in(error))
            raise ToolSpecError(f"{name}: the default of {parameter} does not fit its annotation: {reasons}") from error


@overload
def tool(function: ToolFunction, /) -> Tool: ...


@overload
def tool(
    *, name: str | None = None, description: str | None = None, timeout: float | None = None
) -> Callable[[ToolFunction], Tool]: ...


def tool(
    function: ToolFunction | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    timeout: float | None = None,
) -> Tool | Callable[[ToolFunction], Tool]:
    """Make a :class:`Tool` of the async function below; bare, or with arguments. See :meth:`Tool.from_function`.

    >>> @tool
    ... async def weather(city: str, days: int = 1) -> str:
    ...     '''The weather of the next days.
    ...
    ...     Args:
    ...         city: which city, in English.
    ...         days: for how many days.
    ...     '''

    Raises:
        ToolSpecError: Pi cannot be given such a function.
    """

    def make(function: ToolFunction) -> Tool:
        return Tool.from_function(function, name=name, description=description, timeout=timeout)

    return make if function is None else make(function)
