"""`chancery erase` and `chancery hold`: a person's data destroyed, or kept."""

from pathlib import Path
from typing import Any
from uuid import UUID

import typer

from commands.privacy import ApproveErasure, PlaceContactHold, RequestOfPerson
from domain.privacy import UnderLegalHold
from infra.bootstrap import Chancery
from infra.cli.console import DATA, JSON, bar, contact_id, execute, fail, firm_id, known, out, print_json, run
from infra.erasure.carry import StoresAwaited, WouldGo, carry_out, would_go
from infra.erasure.stores import stores

FIRM = typer.Option(metavar="ID", help="The firm; `chancery firm list` shows them.")
CONTACT = typer.Option(metavar="ID", help="The contact.")


def erase(
    firm: str = FIRM,
    contact: str = CONTACT,
    approve: bool = typer.Option(False, "--approve", help="Carry it out. Without this, only what would go is shown."),
    anonymise: bool = typer.Option(
        False, "--anonymise", help="Keep the evidence of consent; destroy everything else that identifies."
    ),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Erase a person from every store: first shown, then, with --approve, done for good."""
    of, person = firm_id(firm), contact_id(contact)
    kind: Any = "anonymise" if anonymise else "erase"

    async def work(c: Chancery) -> dict[str, Any]:
        known(c, of)
        if not approve:
            return {"dry_run": True, **_shown(would_go(c, of, person))}
        if holds := would_go(c, of, person).holds:
            raise UnderLegalHold(holds=list(holds))  # before a request is recorded that could only be refused
        asked = await execute(c, RequestOfPerson(id=person, kind=kind), of)
        request = UUID(str(asked.body["request"]))
        await execute(c, ApproveErasure(id=person, request=request), of)
        with bar() as shown:
            from infra.erasure.carry import parts_of

            task = shown.add_task("Erasing", total=len(stores(parts_of(c))))
            try:
                certificate = await carry_out(
                    c, of, person, request, say=lambda store, _n: shown.update(task, advance=1, description=store)
                )
            except StoresAwaited as e:
                fail(
                    f"The keys are destroyed. It waits for {e}. A server that runs asks again until it answers (request {request})."
                )
        return {"dry_run": False, "request": str(request), "certificate": certificate}

    found = run(work, data)
    if json:
        print_json(found)
    elif found["dry_run"]:
        out.print(
            f"Would destroy {found['keys']} data keys, which open {found['events']} events, and let go of it in: {', '.join(found['stores'])}."
        )
        out.print(f"People: {', '.join(found['people'])}")
        out.print(f"Documents that go: {len(found['documents'])}. Documents that stay: {len(found['documents_kept'])}.")
        for kept in found["documents_kept"]:
            out.print(f"    {kept['id']}  {kept['because'].replace('_', ' ')}")
        if found["holds"]:
            out.print(f"Refused while these legal holds stand: {', '.join(found['holds'])}.", style="yellow")
        else:
            out.print("Nothing was written. Add --approve to carry it out: it can't be taken back.", style="yellow")
    else:
        out.print("Erased. The certificate:\n")
        out.print(found["certificate"], markup=False)


def _shown(found: WouldGo) -> dict[str, Any]:
    return {
        "people": [str(p) for p in found.subjects.people],
        "documents": [str(d) for d in found.subjects.documents],
        "documents_kept": [{"id": str(d), "because": reason} for d, reason in found.subjects.kept],
        "files": len(found.subjects.contents),
        "keys": found.keys,
        "events": found.events,
        "stores": list(found.stores),
        "holds": list(found.holds),
    }


def hold(
    firm: str = FIRM,
    contact: str = CONTACT,
    reason: str = typer.Option(help="Why the data is kept; it is sealed."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Keep a person's data under legal hold: no erasure touches it until the hold is lifted."""
    of, person = firm_id(firm), contact_id(contact)

    async def work(c: Chancery) -> dict[str, Any]:
        known(c, of)
        done = await execute(c, PlaceContactHold(id=person, reason=reason), of)
        return {"contact": str(person), "hold": done.body["hold"]}

    found = run(work, data)
    if json:
        print_json(found)
    else:
        out.print(f"The data of contact {found['contact']} is under hold {found['hold']}.")
