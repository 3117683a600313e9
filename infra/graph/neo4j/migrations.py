"""Constraints and indexes by numbered migrations; which have run is kept in Neo4j itself.

A build is one whole graph; there are two places for builds, so that one can be filled while the other serves. Everything that is not for
analysts bears a name that begins with Chancery.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from neo4j import Driver

from infra.graph.neo4j.statements import LABELS

log = structlog.get_logger()

BUILDS = (1, 2)


class MigrationChanged(Exception):
    """A migration that has run on this Neo4j reads otherwise now. Run the version of Chancery that made it, or begin with an empty one."""


@dataclass(frozen=True, slots=True)
class Migration:
    number: int
    name: str
    statements: tuple[str, ...]

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.statements).encode()).hexdigest()


def _graph() -> tuple[str, ...]:
    out = [
        "CREATE CONSTRAINT chancery_graph IF NOT EXISTS FOR (g:ChanceryGraph) REQUIRE g.one IS UNIQUE",
        "CREATE CONSTRAINT chancery_build IF NOT EXISTS FOR (b:ChanceryBuild) REQUIRE b.build IS UNIQUE",
    ]
    for n in BUILDS:
        out += [
            f"CREATE CONSTRAINT chancery_node_{n} IF NOT EXISTS FOR (n:ChanceryNode{n}) REQUIRE (n.firm, n.id) IS UNIQUE",
            f"CREATE CONSTRAINT chancery_open_{n} IF NOT EXISTS FOR (n:ChanceryOpen{n}) REQUIRE (n.firm, n.id) IS UNIQUE",
            f"CREATE INDEX chancery_node_past_{n} IF NOT EXISTS FOR (n:ChanceryNodePast{n}) ON (n.firm, n.id)",
            f"CREATE INDEX chancery_gone_{n} IF NOT EXISTS FOR (n:ChanceryGone{n}) ON (n.firm, n.id)",
            f"CREATE CONSTRAINT chancery_edge_{n} IF NOT EXISTS FOR ()-[e:CHANCERY_EDGE_{n}]-() REQUIRE (e.firm, e.id) IS UNIQUE",
            f"CREATE INDEX chancery_past_{n} IF NOT EXISTS FOR ()-[e:CHANCERY_PAST_{n}]-() ON (e.firm, e.id)",
        ]
    return tuple(out)


def _subjects() -> tuple[str, ...]:
    out = []
    for n in BUILDS:
        out += [
            f"CREATE INDEX chancery_node_subject_{n} IF NOT EXISTS FOR (n:ChanceryNode{n}) ON (n.firm, n.subject)",
            f"CREATE INDEX chancery_node_past_subject_{n} IF NOT EXISTS FOR (n:ChanceryNodePast{n}) ON (n.firm, n.subject)",
            f"CREATE INDEX chancery_edge_person_{n} IF NOT EXISTS FOR ()-[e:CHANCERY_EDGE_{n}]-() ON (e.firm, e.person)",
            f"CREATE INDEX chancery_past_person_{n} IF NOT EXISTS FOR ()-[e:CHANCERY_PAST_{n}]-() ON (e.firm, e.person)",
        ]
    return tuple(out)


def _open() -> tuple[str, ...]:
    return tuple(f"CREATE INDEX chancery_open_{kind} IF NOT EXISTS FOR (n:{label}) ON (n.id)" for kind, label in LABELS.items())


MIGRATIONS: Sequence[Migration] = (
    Migration(1, "the graph and its past, by firm and id", _graph()),
    Migration(2, "what concerns a person, by firm and person", _subjects()),
    Migration(3, "nodes of the open graph, by id", _open()),
)
_FIRST = "CREATE CONSTRAINT chancery_migration IF NOT EXISTS FOR (m:ChanceryMigration) REQUIRE m.number IS UNIQUE"


def migrate(driver: Driver) -> list[int]:
    """Run what has not run; answers its numbers. Two at once do no harm: every statement may run twice."""
    ran = []
    with driver.session() as session:
        session.run(_FIRST).consume()
        done = {
            r["number"]: r["digest"]
            for r in session.run("MATCH (m:ChanceryMigration) RETURN m.number AS number, m.digest AS digest")
        }
        for m in MIGRATIONS:
            if m.number in done:
                if done[m.number] != m.digest:
                    raise MigrationChanged
                continue
            for statement in m.statements:
                session.run(statement).consume()
            session.run("CALL db.awaitIndexes(300)").consume()
            session.run(
                "MERGE (m:ChanceryMigration {number: $number}) ON CREATE SET m.name = $name, m.digest = $digest, m.at = datetime()",
                number=m.number,
                name=m.name,
                digest=m.digest,
            ).consume()
            ran.append(m.number)
            log.info("neo4j.migrated", number=m.number)
    return ran
