"""A file that comes again with other values: rows amend, but what a person changed since stays and is said."""

from pathlib import Path
from uuid import UUID

from commands.contacts import AmendContact
from commands.deals import AmendDeal
from commands.tasks import AmendTask
from domain.contacts import CONTACT
from domain.deals import DEAL
from domain.tasks import TASK
from tests.infra.imports.importing import Firm

HEAD = "id,first name,last name,title,email,nickname\n"


def only(firm: Firm, type: str) -> UUID:
    return firm.one("SELECT stream_id FROM record.events WHERE firm_id = %s AND stream_type = %s LIMIT 1", firm.id, type)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_what_a_person_changed_since_is_not_overwritten_and_the_rest_is(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    other.carry(
        written(tmp_path, "people.csv", f"{HEAD}1,Ann,Lee,Clerk,ann@x.example,North\n2,Bob,Ray,Clerk,bob@x.example,South\n"),
        "contacts",
    )
    (ann, bob) = (
        i
        for (i,) in other.all(
            "SELECT stream_id FROM record.events WHERE firm_id = %s AND type = 'contacts.Created.v1' ORDER BY position", other.id
        )
    )
    other.do(AmendContact(id=ann, job_title="Partner"))
    changed = f"{HEAD}1,Ann,Leigh,Director,ann@x.example,East\n2,Bob,Ray,Director,bob@x.example,South\n"
    again = other.carry(written(tmp_path, "people.csv", changed), "contacts")
    assert (again.changed, again.issues) == (2, 1)
    assert next(iter(again.reasons)).startswith("job_title: somebody changed it here since")
    ann_now, bob_now = other.state(CONTACT, ann), other.state(CONTACT, bob)
    assert (ann_now.profile.job_title, ann_now.profile.family, ann_now.profile.nickname) == ("Partner", "Leigh", "East")
    assert bob_now.profile.job_title == "Director"
    # and not at the third time either: it is still the person's
    third = other.carry(written(tmp_path, "people.csv", changed.replace("East", "West").replace("Director", "Chair")), "contacts")
    assert third.issues == 1
    assert other.state(CONTACT, ann).profile.job_title == "Partner"
    assert other.state(CONTACT, ann).profile.nickname == "West"
    over = other.carry(tmp_path / "people.csv", "contacts", overwrite=True)
    assert (over.changed, over.unchanged, over.issues) == (1, 1, 0)
    assert other.state(CONTACT, ann).profile.job_title == "Chair"


def test_the_same_value_as_the_persons_is_nothing_to_report(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    other.carry(written(tmp_path, "people.csv", f"{HEAD}1,Ann,Lee,Clerk,ann@x.example,North\n"), "contacts")
    other.do(AmendContact(id=only(other, "contact"), job_title="Partner"))
    again = other.carry(written(tmp_path, "people.csv", f"{HEAD}1,Ann,Lee,Partner,ann@x.example,North\n"), "contacts")
    assert (again.unchanged, again.issues) == (1, 0)


def test_deals_and_tasks_keep_what_was_changed_by_hand(firm: Firm, tmp_path: Path) -> None:
    other = firm.another()
    other.carry(written(tmp_path, "deals.csv", "deal id,title,stage,amount,currency\n1,One,New,10,EUR\n"), "deals")
    deal = only(other, "deal")
    other.do(AmendDeal(id=deal, amount="25.00", currency="EUR"))
    again = other.carry(written(tmp_path, "deals.csv", "deal id,title,stage,amount,currency\n1,Other,New,12,EUR\n"), "deals")
    state = other.state(DEAL, deal)
    assert (str(state.amount), state.title, again.issues) == ("25.00", "Other", 1)
    other.carry(written(tmp_path, "tasks.csv", "task id,title,status\n1,First,open\n"), "tasks")
    task = only(other, "task")
    other.do(AmendTask(id=task, title="By hand"))
    again = other.carry(written(tmp_path, "tasks.csv", "task id,title,status\n1,Second,completed\n"), "tasks")
    assert (other.state(TASK, task).title, other.state(TASK, task).status, again.issues) == ("By hand", "completed", 1)
