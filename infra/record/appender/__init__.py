"""The one writer of the record: commands wait together, one short transaction appends them all.

R1  Positions are contiguous and become visible in order: an advisory lock, taken in its own statement at READ COMMITTED, is held
    from reading the head to the commit.
R2  A command is appended wholly or not at all, and one command's conflict never fails another's.
R3  One command id in one firm has one effect: the second time its first answer comes back; another body under it is refused.
R4  After a broken connection the same batch is tried again. Commands that had been committed are found by their ids, so an
    unknown outcome becomes known; when the database stays away it is reported as unknown.

`command` says what is appended, `statements` and `transaction` how, `insisting`, `looping` and `grouping` by whom.
"""

from infra.record.appender.command import (
    Append,
    Appended,
    Busy,
    CommandIdReused,
    Conflict,
    OutcomeUnknown,
    Unavailable,
    stream_key,
)
from infra.record.appender.grouping import Appender
from infra.record.appender.statements import APPEND_LOCK, CHANNEL
from infra.record.appender.transaction import flush

__all__ = [
    "APPEND_LOCK",
    "CHANNEL",
    "Append",
    "Appended",
    "Appender",
    "Busy",
    "CommandIdReused",
    "Conflict",
    "OutcomeUnknown",
    "Unavailable",
    "flush",
    "stream_key",
]
