"""What tasks and projects can be linked to."""

from uuid import UUID

from commands.contacts import CreateContact
from commands.deals import OpenDeal
from commands.organisations import CreateOrganisation
from commands.pipelines import DefinePipeline, NewStage
from tests.desk import Desk


async def one_of_each(desk: Desk) -> dict[str, str]:
    """A contact, an organisation and a deal: their ids by what they are."""
    pipeline = await desk.do(DefinePipeline(name="Mandates", stages=[NewStage(name="Talk")]))
    return {
        "contact": (await desk.do(CreateContact(given="Ann")))["id"],
        "organisation": (await desk.do(CreateOrganisation(name="Acme")))["id"],
        "deal": (await desk.do(OpenDeal(title="House", pipeline=UUID(pipeline["id"]))))["id"],
    }


def linked(row: object, targets: dict[str, str]) -> dict[str, str]:
    """Those of the targets' kinds that a row has, with what it has."""
    return {what: str(getattr(row, what)) for what in targets if getattr(row, what) is not None}
