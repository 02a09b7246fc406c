"""Training a unigram language model over pieces (Kudo 2018, section 3.2), the same on every run.

The Rust library's trainer sums in the order of a randomly seeded hash map, so that two runs on one text differ.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence

_LONGEST = 16
_ROUNDS = 2
_KEPT = 0.75


def train_unigram(words: Mapping[str, int], size: int) -> list[tuple[str, float]]:
    """Find pieces and their log-probabilities.

    All frequent substrings are pieces at first; expectation-maximisation gives them probabilities, and of those longer
    than a character the quarter that the text misses least is dropped, until `size` are left.

    Args:
        words: every word of the text with its count, spaces written `▁`.
        size: how many pieces to keep; never fewer than there are characters.

    Returns:
        the pieces, the likeliest first.

    >>> [piece for piece, _ in train_unigram({"▁ab": 9, "▁a": 3}, 4)]
    ['▁ab', 'a', '▁', 'b']
    """
    characters = sorted({character for word in words for character in word})
    pieces = _seed(words, characters, 4 * size)
    while True:
        for _ in range(_ROUNDS):
            pieces = _maximise(_expect(words, pieces), characters)
        if len(pieces) <= max(size, len(characters)):
            break
        pieces = _prune(words, pieces, characters, max(size, len(characters), int(_KEPT * len(pieces))))
    return sorted(pieces.items(), key=lambda piece: (-piece[1], piece[0]))


def _normalised(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.log(math.fsum(weights.values()))
    return {piece: math.log(weight) - total for piece, weight in weights.items()}


def _seed(words: Mapping[str, int], characters: Sequence[str], size: int) -> dict[str, float]:
    counts: Counter[str] = Counter()
    for word, count in words.items():
        for start in range(len(word)):
            for end in range(start + 2, min(len(word), start + _LONGEST) + 1):
                counts[word[start:end]] += count
    gains = {piece: float(count * len(piece)) for piece, count in counts.items() if count > 1}
    best = sorted(gains, key=lambda piece: (-gains[piece], piece))[: max(0, size - len(characters))]
    single: Counter[str] = Counter()
    for word, count in words.items():
        for character in word:
            single[character] += count
    return _normalised({**{c: float(single[c] or 1) for c in characters}, **{piece: gains[piece] for piece in best}})


def _expect(words: Mapping[str, int], pieces: Mapping[str, float]) -> dict[str, float]:
    """How often each piece is expected in the text, over all ways to cut it (forward-backward)."""
    expected = dict.fromkeys(pieces, 0.0)
    for word, count in words.items():
        arcs = _arcs(word, pieces)
        forward = [0.0] * (len(word) + 1)
        for end in range(1, len(word) + 1):
            forward[end] = _log_sum([forward[start] + pieces[piece] for start, piece in arcs[end]])
        backward = [-math.inf] * len(word) + [0.0]
        for end in range(len(word), 0, -1):
            for start, piece in arcs[end]:
                backward[start] = _log_sum([backward[start], backward[end] + pieces[piece]])
        for end in range(1, len(word) + 1):
            for start, piece in arcs[end]:
                weight = math.exp(forward[start] + pieces[piece] + backward[end] - forward[-1])
                expected[piece] += count * weight
    return expected


def _arcs(word: str, pieces: Mapping[str, float]) -> list[list[tuple[int, str]]]:
    """For each place in a word the pieces that end there, with their starts."""
    return [
        [(start, word[start:end]) for start in range(max(0, end - _LONGEST), end) if word[start:end] in pieces]
        for end in range(len(word) + 1)
    ]


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top if top == -math.inf else top + math.log(sum(math.exp(value - top) for value in values))


def _maximise(expected: Mapping[str, float], characters: Sequence[str]) -> dict[str, float]:
    # A piece expected less than half a time is noise; a character stays, or some words could not be written.
    kept = {piece: count for piece, count in expected.items() if count >= 0.5}
    return _normalised({**kept, **{c: max(expected[c], 1e-3) for c in characters}})


def _prune(
    words: Mapping[str, int], pieces: Mapping[str, float], characters: Sequence[str], size: int
) -> dict[str, float]:
    """Drop the pieces that the text misses least when each is written with the next best cut."""
    uses: Counter[str] = Counter()
    for word, count in words.items():
        for piece in _best_cut(word, pieces, None):
            uses[piece] += count
    always = frozenset(characters)
    losses = {
        piece: uses[piece] * (score - math.fsum(pieces[part] for part in _best_cut(piece, pieces, piece)))
        for piece, score in pieces.items()
        if piece not in always
    }
    kept = sorted(losses, key=lambda piece: (-losses[piece], piece))[: size - len(always)]
    return {piece: pieces[piece] for piece in (*characters, *kept)}


def _best_cut(word: str, pieces: Mapping[str, float], without: str | None) -> list[str]:
    """The likeliest pieces of a word (Viterbi), leaving one piece out."""
    scores = [0.0] + [-math.inf] * len(word)
    lasts = [""] * (len(word) + 1)
    for end, arcs in enumerate(_arcs(word, pieces)):
        for start, piece in arcs:
            score = scores[start] + pieces[piece]
            if score > scores[end] and piece != without:
                scores[end], lasts[end] = score, piece
    cut, end = [], len(word)
    while end:
        cut.append(lasts[end])
        end -= len(lasts[end])
    return cut[::-1]
