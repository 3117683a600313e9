"""What is shown of a member: personal fields, permissions, the fields wanted."""

import json
from typing import Any
from uuid import UUID

import pytest

from queries.kernel import Collection
from queries.listing import (
    FieldsUnusable,
    NeedsPersonal,
    NotAllowed,
    UnknownField,
    compile_list,
    compile_one,
    mask,
    one_as_seen,
    personal_fields,
)
from queries.unusable import Unusable
from tests.queries.listing.lists import ALL, KEY, NOW, WITHOUT_PERSONAL, Db, ask, ids, refused
from tests.queries.samples import FIRM, SAMPLES, Sample


@pytest.mark.parametrize(
    "filter",
    ["owner_name = x", "NOT owner_name:*", "mails.address : a", "first_mail.address = null", "shelf.samples.owner_name = x"],
)
def test_personal_fields_are_not_filtered_by_those_who_may_not_see_them(filter: str) -> None:
    refusal = refused(filter, permissions=WITHOUT_PERSONAL)
    assert isinstance(refusal, NeedsPersonal)
    assert "personal:read" in refusal.why


def test_personal_fields_are_not_sorted_by_those_who_may_not_see_them() -> None:
    assert isinstance(refused(order_by="owner_name", permissions=WITHOUT_PERSONAL), NeedsPersonal)


def test_a_bare_word_does_not_look_into_what_is_hidden(stocked: Db) -> None:
    assert ids(stocked, "example.org") == [1]
    assert ids(stocked, "example.org", permissions=WITHOUT_PERSONAL) == []
    only_personal = Collection(
        name="p",
        view=SAMPLES.view,
        stream=None,
        permission="x",
        title="P",
        search=("owner_name", "mails.address"),
        order="owner_name",
    )
    assert isinstance(refused("x", only_personal, permissions=WITHOUT_PERSONAL), NeedsPersonal)


def test_a_hidden_default_order_gives_way_to_the_id() -> None:
    c = Collection(name="p", view=SAMPLES.view, stream=None, permission="x", title="P", order="owner_name")
    asked: dict[str, Any] = {"firm": FIRM, "now": NOW, "key": KEY}
    assert compile_list(c, permissions=ALL, **asked).order[0].name == "owner_name"
    assert compile_list(c, permissions=WITHOUT_PERSONAL, **asked).order[0].name == "id"


def test_a_relation_needs_the_permission_of_what_it_leads_to(stocked: Db) -> None:
    allowed = ALL - {"shelves:read"}
    assert isinstance(refused("shelf.name = x", permissions=allowed), NotAllowed)
    assert isinstance(refused("watchers:*", permissions=allowed), NotAllowed)
    assert ids(stocked, "lost", permissions=allowed) == []


def test_personal_fields_are_found_wherever_they_stand() -> None:
    assert personal_fields(Sample) == ("owner_name", "mails.address", "first_mail.address")


def test_masking_hides_the_value_and_whether_there_was_one(stocked: Db) -> None:
    first, second, _ = ask(stocked, order_by="id", permissions=WITHOUT_PERSONAL, fields="owner_name,mails,title").items
    assert first["owner_name"] is None
    assert first["mails"][0]["address"] is None
    assert first["mails"][0]["first"] is True
    assert first["masked"] == ["owner_name", "mails.address"]
    assert second["masked"] == ["owner_name"]
    assert "masked" not in ask(stocked).items[0]
    assert "Anna" not in json.dumps(first, default=str)


def test_masking_leaves_the_row_it_was_given_alone() -> None:
    given_row = {"mails": [{"address": "a"}], "title": "t"}
    assert mask(given_row, personal_fields(Sample), frozenset())["mails"] == [{"address": None}]
    assert given_row == {"mails": [{"address": "a"}], "title": "t"}
    assert mask(given_row, personal_fields(Sample), ALL) == given_row
    nested = {"people": {"x": {"name": "n", "rank": 1}}}
    assert mask(nested, ("people.name",), frozenset())["people"] == {"x": {"name": None, "rank": 1}}


def test_fields_select_and_the_id_is_always_there(stocked: Db) -> None:
    item = ask(stocked, fields="title, mails.first,first_mail.use,custom.colour", order_by="id").items[0]
    assert item == {
        "id": UUID(int=1),
        "title": "Berlin Häuser",
        "mails": [{"first": True}],
        "first_mail": {"use": "home"},
        "custom": {"colour": "red"},
    }
    assert set(ask(stocked, fields="mails.first,mails").items[0]) == {"id", "mails"}
    assert "firm_id" not in ask(stocked, fields="*").items[0]
    assert {"version", "created_at", "updated_at", "position", "title"} <= set(ask(stocked).items[0])


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("tilte", UnknownField),
        ("title,,id", FieldsUnusable),
        ("title.x", UnknownField),
        ("mails.", UnknownField),
        ("mails.adress", UnknownField),
        ("shelf.name", UnknownField),
        ("firm_id", UnknownField),
        ("id," * 101 + "id", FieldsUnusable),
        ("x" * 5000, FieldsUnusable),
    ],
)
def test_an_impossible_selection_is_refused(fields: str, why: type[Unusable]) -> None:
    assert type(refused(fields=fields)) is why


def test_one_member_is_read_with_the_same_fields_and_masks(stocked: Db) -> None:
    sql, tree = compile_one(SAMPLES, fields="owner_name")
    found = stocked.execute(sql, {"firm": FIRM, "id": UUID(int=1)}).fetchone()
    assert found is not None
    assert one_as_seen(SAMPLES, found, tree, ALL) == {"id": UUID(int=1), "owner_name": "Anna"}
    assert one_as_seen(SAMPLES, found, tree, frozenset()) == {"id": UUID(int=1), "owner_name": None, "masked": ["owner_name"]}
