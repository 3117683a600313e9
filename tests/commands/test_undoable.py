"""A command says that it can be undone exactly where every event it may record has an inverse."""

import inspect
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import pytest

from commands.kernel import COMMANDS, CommandSpec
from commands.undo import FINAL, INVERSES
from domain.kernel import EVENTS
from infra import registry

registry.load()
RECORDABLE = frozenset(EVENTS.values())
NOT_A_DECISION = {"evolve", "offer_status", "fold", "exception"}


def named(function: Any) -> Iterator[Any]:
    """What a function's code names: globals, and attributes of modules among them; those of inner functions too."""
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes.extend(c for c in code.co_consts if inspect.iscode(c))
        known = [function.__globals__[n] for n in code.co_names if n in function.__globals__]
        yield from known
        yield from (getattr(m, n) for m in known if inspect.ismodule(m) for n in code.co_names if hasattr(m, n))


def stored(event: type) -> str:
    """The context of an event."""
    return next(name for name, cls in EVENTS.items() if cls is event).partition(".")[0]


def may_record(spec: CommandSpec) -> set[type]:
    """The events that a command's handler, or any decision it reaches, can make."""
    seen: set[Any] = set()
    waiting: list[Any] = [spec.handler]
    events: set[type] = set()
    while waiting:
        function = waiting.pop()
        for found in named(function):
            if isinstance(found, type) and found in RECORDABLE:
                events.add(found)
            elif isinstance(found, FunctionType) and found not in seen and found.__name__ not in NOT_A_DECISION:
                seen.add(found)
                if found.__module__.split(".")[0] in {"commands", "domain"} and found.__module__ not in {
                    "commands.kernel",
                    "commands.undo",
                }:
                    waiting.append(found)
    return events


@pytest.mark.parametrize("name", sorted(n for n in COMMANDS if n != "undo"))
def test_a_command_says_that_it_can_be_undone_exactly_where_its_events_have_inverses(name: str) -> None:
    events = may_record(COMMANDS[name])
    assert events, "the events of the command could not be found"
    # what a creation brought with it is taken back with it
    whole = {stored(e) for e in events if e in INVERSES} if COMMANDS[name].creates else set()
    missing = sorted(e.__name__ for e in events if e in FINAL or (e not in INVERSES and stored(e) not in whole))
    # what only follows another thing's undoing is no way back for a command of its own
    missing += [e.__name__ for e in events if e in INVERSES and INVERSES[e].aside and INVERSES[e].stream is COMMANDS[name].target]
    assert COMMANDS[name].undoable == (not missing), f"without an inverse: {missing}"


def test_every_inverse_is_for_an_event_of_its_own_stream() -> None:
    assert set(INVERSES) <= RECORDABLE
    assert len(INVERSES) > 140


def test_what_is_final_says_why_in_a_sentence_and_has_no_inverse() -> None:
    assert set(FINAL) <= RECORDABLE
    assert not set(FINAL) & set(INVERSES)
    assert all(why[0].isupper() and why.endswith(".") for why in FINAL.values())
