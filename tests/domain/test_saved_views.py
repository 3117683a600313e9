import pytest

from domain.saved_views import (
    Look,
    NotYourView,
    SavedView,
    ViewChanged,
    ViewDeleted,
    ViewIsDeleted,
    ViewSaved,
    change,
    delete,
    evolve,
)
from tests.story import Story

LOOK = Look(name="Mine", filter="status = open")
SAVED = ViewSaved(collection="deals", owner="key/a", shared=False, look=LOOK)
view = Story(SavedView(), evolve)


@pytest.mark.invariant("SV1")
def test_a_view_is_changed_and_deleted_by_whoever_saved_it_alone() -> None:
    view.given(SAVED).when(change, by="key/b", shared=True, look=LOOK).then_refused(NotYourView)
    view.given(SAVED).when(delete, by="key/b").then_refused(NotYourView)
    view.given(SAVED).when(change, by="key/a", shared=True, look=LOOK).then(ViewChanged(shared=True, look=LOOK))


@pytest.mark.invariant("SV2")
def test_a_deleted_view_is_not_changed() -> None:
    view.given(SAVED, ViewDeleted()).when(change, by="key/a", shared=True, look=LOOK).then_refused(ViewIsDeleted)


@pytest.mark.invariant("SV3")
def test_nothing_is_recorded_when_nothing_changes() -> None:
    view.given(SAVED).when(change, by="key/a", shared=False, look=LOOK).then()
    view.given(SAVED, ViewDeleted()).when(delete, by="key/a").then()
