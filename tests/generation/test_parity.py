"""Greedy decoding, beam search and bent greedy decoding against `generate` of transformers, on tiny random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.checkpoints import read_folder
from stemma.generation import Beam, Greedy, ModelStepper, Sample, search

STOP = 3
PROMPTS = [[5, 6, 7, 8, 9], [10], [4, 11, 12]]
SIZES = {"vocab_size": 19, "eos_token_id": STOP, "pad_token_id": 0, "bos_token_id": 1}


def _gpt2() -> Any:
    from transformers import GPT2Config, GPT2LMHeadModel

    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=24, n_head=3, n_positions=32, initializer_range=0.5, **SIZES))


def _llama() -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 4, "num_key_value_heads": 2}
    return LlamaForCausalLM(LlamaConfig(intermediate_size=40, initializer_range=0.4, **sizes, **SIZES))


def _t5() -> Any:
    from transformers import T5Config, T5ForConditionalGeneration

    sizes = {"num_layers": 2, "d_model": 24, "d_kv": 6, "num_heads": 3, "d_ff": 40, "initializer_factor": 3.0}
    return T5ForConditionalGeneration(T5Config(decoder_start_token_id=0, **sizes, **SIZES))


@pytest.fixture(scope="module", params=[_gpt2, _llama, _t5], ids=["gpt2", "llama", "t5"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Callable[[], Any]]:
    """Their model, and a maker of steppers over ours with the same weights."""
    torch.manual_seed(0)
    theirs = request.param().eval()
    folder: Path = tmp_path_factory.mktemp("theirs")
    theirs.save_pretrained(folder)
    ours = read_folder(folder, dtype=torch.float64).model.eval()
    start = theirs.config.decoder_start_token_id if theirs.config.is_encoder_decoder else None
    return theirs.double(), lambda: ModelStepper(ours, start)


def _generate(theirs: Any, prompt: list[int], **options: Any) -> Any:
    ids = torch.tensor([prompt])
    found = theirs.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        return_dict_in_generate=True,
        output_scores=True,
        do_sample=False,
        **options,
    )
    skip = 1 if theirs.config.is_encoder_decoder else len(prompt)
    rows = [row[skip:].tolist() for row in found.sequences]
    found.texts = [tuple(row[: row.index(STOP) + 1] if STOP in row else row) for row in rows]
    return found


def test_greedy_texts_are_equal(pair: tuple[Any, Callable[[], Any]]) -> None:
    theirs, stepper = pair
    together = search(stepper(), PROMPTS, Greedy(), max_new_tokens=12, stops={STOP})
    for prompt, (text,) in zip(PROMPTS, together, strict=True):
        assert text.tokens == _generate(theirs, prompt, max_new_tokens=12).texts[0]


def test_a_repetition_penalty_sees_the_same_tokens(pair: tuple[Any, Callable[[], Any]]) -> None:
    theirs, stepper = pair
    strategy = Sample(top_k=1, repetition_penalty=1.7)
    together = search(stepper(), PROMPTS, strategy, max_new_tokens=12, stops={STOP})
    for prompt, (text,) in zip(PROMPTS, together, strict=True):
        assert text.tokens == _generate(theirs, prompt, max_new_tokens=12, repetition_penalty=1.7).texts[0]


@pytest.mark.parametrize(("width", "penalty"), [(2, 0.0), (3, 1.0), (5, 2.0), (4, -0.5)])
def test_beams_and_their_scores_are_equal(pair: tuple[Any, Callable[[], Any]], width: int, penalty: float) -> None:
    """With their search told to end early only where that is safe, as ours does."""
    theirs, stepper = pair
    strategy = Beam(width=width, length_penalty=penalty, n_best=width)
    together = search(stepper(), PROMPTS, strategy, max_new_tokens=8, stops={STOP})
    for prompt, texts in zip(PROMPTS, together, strict=True):
        found = _generate(
            theirs,
            prompt,
            max_new_tokens=8,
            num_beams=width,
            num_return_sequences=width,
            length_penalty=penalty,
            early_stopping="never",
        )
        assert [text.tokens for text in texts] == found.texts
        # They sum in single precision, and so do T5's norms and softmax in any.
        assert [text.score for text in texts] == pytest.approx(found.sequences_scores.tolist(), rel=3e-5, abs=1e-5)
