"""A database is opened with its own keys or not at all."""

import shutil
from pathlib import Path
from uuid import UUID

import pytest

from commands.contacts import CreateContact
from domain.firms import Region
from domain.members import ALL_PERMISSIONS
from infra.bootstrap import opened
from infra.cli.console import execute
from infra.cli.firms import create_firm
from infra.record.vault import KeysUnusable
from infra.settings import Settings


async def test_keys_that_are_missing_are_not_made_beside_what_others_sealed(settings: Settings, tmp_path: Path) -> None:
    async with opened(settings) as c:
        firm = UUID((await create_firm(c, "Sealed", Region.EU))["firm_id"])
        await execute(c, CreateContact(given="Ann"), firm, permissions=ALL_PERMISSIONS)
    for lost in (None, "digest.key", "wrapping-000001.key"):
        folder = tmp_path / f"without {lost}"
        if lost is not None:
            shutil.copytree(settings.keys_folder, folder)
            (folder / lost).unlink()
        there = sorted(folder.glob("*"))
        with pytest.raises(KeysUnusable, match="Put your copy of its keys folder there"):
            async with opened(settings.model_copy(update={"keys": folder})):
                pass
        assert sorted(folder.glob("*")) == there
    other = tmp_path / "other"
    shutil.copytree(settings.keys_folder, other)
    (other / "wrapping-000001.key").write_bytes(bytes(32))
    with pytest.raises(KeysUnusable, match="not those of this database"):
        async with opened(settings.model_copy(update={"keys": other})):
            pass
    async with opened(settings):
        pass
