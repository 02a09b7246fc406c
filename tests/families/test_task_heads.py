"""The head that a network is given for a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import pytest
import torch

from stemma.errors import SpecError
from stemma.families import BERT, ELECTRA, GPT2, ROBERTA, XLNET, catalogue, task_heads
from stemma.families.task_heads import TaskKind
from stemma.nn import build
from stemma.spec import AnswerHead, ClassifierHead, Family, LanguageModelHead, MaskedLMHead, Pooler, TaggerHead
from stemma.spec.count import parameters
from stemma.spec.recurrent import Recurrent

from ..tiny import tiny, tiny_recurrent


def small(family: Family, **changes: Any) -> Any:
    return (tiny_recurrent if family.shape is Recurrent else tiny)(family, **changes)


@pytest.mark.parametrize("kind", get_args(TaskKind))
@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_every_network_has_one_for_every_task_and_keeps_its_own(family: Family, kind: TaskKind) -> None:
    spec = small(family)
    heads = task_heads(family, spec, kind, 3)
    with_task = replace(spec, heads=heads)
    assert heads[: len(spec.heads)] == spec.heads
    assert task_heads(family, with_task, kind, 3) == heads
    with torch.device("meta"):
        model = build(with_task, seed=None)
    assert sum(one.numel() for one in model.parameters()) == parameters(with_task)


def test_published_classes_come_before_what_is_usual() -> None:
    def classifier(family: Family, kind: TaskKind = "classifier") -> ClassifierHead:
        return next(one for one in task_heads(family, tiny(family), kind, 4) if isinstance(one, ClassifierHead))

    assert classifier(BERT) == ClassifierHead(4)
    assert classifier(ELECTRA) == ClassifierHead(4, "first", "gelu")
    assert classifier(GPT2) == ClassifierHead(4, "last", bias=False)
    assert classifier(XLNET) == ClassifierHead(4, "last", "tanh")
    assert classifier(ROBERTA) == ClassifierHead(4, "first", "tanh")
    assert classifier(ROBERTA, "choice") == ClassifierHead(1)


def test_another_head_of_the_kind_is_replaced_and_a_pooler_added_once() -> None:
    spec = tiny(BERT, heads=(MaskedLMHead(), TaggerHead(9)))
    first = task_heads(BERT, spec, "classifier", 3)
    assert first == (MaskedLMHead(), TaggerHead(9), Pooler(), ClassifierHead(3))
    assert task_heads(BERT, replace(spec, heads=first), "classifier", 5) == (*first[:3], ClassifierHead(5))
    assert task_heads(BERT, spec, "tagger", 2) == (MaskedLMHead(), TaggerHead(2))
    assert task_heads(GPT2, tiny(GPT2), "answer") == (LanguageModelHead(), AnswerHead())


def test_an_unknown_kind_is_an_error() -> None:
    kind: Any = "sorter"
    with pytest.raises(SpecError, match="use one of classifier, choice, tagger, answer"):
        task_heads(BERT, tiny(BERT), kind)
