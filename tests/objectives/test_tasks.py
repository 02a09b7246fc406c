"""Every task on networks of the tree: packed as alone, learnt without a fault, aligned whatever the tokenizer."""

from __future__ import annotations

import math
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Answer
from stemma.errors import InputError
from stemma.families import BERT, GPT2, LLAMA, T5, ULMFIT, XLNET
from stemma.families.task_heads import task_heads
from stemma.nn import build
from stemma.objectives import Example, Setting, collate
from stemma.objectives.joined import joined
from stemma.objectives.tasks import Choice, Cloze, Extraction, Regression, Tagging, TextToLabel, TextToText
from stemma.objectives.tasks.extraction import _stretches, _tokens
from stemma.objectives.tasks.frame import TextFrame
from stemma.objectives.tasks.spans import Window, best_spans
from stemma.objectives.tasks.tagging import _first_tokens
from stemma.objectives.tasks.template import fill, gaps
from stemma.prediction import predict, scribe_of
from stemma.spec import Decoder, Encoder, EncoderDecoder, Family, MaskedLMHead, Permutation
from stemma.spec.recurrent_parts import Words

from ..tiny import networks, slowly, tiny_recurrent
from .asked import LENGTH, RECORDS, SIZES, TEXTS, mean_losses, network, setting, task, tokenizer

KINDS = pytest.mark.parametrize("kind", SIZES)
OF_FAMILIES = [(BERT, "wordpiece"), (GPT2, "bytebpe"), (T5, "unigram"), (XLNET, "unigram"), (LLAMA, "bpe")]
LONG = (XLNET, LLAMA)


def carries(name: str, family: Family) -> bool:
    """Whether a family's networks can learn a task."""
    stacks, heads = family.traits["stacks"], {type(head) for head in family.traits["heads"]}
    match name:
        case "choice":
            return not isinstance(stacks, EncoderDecoder)
        case "text-to-text" | "text-to-label":
            return isinstance(stacks, Decoder | EncoderDecoder)
        case "cloze":
            return MaskedLMHead in heads
    return True


def examples_of(name: str, scribe: Any, asked: Any) -> list[Example]:
    return [example for several in asked.examples(RECORDS[name], scribe) for example in several]


@pytest.mark.parametrize(
    ("name", "family", "kind"),
    [
        pytest.param(name, family, kind, id=f"{name}-{family.name}", marks=[pytest.mark.slow] * (family in LONG))
        for name in RECORDS
        for family, kind in OF_FAMILIES
        # One vocabulary of these has a mask.
        if carries(name, family) and (name != "cloze" or kind == "wordpiece")
    ],
)
@torch.no_grad()
def test_packed_is_as_one_by_one(name: str, family: Family, kind: str) -> None:
    model, scribe, asked = setting(name, family, kind)
    examples, none = examples_of(name, scribe, asked), torch.nn.ModuleDict()
    alone = [asked.losses(model, none, collate([example])) for example in examples]
    rows = [row.example for row in joined(examples, 100)] if scribe.packs else examples
    assert len(rows) < len(examples) or not scribe.packs
    together = asked.losses(model, none, collate(rows))
    for term, value in together.items():
        total = sum(float(one[term]) for one in alone)
        assert math.isclose(float(value), total, rel_tol=1e-5, abs_tol=1e-5)


@pytest.mark.parametrize(
    ("name", "family"),
    [
        pytest.param(
            name, family, id=f"{name}-{family.name}", marks=slowly(family) or [pytest.mark.slow] * (name != "tagging")
        )
        for name in ("classification", "tagging", "extraction", "choice", "text-to-label", "cloze")
        for family in networks(Encoder, Decoder, EncoderDecoder, Permutation)
        if carries(name, family)
    ],
)
def test_every_family_learns_a_step(name: str, family: Family) -> None:
    model, scribe, asked = setting(name, family)
    assert not asked.faults(Setting(scribe.vocabulary, scribe.length, scribe.spec))
    rows = examples_of(name, scribe, asked)
    batch = collate([row.example for row in joined(rows, 100)] if scribe.packs else rows)
    before = mean_losses(asked, model, batch)
    before.backward()
    grown = [parameter for parameter in model.parameters() if parameter.grad is not None]
    steepness = sum(float((parameter.grad**2).sum()) for parameter in grown)
    with torch.no_grad():
        for parameter in grown:
            parameter -= parameter.grad * min(1e-3, 1e-2 / steepness)
        assert float(mean_losses(asked, model, batch)) < float(before)


@pytest.mark.parametrize("name", ["tagging", "extraction"])
def test_recurrent_networks_are_asked_too(name: str) -> None:
    known, asked = tokenizer(), task(name)
    spec = tiny_recurrent(ULMFIT, tokens=Words(len(known), 10))
    assert asked.head is not None
    model = build(spec.change(heads=task_heads(ULMFIT, spec, asked.head, asked.n_classes)), seed=0).eval()
    scribe = scribe_of(model, known, LENGTH)
    assert not scribe.packs
    assert len(predict(model, scribe, asked, RECORDS[name])) == len(RECORDS[name])


# --- Words and tokens -----------------------------------------------------------------------------------------------


@KINDS
def test_each_word_is_asked_about_at_its_first_token(kind: str) -> None:
    known = tokenizer(kind)
    words = ("the", "film", "in", "New", "York", ",", "dull", "dog")
    text = " ".join(words)
    encoding = known.backend.encode(text, add_special_tokens=False)
    firsts = _first_tokens(words, encoding.offsets)
    assert len(firsts) == len(words)
    begin = 0
    for word, first in zip(words, firsts, strict=True):
        start, end = encoding.offsets[first]
        assert start <= begin < end
        assert not first or encoding.offsets[first - 1][1] <= begin
        begin += len(word) + 1


@cache
def bert() -> Any:
    return network(BERT, task("tagging"), tokenizer())


@KINDS
@given(words=st.lists(st.text("abdefgh öß,", min_size=1, max_size=9).map(str.strip).filter(bool), min_size=1))
def test_long_sentences_are_covered_once(kind: str, words: list[str]) -> None:
    known = tokenizer(kind)
    scribe = scribe_of(bert(), known, 9)
    asked = Tagging(labels=tuple(str(number) for number in range(len(words))))
    record = {"words": tuple(words), "tags": asked.labels}
    (parts,) = asked.examples([record], scribe)
    assert np.concatenate([part.targets["tag"].ids for part in parts]).tolist() == list(range(len(words)))
    assert all(len(part.tokens) <= 9 for part in parts)
    assert all(0 <= place < len(part.tokens) for part in parts for place in part.targets["tag"].places)


def test_words_of_which_nothing_is_left_are_asked_about_all_the_same() -> None:
    model, scribe, asked = setting("tagging", BERT)
    record = {"words": ("the", "\u200b", "film", "\u200b")}
    (told,) = predict(model, scribe, asked, [record])
    assert len(told.tags) == len(told.probabilities) == 4


def test_tags_that_go_on_from_nothing_begin() -> None:
    asked = Tagging(labels=("B-a", "I-a", "O"))
    scores = [np.log(np.array([[0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1]]))]
    told = asked.told({}, [], scores)
    assert told.tags == ("O", "B-a", "I-a")
    assert told.probabilities == pytest.approx((0.8, 0.7, 0.8))


def test_tags_that_are_no_spans() -> None:
    asked = Tagging(labels=("noun", "verb"))
    told = asked.told({}, [], [np.array([[1.0, 0.0], [0.0, 1.0]])])
    assert told.tags == ("noun", "verb")
    figures = asked.measure([{"tags": ("noun", "noun")}], [told])
    assert figures["accuracy"] == 0.5
    assert 0 < figures["f1"] < 1


# --- Answers --------------------------------------------------------------------------------------------------------


@given(n=st.integers(0, 90), room=st.integers(1, 40), overlap=st.integers(0, 50))
def test_windows_cover_a_context(n: int, room: int, overlap: int) -> None:
    stretches = list(_stretches(n, room, overlap))
    assert {place for one in stretches for place in range(one.start, one.stop)} == set(range(n))
    assert all(one.stop - one.start <= room for one in stretches)
    shared = [before.stop - after.start for before, after in pairwise(stretches)]
    assert shared == [min(overlap, room // 2)] * len(shared)


@KINDS
def test_answers_become_tokens_and_characters_again(kind: str) -> None:
    known = tokenizer(kind)
    text = " ".join(TEXTS)
    for answer in ("film", "New York", "the film was good", "bright"):
        start = text.index(answer)
        characters = np.array(known.backend.encode(text, add_special_tokens=False).offsets)
        first, last = _tokens(characters, Answer(answer, start)) or (0, 0)
        found = Window({}, first=3, characters=characters)
        scores = np.full((len(characters) + 4, 2), -9.0)
        scores[3 + first, 0] = scores[3 + last, 1] = 9.0
        (span,) = best_spans(text, [found], [scores], 1, 30)
        assert (span.text, span.start, span.end) == (answer, start, start + len(answer))


def test_spans_are_those_of_a_plain_search() -> None:
    draws = np.random.default_rng(0)
    context = "abcdefghij"
    window = Window({}, first=2, characters=np.stack([np.arange(10), np.arange(1, 11)], 1))
    scores = draws.normal(size=(14, 2))
    told = best_spans(context, [window], [scores], 6, 3)
    every = {
        context[i : j + 1]: scores[2 + i, 0] + scores[2 + j, 1] for i in range(10) for j in range(i, min(i + 3, 10))
    }
    wanted = sorted(every, key=lambda text: -every[text])[:6]
    assert [span.text for span in told] == wanted
    assert [span.score for span in told] == pytest.approx([every[text] for text in wanted])


def test_an_answer_that_is_cut_is_none() -> None:
    characters = np.array([[10, 14], [15, 19]])
    assert _tokens(characters, Answer("x" * 6, 13)) == (0, 1)
    assert _tokens(characters, Answer("x" * 6, 8)) is None
    assert _tokens(characters, Answer("x" * 9, 15)) is None
    assert _tokens(characters, None) is None


@pytest.mark.parametrize(("threshold", "first"), [(-9.0, ""), (9.0, "ab")])
def test_no_answer_is_told_where_it_scores_more(threshold: float, first: str) -> None:
    asked = Extraction(unanswerable=True, threshold=threshold)
    window = Window({}, first=1, characters=np.array([[0, 2]]))
    told = asked.told({"context": "ab"}, [window], [np.array([[[1.0, 1.0], [1.5, 0.5]]])])
    assert {span.text for span in told} == {"", "ab"}
    assert told[0].text == first
    assert sum(span.probability for span in told) == pytest.approx(1)


# --- Prompts --------------------------------------------------------------------------------------------------------


def test_templates() -> None:
    assert gaps("{text} and {{braces}}") == ("text",)
    backend = tokenizer().backend
    for room in (6, 9, 30):
        ids = fill("film {text} good", {"text": TEXTS[0]}, backend, room)
        assert len(ids) <= room
        read = tokenizer().decode(ids)
        assert read.replace(" ", "").startswith("filmthe")
        assert read.endswith("good")
    with pytest.raises(InputError, match="leaves no room in 1 tokens"):
        fill("film {text} good", {"text": TEXTS[0]}, backend, 1)


@pytest.mark.parametrize("kind", ["bytebpe", "bpe", "unigram"])
def test_a_decoder_is_asked_for_the_answer_alone(kind: str) -> None:
    template = "film: {text}\nwas: "
    _, scribe, asked = setting("text-to-text", GPT2, kind, template=template)
    assert isinstance(asked, TextToText)
    record = {"text": "a dog", "target": "good"}
    ((example,),) = asked.examples([record], scribe)
    prompt, targets = asked.prompt(record, scribe), example.targets["text"]
    assert example.tokens[: len(prompt)].tolist() == prompt.tolist()
    assert targets.places.tolist() == list(range(len(prompt) - 1, len(prompt) - 1 + len(targets.ids)))
    assert scribe.tokenizer.decode(targets.ids).strip() == "good"
    assert targets.ids[-1] in scribe.tokenizer.stops
    assert example.tokens[len(prompt) :].tolist() == targets.ids[:-1].tolist()


def test_labels_are_scored_as_texts() -> None:
    model, scribe, asked = setting("text-to-label", GPT2, "bytebpe", words={"bad": "dull dog"})
    assert isinstance(asked, TextToLabel)
    (told, *_), record = predict(model, scribe, asked, RECORDS["text-to-label"]), RECORDS["text-to-label"][0]
    scores = {}
    for label in asked.labels:
        example = asked.asking(record, asked.words.get(label, label), scribe)
        sums = asked.losses(model, torch.nn.ModuleDict(), collate([example]))
        scores[label] = -float(sums["text"].detach())
    total = sum(math.exp(score) for score in scores.values())
    assert told == pytest.approx({label: math.exp(score) / total for label, score in scores.items()}, rel=1e-4)


# --- What is no task for a network or a record ----------------------------------------------------------------------


def test_faults_name_what_is_missing() -> None:
    for name, family in (("choice", T5), ("cloze", GPT2), ("text-to-text", BERT)):
        model, scribe, asked = setting(name, family, "bytebpe" if family is GPT2 else "wordpiece")
        with pytest.raises(InputError, match="needs a network that"):
            predict(model, scribe, asked, RECORDS[name])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: Choice(template="no gap"), "has no gap for a text"),
        (lambda: TextToText(template="{text", max_new_tokens=0), "2 faults"),
        (lambda: TextToText(template="{0}"), "gaps without a plain name"),
        (lambda: Cloze(template="{text}"), "needs the gap {mask} once"),
    ],
)
def test_broken_values_are_named(made: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        made()


def test_words_of_several_tokens_are_no_label_words() -> None:
    model, scribe, asked = setting("cloze", BERT, words={"good": "good night", "bad": "dog film"})
    with pytest.raises(InputError, match="2 faults") as caught:
        predict(model, scribe, asked, RECORDS["cloze"])
    assert "is not one token" in str(caught.value)


def test_a_choice_that_is_not_there_is_named() -> None:
    _, scribe, _ = setting("choice", BERT)
    records = [{"text": "a", "choices": ("b", "c"), "label": label, "where": "f:3"} for label in (2.0, 0.5, 1.0)]
    with pytest.raises(InputError, match=r"label=2\.0 is the number of none of 2 choices"):
        list(Choice().examples(records, scribe))
    assert Choice(first=1)._right([{"choices": ("b", "c"), "label": 2.0}]) == [1]


def test_numbers_of_an_extraction_are_checked() -> None:
    _, scribe, _ = setting("extraction", BERT)
    asked = Extraction(overlap=-1, longest=0, n_best=0)
    assert len(asked.faults(Setting(scribe.vocabulary, scribe.length, scribe.spec))) == 3


def test_a_frame_is_what_the_tokenizer_puts() -> None:
    for kind in SIZES:
        backend = tokenizer(kind).backend
        first, second = (backend.encode(text, add_special_tokens=False).ids for text in TEXTS[:2])
        for texts, ids in ((TEXTS[:1], (first,)), (TEXTS[:2], (first, second))):
            whole = backend.encode(*texts)
            framed = TextFrame(backend, len(texts)).put(*ids)
            assert framed.ids.tolist() == whole.ids
            assert framed.kinds.tolist() == whole.type_ids
            assert [framed.ids[start] for start in framed.starts] == [part[0] for part in ids]


def test_numbers_are_told_on_their_own_scale() -> None:
    assert Regression(low=1, high=5).told({}, [], [np.array([[0.5]])]) == 3.0
