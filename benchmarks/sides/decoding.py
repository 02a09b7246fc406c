"""One side of a comparison of decoding, as a process of its own: `python decoding.py SIDE MODEL TASKS.json`.

TASKS.json holds the ids of `prompts` (eight of them), of one `long` prompt and the number of `new` tokens. Each line on
the input is one go; the answer is a JSON object: tokens a second of one sequence, of eight, of reading the long prompt,
and the first ids that were written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame import THREADS

Write = Callable[[list[list[int]], int], Sequence[Sequence[int]]]
"""Greedily, so many ids after each prompt, whatever they are."""


def stemma_side(model: str, quantize: str, speculate: str | None = None) -> Write:
    """The path of `generate`, without its text."""
    import torch

    import stemma
    from stemma.generation import Greedy, search

    torch.set_num_threads(THREADS)
    lm = stemma.load(model, quantize=quantize)  # type: ignore[arg-type]

    def write(prompts: list[list[int]], new: int) -> list[tuple[int, ...]]:
        stepper = lm.stepper(speculate=speculate)  # type: ignore[arg-type]
        return [found[0].tokens for found in search(stepper, prompts, Greedy(), max_new_tokens=new)]

    return write


def llama_cpp_side(model: str) -> Write:
    """Its C interface, with the largest of the logits in numpy."""
    import numpy as np
    from llama import cpp

    cpp.llama_backend_init()
    opened = cpp.llama_model_load_from_file(model.encode(), cpp.llama_model_default_params())
    params = cpp.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_seq_max = 4096, 1024, 512, 8
    params.n_threads = params.n_threads_batch = THREADS
    params.kv_unified = True
    context = cpp.llama_init_from_model(opened, params)
    assert context, "llama.cpp could not open the file"
    n_words = cpp.llama_vocab_n_tokens(cpp.llama_model_get_vocab(opened))
    batch = cpp.llama_batch_init(1024, 0, 8)

    def add(token: int, position: int, row: int, told: bool) -> None:
        place = batch.n_tokens
        batch.token[place], batch.pos[place] = token, position
        batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, row, told
        batch.n_tokens += 1

    def best(place: int) -> int:
        return int(np.ctypeslib.as_array(cpp.llama_get_logits_ith(context, place), shape=(n_words,)).argmax())

    def run() -> None:
        assert cpp.llama_decode(context, batch) == 0, "llama.cpp failed"

    def write(prompts: list[list[int]], new: int) -> list[list[int]]:
        cpp.llama_memory_clear(cpp.llama_get_memory(context), True)
        batch.n_tokens, ends = 0, []
        for row, prompt in enumerate(prompts):
            for position, token in enumerate(prompt):
                add(token, position, row, position == len(prompt) - 1)
            ends.append(batch.n_tokens - 1)
        run()
        written = [[best(end)] for end in ends]
        for more in range(new - 1):
            batch.n_tokens = 0
            for row, prompt in enumerate(prompts):
                add(written[row][-1], len(prompt) + more, row, told=True)
            run()
            for row, ids in enumerate(written):
                ids.append(best(row))
        return written

    return write


def ctranslate2_side(model: str) -> Write:
    """Its generator, in 8 bits."""
    import ctranslate2

    words = json.loads((Path(model) / "vocabulary.json").read_text(encoding="utf-8"))
    ids = {word: number for number, word in enumerate(words)}
    generator = ctranslate2.Generator(model, compute_type="int8", intra_threads=THREADS, inter_threads=1)

    def write(prompts: list[list[int]], new: int) -> list[list[int]]:
        given = [[words[token] for token in prompt] for prompt in prompts]
        options = {"max_length": new, "min_length": new, "sampling_topk": 1, "end_token": []}
        done = generator.generate_batch(given, include_prompt_in_result=False, **options)
        return [[ids[word] for word in one.sequences[0]] for one in done]

    return write


def transformers_side(model: str) -> Write:
    """`generate` in bfloat16."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    torch.set_num_threads(THREADS)
    paired = AutoConfig.from_pretrained(model).is_encoder_decoder
    kind = AutoModelForSeq2SeqLM if paired else AutoModelForCausalLM
    opened = kind.from_pretrained(model, dtype=torch.bfloat16).eval()
    opened.generation_config.eos_token_id, opened.generation_config.pad_token_id = None, 0

    def write(prompts: list[list[int]], new: int) -> list[list[int]]:
        given = torch.tensor(prompts)
        options: dict[str, Any] = {"max_new_tokens": new, "min_new_tokens": new, "do_sample": False}
        with torch.inference_mode():
            ids = opened.generate(given, attention_mask=torch.ones_like(given), **options)
        return ids[:, 1 if paired else given.shape[1] :].tolist()

    return write


SIDES: dict[str, Callable[[str], Write]] = {
    "int4": lambda model: stemma_side(model, "int4"),
    "int8": lambda model: stemma_side(model, "int8"),
    "int4, lookup": lambda model: stemma_side(model, "int4", "lookup"),
    "llama.cpp": llama_cpp_side,
    "CTranslate2": ctranslate2_side,
    "transformers": transformers_side,
}


def seconds(write: Write, prompts: list[list[int]], new: int) -> tuple[float, Sequence[Sequence[int]]]:
    """The time that it takes, and what is written."""
    begun = perf_counter()
    written = write(prompts, new)
    assert all(len(ids) == new for ids in written), "each side writes as much"
    return perf_counter() - begun, written


def go(write: Write, tasks: dict[str, Any]) -> dict[str, Any]:
    """Each task once. What the prompt takes is told apart from what is written after it."""
    new, prompts, long = tasks["new"], tasks["prompts"], tasks["long"]
    rates: dict[str, Any] = {}
    for name, some, count in (("one", prompts[:1], new), ("eight", prompts, new // 2)):
        first, _ = seconds(write, some, 1)
        both, written = seconds(write, some, count)
        rates[name] = len(some) * (count - 1) / (both - first)
        rates.setdefault("ids", list(written[0]))
    reading, _ = seconds(write, [long], 1)
    return rates | {"read": len(long) / reading}


if __name__ == "__main__":
    side, model, file = sys.argv[1:]
    write, tasks = SIDES[side](model), json.loads(Path(file).read_text(encoding="utf-8"))
    print(json.dumps({"ready": 1}), flush=True)
    for _ in sys.stdin:
        print(json.dumps(go(write, tasks)), flush=True)
