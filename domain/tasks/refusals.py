"""Why a task can't be what somebody wants it to be."""

from domain.kernel import Invalid, Refused


class TaskIsFinished(Refused):
    """The task is completed or cancelled. Reopen it first."""


class TaskIsBlocked(Refused):
    """The task is blocked. Unblock it first."""


class TaskIsArchived(Refused):
    """The task is archived. Restore it first."""


class AssigneeIsInactive(Refused):
    """The member is no longer active. Give the task to somebody else."""


class TaskIsNotStarted(Refused):
    """The task is not being worked on, so it can't be paused."""


class TaskStandsInAnotherProject(Refused):
    """The task belongs to another project. Take it out of that one first."""


class EstimateOutOfRange(Invalid):
    """An estimate is a whole number of minutes between 0 and ten years."""


class ScheduleEndsBeforeItStarts(Invalid):
    """The scheduled end lies before the scheduled start."""


class TooManyLinks(Invalid):
    """A task links to 100 documents at most."""


class TooManyLabels(Invalid):
    """A task carries 50 labels at most."""


class TooManyComments(Refused):
    """A task carries 5,000 comments at most. Remove one, or keep longer discussions in a document."""


class LinkIsTaken(Refused):
    """The task is already about another record of this kind. Unlink that one first."""
