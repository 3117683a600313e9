"""Copies of the database and of the documents' contents, and a system made of them again. Never the keys.

BK1  A copy is of one moment: the database in one snapshot, the contents that it names after it. The manifest is written last, so that a
     copy that was broken off is none.
BK2  Keys are never in a copy: whoever has only the copy reads no personal value of the record. Rows of views hold them in the open, so
     a copy is kept as the database is.
BK3  What is restored is what was copied: every byte is compared with the manifest before anything is changed.
BK4  A database that holds events is not replaced unless it is asked for twice, and never while anyone works with it. What it held stands
     aside until the copy is whole.
BK5  Nobody comes back who was erased: the list beside the keys is carried out again before anything serves (ER4).
"""

from infra.backup.copies import BackupRefused, Copied, Progress
from infra.backup.making import backup
from infra.backup.restoring import restore

__all__ = ["BackupRefused", "Copied", "Progress", "backup", "restore"]
