"""Words are analysed once for every engine: what people mean alike is alike."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queries import analysis
from queries.search.box import read_box

WORDS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=14)


@pytest.mark.parametrize(
    ("written", "typed"),
    [
        ("Müller", "mueller"), ("Müller", "MULLER"), ("Mu\u0308ller", "müller"), ("Straße", "STRASSE"), ("Ærøskøbing", "aeroskobing"),
        ("Søren", "soeren"), ("Łódź", "lodz"), ("Đorđević", "dordevic"), ("İstanbul", "istanbul"), ("ISTANBUL", "istanbul"),
        ("Жанна", "zhanna"), ("Фёдор", "федор"), ("Ёлкин", "elkin"), ("ΣΊΣΥΦΟΣ", "σίσυφος"), ("Γιώργος", "giorgos"), ("O'Brien", "obrien"),
        ("ﬁnance", "finance"), ("Ａｃｍｅ", "acme"), ("Æsop", "aesop"), ("Ångström", "angstrom"), ("Ångström", "aangstroem"), ("مُحَمَّد", "محمد"),
    ],
)  # fmt: skip
def test_two_ways_of_writing_one_word_have_a_form_in_common(written: str, typed: str) -> None:
    (a,), (b,) = analysis.tokens(written), analysis.tokens(typed)
    assert set(a.forms) & set(b.forms)


@given(st.text(max_size=200))
def test_analysing_never_fails_and_stays_in_place(text: str) -> None:
    for token in analysis.tokens(text):
        assert 0 <= token.start < token.end <= len(text)
        assert all(
            f and len(f) <= analysis.MAX_WORD and "'" not in f and "\\" not in f and " " not in f
            for f in (*token.forms, *token.parts)
        )
    analysis.heads(text)
    list(analysis.numbers(text))
    read_box(text)


@given(st.text(max_size=60))
def test_a_form_is_its_own_first_form(text: str) -> None:
    for token in analysis.tokens(text):
        for form in token.forms[:1]:
            assert analysis.fold(form) == form or analysis.fold(analysis.fold(form)) == analysis.fold(form)


@given(WORDS, st.data())
def test_one_slip_of_a_finger_shares_a_typo_key(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 1))
    letter = data.draw(st.sampled_from("abcxyz"))
    slips = {word[:at] + letter + word[at:], word[:at] + letter + word[at + 1 :], word[:at] + word[at + 1 :]}
    if at + 1 < len(word):
        slips.add(word[:at] + word[at + 1] + word[at] + word[at + 2 :])
    for slip in slips:
        assert analysis.distance(word, slip, 2) <= 1
        if analysis.edits(slip):
            assert set(analysis.typo_keys(word)) & set(analysis.typo_keys(slip)), slip


@given(WORDS, WORDS, WORDS)
def test_distance_is_even_handed(a: str, b: str, c: str) -> None:
    assert analysis.distance(a, b, 3) == analysis.distance(b, a, 3)
    assert analysis.distance(a, a, 2) == 0


@pytest.mark.parametrize(
    "typed",
    [
        "+49 30 1234567",
        "0049 30 1234567",
        "030 1234567",
        "(030) 123-45-67",
        "+49 (0)30 1234567",
        "30/1234567",
        "1234567",
        "30 12345",
    ],
)
def test_a_number_is_found_however_it_is_spelt(typed: str) -> None:
    ((_, _, digits),) = analysis.numbers(typed)
    assert any(tail.startswith(digits) for tail in analysis.number_tails("+49301234567"))


def test_years_and_ids_are_no_telephone_numbers() -> None:
    assert list(analysis.numbers("in 2026, case v1.2345678 or abc12345")) == []


def test_a_passage_shows_the_words_that_were_sought() -> None:
    text = "lorem " * 200 + "The Müller family of Łódź. " + "ipsum " * 200
    parts, count = analysis.marked(text, analysis.Sought(frozenset({"mueller", "lodz"}))) or ([], 0)
    assert count == 2
    assert [t for t, hit in parts if hit] == ["Müller", "Łódź"]
    assert len("".join(t for t, _ in parts)) < 300
    assert analysis.marked(text, analysis.Sought(frozenset({"absent"}))) is None


@pytest.mark.parametrize(
    "text", ["1 " * 50_000, "(" * 50_000, "a'" * 50_000, "+49" * 30_000, '"' * 500, "-" * 500, "x:" * 250, "é" * 50_000]
)
def test_no_text_costs_more_than_its_length(text: str) -> None:
    """In time of the processor: eight times the text is less than three times as dear for each letter, a twentieth of a second aside."""

    def cost(some: str) -> float:
        best = []
        for _ in range(3):
            began = time.thread_time()
            list(analysis.tokens(some))
            list(analysis.numbers(some))
            read_box(some[:500])
            best.append(time.thread_time() - began)
        return min(best)

    assert cost(text) < 24 * cost(text[: len(text) // 8]) + 0.05
