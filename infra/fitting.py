"""Whether a keys folder is the one of a database: before anything is made in it, or sealed under what stands there."""

from pathlib import Path

from infra.database import Database
from infra.record.vault import KeysUnusable, Vault, epoch_file

ANY = "SELECT firm_id, key_id, subject_id, purpose, epoch, wrapped FROM vault.data_keys LIMIT 1"


def fitting(database: Database, folder: Path) -> Vault:
    """The vault over this folder. KeysUnusable where the database holds sealed values and the folder lacks their keys, or has others:
    new ones would be made, and what is sealed under them could not be opened beside the old."""
    with database.connect("record") as c:
        row = c.execute(ANY, binary=True).fetchone()
    if row is None:
        return Vault(folder)
    lacking = [name for name in ("digest.key", epoch_file(row[4])) if not (folder / name).exists()]
    if lacking:
        raise KeysUnusable(
            f"{folder} has no {lacking[0]}, and this database holds what only its own keys open. Put your copy of its keys folder there, or"
            " name it in CHANCERY_KEYS. Nothing was changed."
        )
    vault = Vault(folder)
    try:
        vault.rewrap(*row)  # opened, and not kept
    except KeysUnusable as e:
        raise KeysUnusable(
            f"The keys at {folder} are not those of this database. Put your copy of its keys folder there, or name it in CHANCERY_KEYS."
            " Nothing was changed."
        ) from e
    return vault
