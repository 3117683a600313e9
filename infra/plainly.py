"""What is wrong with a value, in the words of whoever sent or typed it, not in those of the library that found it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args

import orjson
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from queries.listing.values import near, suggestion

Model = TypeVar("Model", bound=BaseModel)

ID = "an id such as 0190a1b2-0000-7000-8000-000000000000"
WHOLE = "a whole number"
NUMBER = "a number such as 1250.50"
TIME = "a time with its offset from UTC, such as 2026-03-31T23:59:59Z"
DATE = "a date such as 2026-03-31"
TRUTH = "true or false"

TAKES = {
    "string": "text", "int": WHOLE, "float": NUMBER, "decimal": NUMBER, "bool": TRUTH, "uuid": ID, "datetime": TIME, "timezone": TIME, "date": DATE,
    "list": "a list", "tuple": "a list", "set": "a list", "frozen_set": "a list", "dict": "an object", "model": "an object", "dataclass": "an object",
    "mapping": "an object", "url": "an address such as https://example.com",
}  # fmt: skip
"""What a field takes, by what the library's names of errors begin with."""

SENTENCES = {
    "extra_forbidden": "There is no such field here",
    "missing": "This field is required",
    "string_too_short": "It has at least {min_length} characters",
    "string_too_long": "It has at most {max_length} characters",
    "string_pattern_mismatch": "It has the form {pattern}",
    "too_short": "It has at least {min_length} entries",
    "too_long": "It has at most {max_length} entries",
    "greater_than_equal": "It is at least {ge}",
    "greater_than": "It is more than {gt}",
    "less_than_equal": "It is at most {le}",
    "less_than": "It is less than {lt}",
    "multiple_of": "It is a multiple of {multiple_of}",
    "decimal_max_digits": "It has at most {max_digits} digits",
    "decimal_max_places": "It has at most {decimal_places} digits behind the point",
    "decimal_whole_digits": "It has at most {whole_digits} digits before the point",
    "finite_number": "It is a finite number",
    "literal_error": "It is one of {expected}",
    "enum": "It is one of {expected}",
    "int_parsing_size": "It is a smaller number",
    "union_tag_invalid": "{discriminator} is one of {expected_tags}",
    "union_tag_not_found": "{discriminator} says of which kind it is",
    "datetime_future": "It lies in the future",
    "datetime_past": "It lies in the past",
}


FEW = 6
"""So many fields are named rather than guessed among."""


class Unfit(Exception):
    """What was sent does not have the form of this model."""

    def __init__(self, model: type[BaseModel], why: ValidationError) -> None:
        super().__init__()
        self.model = model
        self.why = why


def fitted(model: type[Model], given: Mapping[str, Any], *, as_text: bool = False) -> Model:
    """What was sent, as this model has it: of JSON strictly, of an address read from text. Unfit when it has another form."""
    try:
        if as_text:
            return model.model_validate_strings(given)
        return model.model_validate_json(orjson.dumps(given), strict=True)
    except ValidationError as e:
        raise Unfit(model, e) from None


def told(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """One error of a model, as `reason` has it, and what the model knows besides: names that are near, a value that would do."""
    said = reason(error)
    place: Sequence[object] = error["loc"]
    if error["type"] == "extra_forbidden":
        names = dict.fromkeys(name for at in _places(model, place[:-1]) for name in getattr(at, "model_fields", ()))
        known = [name for name in names if name != "id"]  # an id stands in the address
        alike = () if len(known) <= FEW else near(str(place[-1]), known)
        return f"{said}. {suggestion(alike, known)}".removesuffix(".").rstrip()
    examples = [text for at in _places(model, place) for text in _examples(at)]
    if examples and error["type"] in {"string_type", "string_pattern_mismatch"}:
        return f"{said}, such as {examples[0]}"
    return said


def _places(at: Any, names: Sequence[object]) -> Iterator[Any]:
    """Models and fields where a place in what was sent leads; nothing where the names are not those of fields."""
    if not names:
        yield at
        yield from _inside(at)
        return
    name, rest = names[0], names[1:]
    for model in (at, *_inside(at)):
        if isinstance(model, type) and issubclass(model, BaseModel) and name in model.model_fields:
            yield from _places(model.model_fields[str(name)], rest)
        elif isinstance(name, int) and get_args(model):
            yield from _places(get_args(model)[0], rest)


def _inside(at: Any) -> Iterator[Any]:
    """What a field or a hint is made of: its alternatives, and hints behind their marks."""
    for part in (at.annotation,) if isinstance(at, FieldInfo) else get_args(at):
        yield part
        yield from _inside(part)


def _examples(at: Any) -> Sequence[Any]:
    return (at.examples or ()) if isinstance(at, FieldInfo) else ()


def reason(error: Mapping[str, Any]) -> str:
    """One error of pydantic's, with its context, as a sentence without its stop."""
    kind, context = str(error["type"]), error.get("ctx") or {}
    sentence = SENTENCES.get(kind)
    if sentence is not None:
        try:
            said = sentence.format(**context)
        except LookupError:
            said = sentence.partition(" {")[0]
        return said.replace(" 1 characters", " one character").replace(" 1 entries", " one entry")
    if kind in {"value_error", "assertion_error"}:
        return str(error["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    parts = kind.split("_")
    for n in range(len(parts), 0, -1):
        if (takes := TAKES.get("_".join(parts[:n]))) is not None:
            return f"It takes {takes}"
    return str(error["msg"]).rstrip(".")
