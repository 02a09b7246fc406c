"""Decoding strategies as values, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from stemma.errors import Fault, InputError


@dataclass(frozen=True)
class Greedy:
    """The likeliest token at each step."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Tokens drawn from the model's distribution, sharpened and cut as asked, in the order given here.

    Args:
        repetition_penalty: divide the positive logits of tokens seen before by it and multiply the negative ones
            (Keskar et al. 2019, CTRL, section 4.1); 1 leaves them.
        temperature: divide the logits by it; below 1 favours the likelier tokens.
        top_k: keep the k likeliest tokens and what ties with the last of them (Fan et al. 2018, section 5.4).
        top_p: keep the fewest likeliest tokens whose probabilities reach this total (Holtzman et al. 2020, 3.1).
        min_p: keep tokens of at least this share of the likeliest one's probability (Nguyen et al. 2024, section 3).
        seed: of the draws. A prompt's draws follow from the seed and the prompt alone.

    Raises:
        InputError: naming every value out of range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class Beam:
    """The `width` likeliest beginnings are kept at each step (Graves 2012; Sutskever et al. 2014, section 3.2).

    A finished text of n new tokens, its end included, ranks by its log-probability / n ** length_penalty.

    Args:
        width: beginnings kept.
        length_penalty: 0 ranks by the log-probability itself; above 0 favours longer texts.
        n_best: texts returned, at most `width`.

    Raises:
        InputError: naming every value out of range.
    """

    width: int = 4
    length_penalty: float = 1.0
    n_best: int = 1

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class DiverseBeam:
    """Beams in groups, each of which avoids what the groups before it chose at the same step.

    A token's log-probability is lowered by `diversity` for each beam of an earlier group that took it at this step
    (Vijayakumar et al. 2018, section 3 and algorithm 1, Hamming diversity). The reduction stays in the beam's rank, as
    in the authors' code, and never enters its log-probability.

    Args:
        width: beginnings kept, those of all groups together.
        groups: must divide `width`.
        diversity: strength of the reduction, in nats.
        length_penalty: as in `Beam`.
        n_best: different texts returned, at most `width`.

    Raises:
        InputError: naming every value out of range.
    """

    width: int
    groups: int
    diversity: float = 0.5
    length_penalty: float = 1.0
    n_best: int = 1

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, kw_only=True)
class StochasticBeam:
    """Different texts drawn from the model's distribution without replacement (Kool et al. 2019, algorithm 1).

    They come in the order in which they were drawn: the first is a plain sample.

    Args:
        width: texts drawn.
        n_best: texts returned, the first of those drawn.
        seed: of the draws. A prompt's draws follow from the seed and the prompt alone.
        temperature: as in `Sample`.

    Raises:
        InputError: naming every value out of range.
    """

    width: int = 4
    n_best: int = 1
    seed: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        _check(self)


Strategy = Greedy | Sample | Beam | DiverseBeam | StochasticBeam

_Rule = tuple[Callable[[Any], bool], str, str]
_COUNT: _Rule = (lambda value: value >= 1, "must be a whole number of at least 1", "use 1 or more")
_POSITIVE: _Rule = (lambda value: value > 0, "must be a positive number", "use 1 for no change, or Greedy()")
_RULES: dict[str, _Rule] = {
    "temperature": _POSITIVE,
    "repetition_penalty": (_POSITIVE[0], _POSITIVE[1], "use 1 for no change"),
    "top_k": _COUNT,
    "top_p": (lambda value: 0 < value <= 1, "must lie in (0, 1]", "leave it out to keep all"),
    "min_p": (lambda value: 0 <= value <= 1, "must lie in [0, 1]", "leave it out to keep all"),
    "seed": (lambda value: True, "must be a whole number", "use 0"),
    "width": _COUNT,
    "groups": _COUNT,
    "n_best": _COUNT,
    "diversity": (lambda value: value >= 0, "must be a number of at least 0", "use 0 for none"),
    "length_penalty": (lambda value: abs(value) <= 10, "must be a number in [-10, 10]", "use 0 for none"),
}


def _check(strategy: Strategy) -> None:
    faults = list(_range_faults(strategy))
    if not faults:
        faults = list(_joint_faults(strategy))
    if faults:
        raise InputError(type(strategy).__name__, faults)


def _range_faults(strategy: Strategy) -> Iterator[Fault]:
    for field in fields(strategy):
        value = getattr(strategy, field.name)
        if value is None and field.default is None:
            continue
        holds, rule, remedy = _RULES[field.name]
        whole = str(field.type).startswith("int")
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value) or not holds(value):
            yield Fault(field.name, value, rule, remedy)


def _joint_faults(strategy: Strategy) -> Iterator[Fault]:
    if isinstance(strategy, Beam | DiverseBeam | StochasticBeam) and strategy.n_best > strategy.width:
        rule = f"must not exceed width={strategy.width}"
        yield Fault("n_best", strategy.n_best, rule, f"use n_best={strategy.width} or a larger width")
    if isinstance(strategy, DiverseBeam) and strategy.width % strategy.groups:
        yield Fault("groups", strategy.groups, f"must divide width={strategy.width}", "change one of the two")
