"""What the hint of a field says of it: the type of its values, and whether they are personal."""

import types
import typing
from typing import Annotated, Any, get_args, get_origin

from domain.kernel import Personal


def bare(hint: Any) -> Any:
    """The type itself: without marks, without None, and of a NewType what stands behind it; a union of several stays one."""
    while True:
        if hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif get_origin(hint) is Annotated:
            hint = get_args(hint)[0]
        elif get_origin(hint) in (typing.Union, types.UnionType):
            inner = [a for a in get_args(hint) if a is not type(None)]
            if len(inner) != 1:
                return hint
            hint = inner[0]
        else:
            return hint


def personal_mark(hint: Any) -> Personal | None:
    """The mark of a personal value, on the field itself or inside `X | None`; None where there is none."""
    if get_origin(hint) is Annotated:
        return next((m for m in hint.__metadata__ if isinstance(m, Personal)), None) or personal_mark(get_args(hint)[0])
    if get_origin(hint) in (typing.Union, types.UnionType):
        return next((m for m in map(personal_mark, get_args(hint)) if m is not None), None)
    return None
