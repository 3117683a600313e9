"""The files of an engine, fetched by Maven once and checked against their pins each time they are used.

The cache has a folder per engine and version. A file is put there only after its checksum was right, so what lies there is good or was
changed since; both are looked at again before every start. Maven's own repository is a folder beside it that is thrown away once
everything has arrived, and kept while something is missing, so that a broken download goes on where it stopped.
"""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.sax.saxutils import escape

from infra.engines import java
from infra.engines.errors import EnginesUnusable
from infra.engines.pins import PLUGIN, Pin, sha256, split, version

PATIENCE: Final = 1_200.0  # seconds one run of Maven may take
Tell = Callable[[str, int, int], None]  # what, done, of how many


def silent(_what: str, _done: int, _of: int) -> None:
    return


def fetched(engine: str, pins: Sequence[Pin], cache: Path, tell: Tell = silent) -> Path:
    """The folder that holds every file of an engine and nothing else; what is missing is downloaded."""
    folder = cache / f"{engine}-{version(engine)}"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        for number, pin in enumerate(pins):
            tell(f"{engine}: checking", number, len(pins))
            there = folder / pin.name
            if there.exists() and sha256(there) != pin.sha256:
                there.unlink()  # half a file, or one that was changed: fetched anew
        missing = [p for p in pins if not (folder / p.name).exists()]
        if missing:
            _download(engine, missing, folder, cache, tell)
        for stray in {p.name for p in folder.iterdir()} - {p.name for p in pins}:
            (folder / stray).unlink()
        shutil.rmtree(_repository(cache, engine), ignore_errors=True)
    tell(f"{engine}: checked", len(pins), len(pins))
    return folder


def _repository(cache: Path, engine: str) -> Path:
    return cache / f"maven-{engine}-{version(engine)}"


def _download(engine: str, missing: Sequence[Pin], folder: Path, cache: Path, tell: Tell) -> None:
    repository = _repository(cache, engine)
    with tempfile.TemporaryDirectory(prefix="arriving-", dir=cache) as arriving:
        pom = Path(arriving) / "pom.xml"
        pom.write_text(project(engine, missing), encoding="utf-8")
        lib = Path(arriving) / "lib"

        def count() -> None:
            tell(f"{engine}: downloading", sum((repository / p.path).exists() for p in missing), len(missing))

        maven(pom, repository, f"{PLUGIN}:copy-dependencies", f"-DoutputDirectory={lib}", meanwhile=count)
        for pin in missing:
            file = lib / pin.name
            if not file.is_file():
                raise EnginesUnusable(f"Maven did not bring {pin.coordinate}, of {engine}. Run it again; nothing was started.")
            got = sha256(file)
            if got != pin.sha256:
                shutil.rmtree(repository, ignore_errors=True)
                raise EnginesUnusable(
                    f"{pin.coordinate}, of {engine}, is not the file that was pinned: its SHA-256 is {got}, pinned is {pin.sha256}."
                    " Nothing was started and the file was thrown away. Check which mirror your Maven uses, and run it again."
                )
        for pin in missing:
            (lib / pin.name).replace(folder / pin.name)


def project(engine: str, pins: Sequence[Pin]) -> str:
    """A Maven project that wants exactly these files: each named, none with what it would bring along."""
    alone = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"
    return _pom(engine, [_dependency(pin.coordinate, alone) for pin in pins])


def _dependency(coordinate: str, more: str = "") -> str:
    group, artifact, kind, classifier, number = (escape(p) if p else p for p in split(coordinate))
    named = f"<classifier>{classifier}</classifier>" if classifier else ""
    return (
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{number}</version>"
        f"<type>{kind}</type>{named}{more}</dependency>"
    )


def _pom(name: str, wanted: Sequence[str]) -> str:
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        f"<groupId>chancery</groupId><artifactId>{escape(name)}</artifactId><version>1</version><packaging>pom</packaging>\n"
        "<dependencies>\n" + "\n".join(wanted) + "\n</dependencies></project>\n"
    )


def maven(pom: Path, repository: Path, *goal: str, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Run Maven to its end; a second time when it fails, because networks do."""
    program = shutil.which("mvn")
    if program is None:
        raise EnginesUnusable(
            "Maven is not on the PATH (mvn), and the engines are fetched with it. Install it (Debian and Ubuntu: apt install maven;"
            " Fedora: dnf install maven; macOS: brew install maven). With Docker instead: docker compose --profile engines up."
        )
    environment = dict(os.environ)
    if "JAVA_HOME" not in environment and (jdks := java.installed()):
        environment["JAVA_HOME"] = str(max(jdks, key=lambda j: j.feature == 17).home)
    command = [program, "--batch-mode", "--no-transfer-progress", "--file", str(pom), f"-Dmaven.repo.local={repository}", *goal]
    said = pom.with_suffix(".log")
    for _ in range(2):
        if _run(command, environment, said, meanwhile) == 0:
            return
    errors = [line for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.startswith("[ERROR]")]
    why = errors[0].removeprefix("[ERROR]").strip()[:600] if errors else "it gave no reason"
    raise EnginesUnusable(
        f"Maven could not fetch the files. It said: {why} Check that this machine reaches a Maven repository (a mirror is set in"
        " settings.xml of Maven's folder .m2), then run it again: what has arrived is kept."
    )


def _run(command: Sequence[str], environment: dict[str, str], said: Path, meanwhile: Callable[[], None]) -> int:
    with said.open("wb") as log:
        running = subprocess.Popen(  # noqa: S603 - Maven, with a project of our own
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
        )
    begun = time.monotonic()
    try:
        while True:
            meanwhile()
            with contextlib.suppress(subprocess.TimeoutExpired):
                return running.wait(timeout=0.5)
            if time.monotonic() - begun > PATIENCE:
                raise EnginesUnusable(
                    f"Maven was still fetching after {PATIENCE / 60:.0f} minutes and was stopped. Run it again: what has arrived is kept."
                )
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One process at a time works on the cache; others wait for it."""
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def resolved(engine: str, roots: Sequence[str]) -> tuple[Pin, ...]:
    """What an engine needs at run time, as Maven resolves it now, with the checksums of what it brings now."""
    with tempfile.TemporaryDirectory(prefix="chancery-pins-") as work:
        pom, listed, repository = Path(work) / "pom.xml", Path(work) / "list.txt", Path(work) / "repository"
        pom.write_text(_pom(engine, [_dependency(root) for root in roots]), encoding="utf-8")
        maven(pom, repository, f"{PLUGIN}:list", "-DincludeScope=runtime", f"-DoutputFile={listed}")
        coordinates = []
        for line in listed.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if words and words[0].count(":") >= 4:
                coordinates.append(words[0].rpartition(":")[0])  # without its scope
        pins = [Pin(coordinate=c, sha256="") for c in coordinates]
        return tuple(Pin(coordinate=p.coordinate, sha256=sha256(repository / p.path)) for p in pins)
