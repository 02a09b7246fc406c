"""ELMo's two sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from stemma.data import Frame, Row
from stemma.families import BERT, COVE, ELMO, ULMFIT
from stemma.objectives import Pass, Setting, TwoDirections, collate
from stemma.spec import Family
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Apart, Characters, Scores, Words

from ..tiny import random_model, tiny_recurrent
from .vocabularies import BOUNDED, document, vocabulary

KNOWN = vocabulary(37, BOUNDED, spelling=9)
FIRST, SECOND = document(np.arange(10, 17), Frame((0,), (2,))), document(np.arange(20, 23), Frame((0,), (2,)))
LEARNS = Pass((TwoDirections(),))


def spec_of(family: Family) -> Recurrent:
    spec = tiny_recurrent(family)
    return spec if spec.head(Scores) or not isinstance(spec.tokens, Characters) else spec.change(heads=(Scores(37),))


def test_each_direction_is_asked_for_what_it_has_not_read() -> None:
    example = LEARNS.prepare(Row((FIRST, SECOND)), Setting(KNOWN, 32, spec_of(ELMO)))
    ids, after, before = np.array([0, *range(10, 17), 2, 0, *range(20, 23), 2]), *example.targets.values()
    inner = [place for place in range(13) if place != 8]
    assert list(example.targets) == ["next", "before"]
    assert (after.places.tolist(), after.ids.tolist()) == (inner, ids[1:][inner].tolist())
    assert (before.places.tolist(), before.ids.tolist()) == ([place + 1 for place in inner], ids[inner].tolist())
    assert KNOWN.spelt is not None
    assert np.array_equal(example.tokens, KNOWN.spelt[ids])


def test_documents_may_be_read_across() -> None:
    learns = Pass((TwoDirections(across=True),))
    example = learns.prepare(Row((FIRST, SECOND)), Setting(KNOWN, 32, spec_of(ELMO)))
    assert [len(asked.ids) for asked in example.targets.values()] == [13, 13]


@pytest.mark.parametrize("family", [ELMO, ULMFIT], ids=lambda family: family.name)
def test_losses_are_those_of_the_logits(family: Family) -> None:
    spec = spec_of(family)
    setting, model = Setting(KNOWN, 32, spec), random_model(spec)
    assert LEARNS.faults(setting) == []
    batch = collate([LEARNS.prepare(Row(pieces), setting) for pieces in ((FIRST, SECOND), (SECOND,))])
    losses = LEARNS.losses(model, torch.nn.ModuleDict(), batch)
    output = model(**batch.inputs)
    logits = {"next": output.logits, "before": output.backward_logits}
    assert set(losses) == ({"next", "before"} if family is ELMO else {"next"})
    for term, asked in batch.asked.items():
        wanted = functional.cross_entropy(logits[term][asked.rows, asked.places], asked.ids, reduction="sum")
        assert torch.allclose(losses[term], wanted, atol=1e-4)
    sum(losses.values()).backward()


def test_no_direction_reads_its_answer() -> None:
    """No gradient leads from a question to the token that answers it."""
    spec = spec_of(ULMFIT).change(directions=Apart(), heads=(Scores(37),), tokens=Words(37, 10))
    model, setting = random_model(spec), Setting(KNOWN, 32, spec)
    batch = collate([LEARNS.prepare(Row((FIRST,)), setting)])
    vectors: list[torch.Tensor] = []
    model.embeddings.register_forward_hook(lambda module, given, out: vectors.append(out) or out.retain_grad())
    for number, (term, step) in enumerate((("next", 1), ("before", -1))):
        for place in batch.asked[term].places.tolist():
            vectors.clear()
            half = model(**batch.inputs, scores=False).hidden.chunk(2, -1)[number]
            half[0, place].sum().backward()
            reached = vectors[0].grad[0].abs().sum(-1) > 0
            assert not reached[place + step]
            assert reached[place]


def test_what_is_missing_is_named() -> None:
    assert "recurrent" in str(LEARNS.faults(Setting(KNOWN, 16, BERT.build()))[0])
    words = " ".join(map(str, LEARNS.faults(Setting(KNOWN, 16, COVE.build()))))
    assert all(word in words for word in ("Scores(37)", "Words or Characters"))
    words = " ".join(map(str, LEARNS.faults(Setting(vocabulary(37), 16, ELMO.build()))))
    assert all(word in words for word in ("Scores(37)", "spellings of 50 characters"))
