"""What a model is asked beside its logits, what it costs, that it compiles, and what it refuses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from stemma.errors import InputError
from stemma.families import BERT, GPT2, T5
from stemma.nn import Model
from stemma.nn.experts import Mixture
from stemma.spec import Architecture, Decoder, Encoder, EncoderDecoder, Family
from stemma.spec.parts import Learned

from ..tiny import (
    LONGEST,
    VOCAB,
    apart,
    each,
    each_decoder,
    each_family,
    random_model,
    random_tokens,
    results,
    run,
    tiny,
)
from ..tolerances import FP32

TOKENS = random_tokens(2, 9)


class _Counted(TorchDispatchMode):
    """Counts the operations that reach the kernels."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.operations[str(function)] += 1
        return function(*args, **(kwargs or {}))


def _operations(model: Model, **options: bool) -> Counter[str]:
    with _Counted() as counted:
        run(model, TOKENS, **options)
    return counted.operations


@each_family
def test_what_is_kept_on_request_changes_nothing(family: Family) -> None:
    model = random_model(tiny(family))
    plain, full = run(model, TOKENS), run(model, TOKENS, hiddens=True, attentions=True)
    assert plain.hiddens is None
    assert plain.attentions is None
    for name, value in results(plain).items():
        assert torch.equal(results(full)[name], value), name
    spec = model.architecture
    stacks = (spec.n_encoder_layers > 0) + (spec.n_decoder_layers > 0)
    assert full.hiddens is not None
    inner = spec.modules.n_layers + 2 if spec.modules else 0  # and the module's output at both widths
    assert len(full.hiddens) == spec.n_encoder_layers + spec.n_decoder_layers + stacks + inner
    assert torch.equal(full.hiddens[-1], full.hidden)


@each_family
def test_what_is_not_asked_for_costs_nothing(family: Family) -> None:
    model = random_model(tiny(family))
    plain = _operations(model)
    assert _operations(model, hiddens=True) == plain
    maps = _operations(model, attentions=True)
    routers = sum(isinstance(module, Mixture) for module in model.modules())
    assert maps["aten._softmax.default"] > plain["aten._softmax.default"] == routers
    # The kernel never holds a map: each attention is one fused call.
    fused = sum(count for name, count in plain.items() if "scaled_dot_product" in name)
    attentions = model.architecture.n_encoder_layers + model.architecture.n_decoder_layers
    if model.encoder and model.decoder:
        attentions += model.architecture.n_decoder_layers
    if (modules := model.architecture.modules) is not None:
        attentions += modules.n_layers
    assert fused == attentions


@each_decoder
def test_the_last_logits_alone(family: Family) -> None:
    model = random_model(tiny(family))
    whole, last = run(model, TOKENS), run(model, TOKENS, last_only=True)
    assert whole.logits is not None
    assert last.logits is not None
    assert apart(last.logits, whole.logits[:, -1:]) <= FP32
    assert torch.equal(last.hidden, whole.hidden)


@each_family
def test_training_drops_and_evaluation_does_not(family: Family) -> None:
    model = random_model(tiny(family))
    assert torch.equal(run(model, TOKENS).hidden, run(model, TOKENS).hidden)
    rates = vars(model.architecture.dropout).values()
    torch.manual_seed(0)
    model.train()
    assert torch.equal(run(model, TOKENS).hidden, run(model, TOKENS).hidden) == (not any(rates))


# --- Errors ----------------------------------------------------------------------------------------------------------


def _refused(field: str, call: Callable[[], object]) -> InputError:
    with pytest.raises(InputError) as caught:
        call()
    assert field in [fault.field for fault in caught.value.faults]
    assert all(fault.rule and fault.remedy for fault in caught.value.faults)
    return caught.value


@each_family
@pytest.mark.parametrize("strange", [VOCAB + 1, -1])
def test_ids_outside_the_vocabulary(family: Family, strange: int) -> None:
    model, tokens = random_model(tiny(family)), TOKENS.clone()
    tokens[1, 3] = strange
    assert str(strange) in str(_refused("tokens", lambda: run(model, tokens)))


@each_decoder
def test_ids_outside_the_vocabulary_after_a_cache(family: Family) -> None:
    model = random_model(tiny(family))
    memory = model.encode(TOKENS) if model.encoder else None
    cache = model.new_cache(2, 4, memory=memory)
    _refused("tokens", lambda: model.decode(torch.full((2, 1), VOCAB + 1), cache=cache))
    assert cache.length == 0


@each(EncoderDecoder)
def test_ids_outside_the_vocabulary_of_a_decoder(family: Family) -> None:
    model = random_model(tiny(family))
    _refused("tokens", lambda: run(model, TOKENS, decoder_tokens=torch.full((2, 3), VOCAB)))


@pytest.mark.parametrize("family", [BERT, GPT2], ids=lambda family: family.name)
def test_texts_longer_than_the_table_of_positions(family: Family) -> None:
    model = random_model(tiny(family))
    assert isinstance(model.architecture.position, Learned)
    long = random_tokens(1, LONGEST + 1)
    _refused("length", lambda: run(model, long))
    mask = torch.ones_like(long, dtype=torch.bool)
    _refused("length", lambda: run(model, long, mask=mask))
    mask[0, 0] = False  # one place of padding makes room
    assert run(model, long, mask=mask).hidden.shape[1] == LONGEST + 1


def test_the_table_of_positions_after_a_cache() -> None:
    model = random_model(tiny(GPT2))
    cache = model.new_cache(2, LONGEST + 9, starts=torch.tensor([0, 4]))
    with torch.no_grad():
        model.decode(random_tokens(2, LONGEST), cache=cache)
        _refused("length", lambda: model.decode(random_tokens(2, 1), cache=cache))
        cache.reorder(torch.tensor([1]))  # the row that began later has room left
        model.decode(random_tokens(1, 4), cache=cache)
        _refused("length", lambda: model.decode(random_tokens(1, 1), cache=cache))


@each_decoder
def test_a_full_cache(family: Family) -> None:
    model = random_model(tiny(family))
    cache = model.new_cache(2, 5, memory=model.encode(TOKENS) if model.encoder else None)
    with torch.no_grad():
        model.decode(TOKENS[:, :4], cache=cache)
        _refused("length", lambda: model.decode(TOKENS[:, :2], cache=cache))
        assert cache.length == 4
        model.decode(TOKENS[:, :1], cache=cache)
    _refused("length", lambda: cache.trim(6))
    _refused("length", lambda: cache.trim(-1))


@each(EncoderDecoder)
def test_a_pair_needs_both_texts(family: Family) -> None:
    model = random_model(tiny(family))
    _refused("decoder_tokens", lambda: model(TOKENS))


@each(Encoder, Decoder)
def test_one_stack_reads_one_text(family: Family) -> None:
    model = random_model(tiny(family))
    _refused("decoder_tokens", lambda: model(TOKENS, decoder_tokens=TOKENS))


@each(Decoder)
def test_a_cache_knows_its_own_padding(family: Family) -> None:
    model = random_model(tiny(family))
    _refused("mask", lambda: model(TOKENS, mask=TOKENS >= 0, cache=model.new_cache(2, 9)))


def _has_segments(spec: Architecture) -> bool:
    return bool(spec.embedding.segments) or getattr(spec.position, "segments", False)


@each_family
def test_what_a_family_does_not_read_is_refused(family: Family) -> None:
    """Nothing that is given is passed over in silence."""
    model = random_model(tiny(family))
    kind = type(model.architecture.stacks)
    given = {
        "segments": (torch.zeros_like(TOKENS), _has_segments(model.architecture)),
        "documents": (torch.zeros_like(TOKENS), kind is not EncoderDecoder),
        "decoder_mask": (torch.ones(2, 7, dtype=torch.bool), kind is EncoderDecoder),
    }
    for name, (value, read) in given.items():
        if read:
            run(model, TOKENS, **{name: value})
        else:
            _refused(name, lambda name=name, value=value: run(model, TOKENS, **{name: value}))
    if kind is not Decoder:
        cache = random_model(tiny(GPT2)).new_cache(2, 9)
        _refused("cache", lambda: run(model, TOKENS, cache=cache))


def test_documents_cannot_go_with_a_cache() -> None:
    model = random_model(tiny(GPT2))
    _refused("documents", lambda: model(TOKENS, documents=TOKENS * 0, cache=model.new_cache(2, 9)))


def test_segments_outside_the_table() -> None:
    model = random_model(tiny(BERT))
    _refused("segments", lambda: run(model, TOKENS, segments=torch.full_like(TOKENS, 7)))


def test_a_memory_is_for_pairs_alone() -> None:
    model = random_model(tiny(T5))
    _refused("memory", lambda: model.new_cache(2, 9))
    _refused("memory", lambda: random_model(tiny(GPT2)).new_cache(2, 9, memory=model.encode(TOKENS)))


def test_halves_that_a_model_lacks() -> None:
    _refused("encoder", lambda: random_model(tiny(GPT2)).encode(TOKENS))
    _refused("decoder", lambda: random_model(tiny(BERT)).new_cache(2, 9))
