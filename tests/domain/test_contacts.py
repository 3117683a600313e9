from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.contacts import (
    Contact,
    ContactAbsorbed,
    ContactAmended,
    ContactArchived,
    ContactCorrected,
    ContactCreated,
    ContactCustomSet,
    ContactIsArchived,
    ContactIsMerged,
    ContactMergedInto,
    ContactOwnerAssigned,
    ContactReleased,
    ContactRestored,
    ContactTagged,
    ContactUnmerged,
    ContactUntagged,
    Holdings,
    MergeIntoItself,
    Nameless,
    NotMerged,
    Profile,
    TooManyMerged,
    TooManyTags,
    absorb,
    amend,
    archive,
    assign,
    called,
    correct,
    create,
    evolve,
    merge_into,
    release,
    restore,
    set_custom,
    tag,
    unmerge,
    untag,
)
from domain.kernel import fold
from domain.people import Email, FieldValue, Issue, Phone
from tests.story import Story

ANNA, BETA = uuid4(), uuid4()
CREATED = ContactCreated(profile=Profile(given="Anna", family="Berg", emails=(Email(address="anna@berg.example"),)))
contact = Story(Contact(), evolve)


@pytest.mark.invariant("CT1")
def test_a_contact_with_nothing_to_be_called_by_is_not_created() -> None:
    contact.given().when(lambda _c, **k: create(**k), profile=Profile(birthday="1990-01-01"), custom={}, owner=None).then_refused(
        Nameless
    )


@pytest.mark.invariant("CT1")
def test_a_contact_is_called_by_the_best_there_is() -> None:
    assert called(Profile(given="Anna", family="Berg", prefix="Dr.")) == "Dr. Anna Berg"
    assert called(Profile(display_name="Anni", given="Anna")) == "Anni"
    assert called(Profile(organisation_name="Acme")) == "Acme"
    assert called(Profile(phones=(Phone(raw="044 1"),))) == "044 1"
    assert called(Profile()) is None


@pytest.mark.invariant("CT1")
def test_the_last_name_is_not_taken_away() -> None:
    created = ContactCreated(profile=Profile(given="Anna"))
    contact.given(created).when(amend, changes={"given": None}).then_refused(Nameless)


@pytest.mark.invariant("CT2")
def test_amending_records_only_what_changes() -> None:
    contact.given(CREATED).when(amend, changes={"given": "Anna", "family": "Meier", "nickname": None}).then(
        ContactAmended(profile=Profile(family="Meier"))
    )


@pytest.mark.invariant("CT2")
def test_amending_to_what_stands_records_nothing() -> None:
    contact.given(CREATED).when(amend, changes={"given": "Anna", "phones": ()}).then_nothing()


def test_a_field_is_cleared_by_name() -> None:
    contact.given(CREATED).when(amend, changes={"emails": ()}).then(ContactAmended(cleared=("emails",)))


@pytest.mark.invariant("CT3")
def test_a_correction_keeps_its_reason() -> None:
    contact.given(CREATED).when(correct, field="family", value="Berger", reason="Misheard").then(
        ContactCorrected(field="family", profile=Profile(family="Berger"), reason="Misheard")
    )


@pytest.mark.invariant("CT3")
def test_a_custom_value_is_corrected_and_cleared() -> None:
    value = FieldValue(kind="text", text="blue")
    corrected = ContactCorrected(field="custom.colour", custom={"colour": value}, reason="Wrong form")
    contact.given(CREATED).when(correct, field="custom.colour", value=value, reason="Wrong form").then(corrected)
    contact.given(CREATED, corrected).when(correct, field="custom.colour", value=None, reason="Unknown").then(
        ContactCorrected(field="custom.colour", cleared=("custom.colour",), reason="Unknown")
    )


@pytest.mark.invariant("CT4")
def test_a_new_value_settles_the_issues_of_its_field_alone() -> None:
    first, second = Issue(field="birthday", value="31.02.", reason="?"), Issue(field="photo", value="x", reason="?")
    created = ContactCreated(profile=Profile(given="Anna", issues=(first, second)))
    contact.given(created).when(amend, changes={"birthday": "1990-02-28"}).then(
        ContactAmended(profile=Profile(birthday="1990-02-28", issues=(second,)))
    )


@pytest.mark.invariant("CT5")
@pytest.mark.invariant("CT6")
@pytest.mark.parametrize(
    ("decide", "command"),
    [
        (amend, {"changes": {"given": "Eva"}}),
        (correct, {"field": "given", "value": "Eva", "reason": "x"}),
        (tag, {"tags": ("vip",)}),
        (untag, {"tags": ("vip",)}),
        (assign, {"owner": ANNA}),
        (set_custom, {"values": {}}),
    ],
)
def test_an_archived_or_merged_contact_is_not_changed(decide, command) -> None:
    contact.given(CREATED, ContactArchived()).when(decide, **command).then_refused(ContactIsArchived)
    contact.given(CREATED, ContactMergedInto(survivor=ANNA)).when(decide, **command).then_refused(ContactIsMerged)


def test_an_archived_contact_is_restored() -> None:
    contact.given(CREATED, ContactArchived()).when(restore).then(ContactRestored())
    contact.given(CREATED, ContactArchived()).when(archive).then_nothing()
    contact.given(CREATED).when(restore).then_nothing()


def test_tags_are_one_whatever_their_case() -> None:
    tagged = ContactTagged(tags=("VIP",))
    contact.given(CREATED, tagged).when(tag, tags=("vip", "Board", "board")).then(ContactTagged(tags=("board",)))
    contact.given(CREATED, tagged).when(untag, tags=("vip", "none")).then(ContactUntagged(tags=("VIP",)))
    contact.given(CREATED).when(tag, tags=tuple(str(i) for i in range(101))).then_refused(TooManyTags)


def test_assigning_the_same_owner_records_nothing() -> None:
    contact.given(CREATED).when(assign, owner=ANNA).then(ContactOwnerAssigned(owner=ANNA))
    contact.given(CREATED, ContactOwnerAssigned(owner=ANNA)).when(assign, owner=ANNA).then_nothing()
    contact.given(CREATED, ContactOwnerAssigned(owner=ANNA)).when(assign, owner=None).then(ContactOwnerAssigned())


def test_custom_values_are_set_and_cleared() -> None:
    blue = FieldValue(kind="text", text="blue")
    was = ContactCustomSet(values={"colour": blue, "size": blue})
    contact.given(CREATED, was).when(set_custom, values={"colour": None, "size": blue, "none": None}).then(
        ContactCustomSet(cleared=("colour",))
    )


# --- merging


def made(**said) -> Contact:
    return fold(Contact(), evolve, [ContactCreated(profile=Profile(**said))])


@pytest.mark.invariant("CT8")
def test_the_survivor_takes_over_what_it_lacks_and_nothing_else() -> None:
    other = made(
        given="A.", nickname="Anni", emails=(Email(address="ANNA@berg.example"), Email(address="a@b.example", primary=True))
    )
    (absorbed,) = absorb(fold(Contact(), evolve, [CREATED]), other, id=ANNA, other_id=BETA)
    assert isinstance(absorbed, ContactAbsorbed)
    assert absorbed.taken == Holdings(profile=Profile(nickname="Anni", emails=(Email(address="a@b.example"),)))


@pytest.mark.invariant("CT7")
def test_a_contact_is_not_merged_into_itself_nor_twice_nor_into_a_merged_or_archived_one() -> None:
    other = made(given="B")
    contact.given(CREATED).when(absorb, other=made(given="A"), id=ANNA, other_id=ANNA).then_refused(MergeIntoItself)
    contact.given(CREATED, ContactAbsorbed(other=BETA)).when(absorb, other=other, id=ANNA, other_id=BETA).then_nothing()
    contact.given(CREATED, ContactArchived()).when(absorb, other=other, id=ANNA, other_id=BETA).then_refused(ContactIsArchived)
    contact.given(CREATED, ContactMergedInto(survivor=BETA)).when(absorb, other=other, id=ANNA, other_id=BETA).then_refused(
        ContactIsMerged
    )
    merged = evolve(other, ContactMergedInto(survivor=uuid4()))
    contact.given(CREATED).when(absorb, other=merged, id=ANNA, other_id=BETA).then_refused(ContactIsMerged)
    contact.given(CREATED, ContactMergedInto(survivor=ANNA)).when(merge_into, survivor=ANNA).then_nothing()
    contact.given(CREATED, ContactMergedInto(survivor=ANNA)).when(merge_into, survivor=BETA).then_refused(ContactIsMerged)


def test_a_contact_absorbs_a_limited_number() -> None:
    many = ContactAbsorbed(other=uuid4(), through=tuple(uuid4() for _ in range(99)))
    contact.given(CREATED, many).when(absorb, other=made(given="B"), id=ANNA, other_id=BETA).then_refused(TooManyMerged)


def test_what_is_not_merged_is_not_unmerged() -> None:
    contact.given(CREATED).when(release, other_id=BETA).then_refused(NotMerged)
    contact.given(CREATED).when(unmerge).then_nothing()


@pytest.mark.invariant("CT8")
def test_what_was_changed_since_the_merge_stays_with_the_survivor() -> None:
    survivor = made(given="Anna")
    other = made(
        given="A", nickname="Anni", birthday="1990-01-01", emails=(Email(address="a@b.example"), Email(address="b@b.example"))
    )
    survivor = fold(survivor, evolve, absorb(survivor, other, id=ANNA, other_id=BETA))
    labelled = (Email(address="a@b.example", label="work"), Email(address="b@b.example"))
    survivor = fold(survivor, evolve, amend(survivor, changes={"nickname": "Annchen", "emails": labelled}))
    survivor = fold(survivor, evolve, release(survivor, other_id=BETA))
    assert survivor.profile == Profile(given="Anna", nickname="Annchen", emails=(Email(address="a@b.example", label="work"),))


@pytest.mark.invariant("CT9")
def test_the_absorbed_contact_is_as_it_was() -> None:
    other = made(given="B", nickname="Bee")
    merged = fold(other, evolve, merge_into(other, survivor=ANNA))
    assert fold(merged, evolve, unmerge(merged)) == other
    contact.given(CREATED, ContactMergedInto(survivor=ANNA)).when(unmerge).then(ContactUnmerged(survivor=ANNA))


emails = st.lists(st.sampled_from("abcde"), unique=True, max_size=3).map(
    lambda xs: tuple(Email(address=f"{x}@x.example") for x in xs)
)
people = st.builds(
    lambda given, family, nick, mails, tags, colour, owner: fold(
        Contact(),
        evolve,
        [
            ContactCreated(
                profile=Profile(given=given, family=family, nickname=nick, emails=mails or None),
                tags=tags or None,
                custom={"colour": FieldValue(kind="text", text=colour)} if colour else None,
                owner=owner,
            )
        ],
    ),
    st.sampled_from([None, "Anna", "Eva"]),
    st.sampled_from([None, "Berg"]),
    st.sampled_from([None, "Anni", "Evi"]),
    emails,
    st.lists(st.sampled_from(["vip", "board", "press"]), unique=True, max_size=2).map(tuple),
    st.sampled_from([None, "red", "blue"]),
    st.sampled_from([None, UUID(int=1), UUID(int=2)]),
)


def held(c: Contact) -> dict[str, object]:
    return {name: frozenset(value) if isinstance(value, tuple) else value for name, value in c.flat.items()}


@pytest.mark.invariant("CT8")
@given(survivor=people, others=st.lists(people, min_size=1, max_size=4), data=st.data())
def test_undoing_merges_in_any_order_leaves_what_the_remaining_ones_would_have_given(survivor, others, data) -> None:
    ids = [UUID(int=10 + i) for i in range(len(others))]
    now = survivor
    for id, other in zip(ids, others, strict=True):
        now = fold(now, evolve, absorb(now, other, id=ANNA, other_id=id))
    for id in data.draw(st.permutations(ids)):
        events = release(now, other_id=id)
        assert all(isinstance(e, ContactReleased) for e in events)
        now = fold(now, evolve, events)
        expected = survivor
        for other in now.absorptions:
            expected = fold(expected, evolve, absorb(expected, others[ids.index(other.other)], id=ANNA, other_id=other.other))
        assert held(now) == held(expected)
    assert now == survivor
