"""`python -m infra.engines.compose FOLDER` makes the passwords of docker-compose.yml at its first start, and never again.

Each server has a volume of its own and finds there its own password alone. What is there stays: a password that was changed would
lock out a database that has the old one.
"""

import base64
import hashlib
import os
import secrets
import sys
from pathlib import Path
from typing import Final

FOLDERS: Final = ("postgres", "elasticsearch", "neo4j", "kafka", "chancery")
ITERATIONS: Final = 8192


def issue(root: Path) -> list[str]:
    """Write what is missing; answers the names of the files that were made."""
    made: list[str] = []

    def once(name: str, mode: int, text: str) -> None:
        file = root / name
        if not file.exists():
            # whole or not at all: a start that is interrupted leaves no empty password behind
            beside = file.with_name(f".{file.name}.new")
            beside.unlink(missing_ok=True)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="ascii") as f:
                f.write(text)
                os.fchmod(f.fileno(), mode)
                f.flush()
                os.fsync(f.fileno())
            beside.rename(file)
            made.append(name)

    def read(name: str) -> str:
        return (root / name).read_text(encoding="ascii").strip()

    # PostgreSQL and Neo4j read theirs as users of their own; no other container has their volume
    once("postgres/password", 0o444, secrets.token_urlsafe(32))
    once("neo4j/auth", 0o444, f"neo4j/{secrets.token_urlsafe(32)}")
    # Elasticsearch refuses a file that others may read, libpq ignores one: both are of user 1000, as Chancery is
    once("elasticsearch/password", 0o600, secrets.token_urlsafe(32))
    once("chancery/kafka_password", 0o600, secrets.token_urlsafe(32))
    # Kafka is given what it checks the password with, not the password
    once("kafka/scram", 0o600, scram("chancery", read("chancery/kafka_password")))
    once("kafka/cluster", 0o600, base64.urlsafe_b64encode(secrets.token_bytes(16)).decode().rstrip("=").replace("-", "A"))
    # what Chancery knows them by
    once("chancery/pgpass", 0o600, f"postgres:5432:*:chancery:{read('postgres/password')}\n")
    once("chancery/elasticsearch_url", 0o600, f"http://elastic:{read('elasticsearch/password')}@elasticsearch:9200")
    once("chancery/neo4j_url", 0o600, f"bolt://neo4j:{read('neo4j/auth').partition('/')[2]}@neo4j:7687")
    return made


def scram(user: str, password: str, salt: bytes | None = None) -> str:
    """What Kafka's storage tool takes instead of a password (--add-scram): RFC 5802's salted password, by SHA-512."""
    salt = salt or secrets.token_bytes(24)
    salted = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    shown = [base64.b64encode(part).decode() for part in (salt, salted)]
    return f'SCRAM-SHA-512=[name={user},iterations={ITERATIONS},salt="{shown[0]}",saltedpassword="{shown[1]}"]'


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m infra.engines.compose FOLDER")
    made = issue(Path(sys.argv[1]))
    sys.stdout.write(f"made: {', '.join(made)}\n" if made else "nothing to do: the passwords were made before\n")


if __name__ == "__main__":
    main()
