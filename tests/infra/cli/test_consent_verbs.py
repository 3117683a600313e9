"""Decisions, proofs, holds and erasures as they are typed."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from commands.consent import GiveConsent
from commands.contacts import CreateContact
from commands.notices import CreateNotice
from commands.purposes import DefinePurpose
from infra.bootstrap import opened
from infra.cli.console import chosen, execute
from infra.database import Database
from infra.projector.engine import Projector
from infra.record.vault import Vault
from tests.calling import at_home, call


@pytest.fixture(autouse=True)
def here(database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return at_home(monkeypatch, database, tmp_path_factory.getbasetemp() / "consent-verbs")


async def _person(firm: UUID) -> str:
    async with opened(chosen()) as c:
        await execute(c, DefinePurpose(key="news", name="News", dpv="https://w3id.org/dpv#DirectMarketing"), firm)
        notice = await execute(c, CreateNotice(title="Privacy", language="en", text="We write.", purposes=("news",)), firm)
        contact = await execute(c, CreateContact(given="Ann", family="Ash"), firm)
        about: dict[str, Any] = {
            "id": contact.body["id"],
            "purposes": ["news"],
            "channel": "email",
            "contact_point": "a@example.org",
        }
        give = GiveConsent.model_validate_json(json.dumps({**about, "notice": {"id": notice.body["id"]}}))
        await execute(c, give, firm)
        return str(contact.body["id"])


def see(database: Database, folder: Path) -> None:
    stop = threading.Event()
    Projector(database, Vault(folder / "keys")).run(stop, progress=lambda _reached: stop.set())


def test_a_persons_consent_is_decided_proved_verified_held_and_erased(database: Database, here: Path, tmp_path: Path) -> None:
    firm = json.loads(call("firm", "create", "Fernsby & Co", "--json").stdout)["firm_id"]
    contact = asyncio.run(_person(UUID(firm)))
    see(database, here)
    who = ("--firm", firm, "--contact", contact)
    yes = call("consent", "decide", *who, "--purpose", "news", "--channel", "email")
    assert (yes.exit_code, yes.stdout.splitlines()[0]) == (0, "Yes.")
    no = call("consent", "decide", *who, "--purpose", "news", "--channel", "email", "--as-of", "2020-01-01T00:00:00Z")
    assert (no.exit_code, no.stdout.splitlines()[0]) == (1, "No.")
    assert call("consent", "decide", *who, "--purpose", "news", "--channel", "email", "--as-of", "2020-01-01").exit_code == 2

    key, bundle = tmp_path / "key", tmp_path / "proof.json"
    key.write_text(call("log", "vkey", "--firm", firm).stdout)
    proved = call("consent", "proof", *who, "-o", bundle, "--disclose", "contact_point")
    assert proved.exit_code == 0, proved.output
    good = call("verify", bundle, "--vkey", key, "--complete")
    assert good.exit_code == 0, good.output
    assert "a@example.org" in good.stdout
    monday = tmp_path / "monday"  # kept by whoever verifies, and by nobody here
    monday.write_text(call("log", "checkpoint", "--firm", firm).stdout)
    assert call("consent", "proof", *who, "-o", bundle).exit_code == 0, "its seal is an event"
    assert call("verify", bundle, "--vkey", key, "--old", monday).exit_code == 1
    assert call("consent", "proof", *who, "-o", bundle, "--kept", monday, "--disclose", "contact_point").exit_code == 0
    since = call("verify", bundle, "--vkey", key, "--complete", "--old", monday)
    assert since.exit_code == 0, since.output
    assert call("consent", "proof", *who, "--kept", tmp_path / "tuesday").exit_code == 1
    bundle.write_text(bundle.read_text().replace("a@example.org", "b@example.org").replace('"seq"', '"seq" '))
    forged = json.loads(bundle.read_text())
    forged["entries"][0]["index"] += 1
    bundle.write_text(json.dumps(forged))
    assert call("verify", bundle, "--vkey", key).exit_code == 1

    held = call("hold", *who, "--reason", "A dispute")
    assert held.exit_code == 0, held.output
    see(database, here)
    assert "legal holds" in call("erase", *who).stdout
    refused = call("erase", *who, "--approve")
    assert refused.exit_code == 1
    assert "legal hold" in refused.output
    assert "['" not in refused.output, "a list is said as people say it"
    stranger = ("--firm", firm, "--contact", "01890000-0000-7000-8000-000000000000")
    nobody = call("erase", *stranger)
    assert (nobody.exit_code, "Traceback" in nobody.output) == (1, False)
    assert call("consent", "proof", *who, "--disclose", "shoe_size").exit_code == 2
