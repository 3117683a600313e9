"""Real records to search in: accounts and deals, cards, people, policies and issues, imported into one firm."""

import csv
import gzip
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from infra.database import Database
from infra.record import wire
from infra.search.indexer import Indexer
from tests.infra.imports.importing import Firm
from tests.shared import shared

CRM = "data/crm-maven-sales"


def people() -> Iterator[dict[str, str]]:
    """The people of the Febrl data before their doubles were made."""
    with gzip.open(shared("data/dedupe-people/febrl_dataset1.csv.gz"), "rt", encoding="utf-8") as file:
        for row in csv.DictReader(file, skipinitialspace=True):
            if row["rec_id"].endswith("-org"):
                yield row


def fill(firm: Firm, folder: Path) -> None:
    """Import everything; what a table needs beside it stands beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("products.csv", "sales_teams.csv"):
        shutil.copy(shared(f"{CRM}/{name}"), folder / name)
    with (
        shared(f"{CRM}/sales_pipeline.csv").open(encoding="utf-8") as deals,
        (folder / "deals.csv").open("w", encoding="utf-8") as few,
    ):
        few.writelines(islice(deals, 1_000))
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file)
        out.writerow(["id", "first name", "last name", "street", "city", "postal code", "state"])
        for p in people():
            street = " ".join(filter(None, (p["street_number"], p["address_1"], p["address_2"])))
            out.writerow(
                [p["rec_id"], p["given_name"].title(), p["surname"].title(), street, p["suburb"].title(), p["postcode"], p["state"]]
            )
    firm.carry(shared(f"{CRM}/accounts.csv"), "contacts", "maven-accounts.toml")
    firm.carry(folder / "deals.csv", "deals", "maven-deals.toml")
    firm.carry(folder / "people.csv", "contacts")
    for card in sorted(shared("data/vcards/ez-vcard").rglob("*.vcf")):
        firm.carry(card, "contacts")
    with gzip.open(shared("data/jira-sprints/apache_delay_due.csv.gz"), "rt", encoding="utf-8") as issues:
        (folder / "issues.csv").write_text("".join(islice(issues, 400)), encoding="utf-8")
    firm.carry(folder / "issues.csv", "tasks", "jira-issues.toml")
    latest(folder / "policies")
    firm.carry(folder / "policies", "documents")


def latest(folder: Path) -> None:
    """The latest version of each policy, as a folder of files."""
    import json
    import tarfile

    folder.mkdir(exist_ok=True)
    newest: dict[str, str] = {}
    with shared("data/site-policy-versions/versions.jsonl").open(encoding="utf-8") as versions:
        for line in versions:
            version = json.loads(line)
            if version["blob"]:
                newest[version["document"]] = version["blob"]
    names = {f"{blob}.md": document for document, blob in newest.items()}
    with tarfile.open(shared("data/site-policy-versions/blobs.tar.gz")) as archive:
        for member in archive:
            document = names.get(Path(member.name).name)
            found = archive.extractfile(member) if document and member.isfile() else None
            if found is not None and document:
                (folder / document).write_bytes(found.read())


def index(database: Database, firm: Firm) -> None:
    """Bring the index up to date."""
    with database.connect("record") as c:
        wire.register(c)
        indexer = Indexer(database, firm.vault, firm.blobs)
        indexer.prepare(c)
        indexer.catch_up(c)
        assert not c.execute("SELECT FROM chancery.projections WHERE name = 'search' AND stopped_at IS NOT NULL").fetchall()
