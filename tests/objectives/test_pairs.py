"""Objectives of two texts: translation, masked translation, and answers to prompts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from stemma.families import BART, BERT, COVE, ELMO, GPT2, LLAMA, T5, TRANSFORMER, XLM
from stemma.objectives import Imitation, Pass, Setting, Translation, TranslationLM, collate
from stemma.objectives.attentive_decoder import AttentiveDecoder
from stemma.objectives.pairs import fitted
from stemma.spec.recurrent_parts import Words
from stemma.text import Roles

from ..tiny import random_model, scramble, tiny, tiny_recurrent
from .vocabularies import BOUNDED, CLASSED, ENDED, pair, vocabulary

FIRST, SECOND = np.arange(10, 17), np.arange(20, 25)


@pytest.mark.parametrize(("n_first", "n_second"), [(0, 0), (3, 4), (20, 4), (4, 20), (20, 20), (0, 30)])
def test_the_longer_of_two_is_cut_first(n_first: int, n_second: int) -> None:
    first, second = fitted((np.arange(n_first), np.arange(n_second)), 12)
    assert len(first) + len(second) == min(12, n_first + n_second)
    assert first.tolist() == list(range(len(first)))
    assert second.tolist() == list(range(len(second)))
    for kept, whole, other in ((first, n_first, second), (second, n_second, first)):
        assert len(kept) == whole or len(kept) >= len(other)


# --- Masked tokens of a sentence and its translation -----------------------------------------------------------------


def test_both_sentences_stand_in_their_frames_and_languages() -> None:
    known, spec = vocabulary(40, CLASSED, sentinels=0), tiny(XLM)
    example = Pass((TranslationLM(rate=0.5),)).prepare(pair(FIRST, SECOND), Setting(known, 32, spec))
    asked, whole = example.targets["masked"], [1, *FIRST, 2, 1, *SECOND, 2]
    seen = example.tokens.copy()
    seen[asked.places] = asked.ids
    assert seen.tolist() == whole
    assert example.inputs["languages"].tolist() == [0] * 9 + [2] * 7
    assert example.inputs["documents"].tolist() == [0] * 16
    assert {1, 10} & set(asked.places.tolist()) or len(asked.ids) == 6


def test_masks_fall_on_both_sentences_as_often() -> None:
    known = vocabulary(40, CLASSED, sentinels=0)
    setting = Setting(known, 512, XLM.build("mlm-en-2048"))
    draws, n = np.random.default_rng(0), 250
    counts = np.zeros(2)
    for key in range(2000):
        texts = draws.choice(known.ordinary, (2, n))
        example = Pass((TranslationLM(),)).prepare(pair(*texts, key=(key,)), setting)
        assert "languages" not in example.inputs
        second = example.targets["masked"].places > n + 1
        counts += (~second).sum(), second.sum()
    deviation = (2000 * n * 0.15 * 0.85) ** 0.5
    assert abs(counts - 2000 * n * 0.15).max() < 3 * deviation


# --- Answers to prompts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("roles", "before"), [(ENDED, 0), (Roles(bos=0, eos=1), 1)])
def test_the_answer_alone_is_asked_for(roles: Roles, before: int) -> None:
    known = vocabulary(40, roles)
    example = Pass((Imitation(),)).prepare(pair(FIRST, SECOND), Setting(known, 32, LLAMA.build()))
    asked = example.targets["next"]
    assert example.tokens.tolist() == [0, *FIRST, *SECOND, 1][1 - before :]
    assert asked.ids.tolist() == [*SECOND, 1]
    assert asked.places.tolist() == list(range(before + 6, before + 12))


@pytest.mark.parametrize("n_prompt", [0, 3, 30])
@pytest.mark.parametrize("n_answer", [0, 3, 30])
def test_long_prompts_lose_their_beginning(n_prompt: int, n_answer: int) -> None:
    known = vocabulary(100, ENDED)
    prompt, answer = np.arange(10, 10 + n_prompt), np.arange(50, 50 + n_answer)
    example = Pass((Imitation(),)).prepare(pair(prompt, answer), Setting(known, 16, LLAMA.build()))
    asked, kept = example.targets["next"], answer[:15]
    assert len(example.tokens) == min(16, n_prompt + n_answer + 1)
    left = prompt[max(0, n_prompt - (15 - len(kept))) :]
    assert example.tokens.tolist() == [*left, *kept, 1]
    # Without a prompt nothing precedes the first token.
    assert asked.ids.tolist() == [*kept, 1][len(left) == 0 :]
    assert asked.ids.tolist() == example.tokens[asked.places + 1].tolist()


def test_the_prompt_teaches_nothing() -> None:
    known, model = vocabulary(37, ENDED), random_model(tiny(GPT2))
    learns = Pass((Imitation(),))
    setting = Setting(known, 16, model.architecture)
    batch = collate([learns.prepare(pair(FIRST, SECOND[:n]), setting) for n in (5, 2)])
    loss = learns.losses(model, torch.nn.ModuleDict(), batch)["next"]
    logits = model(**batch.inputs).logits
    wanted = sum(
        functional.cross_entropy(logits[number, 6 : 7 + n], torch.tensor([*SECOND[:n], 1]), reduction="sum")
        for number, n in enumerate((5, 2))
    )
    assert torch.allclose(loss, wanted, atol=1e-4)


# --- Translation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("roles", "start", "frame"), [(ENDED, 0, ([], [1])), (BOUNDED, 2, ([0], [2]))])
def test_the_source_is_read_and_the_target_asked_for(roles: Roles, start: int, frame: tuple[list[int], ...]) -> None:
    example = Pass((Translation(),)).prepare(pair(FIRST, SECOND), Setting(vocabulary(40, roles), 32, T5.build()))
    before, after = frame
    assert example.tokens.tolist() == [*before, *FIRST, *after]
    assert example.targets["text"].ids.tolist() == [*before, *SECOND, *after]
    assert example.inputs["decoder_tokens"].tolist() == [start, *before, *SECOND, *after][:-1]


def test_pairs_are_cut_to_a_row() -> None:
    example = Pass((Translation(),)).prepare(pair(FIRST, SECOND), Setting(vocabulary(40), 4, TRANSFORMER.build()))
    assert (example.tokens.tolist(), example.targets["text"].ids.tolist()) == ([10, 11, 12, 1], [20, 21, 22, 1])


def test_the_equations_of_the_attentive_decoder() -> None:
    """McCann et al. 2017, equations 2 to 5, a step and a row at a time, with torch's own cells."""
    decoder = AttentiveDecoder(vocab_size=11, d_embedding=5, d_memory=6, width=4, seed=0)
    scramble(decoder)
    tokens, memory = torch.randint(11, (3, 7)), torch.randn(3, 9, 6)
    mask = torch.arange(9) < torch.tensor([[9], [4], [1]])
    features = decoder(tokens, memory, mask)
    cells = [torch.nn.LSTMCell(9, 4), torch.nn.LSTMCell(4, 4)]
    names = {
        "weight_ih": "weight_input",
        "weight_hh": "weight_hidden",
        "bias_ih": "bias_input",
        "bias_hh": "bias_hidden",
    }
    for cell, layer in zip(cells, decoder.layers, strict=True):
        cell.load_state_dict({theirs: getattr(layer, ours) for theirs, ours in names.items()})
    for number in range(3):
        states, found = [(torch.zeros(4), torch.zeros(4))] * 2, torch.zeros(4)
        seen = memory[number, mask[number]]
        for step in range(7):
            x = torch.cat((decoder.embedding.weight[tokens[number, step]], found))
            states = [(first := cells[0](x, states[0])), cells[1](first[0], states[1])]
            h = states[1][0]
            weights = (seen @ (decoder.query.weight @ h + decoder.query.bias)).softmax(0)
            both = torch.cat((seen.T @ weights, h))
            found = torch.tanh(decoder.combining.weight @ both + decoder.combining.bias)
            assert torch.allclose(features[number, step], found, atol=1e-6)


@pytest.mark.parametrize("reads", ["vectors", "words"])
def test_a_recurrent_encoder_learns_beside_its_decoder(reads: str) -> None:
    spec = tiny_recurrent(COVE)
    spec = spec if reads == "vectors" else spec.change(tokens=Words(37, 10))
    learns, setting = Pass((Translation(),)), Setting(vocabulary(37), 16, spec)
    assert learns.faults(setting) == []
    companions = learns.objectives[0].companions(setting, seed=0)
    assert set(companions) == ({"decoder", "vectors"} if reads == "vectors" else {"decoder"})
    model = random_model(spec)
    rows = [pair(FIRST[:n], SECOND[: n - 1]) for n in (2, 4, 6)]
    together = learns.losses(model, companions, collate([learns.prepare(row, setting) for row in rows]))["text"]
    alone = sum(learns.losses(model, companions, collate([learns.prepare(row, setting)]))["text"] for row in rows)
    assert torch.allclose(together, alone, atol=1e-4), "padding changes nothing"
    together.backward()
    missing = [name for part in (model, companions) for name, p in part.named_parameters() if p.grad is None]
    assert not missing


def test_companions_come_from_their_seed() -> None:
    setting = Setting(vocabulary(37), 16, tiny_recurrent(COVE))
    first, again, other = (Translation().companions(setting, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_what_is_missing_is_named() -> None:
    blind = vocabulary(40, Roles())
    assert "encoder-decoder" in str(Translation().faults(Setting(vocabulary(40), 16, BERT.build()))[0])
    assert len(Translation().faults(Setting(blind, 16, BART.build()))) == 2
    assert "not characters" in str(Translation().faults(Setting(vocabulary(40), 16, ELMO.build()))[0])
    assert len(Imitation().faults(Setting(blind, 16, T5.build()))) == 2
    assert len(TranslationLM().faults(Setting(blind, 16, GPT2.build()))) == 2
