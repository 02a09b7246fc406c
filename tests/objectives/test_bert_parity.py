"""Our masks and losses against those of `transformers`, on the same weights and the same batches."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from scipy.stats import chi2_contingency
from torch import Tensor

from stemma.checkpoints import Stored, write_folder
from stemma.data import Frame, Piece, Row
from stemma.families import BERT
from stemma.objectives import (
    Batch,
    MaskedLM,
    NextSentence,
    Objective,
    Pass,
    SentenceOrder,
    Setting,
    Vocabulary,
    WholeWordLM,
    collate,
    counts,
    passes,
)
from stemma.spec import Architecture
from stemma.text import Tokenizer, train

from ..parity.choices import cases
from ..tiny import LONGEST, VOCAB, apart, random_model
from ..tolerances import FP32
from .vocabularies import CLASSED, texts, vocabulary

IGNORED = -100  # the label of what is not asked for
ROWS, LENGTH = 2000, 60


def labels(batch: Batch, term: str) -> Tensor:
    """The targets of a term as `transformers` wants them."""
    asked = batch.asked[term]
    return torch.full_like(batch.inputs["tokens"], IGNORED).index_put((asked.rows, asked.places), asked.ids)


def prepared(spec: Architecture, question: Objective) -> tuple[Any, Batch]:
    """A small network and rows of unequal length."""
    known = vocabulary(VOCAB, CLASSED)
    (both,) = passes((question, MaskedLM(rate=0.3)))
    setting = Setting(known, LONGEST, spec)
    assert not both.faults(setting)
    parts = [Piece((text,)) for text in texts(known, 15 * 12, 15)]
    rows = [Row((Piece((parts[n].ids[: n + 4],)), parts[n - 1]), (0, 0, n)) for n in range(12)]
    batch = collate([both.prepare(row, setting) for row in rows], pad=0)
    assert not batch.inputs["mask"].all()
    return random_model(spec), batch


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "question", "label"),
    [
        ("BertForPreTraining", NextSentence(), "next_sentence_label"),
        ("AlbertForPreTraining", SentenceOrder(), "sentence_order_label"),
    ],
)
def test_the_loss_and_its_gradients_are_theirs(
    name: str, question: Objective, label: str, tmp_path: Path, figure: Callable[..., None]
) -> None:
    case = next(case for case in cases() if case.variant.name == name and not case.choice)
    model, batch = prepared(case.architecture, question)
    write_folder(Stored(case.family, model), tmp_path / "ours")
    theirs = case.load(tmp_path / "ours")
    (term,) = question.weights()
    their_loss = theirs(
        input_ids=batch.inputs["tokens"],
        attention_mask=batch.inputs["mask"].long(),
        token_type_ids=batch.inputs["segments"],
        labels=labels(batch, "masked"),
        **{label: batch.asked[term].ids},
    ).loss
    sums, n = MaskedLM().losses(model, torch.nn.ModuleDict(), batch), counts(batch)
    assert sums.keys() == {term, "masked"}
    loss = torch.stack([sums[name] / n[name] for name in sums]).sum()
    loss.backward()
    their_loss.backward()
    losses = apart(loss, their_loss)
    gradients = apart(model.embeddings.token.weight.grad, theirs.get_input_embeddings().weight.grad)
    figure(name, loss=losses, gradient=gradients)
    assert losses <= FP32
    assert gradients <= FP32


@cache
def tokenizer() -> Tokenizer:
    return train([topics[name] for name in sorted(topics)], kind="wordpiece", vocab_size=3000)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [MaskedLM, WholeWordLM], ids=lambda kind: kind.name)
def test_masks_fall_as_those_of_their_collator(kind: type[MaskedLM], tmp_path: Path) -> None:
    """What becomes of short words, of long words and of marks, in as many rows of either."""
    known = tokenizer()
    known.save(tmp_path)
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), mask_token="[MASK]", pad_token="[PAD]", cls_token="[CLS]"
    )
    whole = kind is WholeWordLM
    shares = (1.0, 0.0, 0.0) if whole else (0.8, 0.1, 0.1)
    words = [word for name in sorted(topics) for word in topics[name].split() if word.isalpha()][: ROWS * LENGTH]
    lines = [" ".join(words[start : start + LENGTH // 2]) for start in range(0, len(words) // 2, LENGTH // 2)][:ROWS]
    encoded = [known.backend.encode(line) for line in lines]
    vocab, spec = Vocabulary.of(known), BERT.build(n_layers=1, d_model=8, n_heads=2, vocab_size=len(known))
    ours, setting = Pass((kind(exact=False, shares=shares),)), Setting(Vocabulary.of(known), 512, spec)
    collator = transformers.DataCollatorForLanguageModeling(
        fast, whole_word_mask=whole, mask_replace_prob=shares[0], random_replace_prob=shares[1], seed=0
    )
    tables = np.zeros((2, 3, 4), dtype=int)
    for number, one in enumerate(encoded):
        ids = np.array(one.ids)
        example = ours.prepare(Row((Piece((ids,)),), (0, 0, number)), setting)
        asked = np.isin(np.arange(len(ids)), example.targets["masked"].places)
        batch = collator(
            [{"input_ids": one.ids, "special_tokens_mask": one.special_tokens_mask, "offset_mapping": one.offsets}]
        )
        theirs = batch["input_ids"][0].numpy(), batch["labels"][0].numpy() != IGNORED
        numbers = vocab.words(ids)
        # Marks, words of one token, and longer ones.
        sort = np.where(vocab.special[ids], 0, np.where(np.bincount(numbers)[numbers] > 1, 2, 1))
        for side, (seen, chosen) in enumerate(((example.tokens, asked), theirs)):
            fate = np.where(~chosen, 0, np.where(seen == known.mask, 1, np.where(seen == ids, 2, 3)))
            np.add.at(tables[side], (sort, fate), 1)
    assert tables[:, 0, 1:].sum() == 0, "marks are never asked for"
    assert tables[0].sum(1).tolist() == tables[1].sum(1).tolist()
    for sort in (1, 2):
        table = tables[:, sort]
        held = table[:, table.sum(0) > 0]
        assert held.shape[1] == (2 if whole else 4)
        # Tokens of long words come in groups, which count as one.
        size = 1 if sort == 1 or not whole else 2
        assert chi2_contingency(held // size).pvalue > 0.003, table


def test_a_frame_is_the_tokenizers_own() -> None:
    known = tokenizer()
    assert known.cls is not None
    assert known.sep is not None
    assert Vocabulary.of(known).frame == Frame((known.cls,), (known.sep,))
