"""What a caller asked for and can't have, in a sentence of its own, and how it may repeat a stranger's words."""

from domain.kernel import Invalid


class Unusable(Invalid):
    """What was asked for can't be used."""

    def __init__(self, sentence: str, **about: object) -> None:
        super().__init__(**about)
        self.sentence = sentence

    @property
    def why(self) -> str:
        return f"{super().why} {self.sentence}"


def shown(name: str) -> str:
    """A name as a refusal may repeat it."""
    return f"“{printable(name)}”"


def printable(name: str) -> str:
    """A stranger's name for something, short and without characters that can't be shown or sent."""
    return "".join(c if c.isprintable() else "?" for c in (name if len(name) <= 40 else name[:39] + "…"))
