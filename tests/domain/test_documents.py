from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, strategies

from domain import documents
from domain.documents import (
    DOCUMENT,
    MOST_VERSIONS,
    Content,
    Document,
    DocumentAdded,
    DocumentArchived,
    DocumentDescribed,
    DocumentDiscarded,
    DocumentIsArchived,
    DocumentIsDiscarded,
    DocumentIsOnHold,
    DocumentLinked,
    DocumentMoved,
    DocumentRenamed,
    DocumentRestored,
    DocumentUnlinked,
    FolderTakesNothing,
    HoldAlreadyStands,
    HoldId,
    HoldLifted,
    HoldPlaced,
    NoSuchHold,
    NoSuchVersion,
    NotShorter,
    Place,
    RetentionOnlyExtends,
    RetentionRuns,
    RetentionSet,
    RetentionShortened,
    TooManyLinks,
    TooManyVersions,
    VersionAdded,
    VersionId,
)
from domain.documents.names import NoFileName, clean_file_name
from domain.kernel import fold
from tests.story import Story

HERE, THERE = uuid4(), uuid4()
A, B = "a" * 64, "b" * 64
V1, V2, V3 = (VersionId(uuid4()) for _ in range(3))
HOLD, OTHER_HOLD = HoldId(uuid4()), HoldId(uuid4())
CONTACT = uuid4()

document = Story(DOCUMENT.initial, DOCUMENT.evolve)


def content(sha256: str = A, file_name: str = "letter.pdf") -> Content:
    return Content(sha256=sha256, size=10, media_type="application/pdf", file_name=file_name)


def version(number: int, sha256: str = A, id: VersionId = V1, file_name: str = "letter.pdf", **more: Any) -> VersionAdded:
    return VersionAdded(
        version=id, number=number, sha256=sha256, size=10, media_type="application/pdf", file_name=file_name, **more
    )


ADDED = (DocumentAdded(title="Letter", folder=HERE), version(1))
ARCHIVED = DocumentArchived(reason="old")
PLACED = HoldPlaced(hold=HOLD, name="Matter 12", reason="claim")


def test_a_document_begins_with_its_first_version_and_is_called_as_its_file_is() -> None:
    document.given().when(documents.add, content=content(), version=V1, title=None, place=Place()).then(
        DocumentAdded(title="letter.pdf"), version(1)
    )


@pytest.mark.invariant("DOC8")
def test_a_document_is_not_put_into_an_archived_folder() -> None:
    place = Place(id=HERE, archived=True)
    document.given().when(documents.add, content=content(), version=V1, title="x", place=place).then_refused(FolderTakesNothing)
    document.given(DocumentAdded(title="x"), version(1)).when(documents.move, place=place).then_refused(FolderTakesNothing)


@pytest.mark.invariant("DOC1")
def test_versions_are_numbered_from_one() -> None:
    document.given(*ADDED).when(documents.add_version, content=content(B), version=V2).then(version(2, B, V2))


@pytest.mark.invariant("DOC2")
def test_content_that_an_earlier_version_had_is_noticed() -> None:
    second = version(2, B, V2)
    document.given(*ADDED).when(documents.add_version, content=content(A), version=V2).then(version(2, A, V2, same_content_as=1))
    document.given(*ADDED, second).when(documents.add_version, content=content(A), version=V3).then(
        version(3, A, V3, same_content_as=1)
    )


@pytest.mark.invariant("DOC1")
def test_an_old_version_is_restored_as_a_new_one() -> None:
    document.given(*ADDED, version(2, B, V2)).when(documents.restore_version, number=1, version=V3, comment="as signed").then(
        version(3, A, V3, comment="as signed", same_content_as=1, restored_from=1)
    )


def test_restoring_the_latest_version_records_nothing() -> None:
    document.given(*ADDED, version(2, B, V2)).when(documents.restore_version, number=2, version=V3, comment=None).then_nothing()


@pytest.mark.parametrize("number", [0, -1, 2])
def test_a_version_that_never_was_is_not_restored(number: int) -> None:
    document.given(*ADDED).when(documents.restore_version, number=number, version=V3, comment=None).then_refused(NoSuchVersion)


def test_a_document_has_a_largest_number_of_versions() -> None:
    full = Document(versions=(documents.Version(number=1, sha256=A, size=1, media_type="a/b"),) * MOST_VERSIONS)
    with pytest.raises(TooManyVersions):
        documents.add_version(full, content=content(B), version=V2)


@pytest.mark.invariant("DOC3")
@pytest.mark.parametrize(
    ("decide", "command"),
    [
        (documents.add_version, {"content": content(B), "version": V2}),
        (documents.restore_version, {"number": 1, "version": V2, "comment": None}),
        (documents.rename, {"title": "Other"}),
        (documents.move, {"place": Place(id=THERE)}),
        (documents.describe, {"description": "x", "tags": [], "language": None}),
        (documents.link, {"kind": "contact", "target": CONTACT}),
        (documents.unlink, {"kind": "contact", "target": CONTACT}),
    ],
)
def test_an_archived_document_is_not_changed_and_neither_is_a_discarded_one(decide, command) -> None:
    document.given(*ADDED, ARCHIVED).when(decide, **command).then_refused(DocumentIsArchived)
    document.given(*ADDED, DocumentDiscarded(reason="x")).when(decide, **command).then_refused(DocumentIsDiscarded)


@pytest.mark.invariant("DOC3")
def test_holds_and_retention_are_set_on_an_archived_document_too() -> None:
    document.given(*ADDED, ARCHIVED).when(documents.place_hold, hold=HOLD, name="Matter 12", reason="claim").then(PLACED)
    document.given(*ADDED, ARCHIVED).when(documents.retain, until=date(2030, 1, 1), reason=None).then(
        RetentionSet(until=date(2030, 1, 1))
    )


@pytest.mark.parametrize(
    ("decide", "command"),
    [
        (documents.place_hold, {"hold": HOLD, "name": "x", "reason": "y"}),
        (documents.retain, {"until": date(2030, 1, 1), "reason": None}),
        (documents.shorten_retention, {"until": None, "reason": "y"}),
        (documents.archive, {"reason": None}),
        (documents.restore, {}),
    ],
)
@pytest.mark.invariant("DOC7")
def test_a_discarded_document_takes_no_further_changes(decide, command) -> None:
    document.given(*ADDED, DocumentDiscarded(reason="x")).when(decide, **command).then_refused(DocumentIsDiscarded)


@pytest.mark.invariant("DOC4")
def test_two_holds_stand_at_once_and_each_is_lifted_by_itself() -> None:
    second = HoldPlaced(hold=OTHER_HOLD, name="Audit", reason="tax")
    both = document.given(*ADDED, PLACED, second)
    both.when(documents.lift_hold, hold=HOLD, reason="settled").then(HoldLifted(hold=HOLD, reason="settled"))
    one = document.given(*ADDED, PLACED, second, HoldLifted(hold=HOLD, reason="settled"))
    one.when(documents.lift_hold, hold=HOLD, reason="again").then_refused(NoSuchHold)
    one.when(documents.discard, reason="x", now=datetime(2026, 1, 1, tzinfo=UTC)).then_refused(DocumentIsOnHold)


@pytest.mark.invariant("DOC4")
def test_a_second_hold_of_the_same_name_is_refused_while_the_first_stands() -> None:
    again: dict[str, Any] = {"hold": OTHER_HOLD, "name": "MATTER 12", "reason": "claim"}
    document.given(*ADDED, PLACED).when(documents.place_hold, **again).then_refused(HoldAlreadyStands)
    document.given(*ADDED, PLACED, HoldLifted(hold=HOLD, reason="x")).when(documents.place_hold, **again).then(HoldPlaced(**again))


KEPT = RetentionSet(until=date(2030, 6, 30))


@pytest.mark.invariant("DOC6")
def test_retention_is_extended_but_not_shortened_in_passing() -> None:
    kept = document.given(*ADDED, KEPT)
    kept.when(documents.retain, until=date(2031, 1, 1), reason="new law").then(
        RetentionSet(until=date(2031, 1, 1), reason="new law")
    )
    kept.when(documents.retain, until=date(2030, 6, 29), reason="mistake").then_refused(RetentionOnlyExtends)
    kept.when(documents.retain, until=date(2030, 6, 30), reason="again").then_nothing()


@pytest.mark.invariant("DOC6")
def test_retention_is_shortened_or_given_up_by_a_decision_of_its_own() -> None:
    kept = document.given(*ADDED, KEPT)
    for until in (date(2029, 1, 1), None):
        kept.when(documents.shorten_retention, until=until, reason="mistake").then(
            RetentionShortened(previous=date(2030, 6, 30), until=until, reason="mistake")
        )
    kept.when(documents.shorten_retention, until=date(2031, 1, 1), reason="x").then_refused(NotShorter)
    document.given(*ADDED).when(documents.shorten_retention, until=date(2031, 1, 1), reason="x").then_refused(NotShorter)
    document.given(*ADDED).when(documents.shorten_retention, until=None, reason="x").then_nothing()


@pytest.mark.invariant("DOC5")
def test_retention_is_not_shortened_under_a_hold() -> None:
    held = document.given(*ADDED, KEPT, PLACED)
    held.when(documents.shorten_retention, until=None, reason="x").then_refused(DocumentIsOnHold)
    held.when(documents.retain, until=date(2031, 1, 1), reason=None).then(RetentionSet(until=date(2031, 1, 1)))


@pytest.mark.invariant("DOC5")
@pytest.mark.invariant("DOC7")
def test_a_document_is_discarded_after_its_retention_date_and_never_under_a_hold() -> None:
    on_the_day = datetime(2030, 6, 30, 23, 59, tzinfo=UTC)
    day_after = datetime(2030, 7, 1, tzinfo=UTC)
    kept = document.given(*ADDED, KEPT)
    kept.when(documents.discard, reason="x", now=on_the_day).then_refused(RetentionRuns)
    kept.when(documents.discard, reason="x", now=day_after).then(DocumentDiscarded(reason="x"))
    document.given(*ADDED, KEPT, PLACED).when(documents.discard, reason="x", now=day_after).then_refused(DocumentIsOnHold)
    document.given(*ADDED).when(documents.discard, reason="x", now=on_the_day).then(DocumentDiscarded(reason="x"))
    document.given(*ADDED, DocumentDiscarded(reason="x")).when(documents.discard, reason="y", now=day_after).then_nothing()


def test_a_document_is_linked_once_and_unlinked() -> None:
    link: dict[str, Any] = {"kind": "contact", "target": CONTACT}
    document.given(*ADDED).when(documents.link, **link).then(DocumentLinked(**link))
    document.given(*ADDED, DocumentLinked(**link)).when(documents.link, **link).then_nothing()
    document.given(*ADDED, DocumentLinked(**link)).when(documents.unlink, **link).then(DocumentUnlinked(**link))
    document.given(*ADDED).when(documents.unlink, **link).then_nothing()
    full = document.given(*ADDED, *(DocumentLinked(kind="task", target=uuid4()) for _ in range(documents.MOST_LINKS)))
    full.when(documents.link, **link).then_refused(TooManyLinks)


@pytest.mark.invariant("DOC10")
def test_a_change_to_what_already_is_records_nothing() -> None:
    described = DocumentDescribed(description="About rent", tags=("Lease",), language="en")
    known = document.given(*ADDED, described)
    known.when(documents.rename, title="Letter").then_nothing()
    known.when(documents.move, place=Place(id=HERE, archived=True)).then_nothing()
    known.when(documents.describe, description="About rent", tags=["Lease", "lease"], language="en").then_nothing()
    known.when(documents.restore).then_nothing()
    document.given(*ADDED, ARCHIVED).when(documents.archive, reason="x").then_nothing()
    document.given(*ADDED, ARCHIVED).when(documents.restore).then(DocumentRestored())


def test_a_document_is_renamed_moved_and_described() -> None:
    document.given(*ADDED).when(documents.rename, title="Offer").then(DocumentRenamed(title="Offer"))
    document.given(*ADDED).when(documents.move, place=Place()).then(DocumentMoved(folder=None))
    document.given(*ADDED).when(documents.describe, description="", tags=["B", "a", "b"], language="de-AT").then(
        DocumentDescribed(tags=("B", "a"), language="de-AT")
    )


@pytest.mark.invariant("DOC9")
@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("letter.pdf", "letter.pdf"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\ann\\Brief.docx", "Brief.docx"),
        ("a\x00b\r\n.txt", "ab.txt"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("con.txt", "_con.txt"),
        ("COM1", "_COM1"),
        ('say "hi"?.md', "say _hi__.md"),
        ("trailing. . ", "trailing"),
        ("e\u0301te\u0301.pdf", "été.pdf"),
        (".env", ".env"),
        ("n" * 300 + ".pdf", "n" * 251 + ".pdf"),
        ("\U0001f600" * 100 + ".md", "\U0001f600" * 63 + ".md"),
    ],
)
def test_a_file_name_is_cleaned(raw: str, clean: str) -> None:
    assert clean_file_name(raw) == clean


@pytest.mark.invariant("DOC9")
@pytest.mark.parametrize("raw", ["", ".", "..", "/", "a/", "\\..", "\x00", " . . ", "\u202e", "___"])
def test_what_holds_no_name_is_refused(raw: str) -> None:
    with pytest.raises(NoFileName):
        clean_file_name(raw)


@pytest.mark.invariant("DOC9")
@given(strategies.text(max_size=400) | strategies.text(alphabet='./\\ \u0301\u200d\u202econ1:"?*\x00\U0001f600é', max_size=300))
def test_a_clean_name_is_no_path_fits_and_stays_as_it_is(raw: str) -> None:
    try:
        name = clean_file_name(raw)
    except NoFileName:
        return
    assert not set(name) & set('/\\<>:"|?*\x00')
    assert name not in {"", ".", ".."}
    assert 0 < len(name.encode()) <= 255
    assert name == name.strip()
    assert clean_file_name(name) == name


SHAS = strategies.sampled_from([A, B, "c" * 64])


@pytest.mark.invariant("DOC1")
@pytest.mark.invariant("DOC2")
@given(strategies.lists(SHAS | strategies.integers(1, 12), max_size=12))
def test_whatever_is_added_and_restored_versions_stay_dense_and_every_repetition_is_noticed(steps: list[str | int]) -> None:
    state = document.given(*ADDED).state()
    seen = [A]
    for step in steps:
        if isinstance(step, int):
            if step >= len(state.versions):
                continue
            new = documents.restore_version(state, number=step, version=VersionId(uuid4()), comment=None)
        else:
            new = documents.add_version(state, content=content(step), version=VersionId(uuid4()))
        for e in new:
            assert isinstance(e, VersionAdded)
            assert e.same_content_as == max((n for n, sha in enumerate(seen, 1) if sha == e.sha256), default=None)
            seen.append(e.sha256)
        state = fold(state, DOCUMENT.evolve, new)
        assert [v.number for v in state.versions] == list(range(1, len(state.versions) + 1))
        assert [v.sha256 for v in state.versions] == seen
