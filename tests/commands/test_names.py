"""Commands and queries are called alike, so that who knows one address guesses the next."""

import re

import pytest

from commands.kernel import COMMANDS
from infra import registry
from queries.kernel import QUERIES

registry.load()
PATH = re.compile(r"(/([a-z][a-z_-]*|\{[a-z_]+\}))+(:[a-z]+(-[a-z]+)*)?|/[a-z][a-z_]*:[a-z]+(-[a-z]+)*")


@pytest.mark.parametrize("spec", [*COMMANDS.values(), *QUERIES.values()], ids=lambda s: s.name)
def test_addresses_are_nouns_with_an_action_in_small_letters_and_hyphens(spec) -> None:
    assert PATH.fullmatch(spec.path), spec.path
    assert re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", spec.name), spec.name
