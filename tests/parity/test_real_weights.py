"""Real weights against figures that were kept with them, and against the libraries that they were made for."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from stemma.checkpoints import locate, read_folder, read_gguf
from stemma.checkpoints.rules import Info, make_plan
from stemma.errors import SourceError
from stemma.families import GPT2
from stemma.generation import Greedy, ModelStepper, search
from stemma.nn import Model, PackedProducts
from stemma.spec.ends import LanguageModelHead
from stemma.spec.mapping import Rename, Split
from stemma.spec.parts import Learned

from ..tiny import apart
from ..tolerances import FP32, GGUF_LOGITS, KEPT_ACTIVATIONS, KEPT_LOGITS, STSB_SPEARMAN

pytestmark = pytest.mark.real
Figure = Callable[..., None]


def _embedded(name: str) -> Path:
    try:
        return locate(name).path
    except SourceError as error:
        pytest.skip(str(error))


# --- A LLaMA of 260 thousand parameters, and what it said -----------------------------------------------------------


def test_stories_are_told_as_they_were(shared: Path, figure: Figure) -> None:
    folder = shared / "weights" / "llama2c-stories260K"
    expected = json.loads((folder / "expected.json").read_text(encoding="utf-8"))
    ids: list[int] = expected["greedy_ids_from_bos"]
    model = read_folder(folder / "hf").model.eval()
    ((said,),) = search(ModelStepper(model), [ids[:1]], Greedy(), max_new_tokens=len(ids) - 1)
    assert list(said.tokens) == ids[1:]
    with torch.no_grad():
        logits = model(torch.tensor([ids[:16]]), last_only=True).logits[0, -1]
    kept = torch.tensor(expected["logits_after_first_16_ids"])
    relative = apart(logits, kept) / float(kept.abs().max())
    figure("stories260K", largest=apart(logits, kept), relative=relative)
    assert relative <= KEPT_LOGITS


# --- A GPT of 85 thousand parameters, and every step of what it computed ---------------------------------------------


@dataclass(frozen=True)
class _Encoded:
    """Tensors in base64, as the rules of a checkpoint read them."""

    entries: Mapping[str, Any]

    @property
    def infos(self) -> Mapping[str, Info]:
        named = {name: entry for name, entry in self.entries.items() if "data" in entry}
        return {name: Info(tuple(entry["shape"])) for name, entry in named.items()}

    def read(self, name: str) -> torch.Tensor:
        entry = self.entries[name]
        return torch.frombuffer(bytearray(base64.b64decode(entry["data"])), dtype=torch.float32).view(entry["shape"])


def _sorter(stored: _Encoded) -> Model:
    """minGPT's model: GPT-2's names, but with matrices stored as (out, in) and an output of its own."""
    config = stored.entries["config"]
    architecture = GPT2.build(
        n_layers=config["n_layer"],
        d_model=config["n_embd"],
        n_heads=config["n_head"],
        vocab_size=config["vocab_size"],
        position=Learned(config["block_size"]),
        heads=(LanguageModelHead(tied=False),),
    )
    model = Model(architecture, seed=None).eval()
    parameters = dict(model.named_parameters())
    assert GPT2.checkpoint is not None
    rules = [
        replace(rule, transposed=False) if isinstance(rule, Rename | Split) else rule
        for rule in GPT2.checkpoint.weights
        if rule.theirs != "lm_head.weight"
    ]
    shapes = {name: tuple(parameter.shape) for name, parameter in parameters.items()}
    plan = make_plan(shapes, rules, sizes={}, prefix="transformer.")
    assert not plan.faults(stored.infos)
    with torch.no_grad():
        for name, tensor in plan.read(stored):
            parameters[name].copy_(tensor)
    return model


def test_every_activation_of_a_sorting_gpt(shared: Path, figure: Figure) -> None:
    folder = shared / "weights" / "gpt-nano-sort"
    model = _sorter(_Encoded(json.loads((folder / "gpt-nano-sort-model.json").read_text(encoding="utf-8"))))
    kept = _Encoded(json.loads((folder / "gpt-nano-sort-t0-partials.json").read_text(encoding="utf-8")))
    inputs: dict[str, torch.Tensor] = {}
    outputs: dict[str, torch.Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        def note(module: nn.Module, given: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            inputs[name], outputs[name] = given[0], output

        return note

    for name, module in model.named_modules():
        module.register_forward_hook(watch(name))
    tokens = kept.read("idx").long()
    with torch.no_grad():
        output = model(tokens, attentions=True)
    assert output.attentions is not None
    assert output.logits is not None

    block = "decoder.blocks.0"
    # Their first block is written out in full.
    parts = {name: outputs[f"{block}.attention.{name}"] for name in ("query", "key", "value")}
    query, key, value = (
        part.unflatten(-1, (model.architecture.n_heads, -1)).transpose(1, 2) for part in parts.values()
    )
    later = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool).triu(1)
    scores = (query @ key.mT * model.architecture.d_head**-0.5).masked_fill(later, float("-inf"))
    found = {
        "tok_emb": outputs["embeddings.token"],
        "pos_emb": outputs["embeddings.position"],
        "x": inputs[block],
        "ln1": outputs[f"{block}.attention_norm"],
        "q": query,
        "k": key,
        "v": value,
        "qkv": torch.cat(list(parts.values()), -1),
        "att": scores,
        "attSm": output.attentions[0],
        "y": inputs[f"{block}.attention.output"],
        "yProj": outputs[f"{block}.attention.output"],
        "attnResid": inputs[f"{block}.feedforward_norm"],
        "ln2": outputs[f"{block}.feedforward_norm"],
        "fc": outputs[f"{block}.feedforward.up"],
        "gelu": inputs[f"{block}.feedforward.down"],
        "mlp": outputs[f"{block}.feedforward.down"],
        "mlpResid": outputs[block],
        **{f"block{layer}": outputs[f"decoder.blocks.{layer}"] for layer in range(model.architecture.n_layers)},
        "ln_f": outputs["decoder.norm"],
        "lm_head": output.logits,
        "probs": output.logits.softmax(-1),
    }
    assert found.keys() | {"idx"} == kept.infos.keys()
    differences = {name: _apart_where_seen(tensor, kept.read(name)) for name, tensor in found.items()}
    figure("gpt-nano-sort", **differences)
    assert max(differences.values()) <= KEPT_ACTIVATIONS, differences


def _apart_where_seen(first: torch.Tensor, second: torch.Tensor) -> float:
    """As `apart`; what is minus infinity must be so in both."""
    hidden = second.isneginf()
    assert torch.equal(first.isneginf(), hidden)
    return apart(first.masked_fill(hidden, 0), second.masked_fill(hidden, 0))


# --- SmolLM2, from a GGUF file ---------------------------------------------------------------------------------------

PROMPTS = (
    "In this example we are going to",
    "The transformer is a neural network that",
    "def fibonacci(n):\n",
    "The capital of France is",
    "Once upon a time, in a village by the sea,",
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
def test_smollm2_is_read_as_transformers_reads_it(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers

    path = _embedded("smollm2")
    # It asks for a package of which reading a GGUF file on one device uses nothing.
    monkeypatch.setattr(transformers.modeling_utils, "is_accelerate_available", lambda: True)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    ours = read_gguf(path).model.eval()
    prompts = [tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    said = search(ModelStepper(ours), prompts, Greedy(), max_new_tokens=64)
    whole = [torch.tensor([[*ids, *best.tokens]]) for ids, (best, *_) in zip(prompts, said, strict=True)]
    with torch.no_grad():
        expected = [theirs(tokens).logits for tokens in whole]
        apart_plain = [apart(ours(tokens).logits, logits) for tokens, logits in zip(whole, expected, strict=True)]
        ours.pack()
        plain = apart(ours(whole[0]).logits, expected[0])
        with PackedProducts():
            apart_packed = [apart(ours(tokens).logits, logits) for tokens, logits in zip(whole, expected, strict=True)]
        spelt_out = theirs.generate(
            whole[0][:, : len(prompts[0])], max_new_tokens=64, min_new_tokens=64, do_sample=False
        )
    figure("smollm2", largest=max(apart_plain), packed=max(apart_packed))
    assert torch.equal(spelt_out, whole[0])
    # A text of which each token is the likeliest after those before it is the greedy one.
    for ids, tokens, logits in zip(prompts, whole, expected, strict=True):
        assert torch.equal(logits[0, len(ids) - 1 : -1].argmax(-1), tokens[0, len(ids) :])
    assert search(ModelStepper(ours), prompts[:1], Greedy(), max_new_tokens=64)[0][0].tokens == said[0][0].tokens
    assert max(*apart_plain, plain) <= GGUF_LOGITS


# --- MiniLM, from a folder of sentence-transformers ------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # theirs
def test_minilm_embeds_as_sentence_transformers_does(shared: Path, figure: Figure) -> None:
    import numpy
    from scipy.stats import spearmanr
    from sentence_transformers import SentenceTransformer

    import stemma

    with (shared / "data" / "stsb-multi-mt" / "stsb-en-test.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.reader(lines))
    left, right = [row[0] for row in rows], [row[1] for row in rows]
    theirs = SentenceTransformer(str(_embedded("minilm")), device="cpu")
    ours = stemma.load("minilm")
    some = [*left[:100], *right[-100:], "a", "word " * 400]
    largest = float(numpy.abs(ours.embed(some) - theirs.encode(some)).max())
    figure("minilm", largest=largest)
    assert largest <= FP32
    products = (ours.embed(left) * ours.embed(right)).sum(-1)
    correlation = float(spearmanr(products, [float(row[2]) for row in rows]).statistic)
    figure("stsb-en-test", spearman=correlation)
    assert correlation >= STSB_SPEARMAN
