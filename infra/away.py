"""An engine beside the database that can't be used: at start, or now."""


class EngineUnusable(Exception):
    """A set engine can't be used at start; the message says why and what to do."""


class NotForgotten(Exception):
    """An engine does not take, or not for certain, what it is told to forget of a person; the message says why, and quotes no value."""


class EngineAway(Exception):
    """A read can't be answered because its engine does not answer, or holds not yet everything. `view` names whose reads wait for it;
    `reached` and `head` say how far its contents are, when that is known."""

    def __init__(self, engine: str, view: str, *, filling: bool = False) -> None:
        super().__init__(engine)
        self.engine = engine
        self.view = view
        self.filling = filling
        self.reached: int | None = None
        self.head: int | None = None

    def sentences(self) -> str:
        """What happened, how far the contents are, what to do."""
        what = f"{self.engine} is being filled from the record" if self.filling else f"{self.engine} does not answer now"
        if self.reached is None or self.head is None:
            return f"{what}. Everything else works; try again shortly."
        return (
            f"{what}. It holds the record up to {self.reached}, {max(0, self.head - self.reached)} behind its end, and catches up by"
            " itself. Everything else works; try again shortly."
        )
