"""`chancery bus …`: what the bus carries, how far its consumers are, what they could not handle."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import orjson
import psycopg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.bootstrap import Chancery
from infra.bus import dead_letters, positions, tailing
from infra.bus.connection import NoKafka, WrongKafkaSettings
from infra.bus.consumer import publisher
from infra.bus.dead_letters import Letter, NoSuchLetter, Unpublished
from infra.bus.positions import NoSuchGroup
from infra.bus.subscription import BadSubscription
from infra.bus.tailing import NothingToTail
from infra.cli.console import DATA, JSON, err, fail, firm_id, known, misuse, out, print_json, run, show

T = TypeVar("T")

app = typer.Typer(no_args_is_help=True, help="The bus: look at it, and at those who consume it.")
letters = typer.Typer(no_args_is_help=True, help="Events that a group could not handle.")
app.add_typer(letters, name="dead-letters")

GROUP = typer.Option(..., "--group", metavar="G", help="The group; `chancery bus lag` lists those there are.")
FROM = typer.Option(
    None,
    "--from",
    metavar="POSITION|TIME",
    help="A position of the record, or a time like 2026-03-01 or 2026-03-01T09:30:00+01:00 (else UTC).",
)
FIRM = typer.Option(None, "--firm", metavar="F", help="One firm alone, by its id.")
EVENTS = typer.Argument(None, metavar="[EVENT]...", help="Event ids of dead letters, as `list` shows them.")
ALL = typer.Option(False, "--all", help="Every dead letter of the group.")
WAIT = typer.Option(False, "--wait", help="Wait until the group's consumers are done with it, with progress.")
SEEN = 30.0  # seconds after which nobody seems to be at work


def _start(text: str) -> int | datetime:
    if text.isdecimal():
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        misuse(f"{text!r} is no position and no time. Write 1200, 2026-03-01 or 2026-03-01T09:30:00+01:00.")
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _moment(at: datetime | None) -> str:
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _event(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        misuse(f"{text!r} is not an event's id. `chancery bus dead-letters list` shows them.")


def _with(work: Callable[[Chancery, psycopg.Connection[Any]], T], data: Path | None) -> T:
    """Do the work with a connection; what goes wrong is a sentence."""
    from confluent_kafka import KafkaException

    async def inside(chancery: Chancery) -> T:
        with chancery.database.connect("record") as c:
            return work(chancery, c)

    try:
        return run(inside, data)
    except NoSuchGroup as e:
        fail(f"There is no group {e.args[0]!r} here. `chancery bus lag` lists those there are.")
    except (NoSuchLetter, NothingToTail, Unpublished) as e:
        fail(" ".join((type(e).__doc__ or "").split()))
    except BadSubscription as e:
        misuse(str(e))
    except (NoKafka, WrongKafkaSettings) as e:
        fail(str(e))
    except KafkaException as e:
        fail(f"Kafka does not answer as it should: {e.args[0].name()}. Check CHANCERY_KAFKA_BOOTSTRAP, and the brokers.")


@app.command()
def tail(
    type_: list[str] | None = typer.Option(
        None, "--type", metavar="T", help="A type, deals.Won.v1 or deals.*; may be given again."
    ),
    firm: str | None = FIRM,
    stream: str | None = typer.Option(None, "--stream", metavar="S", help="A kind of stream (deal), or one (deal/<id>)."),
    from_: str | None = FROM,
    count: int = typer.Option(
        10, "-n", "--count", min=0, max=10_000, help="How many of the last to begin with, when --from is not given."
    ),
    follow: bool = typer.Option(True, "--follow/--no-follow", help="Go on with what comes, until Ctrl-C; or end at the end."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Show events as the bus carries them: from Kafka when it is set, else from the log. Personal values stay sealed."""

    def work(chancery: Chancery, c: psycopg.Connection[Any]) -> None:
        chosen = None if firm is None else known(chancery, firm_id(firm))
        wants = tailing.wanted(type_ or [], stream, chosen)
        begin = tailing.last(c, count, wants) if from_ is None else tailing.position_of(c, _start(from_))
        for row in tailing.rows(chancery.database, chancery.settings, begin, wants, follow=follow):
            if json:
                leaf = orjson.loads(row.public)
                out.file.write(orjson.dumps(leaf | {"position": row.position, "firmposition": row.firm_position}).decode() + "\n")
            else:
                line = f"{row.position:>9}  {_moment(row.recorded_at)}  {row.firm_id}  {row.type:<32} {row.stream_type}/{row.stream_id}"
                out.print(line, markup=False)
            out.file.flush()

    with suppress(KeyboardInterrupt):
        _with(work, data)


@app.command()
def replay(
    group: str = GROUP,
    from_: str | None = FROM,
    firm: str | None = FIRM,
    skip: bool = typer.Option(False, "--skip", help="Set it forward, too: what lies between is never handled."),
    wait: bool = WAIT,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Set a group back to a position or a time: its consumers handle again what came since. Other groups hear nothing of it."""
    if from_ is None:
        misuse("Say where to begin: --from POSITION or --from TIME. `chancery bus tail` shows positions.")

    def work(chancery: Chancery, c: psycopg.Connection[Any]) -> list[dict[str, Any]]:
        chosen = None if firm is None else known(chancery, firm_id(firm))
        moved = positions.replay(c, group, _start(from_), chosen, skip=skip)
        if wait:
            total = sum(row["lag"] for row in positions.lags(c, group))
            _wait(c, group, total, lambda: sum(row["lag"] for row in positions.lags(c, group)))
        return moved

    moved = _with(work, data)
    if json:
        print_json(moved)
        return
    show(moved, ("firm", "was", "next", "events"), json=False)
    back, forward = sum(m["events"] for m in moved if m["events"] > 0), -sum(m["events"] for m in moved if m["events"] < 0)
    out.print(f"{back} events are handled again by {group}{f', {forward} are skipped' if forward else ''}.")


def _wait(c: psycopg.Connection[Any], group: str, total: int, left: Callable[[], int]) -> None:
    """Show progress until nothing is left; fail when nobody of the group is at work."""
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn())
    begun, noted = time.monotonic(), total
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        bar = shown.add_task(group, total=total)
        while (now_left := left()) > 0:
            shown.update(bar, completed=max(0, total - now_left))
            if now_left != noted:
                begun, noted = time.monotonic(), now_left
            row = c.execute(
                "SELECT seen_at > now() - make_interval(secs => %s) FROM chancery.bus_groups WHERE name = %s", (SEEN, group)
            ).fetchone()
            if time.monotonic() - begun > SEEN and not (row and row[0]):
                fail(f"No consumer of {group} has been at work for {SEEN:.0f} seconds. {now_left} events wait; start a consumer.")
            time.sleep(0.2)


@app.command()
def lag(
    group: str | None = typer.Option(None, "--group", metavar="G", help="One group alone."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """How far each group is, firm by firm, and in Kafka partition by partition. Exit 1 when a group has stopped."""

    def work(chancery: Chancery, c: psycopg.Connection[Any]) -> dict[str, list[dict[str, Any]]]:
        if group is not None:
            positions.need(c, group)
        found = positions.groups(c, group)
        parts = tailing.partitions(chancery.settings, [g["group"] for g in found]) if chancery.settings.kafka_bootstrap else []
        return {"groups": found, "firms": positions.lags(c, group), "partitions": parts}

    found = _with(work, data)
    if json:
        print_json(found)
    elif not found["groups"]:
        out.print("Nobody has consumed from the bus yet.")
    else:
        groups = [{**g, "seen_at": _moment(g["seen_at"])} for g in found["groups"]]
        show(groups, ("group", "lag", "seconds", "dead_letters", "seen_at", "stopped"), json=False)
        behind = [f for f in found["firms"] if f["lag"] or f["attempts"]]
        if behind:
            out.print()
            show(
                [{**f, "retry_at": _moment(f["retry_at"])} for f in behind],
                ("group", "firm", "next", "head", "lag", "seconds", "attempts", "error", "retry_at"),
                json=False,
            )
        if found["partitions"]:
            out.print()
            show(found["partitions"], ("group", "topic", "partition", "committed", "end", "lag"), json=False)
    if any(g["stopped"] for g in found["groups"]):
        raise typer.Exit(1)


@app.command()
def forget(group: str = GROUP, data: Path | None = DATA) -> None:
    """Drop all that is known of a group that is needed no more: its places and its dead letters. Started again, it begins anew."""

    def work(chancery: Chancery, c: psycopg.Connection[Any]) -> None:
        dead_letters.drop(c, group)
        dead_letters.publish(c, group, publisher(chancery.settings))
        positions.forget(c, group)

    _with(work, data)
    out.print(f"The group {group} is forgotten.")


@app.command("remove-old")
def remove_old(data: Path | None = DATA) -> None:
    """Delete the topics of generations that are not the live one any more, with all that is sealed in them. Run a rebuild of the relay before."""
    from infra.bus.relay import Relay

    names = _with(lambda chancery, _c: Relay(chancery.settings, chancery.database).remove_old(), data)
    out.print(f"Deleted: {', '.join(names)}." if names else "There is no old generation.")


# --- dead letters


def _row(of: Letter) -> dict[str, Any]:
    return {
        "id": str(of.event_id),
        "position": of.position,
        "firm": str(of.firm),
        "type": of.type,
        "stream": of.stream,
        "state": of.state,
        "attempts": of.attempts,
        "replays": of.replays,
        "error": of.error,
        "reason": of.reason,
        "died_at": of.died_at,
    }


@letters.command("list")
def list_(
    group: str = GROUP,
    firm: str | None = FIRM,
    most: int = typer.Option(1_000, "--most", min=1, max=100_000, help="How many to list at most."),
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """The events that a group could not handle, in the order of the record."""

    def work(chancery: Chancery, c: psycopg.Connection[Any]) -> tuple[list[dict[str, Any]], int]:
        positions.need(c, group)
        chosen = None if firm is None else known(chancery, firm_id(firm))
        return [_row(n) for n in dead_letters.letters(c, group, firm=chosen, most=most)], dead_letters.count(c, group)

    rows, total = _with(work, data)
    if json:
        show(rows, (), json=True)
    elif rows:
        show(
            [{**r, "died_at": _moment(r["died_at"])} for r in rows],
            ("id", "type", "state", "attempts", "error", "died_at"),
            json=False,
        )
    else:
        out.print(f"The group {group} has no dead letters.")
    if len(rows) < total and firm is None:
        err.print(f"{total - len(rows)} more; --most shows more at once.", style="dim", markup=False)


@letters.command("show")
def show_(
    event: str = typer.Argument(help="The event's id, as `list` shows it."),
    group: str = GROUP,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """One dead letter: what happened, where in the code, where it came from, and the event itself. Personal values stay sealed."""

    def work(_chancery: Chancery, c: psycopg.Connection[Any]) -> dict[str, Any]:
        positions.need(c, group)
        found = dead_letters.letter(c, group, _event(event))
        row = dead_letters.event_of(c, found)
        return {
            **_row(found),
            "firm_position": found.firm_position,
            "place": found.place,
            "trace": found.trace,
            "cloudevent": None if row is None else orjson.loads(row.public),
        }

    found = _with(work, data)
    if json:
        print_json(found)
        return
    for name, value in found.items():
        if name == "trace":
            out.print("trace:", *(f"  {line}" for line in value), sep="\n", markup=False)
        elif isinstance(value, dict):
            out.print(f"{name}: {orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()}", markup=False)
        elif value is not None:
            out.print(f"{name.replace('_', ' ')}: {value}", markup=False)


def _chosen(events: list[str] | None, all_: bool) -> list[UUID] | None:
    if bool(events) == all_:
        misuse("Name the events, or say --all. `chancery bus dead-letters list` shows them.")
    return [_event(e) for e in events] if events else None


@letters.command("replay")
def replay_(
    events: list[str] | None = EVENTS,
    group: str = GROUP,
    all_: bool = ALL,
    wait: bool = WAIT,
    data: Path | None = DATA,
    json: bool = JSON,
) -> None:
    """Hand dead letters to the group's consumers again, once what was wrong is mended. With --wait, exit 1 when some die again."""
    chosen = _chosen(events, all_)

    def work(_chancery: Chancery, c: psycopg.Connection[Any]) -> dict[str, Any]:
        sent = dead_letters.replay(c, group, chosen)

        def left(states: tuple[str, ...]) -> int:
            sql = "SELECT count(*) FROM chancery.bus_dead_letters WHERE group_name = %s AND event_id = ANY(%s) AND state = ANY(%s)"
            return int((c.execute(sql, (group, sent, list(states))).fetchone() or (0,))[0])

        if not wait:
            return {"replaying": len(sent)}
        _wait(c, group, len(sent), lambda: left(("replaying",)))
        dead = left(("dead",))
        return {"replaying": 0, "mended": len(sent) - dead, "dead": dead}

    done = _with(work, data)
    if json:
        print_json(done)
    elif not wait:
        out.print(f"{done['replaying']} dead letters go to {group} again.")
    else:
        out.print(f"{done['mended']} dead letters were handled, {done['dead']} died again.")
    if done.get("dead"):
        raise typer.Exit(1)


@letters.command()
def drop(
    events: list[str] | None = EVENTS, group: str = GROUP, all_: bool = ALL, data: Path | None = DATA, json: bool = JSON
) -> None:
    """Give dead letters up: the group never handles these events. The record keeps them."""
    chosen = _chosen(events, all_)

    def work(chancery: Chancery, c: psycopg.Connection[Any]) -> int:
        dropped = dead_letters.drop(c, group, chosen)
        with suppress(Unpublished):  # a consumer of the group says so to the topic later
            dead_letters.publish(c, group, publisher(chancery.settings))
        return len(dropped)

    count = _with(work, data)
    if json:
        print_json({"dropped": count})
    else:
        out.print(f"{count} dead letters of {group} were given up.")
