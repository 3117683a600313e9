"""`python -m tests.secrets`: no secret, no machine's path and no package index's address stands in a committed file."""

import re
import subprocess
import sys
from pathlib import Path

PATTERNS = {
    "a private key": re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "an API key of ours": re.compile(rb"chy_[0-9A-Za-z]{43}_[0-9A-Za-z]{27,}_[0-9a-f]{8}"),
    "a cloud access key": re.compile(rb"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token": re.compile(rb"\b(ghp|gho|ghs|xoxb|xoxp|glpat)[-_][0-9A-Za-z-]{20,}"),
    "a machine's path": re.compile(rb"(?<![\w.])/(?:home|Users)/[a-z]\w+/|(?<![\w.])/(?:root|work)/(?:main|shared|\.)"),
    "an address of a package index": re.compile(
        b"|".join((b"py" + b"pi\\.org", b"files\\.python" + b"hosted", b"registry\\.npm" + b"js"))
    ),
}
MARKED = b"not a secret"


def findings(root: Path) -> list[str]:
    """One line per finding: file, line, what it looks like."""
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root, capture_output=True, check=True
    ).stdout
    found = []
    for name in files.decode().split("\0"):
        path = root / name
        if not name or not path.is_file() or path.stat().st_size > 2_000_000:
            continue
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if MARKED not in line:
                found += [f"{name}:{number}: {what}" for what, pattern in PATTERNS.items() if pattern.search(line)]
    return found


if __name__ == "__main__":
    lines = findings(Path(__file__).resolve().parents[1])
    print("\n".join(lines), file=sys.stderr)
    sys.exit(1 if lines else 0)
