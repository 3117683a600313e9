"""What the indices are: one for each kind and one of words, each in builds; and one that says how far each build is.

The words of an entry come analysed: the index splits at spaces and does nothing else. Each word begins with a mark of its firm, so that
one firm's words stand together and no prefix, wildcard or near word ever reaches another's.
"""

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from projections.search.kinds import FACTS, KINDS

WEIGHTS: Final[Mapping[str, float]] = {"a": 1.0, "b": 0.6, "c": 0.25, "d": 0.05}
SPELLINGS: Final = 4  # ways of writing a word that keep their place, for phrases
OPEN: Final = "o"  # before the names of fields that hold what is not personal
WORDS: Final = "words"
STATE: Final = "state"
INDICES: Final = (*KINDS, WORDS)
LONGEST_FACT: Final = 2_000  # characters that a comparison sees

_SOMEWHERE: Final = {"type": "text", "analyzer": "whitespace", "similarity": "boolean", "norms": False, "index_options": "docs"}
_IN_PLACE: Final = {
    "type": "text",
    "analyzer": "whitespace",
    "similarity": "boolean",
    "norms": False,
    "position_increment_gap": 100,
}
_EXACT: Final = {"type": "keyword", "doc_values": False, "norms": False}
_KEPT: Final = {"type": "keyword"}


def _entry() -> dict[str, Any]:
    fields: dict[str, Any] = {
        "firm": _EXACT,
        "kind": _EXACT,
        "key": _KEPT,
        "gone": {"type": "boolean"},
        "archived": {"type": "boolean"},
        "changed": {"type": "long"},
        "brief": {"type": "float"},
        "length": {"type": "short"},
        "shown": _KEPT,
        "entry": {"type": "object", "enabled": False},
    }
    for side in ("", OPEN):
        for name in (*WEIGHTS, "joined", "often", "numbers", "heading"):
            fields[side + name] = _SOMEWHERE
        for n in range(SPELLINGS):
            fields[f"{side}place{n}"] = _IN_PLACE
        fields[f"{side}title"] = _EXACT
        fields[f"{side}line"] = _EXACT
        fields[f"{side}heads"] = _EXACT
        fields[f"{side}facts"] = {"properties": dict.fromkeys(FACTS, _EXACT)}
        fields[f"{side}low"] = {"properties": {name: _EXACT for name, type in FACTS.items() if type == "text"}}
    return {
        "dynamic": "strict",
        "_source": {"includes": ["firm", "kind", "key", "gone", "entry"]},
        "properties": fields,
    }


def _words() -> dict[str, Any]:
    return {
        "dynamic": "strict",
        "properties": {
            "firm": _EXACT,
            "key": _KEPT,
            "word": _KEPT,
            "keys": _EXACT,
            "length": {"type": "short"},
            "open": {"type": "boolean"},
        },
    }


STATE_MAPPING: Final[Mapping[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "build": {"type": "integer"},
        "form": _KEPT,
        "version": {"type": "integer"},
        "position": {"type": "long"},
        "again": {"type": "long"},
        "next": {"type": "integer"},
        "installation": _KEPT,
    },
}
MAPPINGS: Final[Mapping[str, Mapping[str, Any]]] = {**{kind: _entry() for kind in KINDS}, WORDS: _words()}

SETTINGS: Final[Mapping[str, str]] = {
    "index.number_of_shards": "1",
    "index.auto_expand_replicas": "0-1",
    "index.codec": "best_compression",
    "index.mapping.total_fields.limit": "1000",
}
KEPT_SETTINGS: Final[Mapping[str, str]] = {
    "index.refresh_interval": "30s",  # the indexer refreshes when it has written
    "index.translog.durability": "REQUEST",  # what is acknowledged outlives a kill
    "index.merge.policy.expunge_deletes_allowed": "0",  # a merge asked for by an erasure leaves nothing behind
    "index.max_result_window": "10000",
}
"""Those that can be put back while the index serves, when somebody has changed them."""

FORM: Final = hashlib.sha256(orjson.dumps([MAPPINGS, SETTINGS], option=orjson.OPT_SORT_KEYS)).hexdigest()[:8]
"""Changes with the mapping: an index of another form is rebuilt beside."""


class Names:
    """What indices and aliases are called."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.state = f"{prefix}-{STATE}"

    def read(self, kind: str) -> str:
        return f"{self.prefix}-{kind}"

    def write(self, kind: str) -> str:
        return f"{self.prefix}-{kind}-write"

    def filling(self, kind: str, build: int) -> str:
        return f"{self.prefix}-{kind}-fill-{build}"

    def index(self, kind: str, build: int, form: str = FORM) -> str:
        return f"{self.prefix}-{kind}-v{form}-{build}"

    def build(self, index: str) -> int:
        """The build an index belongs to, by its name."""
        return int(index.rpartition("-")[2])
