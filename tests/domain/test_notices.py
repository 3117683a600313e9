import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain.notices import (
    LONGEST,
    NOTICE,
    FileIsAnother,
    LanguageIsThere,
    MaterialWithoutNewPurposes,
    NewPurposesNotNamed,
    NoSuchVersion,
    NoticeIsRetired,
    NoticeNamesOthers,
    NoticeOutdated,
    NoticePublished,
    NoticeRetired,
    NoticeTranslated,
    PublishedOutOfOrder,
    Shown,
    TextOrFile,
    TextTooLong,
    material_versions,
    publish,
    retire,
    show,
    translate,
)
from tests.story import Story

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
PDF = "cd" * 32

notice = Story(NOTICE.initial, NOTICE.evolve)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def said(text: str | None = "We write to you.", **how: Any) -> dict[str, Any]:
    return {
        "title": "Privacy",
        "language": "en",
        "media_type": "text/plain",
        "text": text,
        "document": None,
        "sha256": None,
        "material": True,
        "purposes": ("news",),
        "new_purposes": (),
        "now": T0,
        **how,
    }


def published(number: int = 1, text: str = "We write to you.", **how) -> NoticePublished:
    facts = {"published_at": T0 + (number - 1) * DAY, "material": True, "purposes": ("news",), "new_purposes": ("news",), **how}
    return NoticePublished(
        notice_version=number, title="Privacy", language="en", sha256=digest(text), media_type="text/plain", text=text, **facts
    )


GERMAN = NoticeTranslated(notice_version=1, language="de", sha256=digest("Wir"), media_type="text/plain", text="Wir")


@pytest.mark.invariant("NO2")
def test_a_version_is_fixed_by_the_digest_of_its_text() -> None:
    notice.when(publish, **said()).then(published())
    notice.when(publish, **said(sha256=digest("We write to you."))).then(published())
    notice.when(publish, **said(sha256=PDF)).then_refused(TextOrFile)


@pytest.mark.invariant("NO2")
def test_a_notice_is_a_text_or_a_file_that_has_these_bytes() -> None:
    file = uuid4()
    notice.when(publish, **said(document=file)).then_refused(TextOrFile)
    notice.when(publish, **said(text=None)).then_refused(TextOrFile)
    notice.when(publish, **said(text=None, document=file)).then_refused(TextOrFile)
    notice.when(publish, **said(text=None, document=file, sha256=PDF, held=frozenset({"ee" * 32}))).then_refused(FileIsAnother)
    (event,) = publish(NOTICE.initial, **said(text=None, document=file, sha256=PDF, held=frozenset({PDF})))
    assert isinstance(event, NoticePublished)
    assert (event.sha256, event.document, event.text) == (PDF, file, None)


def test_a_text_too_long_for_the_record_belongs_in_a_document() -> None:
    notice.when(publish, **said("x" * LONGEST)).then_refused(TextTooLong)
    notice.when(publish, **said('"' * (LONGEST // 2))).then_refused(TextTooLong)


@pytest.mark.invariant("NO1")
def test_a_translation_is_added_once_and_never_changed() -> None:
    how = {"version": 1, "language": "de", "media_type": "text/plain", "text": "Wir", "document": None, "sha256": None}
    notice.given(published()).when(translate, **how).then(GERMAN)
    notice.given(published(), GERMAN).when(translate, **how).then_nothing()
    notice.given(published(), GERMAN).when(translate, **{**how, "text": "Sie"}).then_refused(LanguageIsThere)
    notice.given(published()).when(translate, **{**how, "version": 2}).then_refused(NoSuchVersion)


@pytest.mark.invariant("NO1")
def test_a_correction_is_a_new_version() -> None:
    change = said("We write.", material=False, now=T0 + DAY)
    notice.given(published()).when(publish, **change).then(published(2, "We write.", material=False, new_purposes=()))


@pytest.mark.invariant("NO3")
def test_a_material_version_names_its_new_purposes_and_those_never_named_are_among_them() -> None:
    again = notice.given(published())
    again.when(publish, **said("More.")).then_refused(MaterialWithoutNewPurposes)
    again.when(publish, **said("More.", new_purposes=("other",))).then_refused(NewPurposesNotNamed)
    again.when(publish, **said("More.", material=False, new_purposes=("news",))).then_refused(NewPurposesNotNamed)
    both: dict[str, Any] = {"purposes": ("news", "events")}
    again.when(publish, **said("More.", now=T0 + DAY, **both)).then(published(2, "More.", **both, new_purposes=("events",)))


@pytest.mark.invariant("NO4")
def test_consent_rests_on_the_version_in_force_in_its_first_language_unless_said_otherwise() -> None:
    minor = published(2, "Second.", material=False, new_purposes=())
    state = notice.given(published(), GERMAN, minor).state()
    seen: dict[str, Any] = {"purposes": ("news",), "language": None, "version": None}
    assert show(state, **seen, at=T0) == Shown(version=1, language="en", sha256=digest("We write to you."))
    assert show(state, **seen, at=T0 + DAY).version == 2
    assert show(state, **{**seen, "version": 1, "language": "de"}, at=T0 + DAY) == Shown(
        version=1, language="de", sha256=digest("Wir")
    )
    for wrong in ({"version": 3}, {"language": "fr"}, {"version": 2, "language": "de"}):
        with pytest.raises(NoSuchVersion):
            show(state, **{**seen, **wrong}, at=T0 + DAY)
    with pytest.raises(NoSuchVersion):
        show(state, **seen, at=T0 - DAY)
    with pytest.raises(NoticeNamesOthers):
        show(state, **{**seen, "purposes": ("news", "events")}, at=T0)


@pytest.mark.invariant("NO5")
def test_consent_to_a_purpose_with_a_new_meaning_is_not_taken_on_an_earlier_version() -> None:
    second = published(2, "Second.", purposes=("news", "events"), new_purposes=("events",))
    third = published(3, "Third.", purposes=("news", "events"), new_purposes=("events",))
    state = notice.given(published(), second, third).state()
    assert show(state, version=1, language=None, purposes=("news",), at=T0 + 2 * DAY).version == 1
    assert show(state, version=2, language=None, purposes=("events",), at=T0 + DAY).version == 2
    with pytest.raises(NoticeOutdated):
        show(state, version=2, language=None, purposes=("events",), at=T0 + 2 * DAY)
    assert [v.number for v in material_versions(state)] == [1, 2, 3]


@pytest.mark.invariant("NO6")
def test_a_retired_notice_is_not_shown_and_takes_no_version() -> None:
    gone = notice.given(published(), NoticeRetired(retired_at=T0 + DAY))
    gone.when(publish, **said("More.")).then_refused(NoticeIsRetired)
    how = {"version": 1, "language": "de", "media_type": "text/plain", "text": "Wir", "document": None, "sha256": None}
    gone.when(translate, **how).then_refused(NoticeIsRetired)
    state = gone.state()
    with pytest.raises(NoticeIsRetired):
        show(state, version=None, language=None, purposes=("news",), at=T0 + DAY)
    assert show(state, version=None, language=None, purposes=("news",), at=T0).version == 1


@pytest.mark.invariant("NO7")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    notice.given(published()).when(publish, **said(now=T0 + DAY)).then_nothing()
    notice.given(published()).when(retire, now=T0).then(NoticeRetired(retired_at=T0))
    notice.given(published(), NoticeRetired(retired_at=T0)).when(retire, now=T0 + DAY).then_nothing()


@pytest.mark.invariant("NO8")
def test_a_version_is_not_published_before_the_one_it_follows():
    again = said("Another text.", now=T0 - DAY, new_purposes=("news",))
    notice.given(published()).when(publish, **again).then_refused(PublishedOutOfOrder)
