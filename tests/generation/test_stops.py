"""Stop strings that span pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stemma.generation import StopFilter


@given(pieces=st.lists(st.text("ab", max_size=3), max_size=8), stops=st.lists(st.text("ab", min_size=1, max_size=4)))
def test_text_is_cut_before_the_stop_string_that_is_complete_first(pieces: list[str], stops: list[str]) -> None:
    text = "".join(pieces)
    stop_filter = StopFilter(stops)
    shown = []
    for piece in pieces:
        shown.append(stop_filter.push(piece))
        read = "".join(pieces[: len(shown)])
        # Nothing is held back that can no longer become a stop string.
        held = read[len("".join(shown)) :]
        assert stop_filter.stopped or not held or any(stop.startswith(held) for stop in stops)
    result = "".join(shown) + stop_filter.flush()

    found = [(place + len(stop), place) for stop in stops if (place := text.find(stop)) >= 0]
    assert stop_filter.stopped == bool(found)
    assert result == (text[: min(found)[1]] if found else text)


def test_what_looks_like_a_stop_string_is_given_back() -> None:
    stop_filter = StopFilter(["###"])
    assert [stop_filter.push(piece) for piece in ("a#", "#", "b##")] == ["a", "", "##b"]
    assert stop_filter.flush() == "##"
    assert not stop_filter.stopped
