"""Why a project can't be what somebody wants it to be."""

from collections.abc import Sequence
from uuid import UUID

from domain.kernel import Invalid, Refused

MOST_NAMED = 1_000  # tasks of one circle that a refusal names


class ProjectIsClosed(Refused):
    """The project is completed or cancelled. Reopen it first."""


class ProjectIsArchived(Refused):
    """The project is archived. Restore it first."""


class DependencyCycle(Refused):
    """The dependency closes a circle.

    Each task named waits for the one before it, and the first for the last. Remove another dependency of the circle first.
    """

    def __init__(self, *, cycle: Sequence[UUID]) -> None:
        self.cycle = tuple(cycle[:MOST_NAMED])
        super().__init__(cycle=[str(t) for t in self.cycle], length=len(cycle))


class DependenciesTooTangled(Refused):
    """So many of these dependencies close circles that the search was given up here. Mend the circles named, then send the rest."""


class DependencyOnItself(Invalid):
    """A task can't depend on itself."""


class TaskNotInProject(Refused):
    """The task does not belong to this project. Add it to the project first."""


class DependencyExists(Refused):
    """These two tasks already have a dependency of this type, with another lag. Change its lag instead."""


class LagOutOfRange(Invalid):
    """A lag is a whole number of minutes, ten years at most in either direction."""


class TooManyTasks(Refused):
    """A project holds 10,000 tasks at most. Split it into several."""


class TooManyDependencies(Refused):
    """A project holds 40,000 dependencies at most."""


class TooManyMembers(Refused):
    """A project has 500 members at most."""


class CalendarHasNoWork(Invalid):
    """A calendar needs 1 to 1,440 minutes a day, a working weekday (1 Monday to 7 Sunday), and 1,000 days off at most."""


class LinkIsTaken(Refused):
    """The project is already about another record of this kind. Unlink that one first."""
