"""What does not fit, out of the errors that structuring raises."""

from __future__ import annotations

from collections.abc import Iterator

from cattrs.errors import ClassValidationError, ForbiddenExtraKeysError, IterableValidationError

__all__ = ["UNKNOWN_ARGUMENT", "Misfit", "misfits_in"]

Misfit = tuple[str, str]
"""Where, such as ``"options.depth"`` or ``"paths[2]"``, and what is wrong there."""

UNKNOWN_ARGUMENT = "there is no such argument"


def misfits_in(error: BaseException) -> Iterator[Misfit]:
    """All that did not fit. Where is empty for the value itself."""
    if isinstance(error, ClassValidationError | IterableValidationError):
        named, others = error.group_exceptions()
        for each, note in named:
            name = note.name if hasattr(note, "name") else note.index
            step = f"[{name}]" if isinstance(name, int) else name
            yield from ((step + where, reason) for where, reason in _below(each))
        for each in others:
            yield from misfits_in(each)
    elif isinstance(error, ForbiddenExtraKeysError):
        yield from ((name, UNKNOWN_ARGUMENT) for name in sorted(error.extra_fields))
    elif isinstance(error, KeyError):
        yield "", "is missing"
    else:
        yield "", str(error)


def _below(error: BaseException) -> Iterator[Misfit]:
    for where, reason in misfits_in(error):
        yield (f".{where}" if where and not where.startswith("[") else where), reason
