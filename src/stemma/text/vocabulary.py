"""Vocabularies and merges: read, numbered and checked, every fault of a file at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from stemma.errors import Fault, TokenizerError

Merge = tuple[str, str]

_SHOWN = 20


def check(where: str, faults: Sequence[Fault]) -> None:
    """Raise one error of all faults, the first twenty in full.

    Raises:
        TokenizerError: there is a fault.
    """
    if len(faults) > _SHOWN:
        rest = Fault("further faults", len(faults) - _SHOWN, "are of the same file", "write the file anew")
        faults = [*faults[:_SHOWN], rest]
    if faults:
        raise TokenizerError(where, faults)


def index(tokens: Sequence[str], where: str) -> dict[str, int]:
    """Number the tokens of a vocabulary.

    Args:
        tokens: in the order of their ids.
        where: the file, for the error.

    Raises:
        TokenizerError: no token at all, or one that stands twice.

    >>> index(["a", "b"], "vocab.txt")
    {'a': 0, 'b': 1}
    """
    faults = [
        Fault("tokens", token, f"stands {count} times in the vocabulary", "keep one of them")
        for token, count in Counter(tokens).items()
        if count > 1
    ]
    if not tokens:
        faults.append(Fault("tokens", [], "hold no token", "use a whole vocabulary file"))
    check(where, faults)
    return {token: i for i, token in enumerate(tokens)}


def merge_faults(vocab: Mapping[str, int], merges: Iterable[Merge]) -> list[Fault]:
    """Every merge whose parts or whose result the vocabulary lacks."""
    return [
        Fault(
            f"merges[{place}]", f"{left} {right}", f"needs {piece!r}, which is not in the vocabulary", "add the token"
        )
        for place, (left, right) in enumerate(merges)
        for piece in dict.fromkeys((left, right, left + right))
        if piece not in vocab
    ]


def read_merges(lines: Iterable[str], where: str) -> list[Merge]:
    """Read merges as `merges.txt` and GGUF write them: two tokens with a space between.

    Raises:
        TokenizerError: lines that are no two tokens.

    >>> read_merges(["Ġ t", "h e"], "merges.txt")
    [('Ġ', 't'), ('h', 'e')]
    """
    merges: list[Merge] = []
    faults = []
    for place, line in enumerate(lines):
        left, _, right = line.partition(" ")
        if left and right and " " not in right:
            merges.append((left, right))
        else:
            faults.append(
                Fault(f"merges[{place}]", line, "is no pair of tokens", "write two tokens with a space between")
            )
    check(where, faults)
    return merges


def merges_of_scores(scores: Mapping[str, float]) -> list[Merge]:
    """Recover the merges of a SentencePiece BPE vocabulary from the scores of its pieces.

    SentencePiece joins the neighbours whose union scores highest; so every split of a piece in two pieces is a merge,
    in the order of the scores (Kudo and Richardson 2018, section 3.1).

    Args:
        scores: the score of every piece that joining may make, best first merged first.

    >>> merges_of_scores({"a": 0, "b": 0, "c": 0, "ab": -1, "abc": -2})
    [('a', 'b'), ('ab', 'c')]
    """
    found = [
        (-score, -cut, piece[:cut], piece[cut:])
        for piece, score in scores.items()
        for cut in range(1, len(piece))
        if piece[:cut] in scores and piece[cut:] in scores
    ]
    found.sort(key=lambda merge: merge[:2])
    return [(left, right) for _, _, left, right in found]


def is_cased(tokens: Iterable[str]) -> bool:
    """Whether a vocabulary tells capitals from small letters; tokens in brackets do not count.

    >>> is_cased(["[CLS]", "the"]), is_cased(["[CLS]", "The"])
    (False, True)
    """
    return any(token != token.lower() for token in tokens if not token.startswith("["))
