"""Times in requests are RFC 3339: pydantic would also take a number in quotes for seconds since 1970, and this refuses it."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel

from infra.http.problems import HttpProblem

_NUMBER = re.compile(r"\s*[-+]?[0-9_]*\.?[0-9]+\s*")


@cache
def _time_fields(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, f in model.model_fields.items() if _is_time(f.annotation))


def _is_time(hint: Any) -> bool:
    if isinstance(hint, type):
        return issubclass(hint, date | datetime) or hint.__name__ in {
            "AwareDatetime",
            "NaiveDatetime",
            "PastDatetime",
            "FutureDatetime",
        }
    return any(_is_time(a) for a in get_args(hint))


def refuse_numbers(model: type[BaseModel], given: Mapping[str, Any]) -> None:
    """HttpProblem 422 when a time is written as a number."""
    for name in _time_fields(model):
        value = given.get(name)
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            raise HttpProblem(
                422,
                "time-is-a-number",
                f"{name} takes a time such as 2026-03-31T23:59:59Z, or a day such as 2026-03-31.",
                field=name,
            )
