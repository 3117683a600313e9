"""Follows the record with Neo4j, or rebuilds the graph, in a process that a test kills, stops and wakes: `python -m tests.infra.graph.follow`."""

import sys
import threading
from pathlib import Path

import orjson

from infra import registry
from infra.database import Database
from infra.graph.neo4j.client import Address
from infra.graph.neo4j.follower import Neo4jFollower
from infra.record.vault import Vault

order = orjson.loads(sys.argv[1])
registry.load()
auth = order["auth"]
follower = Neo4jFollower(
    Database(order["conninfo"]),
    Vault(Path(order["keys"])),
    Address(order["uri"], (auth[0], auth[1])),
    batch=order["batch"],
    grace=0.0,
)
if order["rebuild"]:
    follower.rebuild()
else:
    follower.run(threading.Event())
