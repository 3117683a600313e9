"""Whatever happens to a chain of consent, in whatever order."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.consent import CONSENT, Consent
from domain.consent.words import Channel, Status, Suppression
from domain.kernel import Refused
from tests.domain.chains import DAY, DESK, EMAIL, EVENTS, IMPORT, NEWS, NOTICE, PERSON, T0, TERMS, TOKEN, Chain

ACTS = ["ask", "confirm", "give", "refuse", "defer", "withdraw", "revoke", "invalidate", "expire", "supersede", "suppress", "lift"]
PURPOSES = st.sampled_from([(NEWS,), (EVENTS,), (NEWS, EVENTS)])
LATE = st.integers(0, 12).map(lambda hours: timedelta(hours=hours))


@st.composite
def acts(draw):
    kind = draw(st.sampled_from(ACTS))
    about = kind in {"ask", "give", "refuse", "defer", "withdraw", "revoke", "invalidate"}
    how: dict[str, object] = {}
    if about:
        how["channel"] = draw(st.sampled_from([EMAIL, Channel.SMS]))
        how["capture"] = draw(st.sampled_from([DESK, PERSON, IMPORT]))
    if kind == "ask":
        how |= {
            "token": draw(st.sampled_from([None, "a" * 32, "b" * 32])),
            "resend": draw(st.booleans()),
            "days": draw(st.integers(1, 3)),
        }
    if kind == "confirm":
        how["token"] = draw(st.sampled_from(["a" * 32, "b" * 32]))
    if kind in {"ask", "give"}:
        end = draw(st.sampled_from([None, 30, 80]))
        notice = draw(st.sampled_from([NOTICE, replace(NOTICE, version=2)]))
        how["terms"] = replace(TERMS, notice=notice, expires_at=None if end is None else T0 + timedelta(hours=end))
    if kind == "give":
        how["renew"] = draw(st.booleans())
    if kind in {"suppress", "lift"}:
        how["reason"] = draw(st.sampled_from(list(Suppression)))
        how["channel"] = draw(st.sampled_from([None, EMAIL]))
    return kind, draw(PURPOSES) if about else (), draw(LATE), how


@pytest.mark.invariant("CN1")
@pytest.mark.invariant("CN13")
@given(st.lists(acts(), max_size=14))
def test_whatever_happens_the_chain_is_whole_and_every_repetition_changes_nothing(script) -> None:
    chain = Chain()
    for hour, (kind, purposes, late, how) in enumerate(script):
        at = T0 + timedelta(hours=6 * hour) - late
        for repetition in range(20):
            before = len(chain.history)
            try:
                getattr(chain, kind)(at, *purposes, **how)
            except Refused:
                break
            if len(chain.history) == before:
                break
            if kind == "ask" and how["resend"]:
                break
            assert repetition == 0 or kind in {"expire", "supersede", "invalidate"}
        else:
            raise AssertionError(f"{kind} never comes to rest")
        assert [e.seq for e in chain.history] == list(range(1, len(chain.history) + 1))
        assert [e.prev for e in chain.history] == [f"leaf{n}" if n else None for n in range(len(chain.history))]
    end = T0 + timedelta(hours=6 * len(script) + 200)
    for pair, marks in chain.state.marks.items():
        assert [(m.since, m.seq) for m in marks] == sorted((m.since, m.seq) for m in marks)
        no_since = None
        for m in marks:
            stands = chain.state.at(*pair, m.since)
            if stands.status in {Status.REFUSED, Status.WITHDRAWN}:
                no_since = m.since
            elif no_since is not None:
                assert any(
                    not x.imported and x.status in {Status.GIVEN, Status.RENEWED} for x in marks if no_since <= x.since <= m.since
                )
            assert stands.valid is (stands.status in {Status.GIVEN, Status.RENEWED})
        assert chain.state.at(*pair, end).request is None


def test_the_state_does_not_depend_on_how_the_history_is_cut() -> None:
    chain = Chain()
    chain.ask(T0, token=TOKEN)
    chain.confirm(T0 + DAY)
    chain.withdraw(T0 + 2 * DAY)
    state = Consent()
    for e in chain.history:
        state = CONSENT.evolve(state, e)
    assert state == chain.state
    assert isinstance(next(iter(state.requests)), UUID)
