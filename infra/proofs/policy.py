"""Whom to trust (C2SP tlog-policy): logs, witnesses, groups of them, and how many must have cosigned."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.proofs.checkpoints import Checkpoint, read
from infra.proofs.errors import Malformed, Unsigned
from infra.proofs.notes import COSIGNATURE, ED25519, Verifier, verified

LARGEST = 1_000_000
MOST_LINES = 2_000
NONE = "none"
_ALLOWED = re.compile(rb"[\t\n\x20-\x7e\x80-\xff]*")
_SPACES = re.compile(r"[ \t]+")
_COUNT = re.compile(r"[1-9][0-9]{0,5}")


class BadPolicy(Malformed):
    """The policy can't be read; the message names the line."""


@dataclass(frozen=True, slots=True)
class Group:
    needed: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Policy:
    """What must have signed a checkpoint for it to be believed."""

    logs: tuple[Verifier, ...] = ()
    witnesses: dict[str, Verifier] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)
    quorum: str = NONE
    urls: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_keys(cls, logs: Iterable[Verifier]) -> "Policy":
        """These logs are trusted without witnesses."""
        return cls(logs=tuple(logs))

    @classmethod
    def parse(cls, raw: bytes) -> "Policy":
        if len(raw) > LARGEST:
            raise BadPolicy("the policy is larger than a megabyte")
        if not _ALLOWED.fullmatch(raw):
            raise BadPolicy("the policy holds control characters")
        lines = raw.decode("utf-8", "surrogateescape").split("\n")
        if len(lines) > MOST_LINES:
            raise BadPolicy(f"the policy has more than {MOST_LINES} lines")
        reader = _Reader()
        for number, line in enumerate(lines, 1):
            words = [w for w in _SPACES.split(line) if w]
            if words and not words[0].startswith("#"):
                try:
                    reader.line(words[0], words[1:])
                except Malformed as e:
                    raise BadPolicy(f"line {number}: {e}") from e
        if reader.quorum is None:
            raise BadPolicy("the policy has no quorum line")
        return cls(tuple(reader.logs), reader.witnesses, reader.groups, reader.quorum, reader.urls)

    def accept(self, raw: bytes) -> Checkpoint:
        """The checkpoint of a note, if a log of the policy signed it under its origin and enough witnesses have cosigned."""
        checkpoint, note = read(raw)
        own = [v for v in self.logs if v.name == checkpoint.origin]
        if not own:
            raise Unsigned(f"the checkpoint is of the log {checkpoint.origin}, which the policy does not name")
        verified(note, own)
        if self.quorum != NONE:
            by = set(verified(note, [*own, *self.witnesses.values()]))
            if not self.reached({name for name, v in self.witnesses.items() if v in by}):
                raise Unsigned("too few witnesses have cosigned the checkpoint for the policy's quorum")
        return checkpoint

    def reached(self, cosigned: set[str]) -> bool:
        """Whether cosignatures of these witnesses, by their names in the policy, are enough."""
        if self.quorum == NONE:
            return True
        seen = set(cosigned)
        for name, group in self.groups.items():  # members come before their groups
            if sum(m in seen for m in group.members) >= group.needed:
                seen.add(name)
        return self.quorum in seen


class _Reader:
    def __init__(self) -> None:
        self.logs: list[Verifier] = []
        self.witnesses: dict[str, Verifier] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self.urls: dict[str, str] = {}
        self._members: set[str] = set()

    def line(self, kind: str, words: list[str]) -> None:
        match kind, words:
            case "log", [vkey, *url] if len(url) <= 1:
                key = _key(vkey, ED25519)
                if any(key.public == k.public for k in self.logs):
                    raise BadPolicy("the same log twice")
                self.logs.append(key)
                self._at(vkey, url)
            case "witness", [name, vkey, *url] if len(url) <= 1:
                key = _key(vkey, COSIGNATURE)
                if any(key.public == k.public for k in self.witnesses.values()):
                    raise BadPolicy("the same witness twice")
                self._fresh(name)
                self.witnesses[name] = key
                self._at(vkey, url)
            case "group", [name, needed, *members] if members:
                self._fresh(name)
                for m in members:
                    if m not in self.witnesses and m not in self.groups:
                        raise BadPolicy(f"{m!r} is no witness or group of the lines before")
                    if m in self._members:
                        raise BadPolicy(f"{m!r} is a member twice")
                    self._members.add(m)
                self.groups[name] = Group(_needed(needed, len(members)), tuple(members))
            case "quorum", [name]:
                if self.quorum is not None:
                    raise BadPolicy("a second quorum line")
                if name != NONE and name not in self.witnesses and name not in self.groups:
                    raise BadPolicy(f"{name!r} is no witness or group of the lines before")
                self.quorum = name
            case _:
                raise BadPolicy("not a line of a policy: log, witness, group and quorum are")

    def _at(self, vkey: str, url: list[str]) -> None:
        if url:
            self.urls[vkey] = url[0]

    def _fresh(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise BadPolicy(f"the name {name!r} is taken")


def _key(vkey: str, algorithm: int) -> Verifier:
    try:
        key = Verifier.parse(vkey)
    except UnicodeEncodeError as e:
        raise BadPolicy("the key's name is not UTF-8") from e
    if key.algorithm != algorithm:
        raise BadPolicy(f"a key of kind {key.algorithm} can't be used here; {algorithm} can")
    return key


def _needed(text: str, count: int) -> int:
    match text:
        case "any":
            return 1
        case "all":
            return count
        case _ if _COUNT.fullmatch(text) and int(text) <= count:
            return int(text)
        case _:
            raise BadPolicy(f"a group needs all, any, or a number from 1 to {count} of its members")
