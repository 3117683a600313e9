"""The list from the fair, imported as any file is: this morning, with one address that nobody can write to."""

import csv
import tempfile
from pathlib import Path

from infra.bootstrap import Chancery
from infra.demo.names import TOWNS, person, phone
from infra.demo.stage import Stage
from infra.imports.run import Importer

FIRST = 1500  # no contact of `people` has these names
VISITORS = 9


def carry(chancery: Chancery, stage: Stage) -> None:
    """Import the visitors of the fair."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "visitors-of-the-fair.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("Name", "Email", "Phone", "City", "Country", "Tags"))
            for i in range(VISITORS):
                given, family = person(FIRST + i)
                email = f"{given} at the fair" if i == 4 else f"{given}.{family}@example.org".lower()
                number = phone(stage.chance("visitor", i))["number"]
                table.writerow((f"{given} {family}", email, number, sorted(TOWNS)[i % len(TOWNS)], "GB", "fair"))
        with Importer(
            chancery.database, chancery.vault, chancery.blobs, firm=stage.firm, actor=stage.actor("dashiell")
        ) as importer:
            importer.carry(path, "contacts")
