"""The filter language, AIP-160: text in, one frozen tree out, knowing nothing of fields, types or engines.

F1  AND binds looser than OR; terms side by side mean AND.
F2  Printing a tree and parsing the print gives the same tree (as long as the print keeps to the limits of F3).
F3  At most 4,000 bytes, 100 comparisons and words, 32 levels: whatever comes beyond is refused before it costs anything.
F4  Every refusal says at which character (from 1) and what to write instead; it never repeats a value, which may be personal.
F5  There are no functions: one that is called is refused by its name.
"""

from queries.filtering.parser import MAX_BYTES, MAX_DEPTH, MAX_TERMS, FilterTooLarge, FunctionInFilter, parse
from queries.filtering.printing import show
from queries.filtering.tokens import FilterMalformed, unstorable
from queries.filtering.tree import ANYTHING, And, Comparator, Node, Not, Or, Restriction, Value, Word, both, either

__all__ = [
    "ANYTHING",
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_TERMS",
    "And",
    "Comparator",
    "FilterMalformed",
    "FilterTooLarge",
    "FunctionInFilter",
    "Node",
    "Not",
    "Or",
    "Restriction",
    "Value",
    "Word",
    "both",
    "either",
    "parse",
    "show",
    "unstorable",
]
