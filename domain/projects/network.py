"""Which arrows may join a network without closing a circle, and the circle that each refused one would close.

`admit` takes a network without circles and arrows that someone wants to add to it. One pass over all of them (Kahn, 1962)
settles every arrow when they are sound together: O(V + E). Where the pass gets stuck, a walk back along what is left runs into
a circle; its latest wanted arrow is set aside and the pass goes on. Only the arrows set aside are then tried one by one, each
with one breadth-first search, so the cost is O((k + 1)(V + E)) for k of them, and never more than O(V + E) and MOST_STEPS.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from uuid import UUID

Arrow = tuple[UUID, UUID]

MOST_STEPS = 400_000  # arrows looked at in search of circles: about a second


def admit(known: Iterable[Arrow], wanted: Sequence[Arrow]) -> dict[int, tuple[UUID, ...]]:
    """The circle that each refused arrow of `wanted` closes, by its place there; arrows not named are sound together.

    A circle is named in order from the head of the refused arrow's tail on: each task precedes the next, the last the first.
    It is made of arrows that stand or were admitted, beside the refused one, and it is a shortest such circle. Where `wanted` is
    so tangled that the search was given up, arrows of the tangle are refused with an empty circle.
    """
    after: dict[UUID, dict[UUID, int]] = {}  # tail -> head -> place in wanted, -1 when it stood before
    for tail, head in known:
        after.setdefault(tail, {})[head] = -1
        after.setdefault(head, {})
    places: dict[Arrow, list[int]] = {}
    for place, (tail, head) in enumerate(wanted):
        if head not in after.setdefault(tail, {}):
            after[tail][head] = place
            after.setdefault(head, {})
        places.setdefault((tail, head), []).append(place)
    refused: dict[int, tuple[UUID, ...]] = {}
    steps = 0
    aside = [(arrow, at) for arrow in wanted if (at := after[arrow[0]][arrow[1]]) >= 0] if len(wanted) == 1 else _knots(after)
    for (tail, head), _ in aside:
        del after[tail][head]
    for (tail, head), place in sorted(aside, key=lambda a: a[1]):
        if place < 0:
            continue
        path: tuple[UUID, ...] | None = (head,)
        if steps < MOST_STEPS:
            path, looked = _path(after, head, tail)
            steps += looked
        if path is None:
            after[tail][head] = place
        else:
            refused.update(dict.fromkeys(places[(tail, head)], (tail, *path[:-1]) if path[-1] == tail else ()))
    return refused


def _knots(after: dict[UUID, dict[UUID, int]]) -> list[tuple[Arrow, int]]:
    """Arrows without which the network has no circle; each lies on one, and is the latest wanted there."""
    before: dict[UUID, list[UUID]] = {v: [] for v in after}
    for tail, heads in after.items():
        for head in heads:
            before[head].append(tail)
    waiting = {v: len(tails) for v, tails in before.items()}
    ready = deque(v for v, n in waiting.items() if n == 0)
    settled: set[UUID] = set()
    aside: dict[Arrow, int] = {}
    order, at, steps = list(after), 0, 0
    while True:
        while ready:
            v = ready.popleft()
            settled.add(v)
            for head in after[v]:
                if (v, head) not in aside:
                    waiting[head] -= 1
                    if waiting[head] == 0:
                        ready.append(head)
        while at < len(order) and order[at] in settled:
            at += 1
        if at == len(order):
            break
        if steps > MOST_STEPS:
            tangle = [v for v in order[at:] if v not in settled]
            aside.update({(v, head): place for v in tangle for head, place in after[v].items() if place >= 0})
            break
        walk: dict[UUID, UUID] = {}  # head -> the tail the walk took
        v = order[at]
        while v not in walk:
            before[v] = [t for t in before[v] if t not in settled and (t, v) not in aside]
            walk[v] = before[v][0]
            steps += len(before[v])
            v = walk[v]
        circle = [v]
        while walk[circle[-1]] != v:
            circle.append(walk[circle[-1]])
        tail, head = max(((walk[h], h) for h in circle), key=lambda a: after[a[0]][a[1]])
        aside[(tail, head)] = after[tail][head]
        waiting[head] -= 1
        if waiting[head] == 0:
            ready.append(head)
    return list(aside.items())


def _path(after: dict[UUID, dict[UUID, int]], origin: UUID, target: UUID) -> tuple[tuple[UUID, ...] | None, int]:
    """A shortest path, both ends named, and how many arrows were looked at."""
    came: dict[UUID, UUID | None] = {origin: None}
    queue = deque((origin,))
    steps = 0
    while queue:
        v = queue.popleft()
        if v == target:
            path = [v]
            while (back := came[path[-1]]) is not None:
                path.append(back)
            return tuple(reversed(path)), steps
        steps += len(after[v])
        for head in after[v]:
            if head not in came:
                came[head] = v
                queue.append(head)
    return None, steps
