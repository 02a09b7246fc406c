"""Stop strings in a text that arrives in pieces."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Lets text through up to the stop string that is complete first, and holds back what may still become one.

    Args:
        stops: strings, none of them empty.

    >>> stops = StopFilter(["\\nUser:"])
    >>> [stops.push(piece) for piece in ("Hello.", "\\nUs", "e it.", "\\n", "User: hi")], stops.stopped
    (['Hello.', '', '\\nUse it.', '', ''], True)
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.stopped = False

    def push(self, piece: str) -> str:
        """Take the next piece and return the text that is now certain."""
        if self.stopped:
            return ""
        text = self._held + piece
        # What is complete first counts, so that the result does not depend on how the text is cut into pieces.
        found = [(place + len(stop), place) for stop in self._stops if (place := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)[1]]
        kept = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - kept :]
        return text[: len(text) - kept]

    def flush(self) -> str:
        """Return what was held back: no more text comes, so that it is no stop string."""
        text, self._held = self._held, ""
        return text


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` with which `stop` begins."""
    return next((n for n in range(min(len(text), len(stop) - 1), 0, -1) if text.endswith(stop[:n])), 0)
