"""What a filter finds, and what is refused."""

from uuid import UUID

import pytest

from queries.kernel import Collection
from queries.listing import NothingToSearch, UnknownField, WrongComparison, WrongValue
from queries.unusable import Unusable
from tests.queries.listing.lists import A, B, Db, ask, ids, refused
from tests.queries.samples import OTHER_FIRM, SHELVES


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("", [1, 2, 3]),
        ("*", [1, 2, 3]),
        ('title = "Berlin Häuser"', [1]),
        ('title = "berlin häuser"', []),
        ('title : "HÄUS"', [1]),
        ('title = "Ber*"', [1]),
        ('title = "ber*"', []),
        ('title = "*user"', [1]),
        ('title = "*lin H*"', [1]),
        ('title : "%"', [2]),
        ('title : "_"', [3]),
        (r'title : "\\"', [3]),
        (r'title : "\*sure\*"', [2]),
        (r'title = "*\*"', [2]),
        ("title > a", [3]),
        ("amount > 1000", [1]),
        ("amount = 1250.5", [1]),
        ("amount = -5", [2]),
        ("amount >= -5 AND amount < 1.25e3", [2]),
        ("NOT amount > 1000", [2, 3]),
        ("amount != 1250.5", [2, 3]),
        ("amount:*", [1, 2]),
        ("amount = null", [3]),
        ("amount != null", [1, 2]),
        ("NOT amount:*", [3]),
        ("count = 3", [1]),
        ("done = true", [1]),
        ("done:false", [2]),
        ("NOT done = true", [2, 3]),
        ("due = 2026-03-12", [1]),
        ("due > 2026-03-12", [3]),
        ("due <= 3d", [1]),
        ("closed_at = 2026-03-10", [1]),
        ("closed_at < 2026-03-10", [3]),
        ("closed_at <= 2026-03-09", [3]),
        ("closed_at > 2026-03-09", [1]),
        ("closed_at >= 2026-03-10", [1]),
        ("closed_at = 2026-03-10T12:00:00+01:00", [1]),
        ('closed_at > "2026-03-10T10:59:59.5Z"', [1]),
        ("closed_at > -2h", [1]),
        ("updated_at < -36h", [2, 3]),
        ("kind = (open OR won)", [1, 2]),
        ("kind != open", [2, 3]),
        (f"shelf = {A}", [1]),
        (f"id = {UUID(int=2)}", [2]),
        ("tags:VIP", [1]),
        ("tags:(VIP OR vip)", [1, 2]),
        ('tags:"n*"', [1]),
        ("tags:*", [1, 2]),
        ("tags = null", [3]),
        (f"owners:{B}", [2]),
        (f"NOT owners:{B}", [1, 3]),
        ('mails.address : "example.ORG"', [1]),
        ('mails.address = "Anna@Example.org"', [1]),
        ("mails.first = true", [1]),
        ("mails.since < 2021-01-01", [1]),
        ("mails.weight >= 1.5", [1]),
        ("mails.labels : x", [1]),
        ("mails.use:*", []),
        ("mails:*", [1]),
        ("first_mail.use = home", [1]),
        ("first_mail:*", [1]),
        ("first_mail = null", [2, 3]),
        ("custom.colour = red", [1]),
        ('custom."Size (mm)" = 40', [1]),
        ("custom:colour", [1]),
        ("custom:*", [1]),
        ("answers.size > 9", [1]),
        ("answers.size = 40.0", [1]),
        ("answers.size != 40", [2, 3]),
        ("answers.size < 9", []),
        ("answers.hue : RED", [1]),
        ('answers.hue = "dark*"', [1]),
        ("answers.met >= 2026-01-01", [1]),
        ("answers.vip = true", [1]),
        ("answers.likes = tea", [1]),
        ("answers.likes : (water OR coffee)", [1]),
        ("answers.size:*", [1]),
        ("answers.other:*", []),
        ("answers:hue", [1]),
        ("answers.size.number > 9", [1]),
        ("extra.staff > 6", [1]),
        ("extra.staff = 40.0", [1]),
        ("extra.city : BON", [1]),
        ("extra.open = true", [1]),
        ("extra.since > 2020-01-01", [1]),
        ('shelf.name = "Won deals"', [1]),
        ('shelf.name : "won" AND amount > 1000', [1]),
        ('NOT shelf.name = "Won deals"', [2, 3]),
        ("shelf.rank > 1", [2]),
        ("shelf.mood = glad", [1]),
        (f"shelf.id = {A}", [1]),
        ("shelf:*", [1, 2]),
        ("watchers.name = Lost", [2]),
        ("watchers:*", [1, 2]),
        ("owners.name = Lost", [2]),
        ("owners:*", [1, 2]),
        ("places.name = Lost", [1]),
        ("places:*", [1]),
        ("shelf.samples.title : sure", [2]),
        ("häuser", [1]),
        ("north", [1]),
        ("example won", [1]),
        ("-berlin", [2, 3]),
        ("lost", [2]),
        ("3", [1]),
        ("nothing OR sure", [2]),
    ],
)
def test_a_filter_finds_what_it_says(stocked: Db, filter: str, found: list[int]) -> None:
    assert ids(stocked, filter) == found


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ("samples.amount > 1000", [A]),
        ("samples:*", [A, B]),
        ("NOT watched:*", []),
        ("watched.title : sure", [A, B]),
        ("places.title : berlin", [B]),
    ],
)
def test_relations_are_followed_backwards(stocked: Db, filter: str, found: list[UUID]) -> None:
    assert [item["id"] for item in ask(stocked, SHELVES, filter=filter).items] == sorted(
        found, reverse=found == [A, B]
    ) or found == []
    assert {item["id"] for item in ask(stocked, SHELVES, filter=filter).items} == set(found)


def test_no_list_reaches_into_another_firm(stocked: Db) -> None:
    assert ids(stocked, "berlin", firm=OTHER_FIRM) == [1]
    assert ids(stocked, "shelf.id:* OR watchers:*", firm=OTHER_FIRM) == []
    assert ask(stocked, SHELVES, filter="samples:* OR watched:*", firm=OTHER_FIRM).items == []
    assert [i["name"] for i in ask(stocked, SHELVES, firm=OTHER_FIRM).items] == ["Foreign"]


@pytest.mark.parametrize(
    ("filter", "why", "says"),
    [
        ("amuont > 5", UnknownField, "There is no such field in this list. At character 1: “amuont”. Did you mean amount?"),
        ("a = 1 AND shelf.nam = x", UnknownField, "“a”"),
        ("title = x AND shelf.nam = x", UnknownField, "At character 21: “nam” in shelf. Did you mean name?"),
        ("mails.adress : x", UnknownField, "Did you mean address?"),
        ("title.x = 1", UnknownField, "“x” in title"),
        ("firm_id = 1", UnknownField, "firm_id"),
        (
            "amount > 2026-01-01",
            WrongValue,
            "The value does not fit the field. At character 10: amount takes a number such as 1250.50, below 1e39.",
        ),
        ("amount > 1e400", WrongValue, "number"),
        ("amount > NaN", WrongValue, "number"),
        ("amount > Infinity", WrongValue, "number"),
        ("amount > 1_000", WrongValue, "number"),
        ("amount > ١٢", WrongValue, "number"),
        ("amount > 1e9999999999", WrongValue, "number"),
        (f"amount > {'1' * 200}", WrongValue, "number"),
        ("count = 1.5", WrongValue, "whole number"),
        ("count = 9223372036854775808", WrongValue, "64 bits"),
        ("due = 2026-02-30", WrongValue, "a date"),
        ("due = 5", WrongValue, "a date"),
        ("closed_at > 2026-01-01T10:00:00", WrongValue, "offset"),
        ("closed_at > 9999-12-31", WrongValue, "time"),
        ("closed_at > 0001-01-01T00:00:00+10:00", WrongValue, "time"),
        ("closed_at > 999999999w", WrongValue, "time"),
        ("closed_at > tomorrow", WrongValue, "time"),
        ("done = yes", WrongValue, "true or false"),
        ("shelf = 5", WrongValue, "an id"),
        ("kind = opne", WrongValue, "Did you mean open"),
        ("amount = 1*", WrongValue, "wildcards are for text"),
        ("kind > open", WrongComparison, "no order"),
        ("done < true", WrongComparison, "no order"),
        ("shelf < x", WrongComparison, "no order"),
        ("amount > null", WrongComparison, "an order needs a value"),
        ("amount > *", WrongComparison, "an order needs a value"),
        ('title > "a*"', WrongComparison, "no order"),
        ("tags = x", WrongComparison, "tags:x"),
        ("mails : x", WrongComparison, "mails.address"),
        ("first_mail = x", WrongComparison, "first_mail.address"),
        ("custom = x", WrongComparison, "named values"),
        ("watchers = x", WrongComparison, "watchers.id"),
        ("shelf.samples.shelf.samples.title = x", WrongComparison, "at most 3 relations"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_database_sees_it(filter: str, why: type[Unusable], says: str) -> None:
    refusal = refused(filter)
    assert type(refusal) is why
    assert says in refusal.why
    assert "position" in refusal.about


def test_hostile_values_travel_as_parameters(stocked: Db) -> None:
    for text in ("'; DROP TABLE views.test_samples; --", "%(firm)s", "%s", "$1", "\\'", "x' OR 'a'='a", "{}"):
        for f in (
            "title = {}",
            "title : {}",
            "tags : {}",
            "custom.a : {}",
            "custom.{} = x",
            "mails.address = {}",
            "custom : {}",
            "{}",
        ):
            assert ids(stocked, f.format('"' + text.replace("\\", "\\\\").replace("'", "\\'") + '"')) == []
    assert ids(stocked, "") == [1, 2, 3]


def test_a_list_without_search_fields_says_so() -> None:
    bare = Collection(name="bare", view=SHELVES.view, stream=None, permission="x", title="Bare")
    assert isinstance(refused("word", bare), NothingToSearch)
