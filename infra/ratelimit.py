"""How often one caller may ask: a token bucket per key, in bounded memory.

R1  In any span of t seconds a key is allowed at most `burst + rate · t` in cost, a single costlier request excepted: it is allowed
    from a full bucket and paid off before the next.
R2  Who waits as long as they were told is allowed, unless another request of the same key came first.
R3  At most `capacity` buckets are remembered; full ones, which remember nothing, are forgotten first, then the longest unused.
"""

from collections import OrderedDict
from collections.abc import Callable


class RateLimiter:
    """For one event loop: nothing here waits or locks. `clock` is monotonic, in seconds (`time.monotonic`)."""

    def __init__(self, *, rate: float, burst: float, clock: Callable[[], float], capacity: int = 100_000) -> None:
        if rate <= 0 or burst <= 0 or capacity < 1:
            raise ValueError("rate, burst and capacity are positive")
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._capacity = capacity
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key: (tokens, as of); least recently used first

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, cost: float = 1.0) -> float:
        """0.0 when the request is allowed and paid for; else the seconds to wait before it would be, and nothing is paid."""
        if cost < 0:
            raise ValueError("a cost is not negative")
        now = self._clock()
        tokens = self._tokens(key, now)
        needed = min(cost, self._burst)
        # what rounding of the refill may lose must not make who waited wait again
        if tokens >= needed - 1e-9 * self._burst:
            self._put(key, tokens - cost, now)
            return 0.0
        self._put(key, tokens, now)
        return (needed - tokens) / self._rate

    def left(self, key: str) -> float:
        """What the key could spend at once."""
        return max(0.0, self._tokens(key, self._clock()))

    def _tokens(self, key: str, now: float) -> float:
        tokens, since = self._buckets.get(key, (self._burst, now))
        return min(self._burst, tokens + max(0.0, now - since) * self._rate)

    def _put(self, key: str, tokens: float, now: float) -> None:
        self._buckets[key] = (tokens, now)
        self._buckets.move_to_end(key)
        # two steps a request keep up with any stream of new keys; the oldest bucket is the likeliest to be full again
        for _ in range(2):
            oldest, (had, since) = next(iter(self._buckets.items()))
            full = had + max(0.0, now - since) * self._rate >= self._burst
            if oldest == key or not (full or len(self._buckets) > self._capacity):
                break
            del self._buckets[oldest]
