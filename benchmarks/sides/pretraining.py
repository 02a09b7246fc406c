"""One side of a comparison of training, as a process of its own: `python pretraining.py SIDE`.

Each line on its input is one go; the answer is a JSON object: what was done in it, and the most memory so far.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import count
from pathlib import Path
from pydoc_data.topics import topics
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame import THREADS

if TYPE_CHECKING:
    from stemma.objectives import Objective
    from stemma.text import Tokenizer

BATCH, LENGTH = 4, 512  # of GPT-2
TEXTS, WIDTH, LEAST = 16, 128, 16  # of BERT: texts a batch, tokens of the longest and of the shortest
PACKED = 8  # rows of WIDTH tokens that hold about as many texts
SMALL = dict(n_layers=5, d_model=192, n_heads=3, vocab_size=4096)
SMALL_ROWS, SMALL_STEPS = 8, 16  # rows of LENGTH tokens a step, steps a go

Figures = Mapping[str, float]


def documents() -> list[str]:
    """Python's own documentation."""
    return [topics[name] for name in sorted(topics)]


def paragraphs() -> list[str]:
    return [part for text in documents() for part in text.split("\n\n")]


def serve(go: Callable[[], Figures]) -> None:
    """Answer each line; the first go, which compiles, is over before the first of them, and so is a second."""
    for _ in range(2):
        done = go()
    Path("/proc/self/clear_refs").write_text("5")  # the highest memory so far is forgotten
    say({**done, "peak_mib": 0})
    for _ in sys.stdin:
        done = go()
        say({**done, "peak_mib": peak_mib()})


def say(values: Figures) -> None:
    print(json.dumps(values), flush=True)


def peak_mib() -> float:
    """The most memory since it was forgotten."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


class Pacing:
    """A tracker that holds a run back until it is told to go on.

    Args:
        every: steps a go.
    """

    def __init__(self, every: int) -> None:
        self.every = every
        self._tokens = 0.0
        self._goes = 0

    def begin(self, step: int, steps: int) -> None:
        """Nothing is to be done."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """A go is over."""
        import torch

        from stemma.training.meters import peak_flops

        tokens = values["tokens"] - self._tokens
        self._tokens += tokens
        self._goes += 1
        if self._goes < 2:
            return
        if self._goes == 2:
            Path("/proc/self/clear_refs").write_text("5")
        keep = {name: values[name] for name in ("loss", "utilisation", "waited")}
        peak = peak_flops(torch.device("cpu"), "bfloat16")
        flops = values["utilisation"] * peak * tokens / values["tokens_per_second"]
        memory = 0.0 if self._goes == 2 else peak_mib()
        say({**keep, "tokens": tokens, "flops": flops, "peak_mib": memory})
        if not sys.stdin.readline():
            sys.exit()

    def note(self, step: int, event: str) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """Nothing is to be done."""


def ours(
    family: str,
    asked: Objective,
    tokenizer: Tokenizer,
    texts: list[str],
    rows: int,
    length: int,
    every: int,
    **spec: Any,
) -> None:
    """Stemma's own loop, as `stemma pretrain` runs it."""
    import torch

    from stemma.data import Corpus, Rows
    from stemma.families import family as named
    from stemma.nn import build
    from stemma.objectives import Setting, Vocabulary, passes
    from stemma.spec import Dropout
    from stemma.training import AdamW, Learner, Lesson, TrainPlan, train

    torch.set_num_threads(THREADS)
    of = named(family).build(dropout=Dropout(), **spec)
    vocabulary = Vocabulary.of(tokenizer, size=of.vocab_size)
    (asks,) = passes([asked])
    corpus = Corpus.of([tokenizer.encode(text, add_special=False) for text in texts])
    read = Rows([corpus], asks.reads, asks.takes(length), vocabulary.frame, seed=0, batch=rows)
    lesson = Lesson(asks, read.row, Setting(vocabulary, length, of), multiple=length, length=length)
    plan = TrainPlan(
        steps=10**6, rows=rows, optimiser=AdamW(lr=1e-4), clip=None, precision="bfloat16", compile=True,
        log_every=every,
    )  # fmt: skip
    train(Learner(build(of), [lesson]), plan, trackers=[Pacing(every)])


def theirs(model: Any, batches: Iterator[Mapping[str, Any]], compiled: bool) -> None:
    """A model of transformers with torch's optimiser, as their Trainer sets it."""
    import torch

    optimiser = torch.optim.AdamW(model.train().parameters(), lr=1e-4, fused=True)
    if compiled:
        model.forward = torch.compile(model.forward)

    def go() -> Figures:
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(**batch).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        tokens = batch["attention_mask"].sum() if "attention_mask" in batch else batch["input_ids"].numel()
        return {"loss": float(loss.detach()), "tokens": float(tokens)}

    serve(go)


def learnt(size: int) -> Tokenizer:
    from stemma.text import train

    return train(documents(), vocab_size=size)


def short(tokenizer: Tokenizer) -> list[str]:
    """Paragraphs of a sentence and more, which a row has room for."""
    lengths = {text: len(tokenizer.encode(text)) for text in dict.fromkeys(paragraphs())}
    return [text for text, length in lengths.items() if LEAST <= length <= WIDTH]


def hf_gpt2(compiled: bool) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from stemma.training.vocabularies import open_tokenizer

    torch.set_num_threads(THREADS)
    model = GPT2LMHeadModel(GPT2Config(use_cache=False, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0))
    tokenizer = open_tokenizer("smollm2")
    stream = torch.tensor([token for text in documents() for token in tokenizer.encode(text)])
    rows = stream[: len(stream) // LENGTH * LENGTH].view(-1, LENGTH)

    def batches() -> Iterator[Mapping[str, Any]]:
        for start in count(0, BATCH):
            ids = rows[torch.arange(start, start + BATCH) % len(rows)]
            yield {"input_ids": ids, "labels": ids}

    theirs(model, batches(), compiled)


def hf_bert(compiled: bool) -> None:
    import torch
    from transformers import BertConfig, BertForMaskedLM

    from stemma.training.vocabularies import open_tokenizer

    torch.set_num_threads(THREADS)
    model = BertForMaskedLM(BertConfig(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0))
    tokenizer = open_tokenizer("minilm")
    texts = [tokenizer.encode(text) for text in short(tokenizer)]
    draws = torch.Generator().manual_seed(0)
    order = torch.randperm(len(texts), generator=draws).tolist()

    def batches() -> Iterator[Mapping[str, Any]]:
        for start in count(0, TEXTS):
            chosen = [texts[order[at % len(order)]] for at in range(start, start + TEXTS)]
            # A compiled network wants one length; the others get as much padding as the longest text asks for.
            width = WIDTH if compiled else max(map(len, chosen))
            ids = torch.tensor([text + [0] * (width - len(text)) for text in chosen])
            mask = ids != 0
            picked = (torch.rand(ids.shape, generator=draws) < 0.15) & mask & (ids != 101) & (ids != 102)
            labels = ids.masked_fill(~picked, -100)
            yield {"input_ids": ids.masked_fill(picked, 103), "attention_mask": mask.long(), "labels": labels}

    theirs(model, batches(), compiled)


def our_gpt2() -> None:
    from stemma.objectives import CausalLM
    from stemma.training.vocabularies import open_tokenizer

    # Over the edges of documents, as the others read.
    ours("gpt2", CausalLM(across=True), open_tokenizer("smollm2"), documents(), BATCH, LENGTH, 1, size="117M")


def our_bert() -> None:
    from stemma.objectives import MaskedLM
    from stemma.spec import MaskedLMHead
    from stemma.training.vocabularies import open_tokenizer

    tokenizer = open_tokenizer("minilm")
    ours("bert", MaskedLM(), tokenizer, short(tokenizer), PACKED, WIDTH, 1, size="base", heads=(MaskedLMHead(),))


def our_small() -> None:
    from stemma.objectives import CausalLM

    tokenizer = learnt(SMALL["vocab_size"])
    ours("gpt2", CausalLM(across=True), tokenizer, documents(), SMALL_ROWS, LENGTH, SMALL_STEPS, **SMALL)


SIDES: dict[str, Callable[[], None]] = {
    "gpt2 ours": our_gpt2,
    "gpt2 compiled": partial(hf_gpt2, True),
    "gpt2 eager": partial(hf_gpt2, False),
    "bert ours": our_bert,
    "bert compiled": partial(hf_bert, True),
    "bert eager": partial(hf_bert, False),
    "small ours": our_small,
}


if __name__ == "__main__":
    SIDES[sys.argv[1]]()
