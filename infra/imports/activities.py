"""What the activities of a log mean: stages, offers, work items, outcomes; by the rules of a map, or guessed from a survey of the log.

The guess: an activity that is ever scheduled or started is a work item; one of an offer family or with an offer's word is an offer; one with a
word of winning or losing (in seven languages) that nearly always ends its case is an outcome; every other one is a stage.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from infra.imports.eventlogs import EventLog, LogEvent, Trace
from infra.imports.mapparts import ActivityRule, FieldMap, LogMap
from infra.imports.maps import ImportMap
from infra.imports.tables import normal
from infra.imports.values import decimal_sign, number
from infra.imports.vocabulary import BY_NAME

SURVEYED = 5_000
MAX_RULES = 500
TERMINAL = 0.9

_LOST = re.compile(
    r"declin|reject|cancel|\blost\b|_lost|closed lost|denied|deny|refus|withdr|abandon|disqualif|duplicate|"
    r"\binvalid|expired|\bfailed|not approved|not accepted|abgelehnt|ablehn|storn|verloren|zurückgezogen|"
    r"afgewezen|geweigerd|geannuleerd|ingetrokken|perdu|annul|rechaz|cancelad|perdid|rifiut|recusad|desist"
)
_WON = re.compile(
    r"\bwon\b|_won|closed won|approv|activat|accept|\bsigned|\bpaid\b|payment (?:handled|made|received|done|"
    r"completed)|granted|registered|hired|fulfilled|delivered|complete|closed|resolved|\bdone\b|finished|"
    r"gewonnen|genehmigt|bewilligt|angenommen|bezahlt|abgeschlossen|goedgekeurd|betaald|afgerond|gagn|accepté|"
    r"approuvé|payé|conclu|ganad|aprobad|pagad|firmad|vint[oa]\b|approvat|pagat|aprovad|ganh"
)
_OFFER = re.compile(r"\boffer|\bquote|quotation|proposal|angebot|offerte\b|\bdevis\b|oferta|preventiv|proposta|propuesta")
_BLOCKED = re.compile(r"wait|pending|suspend|on hold|block|awaiting|wart|zurückgestellt|en attente|espera|attesa")
_STARTED = re.compile(
    r"in progress|\bstart|begin|take in charge|working|in arbeit|^accepted$|en cours|in behandeling|en curso|in corso|in_progress"
)
_ASSIGNED = re.compile(r"assign|queue|zuweis|zugewiesen|toegewezen|delegat|asign|attribu")
_COMPLETED = re.compile(
    r"complete|closed|resolve|\bdone\b|finish|verified|erledigt|abgeschlossen|geschlossen|gelöst|afgerond|"
    r"opgelost|\btermin|résolu|resuelt|cerrad|chius"
)
_PREFIX = re.compile(r"([A-Za-z]{1,3})_")
_WORKING = frozenset(("schedule", "start", "assign", "reassign", "suspend", "resume"))


@dataclass(frozen=True, slots=True)
class Step:
    """One event with its meaning. `name` is the stage, offer step or work item; `activity` what the log calls it."""

    at: datetime
    role: str
    name: str
    activity: str
    by: str | None
    line: int
    lifecycle: str | None = None
    reason: str | None = None
    step: str | None = None


@dataclass(slots=True)
class Survey:
    """What the first traces of a log show."""

    count: Counter[str] = field(default_factory=Counter)
    lifecycles: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    sequences: list[list[str]] = field(default_factory=list)
    attributes: dict[str, list[str]] = field(default_factory=dict)


def survey(traces: Iterable[Trace], most: int = SURVEYED) -> Survey:
    s = Survey()
    for trace in islice(traces, most):
        if not trace.events:
            continue
        names = []
        for e in trace.events[:1000]:
            if e.name not in s.count and len(s.count) >= 10_000:
                continue
            s.count[e.name] += 1
            if e.lifecycle:
                s.lifecycles[e.name].add(e.lifecycle)
            names.append(e.name)
        if len(s.sequences) < 2000:
            s.sequences.append(names)
        for key, value in flat(trace).items():
            if len(s.attributes) < 300 or key in s.attributes:
                seen = s.attributes.setdefault(key, [])
                if len(seen) < 50:
                    seen.append(value)
    return s


def flat(trace: Trace) -> dict[str, str]:
    """The attributes of the case; those that stand only on its events follow with their first value."""
    values = dict(trace.attributes)
    for e in trace.events[:200]:
        for key, value in e.attributes.items():
            if key not in values and value:
                values[key] = value
    return values


def guess_log(kind: str, log: EventLog) -> ImportMap:
    """The map a survey of the log suggests."""
    s = survey(log)
    columns = log.columns
    rules = _deal_rules(s) if kind == "deals" else _task_rules(s)
    fields: dict[str, FieldMap] = {}
    known = BY_NAME[kind]
    taken_roles = {columns.activity, columns.timestamp, columns.resource, columns.lifecycle, columns.event_id}
    for key, values in s.attributes.items():
        if key in taken_roles or key == columns.case:
            continue
        name = normal(re.sub(r"^(?:case:|\(case\)[_ ]?)", "", key))
        target = known.get(name)
        if (
            target is None
            and re.search(r"\bamount|amount\b|\bbetrag|\bbedrag|\bmontant", name)
            and sum(number(v) is not None for v in values) * 10 >= len(values) * 9
        ):
            target = "amount" if kind == "deals" else None
        if name in {"reg date", "registration date", "startdate"}:
            target = "opened_at" if kind == "deals" else "created_at"
        if target in {"amount", "probability", "estimate"} and not all(
            number(v) is not None for v in values[:20] if v and v != "UNKNOWN"
        ):
            target = None
        if target and target not in {"id", "title", "status", "stage", "notes", "description"} and target not in fields:
            sign = decimal_sign(values) if target == "amount" else None
            fields[target] = FieldMap(columns=(key,), optional=True, decimal=sign)
    map = ImportMap(
        kind=kind,
        encoding=None if log.source.encoding == "utf-8" else log.source.encoding,
        fields=fields,
        log=LogMap(
            case=columns.case,
            activity=columns.activity,
            timestamp=columns.timestamp,
            start=columns.start,
            resource=columns.resource,
            lifecycle=columns.lifecycle,
            event_id=columns.event_id,
            object_type=getattr(log, "object_type", None),
        ),
        activities=tuple(rules),
        otherwise="stage" if kind == "deals" else "note",
        guessed=True,
    )
    if len(s.count) > MAX_RULES:
        log.source.note(f"The log has {len(s.count):,} activities; only the {MAX_RULES} most frequent were looked at one by one.")
    return map


def _deal_rules(s: Survey) -> Iterator[ActivityRule]:
    roles: dict[str, str] = {}
    plain: dict[str, str] = {}
    families = {m[1].upper() for name in s.count if (m := _PREFIX.match(name))}
    for name in s.count:
        low = name.casefold()
        prefix = _PREFIX.match(name)
        plain[name] = "offer" if _OFFER.search(low) else "stage"
        if s.lifecycles[name] & _WORKING:
            roles[name] = "task"
        elif prefix and prefix[1].upper() == "O" and len(families) > 1:
            roles[name] = "offer"
        else:
            roles[name] = "lost" if _LOST.search(low) else "won" if _WON.search(low) else plain[name]
    _only_terminal(
        s,
        roles,
        {n for n, r in roles.items() if r in {"won", "lost"}},
        plain,
        {"stage", "offer"} if "O" not in families else {"stage"},
    )
    for name, _ in s.count.most_common(MAX_RULES):
        role = roles[name]
        label = _label(name)
        yield ActivityRule(
            match=(name,),
            role=role,
            name=label if label != name else None,
            reason=label if role == "lost" else None,
            step=label.casefold() if role == "offer" else None,
        )


def _task_rules(s: Survey) -> Iterator[ActivityRule]:
    roles: dict[str, str] = {}
    for name in s.count:
        low = name.casefold()
        if s.lifecycles[name] & _WORKING:
            roles[name] = "task"
            continue
        words = (
            ("blocked", _BLOCKED),
            ("completed", _COMPLETED),
            ("cancelled", _LOST),
            ("assigned", _ASSIGNED),
            ("started", _STARTED),
            ("completed", _WON),
        )
        roles[name] = next((role for role, pattern in words if pattern.search(low)), "note")
    tried = {n for n, r in roles.items() if r == "cancelled" or (r == "completed" and not _COMPLETED.search(n.casefold()))}
    _only_terminal(s, roles, tried, {}, {"started", "blocked", "note"})
    for name, _ in s.count.most_common(MAX_RULES):
        yield ActivityRule(match=(name,), role=roles[name])


def _only_terminal(s: Survey, roles: dict[str, str], tried: set[str], plain: Mapping[str, str], moving: set[str]) -> None:
    """What usually goes on is no outcome: of `tried`, those that are followed by a `moving` activity get their plain role."""
    while tried:
        seen: Counter[str] = Counter()
        ends: Counter[str] = Counter()
        for names in s.sequences:
            after = False
            for name in reversed(names):
                if name in tried:
                    seen[name] += 1
                    ends[name] += not after
                elif roles.get(name) in moving and not _LOST.search(name.casefold()):
                    after = True
        demoted = {n for n in tried if ends[n] < TERMINAL * seen[n]}
        if not demoted:
            return
        tried = tried - demoted
        roles.update({n: plain.get(n, "note") for n in demoted})


def _label(name: str) -> str:
    """`A_PARTLY_SENT` reads `Partly sent`; a name in ordinary words stays as it is."""
    prefix = _PREFIX.match(name)
    if prefix is None or len(name) < 5:
        return name
    words = name[prefix.end() :].replace("_", " ").strip()
    return words.capitalize() if words.isupper() else words


class Activities:
    """The rules of a map, remembered per activity and lifecycle."""

    def __init__(self, map: ImportMap) -> None:
        self.map = map
        self.known: dict[tuple[str, str | None], ActivityRule] = {}
        self.lifecycled = any(r.lifecycle is not None for r in map.activities)
        self.exact = {
            m.casefold(): r
            for r in reversed(map.activities)
            for m in r.match
            if not self.lifecycled and "*" not in m and "?" not in m
        }
        self.globs = any("*" in m or "?" in m for r in map.activities for m in r.match)

    def rule(self, event: LogEvent) -> ActivityRule:
        key = (event.name, event.lifecycle)
        found = self.known.get(key)
        if found is None:
            found = None if self.globs or self.lifecycled else self.exact.get(event.name.casefold())
            if found is None and (self.globs or self.lifecycled):
                found = next((r for r in self.map.activities if r.fits(event.name, event.lifecycle)), None)
            if found is None:
                found = self._otherwise(event)
            if len(self.known) < 100_000:
                self.known[key] = found
        return found

    def _otherwise(self, event: LogEvent) -> ActivityRule:
        role = self.map.otherwise
        if role == "guess":
            low = event.name.casefold()
            if event.lifecycle in _WORKING:
                role = "task"
            elif self.map.kind == "deals":
                role = "offer" if _OFFER.search(low) else "stage"
            else:
                role = (
                    "blocked"
                    if _BLOCKED.search(low)
                    else "completed"
                    if _COMPLETED.search(low)
                    else "assigned"
                    if _ASSIGNED.search(low)
                    else "started"
                    if _STARTED.search(low)
                    else "note"
                )
        return ActivityRule(match=(event.name,), role=role)

    def steps(self, trace: Trace) -> tuple[Step, ...]:
        out = []
        for e in trace.events:
            r = self.rule(e)
            step = r.step or (_label(e.name).casefold() if r.role == "offer" else None)
            out.append(Step(e.at, r.role, r.name or e.name, e.name, e.resource, e.line, e.lifecycle, r.reason, step))
        return tuple(out)


def merged(guess: ImportMap, given: ImportMap) -> ImportMap:
    """The given map with what it leaves open filled from the guess: log columns, and rules where it has none."""
    log = LogMap(**{n: getattr(given.log, n) or getattr(guess.log, n) for n in LogMap.__slots__})
    return replace(given, log=log, activities=given.activities or guess.activities, fields=dict(given.fields) or guess.fields)


def extra_of(trace: Trace, used: frozenset[str]) -> Mapping[str, str]:
    """Attributes of the case that no field takes."""
    return {k: v for k, v in trace.attributes.items() if k not in used and v}
