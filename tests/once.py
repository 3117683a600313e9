"""Views marked `once` promise that each of their rows comes of one event: kept here against every event a test tells."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from infra import registry
from projections.kernel import VIEWS, Recorded, View

registry.load()


class Once:
    """Hears a record, event by event, and raises AssertionError when a row of such a view is touched again or never comes to be."""

    def __init__(self, views: Iterable[View[Any]] | None = None) -> None:
        self._views = [v for v in (VIEWS.values() if views is None else views) if v.once]
        self._touched: dict[tuple[str, UUID, UUID], Recorded] = {}
        self.rows = 0

    def hear(self, r: Recorded) -> None:
        for v in self._views:
            for key in v.keys(r):
                before = self._touched.setdefault((v.name, r.firm, key), r)
                assert before is r, f"{v.name} is marked once, and {r.name} touches a row that {before.name} has made"
                assert v.fold(None, key, r) is not None, f"{v.name} is marked once, and {r.name} makes no row of what it touches"
                self.rows += 1
