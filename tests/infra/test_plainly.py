"""Whoever sends or types something wrong is told in words that are not a library's."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, ValidationError, model_validator

from infra.plainly import reason, told


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Inner(BaseModel):
    n: int


class Sent(BaseModel, extra="forbid"):
    text: str = Field("", max_length=3)
    coded: Annotated[str, Field(pattern="^[a-z]+$")] = "a"
    whole: int = Field(1, ge=0, le=9)
    exact: Decimal = Decimal(1)
    part: float = 1.0
    yes: bool = True
    id: UUID | None = None
    at: datetime | None = None
    colour: Colour = Colour.RED
    word: Literal["a", "b"] = "a"
    many: list[str] = Field([], max_length=1)
    some: tuple[str, ...] = Field(("a",), min_length=1)
    inner: Inner | None = None

    @model_validator(mode="after")
    def sound(self) -> "Sent":
        if self.text == "no":
            raise ValueError("say yes")
        return self


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"text": 7}, "It takes text"),
        ({"text": "long"}, "It has at most 3 characters"),
        ({"coded": "A"}, "It has the form ^[a-z]+$"),
        ({"whole": "x"}, "It takes a whole number"),
        ({"whole": 10}, "It is at most 9"),
        ({"whole": -1}, "It is at least 0"),
        ({"exact": "x"}, "It takes a number such as 1250.50"),
        ({"part": "x"}, "It takes a number such as 1250.50"),
        ({"yes": "perhaps"}, "It takes true or false"),
        ({"id": "x"}, "It takes an id such as 0190a1b2-0000-7000-8000-000000000000"),
        ({"at": "yesterday"}, "It takes a time with its offset from UTC, such as 2026-03-31T23:59:59Z"),
        ({"colour": "mauve"}, "It is one of 'red' or 'blue'"),
        ({"word": "c"}, "It is one of 'a' or 'b'"),
        ({"many": ["a", "b"]}, "It has at most one entry"),
        ({"some": []}, "It has at least one entry"),
        ({"many": "a"}, "It takes a list"),
        ({"inner": "a"}, "It takes an object"),
        ({"inner": {}}, "This field is required"),
        ({"else": 1}, "There is no such field here"),
        ({"text": "no"}, "say yes"),
    ],
)
def test_what_is_wrong_is_said_plainly(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as bad:
        Sent.model_validate(given)
    (error,) = bad.value.errors()
    assert reason(error) == said


class Priced(BaseModel, extra="forbid"):
    amount: Annotated[str, Field(pattern="^[0-9]+$", examples=["20000"])] | None = None
    label: str = ""


class Order(BaseModel, extra="forbid"):
    id: UUID | None = None
    title: str = ""
    nickname: str = ""
    reference: str = ""
    remark: str = ""
    colour: str = ""
    owner: str = ""
    lines: list[Priced] | None = None


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"titel": "x"}, "There is no such field here. Did you mean title?"),
        ({"zzz": "x"}, "There is no such field here. Known are title, nickname, reference, remark, colour, owner, lines"),
        ({"lines": [{"price": "x"}]}, "There is no such field here. Known are amount, label"),
        ({"lines": [{"amount": 5}]}, "It takes text, such as 20000"),
        ({"lines": [{"amount": "much"}]}, "It has the form ^[0-9]+$, such as 20000"),
        ({"title": 5}, "It takes text"),
    ],
)
def test_what_the_model_knows_of_a_field_is_told_with_the_error(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Order.model_validate(given)
    assert told(Order, caught.value.errors()[0]) == said
