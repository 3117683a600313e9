"""Turns of threads that share an interpreter.

A thread that converses with a server wants the interpreter for a moment, dozens of times for each batch; by default it waits each time
until one that computes has had it for 5 ms. With short turns the two get in each other's way no more than their work.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 0.00005


@contextmanager
def short() -> Iterator[None]:
    """Short turns for the whole process, as long as this lasts; begun by one thread, the first and the last of its process to need them."""
    was = sys.getswitchinterval()
    sys.setswitchinterval(SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(was)
