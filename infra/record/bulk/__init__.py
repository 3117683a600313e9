"""The record's way in for imports: thousands of commands a second from one plain thread, with the appender's guarantees.

    with Bulk(database, vault, firm=firm, actor=actor, origin=f"import/{id}") as bulk:
        for outcome in bulk.run(Task(run=…, key=f"{id}/{row.number}", said=row.bytes, label=row) for row in rows):
            outcome.answer, outcome.refused, outcome.task.label

`Task.run` is a coroutine function that takes a `Work`, like a command's handler; `command_task` makes a task of a command.
It runs at once and to its end: what it awaits may only be `Work.load` and `Work.find`, which read synchronously here, from memory
where they can. Tasks see what the tasks before them did. Outcomes come in no certain order, each after it is durable, one per task.

R1 to R4 of `infra.record.appender` and X1 to X3 of `infra.record.execute` hold here too, and beyond them:

B1  Tasks of one run that touch the same stream take effect in the order given. A task that rested on events of one that could not
    be written (another writer was faster) is decided again after it.
B2  A refusal is checked like a success: the versions it rests on are compared in the same transaction, else it is decided again.
B3  A data key is written in the transaction of the first command that seals under it, whichever that turns out to be.

While one batch is being written, the next is decided, encoded and sealed: from the third batch on in `helpers` processes beside this
one, piece by piece as it is decided, so that here is only decided and written. An event that turns out there not to be recordable is
decided once more and refused here. Events that carry the hash of the one before (consent) are encoded here. A batch holds the writers'
lock while the server takes it, so its size bounds how long other commands wait. Memory is bounded by the batch, the look-ahead and the
number of entities kept. An exception that is no refusal stops the run after the batch under way; running again with the same keys goes
on from there.

`running` decides, `forming` gives events their stored form or has it given, `writing` writes; `tasks` is what they hand to each other.
"""

from infra.record.bulk.running import HELPERS, Bulk, paced
from infra.record.bulk.tasks import Outcome, Task, command_task

__all__ = ["HELPERS", "Bulk", "Outcome", "Task", "command_task", "paced"]
