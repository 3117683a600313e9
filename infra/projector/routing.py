"""Which views an event concerns, decided once for each kind of event where that does not depend on what it says.

A view's `keys` is asked twice with an event of the class whose fields are first unusable, then None. When neither asking looks into the
event and both name no row, or both the stream's own, every event of the class is answered so; otherwise each event is asked for itself.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn
from uuid import UUID

from domain.kernel import EVENTS, UPCASTERS
from infra.record.reader import FOREIGN, EventRow
from projections.kernel import Recorded, View

OWN = UUID("5f7d3c52-4a54-4a52-8a53-0e1d5a0c7d11")  # stands for any stream's id
FIRM = UUID("5f7d3c52-4a54-4a52-8a53-0e1d5a0c7d12")


class _LookedAt(BaseException):
    """A field was looked at; not an Exception, so that no view's own handling hides it."""


def _refuse(*_: object, **__: object) -> NoReturn:
    raise _LookedAt


_USES = (  # whatever may be done with a value but ask what it is
    *("__bool__", "__iter__", "__len__", "__getitem__", "__contains__", "__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
    *("__hash__", "__str__", "__repr__", "__format__", "__call__", "__getattr__", "__add__", "__radd__", "__sub__", "__rsub__"),
    *("__index__", "__int__", "__bytes__"),
)
_Unusable = type("_Unusable", (), dict.fromkeys(_USES, _refuse))


def _probe(stream_type: str, cls: type, field: object) -> Recorded:
    event: Any = object.__new__(cls)
    for name in getattr(cls, "__dataclass_fields__", {}):
        object.__setattr__(event, name, field)
    unusable: Any = _Unusable()
    return Recorded(
        position=unusable,
        firm=FIRM,  # type: ignore[arg-type]
        firm_position=unusable,
        stream_type=stream_type,
        stream_id=OWN,
        version=unusable,
        event_id=unusable,
        name=unusable,
        event=event,
        occurred_at=unusable,
        recorded_at=unusable,
        actor=unusable,
        origin=field,  # type: ignore[arg-type]
        command_id=unusable,
    )


def named_always(view: View[Any], stream_type: str, cls: type) -> tuple[UUID, ...] | None:
    """The rows that every event of this class on such a stream touches: none, or OWN; None when it depends on the event."""
    answers = []
    for field in (_Unusable(), None):
        try:
            answers.append(list(view.keys(_probe(stream_type, cls, field))))
        except (_LookedAt, Exception):
            return None
    if any(type(k) is not UUID for keys in answers for k in keys):
        return None
    if answers[0] != answers[1] or answers[0] not in ([], [OWN]):
        return None
    return tuple(answers[0])


Touched = list[tuple[Recorded, Sequence[UUID]]]


class CannotSay(Exception):
    """A view's `keys` failed for an event."""

    def __init__(self, view: str, position: int, error: Exception) -> None:
        super().__init__(view, position)
        self.view = view
        self.position = position
        self.error = error


class Router:
    """Routes events to some views."""

    def __init__(self, views: Iterable[View[Any]]) -> None:
        self._views = list(views)
        self._ways: dict[tuple[str, type], tuple[list[str], list[View[Any]]]] = {}

    def _way(self, stream_type: str, cls: type) -> tuple[list[str], list[View[Any]]]:
        """The views that always want its stream's row, and those that must be asked."""
        found = self._ways.get((stream_type, cls))
        if found is None:
            said = [(v, named_always(v, stream_type, cls)) for v in self._views]
            found = self._ways[stream_type, cls] = ([v.name for v, k in said if k], [v for v, k in said if k is None])
        return found

    def wanted(self, row: EventRow) -> bool:
        """Whether any view may want this event; what nobody wants need not be decoded."""
        return self.wants(row.stream_type, row.type)

    def wants(self, stream_type: str, type: str) -> bool:
        """Whether any view may want events of this type on such streams."""
        if stream_type == FOREIGN:
            return False
        cls = EVENTS.get(type)
        if cls is None or type in UPCASTERS:
            return True
        own, ask = self._way(stream_type, cls)
        return bool(own or ask)

    def route(self, events: Iterable[Recorded]) -> dict[str, Touched]:
        """The events of each view with the rows they touch, in order. Raises CannotSay."""
        out: dict[str, Touched] = {}
        for r in events:
            own, ask = self._way(r.stream_type, type(r.event))
            for name in own:
                out.setdefault(name, []).append((r, (r.stream_id,)))
            for view in ask:
                try:
                    keys = list(view.keys(r))
                except Exception as e:
                    raise CannotSay(view.name, r.position, e) from e
                if keys:
                    out.setdefault(view.name, []).append((r, keys if len(keys) == 1 else list(dict.fromkeys(keys))))
        return out
