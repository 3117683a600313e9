"""Consent: how soon a decision is made, how many a second, and how large, how quick to make and to verify a proof is."""

import asyncio
import gc
import random
import shutil
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg

from bench.harness import PAIRS, Broken, Figure, figure
from bench.http import _port, _started
from bench.place import ACTOR, Place, a_firm, served_from
from commands.consent import GiveConsent, WithdrawConsent
from commands.contacts import CreateContact
from commands.notices import CreateNotice
from commands.purposes import DefinePurpose
from domain.consent.words import Channel
from domain.kernel import FirmId
from infra.proofs import heads
from infra.proofs.acting import execute, sealing
from infra.proofs.bundle import Wanted, bundle
from infra.proofs.sequencer import Sequencer
from infra.proofs.signing import Signed, SigningKeys
from infra.proofs.store import AsyncLogStore, LogStore, NodeCache
from infra.reading import Moment, Readers
from infra.record.bulk import Bulk, command_task
from infra.record.vault import Vault
from queries.decisions import Decide, decision
from verifier import chancery_verify

PEOPLE = 100_000
ASKED = 1_500
BATCH = 10_000
BATCHES = 9
LINKS = 10
BUNDLES = 40
COLD = 25
DPV = "https://w3id.org/dpv#DirectMarketing"
BEGAN = datetime(2024, 1, 1, tzinfo=UTC)


def _fill(p: Place, firm: UUID) -> None:
    """Rows of the views as so many grants leave them; the queries read no other tables for a decision but the event that decided."""
    with psycopg.connect(p.conninfo, autocommit=True) as c:
        for sql in FILLING:
            c.execute(sql.encode(), {"firm": firm, "count": PEOPLE})
        c.execute("VACUUM ANALYZE views.contacts")
        c.execute("VACUUM ANALYZE views.consents")


def _clone(table: str, sets: dict[str, str]) -> str:
    """A hundred thousand rows like the first one, with other values in some columns."""
    shown = ", ".join(f"'{k}', {v}" for k, v in sets.items())
    return (
        f"INSERT INTO views.{table} SELECT r.* FROM (SELECT * FROM views.{table} WHERE firm_id = %(firm)s ORDER BY id LIMIT 1) t,"
        f" generate_series(1, %(count)s) n, LATERAL jsonb_populate_record(NULL::views.{table}, to_jsonb(t) || jsonb_build_object({shown})) r"
    )


FILLING = (
    _clone("contacts", {"id": "md5('c' || n)::uuid"}),
    _clone("consents", {"id": "md5('k' || n)::uuid", "contact": "md5('c' || n)::uuid"}),
)


def _person(n: int) -> UUID:
    import hashlib

    return UUID(hashlib.md5(f"c{n}".encode(), usedforsecurity=False).hexdigest())


async def _decisions(p: Place, firm: FirmId) -> tuple[list[float], list[float]]:
    """The 99th percentiles of rounds of decisions of now and as of any day, in turn; a first round of each warms up."""
    readers = Readers(p.database)
    await readers.open()
    now: list[float] = []
    then: list[float] = []
    chosen = random.Random(7)
    try:
        for n in range(PAIRS + 1):
            for any_day, percentiles in ((True, then), (False, now)) if n % 2 else ((False, now), (True, then)):
                gc.collect()
                percentiles.append(_percentile(await _round(readers, firm, chosen, any_day=any_day)))
    finally:
        await readers.close()
    return now[1:], then[1:]


async def _round(readers: Readers, firm: FirmId, chosen: random.Random, *, any_day: bool) -> list[float]:
    """Milliseconds of each decision, one after the other, each in a transaction of its own as over HTTP."""
    times = []
    for _ in range(ASKED):
        moment = Moment(as_of=BEGAN + timedelta(days=chosen.randrange(1, 900))) if any_day else Moment()
        q = Decide(contact=_person(chosen.randrange(1, PEOPLE)), purpose="news", channel=Channel.EMAIL)
        started = time.perf_counter()
        async with readers.reading(firm, frozenset({"consent:read"}), moment) as r:
            found: Any = await decision(q, r)
        times.append((time.perf_counter() - started) * 1000)
        if not found["allowed"]:
            raise Broken(f"a consent was not found: {found['reasons']}")
    return times


def _percentile(times: list[float]) -> float:
    return sorted(times)[len(times) * 99 // 100]


def _batches(port: int, key: str) -> list[float]:
    """Decisions a second, end to end over HTTP, one request after the other."""
    out = []
    for n in range(BATCHES + 1):
        ids = [str(_person(1 + (n * BATCH + i) % PEOPLE)) for i in range(BATCH)]
        body = orjson.dumps({"contacts": ids, "purpose": "news", "channel": "email"})
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/consent/decisions",
            body,
            {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
        )
        started = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own server
            raw = answer.read()
        took = time.perf_counter() - started
        if orjson.loads(raw)["allowed"] != BATCH:
            raise Broken("not everybody who consented was found")
        out.append(BATCH / took)
    return out[1:]


def _chain(p: Place, vault: Vault, firm: FirmId) -> UUID:
    with Bulk(p.database, vault, firm=firm, actor=ACTOR) as bulk:

        def do(command: Any) -> Any:
            (done,) = bulk.run([command_task(command, actor=ACTOR)])
            if done.refused is not None:
                raise done.refused
            return done.answer

        do(DefinePurpose(key="news", name="News", dpv=DPV, occurred_at=BEGAN))
        text = {"title": "Privacy", "language": "en", "text": "We write to you. " * 60, "purposes": ("news",), "occurred_at": BEGAN}
        notice = do(CreateNotice.model_validate(text))["id"]
        contact = UUID(do(CreateContact(given="Ann", family="Ash"))["id"])
        about = {"id": contact, "purposes": ("news",), "channel": Channel.EMAIL}
        sealed = {"contact_point": "ann@example.org", "ip_address": "203.0.113.7", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"}
        for n in range(LINKS):
            at = BEGAN + timedelta(hours=n)
            if n % 2:
                do(WithdrawConsent.model_validate({**about, **sealed, "occurred_at": at}))
            else:
                do(GiveConsent.model_validate({**about, **sealed, "notice": {"id": notice}, "occurred_at": at}))
        last = {**about, "notice": {"id": notice}, "occurred_at": BEGAN + timedelta(hours=LINKS)}
        other = UUID(do(CreateContact(given="Bo", family="Birch"))["id"])
        do(GiveConsent.model_validate({**last, "id": other, "occurred_at": BEGAN}))
    return contact


async def _bundles(p: Place, vault: Vault, firm: FirmId, contact: UUID) -> tuple[dict[str, Any], list[float]]:
    """One of them, and how many a second in each round."""
    readers = Readers(p.database)
    await readers.open()
    cache = NodeCache()
    try:
        made: dict[str, Any] = {}
        rates = []
        for _ in range(PAIRS + 1):
            gc.collect()
            started = time.perf_counter()
            for _ in range(BUNDLES):
                async with readers.reading(firm, frozenset({"consent:read", "personal:read"})) as r:
                    made = await bundle(AsyncLogStore(r.connection, firm, cache), vault, firm, contact, Wanted(disclose=None))
            rates.append(BUNDLES / (time.perf_counter() - started))
        return made, rates[1:]
    finally:
        await readers.close()


def _cold(folder: Path, made: dict[str, Any], vkey: str) -> list[float]:
    """Milliseconds from the start of a Python with nothing but the one file to its end."""
    folder.mkdir()
    shutil.copy(chancery_verify.__file__, folder / "verify.py")
    (folder / "proof.json").write_bytes(orjson.dumps(made))
    (folder / "key").write_text(vkey)
    line = [sys.executable, "-I", "verify.py", "proof.json", "--vkey", "key", "--complete"]
    out = []
    for _ in range(COLD):
        started = time.perf_counter()
        done = subprocess.run(line, cwd=folder, capture_output=True, check=False)
        out.append((time.perf_counter() - started) * 1000)
        if done.returncode:
            raise Broken(done.stderr.decode())
    return out[1:]


def _absolute(name: str, unit: str, values: list[float], goal: float | None, direction: Any) -> Figure:
    return figure(name, unit, [(v, 1.0) for v in values], goal=goal, direction=direction, unit=unit)


def measure(p: Place) -> list[Figure]:
    data = p.folder / "consent"
    environment = served_from(p, data)
    p.run(
        "TRUNCATE record.events, record.streams, record.commands, record.firm_heads, vault.data_keys; UPDATE record.head SET position = 0"
    )
    firm, key = a_firm(environment)
    vault = Vault(data / "keys")
    contact = _chain(p, vault, firm)
    s = Sequencer(p.database, SigningKeys(data / "keys"), Signed(data / "keys"))
    with p.database.connect("record") as c:
        s.prepare(c)
        s.catch_up(c)
        execute(p.database, vault, sealing(heads.seal(p.database, LogStore(c, firm).log())), firm)
        s.catch_up(c)
        vkey = LogStore(c, firm).log().vkey
    port = _port()
    serve = [sys.executable, "-m", "infra.cli", "serve", "--port", str(port)]
    with _started(serve, port, environment):
        until = time.monotonic() + 90
        while not p.query(f"SELECT FROM views.consents WHERE firm_id = '{firm}' AND contact <> '{contact}'"):
            if time.monotonic() > until:
                raise Broken("the views did not catch up")
            time.sleep(0.5)
        p.run(f"DELETE FROM views.consents WHERE contact = '{contact}'")
        _fill(p, firm)
        batches = _batches(port, key)
    now, then = asyncio.run(_decisions(p, firm))
    made, rates = asyncio.run(_bundles(p, vault, firm, contact))
    if "heads" not in made or len(made["entries"]) != LINKS + 1:
        raise Broken("the bundle is not what it should be")
    cold = _cold(p.folder / "alone", made, vkey)
    size = len(orjson.dumps(made)) / 1000
    return [
        _absolute("decision of now, 99th percentile, 100,000 people", "ms", now, 5, "at most"),
        _absolute("decision as of any day, 99th percentile", "ms", then, 5, "at most"),
        _absolute("decisions in batches of 10,000 over HTTP", "/s", batches, 20_000, "at least"),
        _absolute("verify one file, cold", "ms", cold, 150, "at most"),
        _absolute("bundle of 10 events with heads, all disclosed", "kB", [size], 25, "at most"),
        _absolute("bundles made and checked", "/s", rates, None, "at least"),
    ]


__all__ = ["measure"]
