import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.ratelimit import RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(rate: float = 2.0, burst: float = 10.0, capacity: int = 100) -> tuple[RateLimiter, Clock]:
    clock = Clock()
    return RateLimiter(rate=rate, burst=burst, clock=clock, capacity=capacity), clock


def test_a_burst_is_allowed_and_then_the_rate() -> None:
    limit, clock = limiter()
    assert [limit.take("a") for _ in range(10)] == [0.0] * 10
    assert limit.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0


def test_keys_do_not_share_a_bucket() -> None:
    limit, _ = limiter(burst=1)
    assert limit.take("a") == 0.0
    assert limit.take("a") > 0
    assert limit.take("b") == 0.0


def test_what_is_refused_costs_nothing() -> None:
    limit, clock = limiter()
    limit.take("a", 10)
    for _ in range(50):
        assert limit.take("a") == pytest.approx(0.5)
    clock.now += 0.5
    assert limit.take("a") == 0.0


def test_a_request_costlier_than_the_bucket_is_allowed_from_a_full_one_and_paid_off() -> None:
    limit, clock = limiter()
    assert limit.take("a", 30) == 0.0
    assert limit.take("a") == pytest.approx(10.5)
    assert limit.left("a") == 0.0
    clock.now += 10.5
    assert limit.take("a") == 0.0


def test_a_clock_that_stands_still_or_steps_back_gives_nothing_away() -> None:
    limit, clock = limiter(burst=1)
    limit.take("a")
    clock.now -= 100
    assert limit.take("a") > 0


def test_full_buckets_are_forgotten_first() -> None:
    limit, clock = limiter(capacity=3)
    for key in "abc":
        limit.take(key)
    clock.now += 100
    limit.take("d", 10)
    assert len(limit) <= 2
    assert limit.take("d") > 0


def test_the_longest_unused_bucket_makes_room() -> None:
    limit, _ = limiter(capacity=2, burst=1)
    for key in ("a", "b", "c"):
        limit.take(key)
    assert len(limit) == 2
    assert limit.take("b") > 0
    assert limit.take("c") > 0


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"burst": 0}, {"capacity": 0}])
def test_a_limiter_that_allows_nothing_is_not_made(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="positive"):
        RateLimiter(**{"rate": 1, "burst": 1, "capacity": 1, "clock": Clock(), **wrong})  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        limiter()[0].take("a", -1)


requests = st.lists(st.tuples(st.floats(0, 20), st.sampled_from("ab"), st.floats(0, 10)), max_size=60)


@given(requests)
def test_no_span_of_time_allows_more_than_burst_and_rate(asked: list[tuple[float, str, float]]) -> None:
    limit, clock = limiter()
    allowed: list[tuple[float, str, float]] = []
    for wait, key, cost in asked:
        clock.now += wait
        if limit.take(key, cost) == 0.0:
            allowed.append((clock.now, key, cost))
    for key in "ab":
        mine = [(at, cost) for at, k, cost in allowed if k == key]
        for i, (start, _) in enumerate(mine):
            for j in range(i, len(mine)):
                assert sum(c for _, c in mine[i : j + 1]) <= 10 + 2 * (mine[j][0] - start) + 1e-6


@given(requests)
def test_who_waits_as_told_is_allowed(asked: list[tuple[float, str, float]]) -> None:
    limit, clock = limiter()
    for wait, key, cost in asked:
        clock.now += wait
        told = limit.take(key, cost)
        if told:
            clock.now += told
            assert limit.take(key, cost) == 0.0


@given(st.lists(st.tuples(st.integers(0, 500), st.floats(0, 1)), max_size=300), st.integers(1, 20))
def test_memory_stays_bounded(asked: list[tuple[int, float]], capacity: int) -> None:
    limit, clock = limiter(capacity=capacity)
    for key, wait in asked:
        clock.now += wait
        limit.take(str(key))
        assert len(limit) <= capacity
