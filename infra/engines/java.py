"""The JDKs of this machine, and the one that suits an engine."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra.engines.errors import EnginesUnusable

PLACES: Final = (
    "/usr/lib/jvm/*",
    "/usr/java/*",
    "/opt/*jdk*",
    "/opt/java/*",
    "/Library/Java/JavaVirtualMachines/*/Contents/Home",
    "/opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
    "/usr/local/opt/openjdk*/libexec/openjdk.jdk/Contents/Home",
)
IN_HOME: Final = (".sdkman/candidates/java/*", ".jdks/*", ".local/share/mise/installs/java/*", ".asdf/installs/java/*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jdk:
    """An installed Java: its home, its feature version, the modules it says it has."""

    home: Path
    feature: int
    modules: frozenset[str]

    @property
    def java(self) -> Path:
        return self.home / "bin" / "java"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What an engine asks of a Java. `preferred` are versions its makers support, best first."""

    minimum: int
    preferred: tuple[int, ...] = ()
    module: str | None = None


def described(home: Path) -> Jdk | None:
    """The Java at a folder as its `release` file tells it; None when there is none."""
    try:
        text = (home / "release").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = dict(re.findall(r'^(\w+)="?(.*?)"?$', text, re.MULTILINE))
    found = re.match(r"(?:1\.)?(\d+)", fields.get("JAVA_VERSION", ""))
    if found is None or not os.access(home / "bin" / "java", os.X_OK):
        return None
    return Jdk(home=home, feature=int(found[1]), modules=frozenset(fields.get("MODULES", "").split()))


def _places() -> Iterator[Path]:
    for named in ("ES_JAVA_HOME", "JAVA_HOME"):
        if os.environ.get(named):
            yield Path(os.environ[named])
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path).resolve().parent.parent
    for pattern in PLACES:
        yield from sorted(Path("/").glob(pattern.removeprefix("/")))
    for pattern in IN_HOME:
        yield from sorted(Path.home().glob(pattern))


def installed(places: Iterable[Path] | None = None) -> list[Jdk]:
    """Every Java found, each once: those named by the environment first."""
    found: dict[Path, Jdk] = {}
    for place in _places() if places is None else places:
        home = place.resolve()
        if home not in found and (jdk := described(home)) is not None:
            found[home] = jdk
    return list(found.values())


def fitting(engine: str, needs: Needs, jdks: Iterable[Jdk]) -> Jdk:
    """The Java to run an engine with: a preferred version, else the oldest that will do."""
    known = list(jdks)
    will_do = [j for j in known if j.feature >= needs.minimum and (needs.module is None or needs.module in j.modules)]
    if will_do:
        order = {v: n for n, v in enumerate(needs.preferred)}
        return min(will_do, key=lambda j: (order.get(j.feature, len(order)), j.feature))
    having = ", ".join(f"{j.feature} in {j.home}" for j in known) or "none"
    module = f" with the module {needs.module}" if needs.module else ""
    package = needs.preferred[0] if needs.preferred else needs.minimum
    raise EnginesUnusable(
        f"{engine} needs a JDK {needs.minimum} or later{module}; found: {having}."
        f" Install one (Debian and Ubuntu: openjdk-{package}-jdk; Fedora: java-{package}-openjdk-devel; macOS: brew install openjdk@{package};"
        f" anywhere: Eclipse Temurin {package}) or point JAVA_HOME at it. With Docker instead: docker compose --profile engines up."
    )
