"""Losses and answers of tasks beside those of `transformers`, with the same weights and its own way to the inputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from stemma.checkpoints import Stored, write_folder
from stemma.families import BERT, GPT2, T5, family
from stemma.objectives import collate
from stemma.objectives.tasks import Choice, Cloze, Extraction, TextToText
from stemma.prediction import predict
from stemma.spec import Family
from stemma.text import Tokenizer

from ..tiny import apart
from ..tolerances import FP32
from .asked import RECORDS, mean_losses, setting

IGNORED = -100


def saved(kind: str, of: Family, model: Any, folder: Path, **facts: Any) -> Any:
    """Our network as one of their classes."""
    write_folder(Stored(of, model, facts), folder)
    return getattr(transformers, f"AutoModelFor{kind}").from_pretrained(folder).eval()


def theirs_of(known: Tokenizer) -> Any:
    """Our tokenizer as one of theirs."""
    roles = known.roles
    named = {
        f"{name}_token": known.token_of(i) for name in ("pad", "cls", "sep", "mask") if (i := getattr(roles, name))
    }
    pad = {"pad_token": known.token_of(known.pad or 0)}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=known.backend, **{**named, **pad})


def batch_of(name: str, scribe: Any, asked: Any, records: Any = None) -> Any:
    rows = [row for several in asked.examples(records or RECORDS[name], scribe) for row in several]
    return collate(rows, pad=scribe.vocabulary.roles.pad or 0)


def read_by(inputs: Any) -> dict[str, Any]:
    """Inputs under their names."""
    known = {"tokens": "input_ids", "segments": "token_type_ids", "mask": "attention_mask"}
    return {theirs: inputs[ours].long() for ours, theirs in known.items() if ours in inputs}


@pytest.mark.parametrize("name", ["bert", "roberta"])
@torch.no_grad()
def test_classes(name: str, tmp_path: Path) -> None:
    of = family(name)
    model, scribe, asked = setting("classification", of)
    theirs = saved("SequenceClassification", of, model, tmp_path / "saved")
    batch = batch_of("classification", scribe, asked)
    found = theirs(**read_by(batch.inputs), labels=batch.asked["class"].ids)
    assert apart(mean_losses(asked, model, batch), found.loss) <= FP32


@torch.no_grad()
def test_tags(tmp_path: Path) -> None:
    """Their tokenizer is told the words, and says which word a token is of; ours reads a text."""
    model, scribe, asked = setting("tagging", BERT)
    theirs, records = saved("TokenClassification", BERT, model, tmp_path / "saved"), RECORDS["tagging"]
    rows = theirs_of(scribe.tokenizer)(
        [list(record["words"]) for record in records], is_split_into_words=True, padding=True, return_tensors="pt"
    )
    labels = torch.full_like(rows["input_ids"], IGNORED)
    for row, record in enumerate(records):
        words = rows.word_ids(row)
        for number, tag in enumerate(record["tags"]):
            labels[row, words.index(number)] = asked.labels.index(tag)
    batch = batch_of("tagging", scribe, asked)
    assert batch.inputs["tokens"].tolist() == rows["input_ids"].tolist()
    found = theirs(**rows, labels=labels)
    assert apart(mean_losses(asked, model, batch), found.loss) <= FP32
    best = found.logits.argmax(-1)
    told = [[asked.labels[best[row, place]] for place in (labels[row] >= 0).nonzero()] for row in range(len(records))]
    for tags, said in zip(told, predict(model, scribe, asked, records), strict=True):
        assert [tag[-3:] for tag in tags] == [tag[-3:] for tag in said.tags]


@torch.no_grad()
def test_answers(tmp_path: Path) -> None:
    model, scribe, asked = setting("extraction", BERT, overlap=5)
    assert isinstance(asked, Extraction)
    theirs, records = saved("QuestionAnswering", BERT, model, tmp_path / "saved"), RECORDS["extraction"]
    rows = theirs_of(scribe.tokenizer)(
        [record["question"] for record in records],
        [record["context"] for record in records],
        truncation="only_second",
        max_length=scribe.length,
        stride=5,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
        padding=True,
        return_tensors="pt",
    )
    owners, offsets = rows.pop("overflow_to_sample_mapping"), rows.pop("offset_mapping")
    begins, ends = [], []
    for row, owner in enumerate(owners.tolist()):
        kinds = rows["token_type_ids"][row]
        inside = [place for place in range(len(kinds)) if kinds[place] and offsets[row, place, 1]]
        answer = next(iter(records[owner]["answers"]), None)
        if answer is None or answer.start < offsets[row, inside[0], 0] or answer.end > offsets[row, inside[-1], 1]:
            begins.append(0)
            ends.append(0)
            continue
        begins.append(next(place for place in inside if offsets[row, place, 1] > answer.start))
        ends.append(next(place for place in reversed(inside) if offsets[row, place, 0] < answer.end))
    batch = batch_of("extraction", scribe, asked)
    assert [len(set(owners.tolist())), any(begins)] == [2, True]
    assert batch.asked["begin"].ids.tolist() == begins
    assert batch.asked["end"].ids.tolist() == ends
    found = theirs(**read_by(batch.inputs), start_positions=torch.tensor(begins), end_positions=torch.tensor(ends))
    # They leave padding in the sum over tokens.
    alone = [
        theirs(
            **{name: part[row : row + 1, : int(rows["attention_mask"][row].sum())] for name, part in rows.items()},
            start_positions=torch.tensor(begins[row : row + 1]),
            end_positions=torch.tensor(ends[row : row + 1]),
        ).loss
        for row in range(len(begins))
    ]
    assert apart(mean_losses(asked, model, batch), torch.stack(alone).mean()) <= FP32
    for number, (said, *_) in enumerate(predict(model, scribe, asked, records)):
        spans = {}
        for row in (owners == number).nonzero().flatten().tolist():
            real = [p for p in range(offsets.shape[1]) if rows["token_type_ids"][row, p] and offsets[row, p, 1]]
            for first in real:
                for last in real:
                    if first <= last < first + asked.longest:
                        key = int(offsets[row, first, 0]), int(offsets[row, last, 1])
                        score = float(found.start_logits[row, first] + found.end_logits[row, last])
                        spans[key] = max(spans.get(key, -torch.inf), score)
        best = max(spans, key=lambda key: spans[key])
        assert (said.start, said.end) == best
        assert said.score == pytest.approx(spans[best], abs=FP32)


@torch.no_grad()
def test_choices(tmp_path: Path) -> None:
    """Theirs stand in rows of their own, ours in one."""
    model, scribe, asked = setting("choice", BERT)
    assert isinstance(asked, Choice)
    theirs = saved("MultipleChoice", BERT, model, tmp_path / "saved", problem_type="multiple_choice")
    losses = []
    for record in RECORDS["choice"]:
        texts = [record["text"]] * len(record["choices"])
        pairs = texts, list(record["choices"])
        rows = theirs_of(scribe.tokenizer)(*pairs, padding=True, return_token_type_ids=True, return_tensors="pt")
        found = theirs(**{name: part[None] for name, part in rows.items()}, labels=torch.tensor([int(record["label"])]))
        losses.append(found.loss)
        (told,) = predict(model, scribe, asked, [record])
        assert apart(torch.tensor(told), found.logits[0].softmax(-1)) <= FP32
    assert apart(mean_losses(asked, model, batch_of("choice", scribe, asked)), torch.stack(losses).mean()) <= FP32


@pytest.mark.parametrize(("of", "kind"), [(T5, "unigram"), (GPT2, "bytebpe")], ids=["pair", "decoder"])
@torch.no_grad()
def test_texts(of: Family, kind: str, tmp_path: Path) -> None:
    model, scribe, asked = setting("text-to-text", of, kind, template="film: {text} so: ")
    assert isinstance(asked, TextToText)
    batch = batch_of("text-to-text", scribe, asked)
    questions, tokens = batch.asked["text"], batch.inputs["tokens"]
    paired = "decoder_tokens" in batch.inputs
    places = questions.places if paired else questions.places + 1
    labels = torch.full((len(tokens), int(places.max()) + 1 if paired else tokens.shape[1] + 1), IGNORED)
    labels[questions.rows, places] = questions.ids
    theirs = saved("Seq2SeqLM" if paired else "CausalLM", of, model, tmp_path / "saved")
    given = read_by(batch.inputs)
    if not paired:
        # Each of theirs reads the last token of an answer, too, which nobody is asked about.
        given = {"input_ids": torch.nn.functional.pad(tokens, (0, 1))}
    found = theirs(**given, labels=labels)
    assert apart(mean_losses(asked, model, batch), found.loss) <= FP32


@torch.no_grad()
def test_masks(tmp_path: Path) -> None:
    model, scribe, asked = setting("cloze", BERT)
    assert isinstance(asked, Cloze)
    theirs = saved("MaskedLM", BERT, model, tmp_path / "saved")
    batch = batch_of("cloze", scribe, asked)
    masks = batch.inputs["tokens"] == scribe.tokenizer.mask
    assert masks.sum(1).tolist() == [1, 1, 1]
    words = [scribe.tokenizer.id_of(label) for label in asked.labels]
    scores = theirs(**read_by(batch.inputs)).logits[masks][:, words]
    assert (
        apart(mean_losses(asked, model, batch), torch.nn.functional.cross_entropy(scores, batch.asked["label"].ids))
        <= FP32
    )
    for told, shares in zip(predict(model, scribe, asked, RECORDS["cloze"]), scores.softmax(-1), strict=True):
        assert told == pytest.approx(dict(zip(asked.labels, shares.tolist(), strict=True)), abs=FP32)
