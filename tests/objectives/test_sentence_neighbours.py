"""Two pieces of one text among the pieces of others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from stemma.data import Frame
from stemma.families import BERT, GPT2, T5, XLM
from stemma.objectives import Pass, Setting, collate
from stemma.objectives.joined import joined
from stemma.objectives.neighbours import Neighbours
from stemma.objectives.prefixed import with_prefix
from stemma.objectives.vectors import in_batch, vectors_of
from stemma.spec import Family
from stemma.spec.pooling import Pooling

from ..tiny import apart, random_model, tiny, untold
from ..tolerances import FP32
from .vocabularies import CLASSED, row, vocabulary
from .vocabularies import apart as distinct

KNOWN = vocabulary(60, CLASSED)
FRAME = Frame((1,), (2,))


def setting(family: Family = BERT) -> Setting:
    return Setting(KNOWN, 19, tiny(family, 60, **untold(family.checkpoint)))


def test_pieces_are_stretches_of_the_text_in_their_frames() -> None:
    text, seen = distinct(KNOWN, 14), set()
    for key in range(40):
        example = Pass((Neighbours(),)).prepare(row(text, FRAME, (key,)), setting())
        assert example.targets["neighbours"].places.tolist() == [[0, 2]]
        for number in range(2):
            first, *piece, last = example.tokens[example.inputs["documents"] == number].tolist()
            assert (first, last) == (1, 2)
            begin = text.tolist().index(piece[0])
            assert piece == text[begin : begin + len(piece)].tolist()
            assert 1 <= len(piece) <= 7
            seen.add((begin, len(piece)))
    assert len(seen) > 30


def test_a_text_of_one_token_is_its_own_neighbour() -> None:
    example = Pass((Neighbours(),)).prepare(row(distinct(KNOWN, 1), FRAME), setting())
    assert example.tokens[:3].tolist() == example.tokens[3:].tolist()


def test_the_loss_is_that_of_a_plain_formula() -> None:
    what, one = setting(GPT2), Neighbours(temperature=0.2)
    model = random_model(what.spec)
    examples = [Pass((one,)).prepare(row(distinct(KNOWN, 9 + n, n), FRAME, (n,)), what) for n in range(4)]
    vectors = []
    with torch.no_grad():
        for example in examples:
            for number in range(2):
                ids = torch.from_numpy(example.tokens[example.inputs["documents"] == number])
                hidden = model(ids[None], scores=False).hidden[0]
                vectors.append(hidden.mean(0) / hidden.mean(0).norm())
    u, v = torch.stack(vectors[::2]), torch.stack(vectors[1::2])
    wanted = -((u @ v.T / 0.2).log_softmax(1).diagonal()).sum()
    for chunk, rows in ((None, examples), (2, examples), (1, [one.example for one in joined(examples, 40)])):
        losses = replace(one, chunk=chunk).losses(model, one.companions(what, 0), collate(rows))
        assert apart(losses["neighbours"], wanted) < FP32 * 10


def test_virtual_tokens_belong_to_either_piece() -> None:
    what, one = setting(), Neighbours()
    example = Pass((one,)).prepare(row(distinct(KNOWN, 12), FRAME), what)
    asked = with_prefix(example, (50, 51)).targets["neighbours"]
    assert asked.places.tolist() == [[2, 2]]
    model, longer = random_model(what.spec), with_prefix(example, (50, 51))
    batch = collate([example, longer])
    with torch.no_grad():
        hidden = model(**batch.inputs, scores=False).hidden
        found = vectors_of(hidden, batch, batch.asked["neighbours"], Pooling())[1]
        for number, vector in enumerate(found):
            ids = torch.from_numpy(longer.tokens[longer.inputs["documents"] == number])
            assert ids[:2].tolist() == [50, 51]
            assert apart(model(ids[None], scores=False).hidden[0].mean(0), vector) < FP32


def test_texts_that_are_alike_cannot_be_told_apart() -> None:
    n = 5
    assert float(in_batch(torch.ones(n, 2, 3), 0.05)) == n * np.log(n).astype(np.float32)


def test_what_it_needs() -> None:
    assert Neighbours().faults(setting(XLM)) == []
    example = Pass((Neighbours(),)).prepare(row(distinct(KNOWN, 9), FRAME), setting(XLM))
    assert "languages" in example.inputs
    words = " ".join(map(str, Neighbours(shares=(0.5, 0.1), temperature=-1.0, chunk=0).faults(setting(T5))))
    assert all(word in words for word in ("one stack", "two shares in order", "temperature=-1.0", "chunk=0"))
