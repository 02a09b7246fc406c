"""Soft prompts on every transformer family."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from stemma.adaptation import attach, detach, using
from stemma.adaptation.adaptation import Adaptation, own
from stemma.adaptation.prefix import PrefixTuning, prefixed
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.adaptation.virtual import seeded, virtual_ids
from stemma.errors import InputError
from stemma.families import BERT, GPT2, LLAMA, T5, ULMFIT
from stemma.nn import Model
from stemma.spec import Decoder, EncoderDecoder, Family

from ..tiny import (
    PER_TOKEN,
    VOCAB,
    apart,
    each,
    each_family,
    random_model,
    random_tokens,
    results,
    run,
    tiny,
    tiny_recurrent,
)
from ..tolerances import FP32

pytestmark = pytest.mark.sampled(3)

N, LENGTH = 3, 6
PROMPTS: dict[str, Adaptation] = {
    "prompt": PromptTuning(n_virtual=N),
    "p-mlp": PTuning(n_virtual=N, width=5),
    "p-lstm": PTuning(n_virtual=N, width=5, encoder="lstm"),
    "prefix": PrefixTuning(n_virtual=N),
    "prefix-mlp": PrefixTuning(n_virtual=N, width=7),
}
each_prompt = pytest.mark.parametrize("prompt", PROMPTS.values(), ids=PROMPTS)
TOKENS = random_tokens(2, LENGTH)


def read(model: Model, *names: str) -> dict[str, torch.Tensor]:
    """A pass over the usual tokens with the virtual tokens of these adaptations before them."""
    inputs = {"tokens": TOKENS}
    if isinstance(model.architecture.stacks, EncoderDecoder):
        inputs["decoder_tokens"] = TOKENS.flip(1)
    for side, ids in virtual_ids(model, names).items():
        inputs[side] = torch.cat((torch.tensor([ids] * len(TOKENS)), inputs[side]), 1)
    return results(model(**inputs))


@each_prompt
@each_family
def test_without_its_tokens_nothing_changes(family: Family, prompt: Adaptation) -> None:
    model = random_model(tiny(family))
    before, own_before = results(run(model, TOKENS)), dict(model.named_parameters())
    expected = read(model)
    assert prompt.faults(model.architecture) == []
    attach(model, {"one": prompt, "two": prompt}, seed=1)
    assert all(torch.equal(value, before[name]) for name, value in results(run(model, TOKENS)).items())
    added = set(dict(model.named_parameters())) - set(own_before)
    assert added == {*own(model, "one"), *own(model, "two")}
    prompted = read(model, "one")
    for name in PER_TOKEN:
        if name in expected:
            assert apart(prompted[name][:, -LENGTH:], expected[name][:, -LENGTH:]) > 1e-4, "a prompt is read"


@each_prompt
@each_family
def test_only_the_prompt_learns(family: Family, prompt: Adaptation) -> None:
    model = random_model(tiny(family))
    attach(model, {"one": prompt})
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    learning = [value for value in model.parameters() if value.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=1e-2)
    for _ in range(2):
        optimiser.zero_grad()
        found = read(model, "one")
        sum(found[name][:, -LENGTH:].square().sum() for name in PER_TOKEN if name in found).backward()
        optimiser.step()
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    # A task module learns where its task is asked for; here a text is continued.
    assert changed == {path for path in own(model, "one") if ".understanding." not in path}


@each_family
def test_a_prompt_that_starts_from_a_text_is_read_as_that_text(family: Family) -> None:
    model = random_model(tiny(family))
    text = (7, 11, 5)
    attach(model, {"one": PromptTuning(n_virtual=N, start=text)})
    prompted = read(model, "one")
    inputs = {"decoder_tokens": TOKENS.flip(1)} if isinstance(model.architecture.stacks, EncoderDecoder) else {}
    written = results(model(torch.cat((torch.tensor([text] * 2), TOKENS), 1), **inputs))
    assert all(apart(value, written[name]) <= FP32 for name, value in prompted.items())


@each(Decoder, EncoderDecoder)
def test_a_prefix_starts_as_drawn_words(family: Family) -> None:
    model = random_model(tiny(family))
    with seeded(4):
        words = torch.randint(model.architecture.vocab_size, (1, N))
    if model.architecture.vision is not None:
        words[words == model.architecture.vision.token] = 0
    attach(model, {"one": PrefixTuning(n_virtual=N)}, seed=4)
    side, inputs = "tokens", {"tokens": TOKENS}
    if isinstance(model.architecture.stacks, EncoderDecoder):
        # Words that are drawn are the encoder's too, where they stand for the text that is read.
        side, inputs = "decoder_tokens", {"tokens": words.expand(2, -1), "decoder_tokens": TOKENS}
    [(where, ids)] = virtual_ids(model, ["one"]).items()
    assert where == side
    begun = [
        model(**inputs | {side: torch.cat((torch.as_tensor(start).expand(2, -1), TOKENS), 1)}).logits[:, N:]
        for start in ([ids], words)
    ]
    assert apart(*begun) <= FP32


@each(Decoder)
@pytest.mark.parametrize("kind", ["prompt", "prefix-mlp"])
def test_a_cache_with_padding_on_the_left(family: Family, kind: str) -> None:
    model = random_model(tiny(family))
    attach(model, {"one": PROMPTS[kind]})
    [ids] = virtual_ids(model, ["one"]).values()
    texts = [[*ids, *TOKENS[0].tolist()], [*ids, *TOKENS[1, :4].tolist()]]
    rows = torch.tensor([texts[0], [0, 0, *texts[1]]])
    with torch.no_grad():
        cache = model.new_cache(2, 12, starts=torch.tensor([0, 2]))
        stepped = [model.decode(rows, cache=cache, last_only=True).logits]
        cache.reorder(torch.tensor([1, 1, 0]))
        steps = random_tokens(3, 2, seed=3)
        stepped += [model.decode(step[:, None], cache=cache).logits for step in steps.T]
        for row, source in enumerate((1, 1, 0)):
            whole = model(torch.tensor([[*texts[source], *steps[row].tolist()]])).logits[0]
            for back, logits in enumerate(stepped[::-1], 1):
                assert apart(logits[row if len(logits) == 3 else source, -1], whole[-back]) <= FP32


@pytest.mark.parametrize("family", [BERT, LLAMA], ids=lambda family: family.name)
@each_prompt
def test_packed_texts_have_each_their_own(family: Family, prompt: Adaptation) -> None:
    model = random_model(tiny(family))
    attach(model, {"one": prompt})
    [ids] = virtual_ids(model, ["one"]).values()
    texts = [[*ids, *TOKENS[0].tolist()], [*ids, *TOKENS[1, :4].tolist()]]
    documents = torch.tensor([[number for number, text in enumerate(texts) for _ in text]])
    packed = model(torch.tensor([[token for text in texts for token in text]]), documents=documents).hidden[0]
    alone = torch.cat([model(torch.tensor([text])).hidden[0] for text in texts])
    assert apart(packed, alone) <= FP32


def test_several_are_told_apart() -> None:
    model = random_model(tiny(GPT2))
    attach(model, {"one": PromptTuning(n_virtual=2), "two": PrefixTuning(n_virtual=N), "three": PTuning(n_virtual=1)})
    assert virtual_ids(model, ["one", "two", "three"]) == {"tokens": tuple(range(VOCAB, VOCAB + 6))}
    alone = read(model, "two")
    with using("two"):
        assert all(torch.equal(value, alone[name]) for name, value in read(model, "two").items())
        with pytest.raises(InputError, match="virtual token 5' belongs to no adaptation that is in force"):
            read(model, "three")
    detach(model, "one")
    assert virtual_ids(model, ["one"]) == {}
    assert virtual_ids(model, ["two"]) == {"tokens": (VOCAB + 2, VOCAB + 3, VOCAB + 4)}
    for stranger, said in ((VOCAB, "in force"), (VOCAB + 6, "lies outside")):
        with pytest.raises(InputError, match=said):
            model(torch.tensor([[stranger, 1, 2]]))
    attach(model, {"four": PromptTuning(n_virtual=1)})
    assert virtual_ids(model, ["four"]) == {"tokens": (VOCAB + 6,)}, "no id is given twice"


def test_a_pooler_reads_the_first_token_that_is_not_silent() -> None:
    model = random_model(tiny(BERT))
    attach(model, {"prefix": PrefixTuning(n_virtual=N), "prompt": PromptTuning(n_virtual=N)})
    for name, place in (("prefix", N), ("prompt", 0)):
        found = read(model, name)
        assert torch.equal(found["pooled"], torch.tanh(model.heads["pooler"](found["hidden"][:, place])))


@each_prompt
@pytest.mark.parametrize("family", [BERT, GPT2, T5], ids=lambda family: family.name)
def test_a_network_without_numbers_takes_them(family: Family, prompt: Adaptation) -> None:
    """What is saved is compared with such a network before it is read."""
    models = [random_model(tiny(family)), Model(tiny(family), device="meta")]
    for model in models:
        prompt.attach(model, "one")
    first, second = ({path: value.shape for path, value in model.named_parameters()} for model in models)
    assert first == second


@pytest.mark.slow
def test_the_pass_is_one_graph() -> None:
    program = Path(__file__).with_name("compiled_prompts.py")
    ran = subprocess.run([sys.executable, str(program)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout.splitlines()[-1])
    assert len(report) == 4
    assert max(report.values()) <= FP32


@pytest.mark.parametrize(
    ("value", "spec", "said"),
    [
        (PromptTuning(n_virtual=0), tiny(GPT2), "n_virtual=0 must be a whole number"),
        (PromptTuning(n_virtual=19), tiny(GPT2), "n_virtual=19 leaves no room"),
        (PromptTuning(start=()), tiny(LLAMA), r"start=\(\) must be ids"),
        (PromptTuning(start=(1, VOCAB)), tiny(LLAMA), rf"start=\[{VOCAB}\] must be ids"),
        (PTuning(width=0, encoder="gru"), tiny(LLAMA), "(?s)width=0 .*encoder='gru' is not known"),  # type: ignore[arg-type]
        (PrefixTuning(width=-1), tiny(LLAMA), "width=-1 must be at least 1"),
        (PrefixTuning(), tiny_recurrent(ULMFIT), "is not for a network that is"),
    ],
    ids=["none", "long", "empty", "alien", "network", "width", "recurrent"],
)
def test_faults(value: Adaptation, spec: Any, said: str) -> None:
    faults = "\n".join(map(str, value.faults(spec)))
    assert faults
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(faults)


def test_parameters_are_counted() -> None:
    spec = tiny(LLAMA)
    d_keys, layers, width = spec.n_kv_heads * spec.d_head, spec.n_layers, spec.d_model
    expected = {
        "prompt": N * width,
        "p-mlp": N * width + (width + 1) * 5 + 6 * 5 + 6 * width,
        "prefix": N * layers * 2 * d_keys,
        "prefix-mlp": N * width + (width + 1) * 7 + layers * 8 * 2 * d_keys,
    }
    for kind, count in expected.items():
        model = random_model(spec)
        attach(model, {"one": PROMPTS[kind]})
        assert sum(value.numel() for value in model.parameters() if value.requires_grad) == count, kind
        assert len(prefixed(model)) == layers
