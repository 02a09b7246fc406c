"""Images among the tokens: against `transformers`, and what must hold before any decoder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stemma.checkpoints import Stored, read_folder, write_folder
from stemma.checkpoints.config import read_config
from stemma.errors import InputError, SpecError
from stemma.families import LLAMA2, LLAVA, catalogue
from stemma.generation import Beam, Greedy, ModelStepper, search
from stemma.nn import Model, build
from stemma.spec import Architecture, Decoder, Family, costs, count
from stemma.spec.ends import Embedding, Vision

from ..tiny import VOCAB, apart, random_model, scramble, tiny
from ..tolerances import FP32, FP64

IMAGE = VOCAB  # one id beyond those of words
VISION = Vision(15, 5, n_layers=4, d_model=12, n_heads=3, d_ff=18, token=IMAGE)

# What a released configuration can say of the tower.
CHOICES: dict[str, dict[str, Any]] = {
    "usual": {},
    "last-layer": dict(layer=-1),
    "second-layer": dict(layer=1),
    "class-vector": dict(class_vector=True),
    "activations": dict(activation="gelu", projector="gelu_tanh"),
    "eps": dict(eps=3e-4),
}
each_choice = pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)


each_decoder = pytest.mark.parametrize(
    "family",
    [one for one in catalogue() if one.shape is Architecture and isinstance(one.traits["stacks"], Decoder)],
    ids=lambda family: family.name,
)


def _seeing(family: Family = LLAVA, **choice: Any) -> Architecture:
    """The family with sight; where tokens have a table of another width in some size, at one where they do not."""
    sizes = dict(d_head=8, vocab_size=VOCAB + 1, embedding=family.traits["embedding"])
    return tiny(family, vision=replace(VISION, **choice), **sizes)


def _pixels(n_images: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n_images, 3, 15, 15, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _tokens(vision: Vision = VISION) -> torch.Tensor:
    """Two rows with an image each, not at the same place."""
    image = [IMAGE] * vision.n_vectors
    return torch.tensor([[5, *image, 8, 2, 30, 11], [9, 14, 3, *image, 7, 20]])


# --- Against transformers --------------------------------------------------------------------------------------------


def _watch(modules: Any, into: list[torch.Tensor]) -> list[Any]:
    def note(module: torch.nn.Module, given: Any, output: Any) -> None:
        into.append(output if isinstance(output, torch.Tensor) else output[0])

    return [module.register_forward_hook(note) for module in modules]


@torch.no_grad()
def _differences(model: Model, other: Any, tokens: torch.Tensor, images: torch.Tensor) -> dict[str, float]:
    """The largest difference of each block, map and result, with the second row's last two tokens as padding."""
    assert model.vision is not None
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[1, -2:] = False
    labels = tokens.masked_fill(~mask | (tokens == IMAGE), -100)
    mine, found = [], []  # type: list[torch.Tensor], list[torch.Tensor]
    depth = model.architecture.vision.depth
    tower = other.model.vision_tower.encoder.layers
    hooks = _watch([*model.vision.tower.blocks, *model.decoder.blocks], mine)
    hooks += _watch([*tower[:depth], *other.model.language_model.layers], found)
    output = model(tokens, images=images, mask=mask, hiddens=True, attentions=True)
    wanted = other(
        input_ids=tokens,
        attention_mask=mask.long(),
        pixel_values=images,
        labels=labels,
        output_hidden_states=True,
        output_attentions=True,
    )
    for hook in hooks:
        hook.remove()
    maps: list[torch.Tensor] = []
    model.vision(images, attentions=maps)
    seen = other.model.vision_tower(images, output_attentions=True).attentions[:depth]
    loss = torch.nn.functional.cross_entropy(output.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
    pairs = {
        "block": (mine, found),
        "tower map": (maps, seen),
        "hidden state": (output.hiddens, wanted.hidden_states),
        "map": (output.attentions, wanted.attentions),
        "logits": ([output.logits], [wanted.logits]),
        "loss": ([loss], [wanted.loss]),
    }

    def real(value: torch.Tensor) -> torch.Tensor:
        axis = 2 if value.ndim == 4 else 1
        return value.movedim(axis, 1)[mask] if value.ndim > 2 and value.shape[axis] == tokens.shape[1] else value

    return {
        name: max(apart(real(one), real(two)) for one, two in zip(first, second, strict=True))
        for name, (first, second) in pairs.items()
    }


def _load(folder: Path) -> Any:
    return transformers.LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()


@each_choice
def test_parity_both_ways(choice: dict[str, Any], tmp_path: Path, figure: Callable[..., None]) -> None:
    architecture = _seeing(**choice)
    assert architecture.vision is not None
    tokens, images = _tokens(architecture.vision), _pixels(2)
    model = random_model(architecture)
    write_folder(Stored(LLAVA, model), tmp_path / "ours")
    other = _load(tmp_path / "ours")
    differences = _differences(model, other, tokens, images)
    figure("llava", **differences)
    assert max(differences.values()) <= FP32, differences

    scramble(other, seed=7)
    other.save_pretrained(tmp_path / "theirs")
    stored = read_folder(tmp_path / "theirs")
    assert (stored.family, stored.architecture.vision) == (LLAVA, architecture.vision)
    assert max(_differences(stored.model.eval(), other, tokens, images).values()) <= FP32
    write_folder(stored, tmp_path / "back")
    left, right = other.state_dict(), _load(tmp_path / "back").state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(value, right[name]) for name, value in left.items())


@pytest.mark.parametrize("size", LLAVA.sizes)
def test_every_published_size_has_their_parameters(size: str) -> None:
    ours = LLAVA.build(size)
    text = transformers.LlamaConfig(
        vocab_size=ours.vocab_size,
        hidden_size=ours.d_model,
        intermediate_size=ours.d_ff,
        num_hidden_layers=ours.n_layers,
        num_attention_heads=ours.n_heads,
    )
    with torch.device("meta"):
        theirs = transformers.LlavaForConditionalGeneration(transformers.LlavaConfig(text_config=text))
    assert count.parameters(ours) == sum(parameter.numel() for parameter in theirs.parameters())


RELEASED = """{
  "architectures": ["LlavaForConditionalGeneration"], "ignore_index": -100, "image_token_index": 32000,
  "model_type": "llava", "pad_token_id": 32001, "projector_hidden_act": "gelu",
  "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5", "architectures": ["LlamaForCausalLM"],
    "max_position_embeddings": 4096, "model_type": "llama", "rms_norm_eps": 1e-05, "torch_dtype": "float16",
    "vocab_size": 32064},
  "tie_word_embeddings": false, "torch_dtype": "float16", "transformers_version": "4.37.2",
  "vision_config": {"hidden_size": 1024, "image_size": 336, "intermediate_size": 4096,
    "model_type": "clip_vision_model", "num_attention_heads": 16, "num_hidden_layers": 24, "patch_size": 14,
    "projection_dim": 768, "vocab_size": 32000},
  "vision_feature_layer": -2, "vision_feature_select_strategy": "default", "vocab_size": 32064}"""


def test_the_released_configuration_is_the_published_size() -> None:
    assert LLAVA.checkpoint is not None
    heads = LLAVA.checkpoint.variants[0].heads
    read, facts = read_config(json.loads(RELEASED), LLAVA.checkpoint.config, LLAVA, heads)
    assert read == LLAVA.build("7B")
    assert facts["text_config.max_position_embeddings"] == 4096


# --- Before any decoder ----------------------------------------------------------------------------------------------


@each_decoder
@torch.no_grad()
def test_an_image_is_seen_from_its_place_on(family: Family) -> None:
    model = random_model(_seeing(family))
    tokens, images = _tokens(), _pixels(2)
    before = model(tokens, images=images).logits
    images[1, 2, 7, 7] += 3
    after = model(tokens, images=images).logits
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[1, :3], before[1, :3])
    assert all(apart(after[1, place], before[1, place]) > 1e-4 for place in range(3, tokens.shape[1]))


@each_decoder
@torch.no_grad()
def test_text_alone_is_read_as_by_the_decoder_alone(family: Family) -> None:
    model = random_model(_seeing(family))
    blind = build(model.architecture.change(vision=None), seed=None).eval()
    blind.load_state_dict({name: value for name, value in model.state_dict().items() if name in blind.state_dict()})
    tokens = _tokens() % VOCAB
    assert torch.equal(model(tokens).logits, blind(tokens).logits)


@each_decoder
@torch.no_grad()
def test_an_image_in_the_cache_is_as_one_read_at_once(family: Family) -> None:
    model = random_model(_seeing(family), dtype=torch.float64)
    tokens, images = _tokens()[1:], _pixels(1, dtype=torch.float64)
    whole = model(tokens, images=images).logits
    cache = model.new_cache(1, tokens.shape[1])
    pieces = [
        model(tokens[:, :2], cache=cache).logits,
        model(tokens[:, 2:13], cache=cache, images=images).logits,
        model(tokens[:, 13:], cache=cache).logits,
    ]
    assert apart(torch.cat(pieces, 1), whole) <= FP64


@torch.no_grad()
def test_images_are_taken_in_the_order_of_their_places() -> None:
    model = random_model(_seeing())
    image = [IMAGE] * VISION.n_vectors
    tokens, images = torch.tensor([[4, *image, 6, *image, 1]]), _pixels(2)
    both = model(tokens, images=images, hiddens=True).hiddens
    vectors = model.vision(images)
    assert torch.equal(both[0][0, 1:10], vectors[0])
    assert torch.equal(both[0][0, 11:20], vectors[1])


@each_choice
def test_an_image_costs_what_is_counted(choice: dict[str, Any]) -> None:
    architecture = _seeing(**choice)
    model, counter = Model(architecture).eval(), FlopCounterMode(display=False)
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
        model.vision(_pixels(1))
    assert counter.get_total_flops() == costs.image_flops(architecture)


@each_choice
def test_parameters_are_counted(choice: dict[str, Any]) -> None:
    architecture = _seeing(**choice)
    model = Model(architecture, seed=None, device="meta")
    assert (
        sum(parameter.numel() for parameter in model.vision.parameters())
        == (count.parameter_table(architecture)["vision"])
    )
    assert sum(parameter.numel() for parameter in model.parameters()) == count.parameters(architecture)


def test_gradients_reach_all_that_is_run() -> None:
    """What the files hold and nobody reads is left alone: the blocks behind the state that is read, the last norm."""
    model = random_model(_seeing())
    model(_tokens(), images=_pixels(2)).logits.square().sum().backward()
    unmoved = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    unread = ("vision.tower.blocks.3.", "vision.tower.norm.")
    assert unmoved == [name for name, _ in model.named_parameters() if name.startswith(unread)]


# --- Writing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", [Greedy(), Beam(width=3)], ids=["greedy", "beam"])
@torch.no_grad()
def test_a_search_reads_images_with_the_prompts(strategy: Greedy | Beam) -> None:
    """Prompts of two lengths, padded; one image token stands for an image."""
    model, images = random_model(_seeing(), dtype=torch.float64), _pixels(3, dtype=torch.float64)
    prompts = [[5, IMAGE, 8], [9, IMAGE, 14, 3, IMAGE, 2, 2]]
    found = search(ModelStepper(model, images=images), prompts, strategy, max_new_tokens=4)
    alone = [
        search(ModelStepper(model, images=part), [prompt], strategy, max_new_tokens=4)[0]
        for prompt, part in zip(prompts, (images[:1], images[1:]), strict=True)
    ]
    assert [[one.tokens for one in row] for row in found] == [[one.tokens for one in row] for row in alone]
    image = [IMAGE] * VISION.n_vectors
    text = [9, *image, 14, 3, *image, 2, 2]
    for one in found[1]:
        logits = model(torch.tensor([[*text, *one.tokens[:-1]]]), images=images[1:]).logits
        chosen = logits[0, len(text) - 1 :].log_softmax(-1).gather(-1, torch.tensor(one.tokens)[:, None])[:, 0]
        assert one.logprobs == pytest.approx(chosen.tolist(), abs=1e-9)


@torch.no_grad()
def test_a_model_may_write_the_image_token_like_any_other() -> None:
    model = random_model(_seeing())
    cache = model.new_cache(1, 3)
    model.decode(torch.tensor([[5, 6]]), cache=cache)
    assert model.decode(torch.tensor([[IMAGE]]), cache=cache).logits.shape == (1, 1, VOCAB + 1)


# --- Errors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tokens", "images", "message"),
    [
        (_tokens(), None, r"tokens=\[9, 9\] image tokens a row must be 9 for each image, of which 0 are given"),
        (_tokens(), _pixels(1), "of which 1 are given; write the id 37"),
        (_tokens()[:, :-4], _pixels(2), r"tokens=\[9, 7\] image tokens a row must be 9 for each"),
        (_tokens() % VOCAB, _pixels(1), r"tokens=\[0, 0\]"),
        (_tokens(), _pixels(2)[..., :10], r"images=\(2, 3, 15, 10\) must be of the shape \(images, 3, 15, 15\)"),
    ],
    ids=["missing", "one-missing", "too-few", "no-tokens", "size"],
)
def test_images_that_do_not_fit(tokens: torch.Tensor, images: torch.Tensor | None, message: str) -> None:
    model = random_model(_seeing())
    with pytest.raises(InputError, match=message):
        model(tokens, images=images)
    with pytest.raises(InputError, match=message):
        model.decode(tokens, cache=model.new_cache(2, 30), images=images)


def test_two_rows_that_share_an_image_are_an_error() -> None:
    tokens = torch.tensor([[1] * 5 + [IMAGE] * 4, [IMAGE] * 5 + [1] * 4])
    with pytest.raises(
        InputError, match=r"tokens=\[4, 5\] image tokens a row must be 9 for each image, of which 1 are given"
    ):
        random_model(_seeing())(tokens, images=_pixels(1))


def test_a_decoder_alone_reads_no_images() -> None:
    model = random_model(tiny(LLAMA2))
    with pytest.raises(InputError, match="images='given' is not read by this network"):
        model(_tokens() % VOCAB, images=_pixels(2))
    with pytest.raises(InputError, match="are not read by this network"):
        model.decode(_tokens() % VOCAB, cache=model.new_cache(2, 20), images=_pixels(2))


def test_a_narrow_table_of_tokens_has_no_room_for_images() -> None:
    with pytest.raises(SpecError, match="leads to d_model=20, and tokens are embedded in 10"):
        Architecture(
            n_layers=1, d_model=20, n_heads=4, vocab_size=VOCAB + 1, embedding=Embedding(width=10), vision=VISION
        )
