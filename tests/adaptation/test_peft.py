"""LoRA against PEFT, both ways through its folders, on `transformers`' own classes."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from stemma.adaptation import Adapters, LoRA, attach, names, read_peft, using, write_peft
from stemma.checkpoints import Stored, write_folder
from stemma.errors import CheckpointError, InputError
from stemma.families import family
from stemma.spec import EncoderDecoder
from stemma.spec.mapping import Variant

from ..parity.choices import usual_architecture
from ..tiny import apart, formats, random_model, random_tokens, scramble, tiny
from ..tolerances import FP32

# What PEFT itself warns of, and what it calls that is going out of use.
pytestmark = [pytest.mark.filterwarnings("ignore::UserWarning"), pytest.mark.filterwarnings("ignore::FutureWarning")]

# An encoder, decoders with separate maps, with fused ones and with groups of fused ones, and pairs.
SHORT = ("bert", "gpt2", "llama", "t5", "bart", "bloom")
# Of these some maps are no linear modules of their own in `transformers`, or are called otherwise than in its files.
UNLIKE = ("xlnet", "mixtral", "llava")
each = pytest.mark.parametrize(
    "name",
    [
        pytest.param(one.name, marks=[] if one.name in SHORT else [pytest.mark.slow])
        for one in formats()
        if one.name not in UNLIKE
    ],
)

# What PEFT is told, and what it means here.
KINDS: dict[str, tuple[dict[str, Any], LoRA]] = {
    "plain": (dict(r=3, lora_alpha=5), LoRA(rank=3, alpha=5.0, targets=("query", "key", "value"))),
    "rank_stabilised": (
        dict(r=3, lora_alpha=5, use_rslora=True),
        LoRA(rank=3, alpha=5.0, scaling="rank_stabilised"),
    ),
    "decomposed": (
        dict(r=3, lora_alpha=5, use_dora=True),
        LoRA(rank=3, alpha=5.0, decomposed=True, targets=("query", "up"), ranks={"up": 2}, alphas={"up": 7.0}),
    ),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


class Pair:
    """A network of ours and the same one of theirs.

    Args:
        name: of the family.
        folder: where it is written on the way.
        task: whether it has a classifier in place of its usual heads.
    """

    def __init__(self, name: str, folder: Path, task: bool = False) -> None:
        self.family = family(name)
        checkpoint = self.family.checkpoint
        assert checkpoint is not None, "chosen so"
        variant: Variant = (checkpoint.tasks if task else checkpoint.variants)[0]
        self.ours = random_model(usual_architecture(self.family, checkpoint, variant))
        write_folder(Stored(self.family, self.ours), folder)
        self.folder = folder

    def theirs(self) -> Any:
        """A fresh copy of theirs."""
        config = transformers.AutoConfig.from_pretrained(self.folder)
        kind = getattr(transformers, config.architectures[0])
        pooled = "add_pooling_layer" in inspect.signature(kind.__init__).parameters
        options = {"add_pooling_layer": True} if pooled else {}
        return kind.from_pretrained(self.folder, attn_implementation="eager", **options).eval()

    def difference(self, other: Any) -> float:
        """How far apart their outputs are."""
        tokens, target = random_tokens(3, 11).clamp(min=4), random_tokens(3, 9, seed=2).clamp(min=4)
        pair = isinstance(self.ours.architecture.stacks, EncoderDecoder)
        with torch.no_grad():
            output = self.ours(tokens, **({"decoder_tokens": target} if pair else {}))
            found = other(tokens, **({"decoder_input_ids": target} if pair else {}))
        mine = next(one for one in (output.logits, output.classes, output.replaced) if one is not None)
        return apart(mine, found.prediction_logits if "prediction_logits" in found else found.logits)


def randomise(model: torch.nn.Module, mark: str) -> None:
    """Random values for what an adapter added."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for path, parameter in sorted(model.named_parameters()):
            if mark in path:
                draw = torch.randn(parameter.shape, generator=generator) * 0.1
                parameter.copy_(draw.abs() + 0.5 if "magnitude" in path else draw)


@each
@each_kind
def test_theirs_are_read(name: str, kind: str, tmp_path: Path) -> None:
    """What PEFT wrote gives PEFT's logits here, and leaves the base as it was."""
    pair = Pair(name, tmp_path / "base")
    before = pair.difference(pair.theirs())
    assert before < FP32
    told, _ = KINDS[kind]
    adapted = peft.get_peft_model(pair.theirs(), peft.LoraConfig(target_modules="all-linear", **told)).eval()
    randomise(adapted, ".lora_")
    adapted.save_pretrained(tmp_path / "adapter")
    value = read_peft(pair.ours, tmp_path / "adapter", "theirs", family=pair.family)
    assert isinstance(value, LoRA)
    assert value.decomposed == told.get("use_dora", False)
    assert pair.difference(adapted) < FP32 < pair.difference(pair.theirs())
    with using():
        assert pair.difference(pair.theirs()) == before


@each
@each_kind
def test_ours_are_read_by_them(name: str, kind: str, tmp_path: Path) -> None:
    """What is written gives our logits in PEFT, and comes back."""
    pair = Pair(name, tmp_path / "base")
    _, value = KINDS[kind]
    attach(pair.ours, {"mine": value})
    randomise(pair.ours, ".changes.")
    write_peft(pair.ours, "mine", value, tmp_path / "adapter", family=pair.family)
    adapted = peft.PeftModel.from_pretrained(pair.theirs(), tmp_path / "adapter").eval()
    assert pair.difference(pair.theirs()) > FP32
    assert pair.difference(adapted) < FP32
    with using():
        read_peft(pair.ours, tmp_path / "adapter", "again", family=pair.family)
    with using("again"):
        assert pair.difference(adapted) < FP32


@pytest.mark.parametrize("name", ["bert", "roberta", "gpt2"])
def test_heads_go_with_it(name: str, tmp_path: Path) -> None:
    """A classifier that PEFT saved whole is read with the adapter, and written with it."""
    pair = Pair(name, tmp_path / "base", task=True)
    adapted = peft.get_peft_model(pair.theirs(), peft.LoraConfig(task_type="SEQ_CLS", r=2)).eval()
    adapted.base_model.model.config.pad_token_id = 0
    randomise(adapted, "default.")
    adapted.save_pretrained(tmp_path / "adapter")
    value = read_peft(pair.ours, tmp_path / "adapter", "theirs", family=pair.family)
    assert pair.difference(adapted) < FP32
    write_peft(pair.ours, "theirs", value, tmp_path / "again", family=pair.family, heads=["classifier"])
    again = peft.PeftModel.from_pretrained(pair.theirs(), tmp_path / "again").eval()
    again.base_model.model.config.pad_token_id = 0
    assert pair.difference(again) < FP32


def test_targets_patterns_and_layers_are_theirs(tmp_path: Path) -> None:
    """Regular expressions, layers, exclusions and tables of ranks mean what they mean in PEFT."""
    pair = Pair("llama", tmp_path / "base")
    told: list[dict[str, Any]] = [
        dict(target_modules=r".*\.(q_proj|up_proj)", rank_pattern={"up_proj": 4}, alpha_pattern={r"layers\.1\..*": 9}),
        dict(target_modules=["q_proj", "down_proj"], layers_to_transform=[0, 2], exclude_modules=["2.mlp.down_proj"]),
        dict(target_modules=["self_attn.v_proj", "model.layers.1.mlp.gate_proj"], layers_to_transform=1),
    ]
    for number, options in enumerate(told):
        adapted = peft.get_peft_model(pair.theirs(), peft.LoraConfig(r=2, lora_alpha=3, **options)).eval()
        randomise(adapted, ".lora_")
        adapted.save_pretrained(tmp_path / str(number))
        read_peft(pair.ours, tmp_path / str(number), f"n{number}", family=pair.family)
        with using(f"n{number}"):
            assert pair.difference(adapted) < FP32


def _written(tmp_path: Path) -> tuple[Pair, Path]:
    pair = Pair("bert", tmp_path / "base", task=True)
    value = LoRA(rank=2)
    attach(pair.ours, {"mine": value}, heads=["classifier"])
    write_peft(pair.ours, "mine", value, tmp_path / "adapter", family=pair.family, heads=["classifier"])
    return pair, tmp_path / "adapter"


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    """A renamed, a missing, a surplus and a misshaped tensor, of the adapter and of the head: one error, no change."""
    pair, folder = _written(tmp_path)
    tensors = load_file(folder / "adapter_model.safetensors")
    prefix = "base_model.model.bert.encoder.layer"
    tensors[f"{prefix}.0.attention.self.qwery.lora_A.weight"] = tensors.pop(
        f"{prefix}.0.attention.self.query.lora_A.weight"
    )
    del tensors["base_model.model.classifier.bias"]
    tensors[f"{prefix}.1.attention.self.value.lora_B.weight"] = torch.zeros(3, 2)
    save_file(tensors, folder / "adapter_model.safetensors")
    before = {path: parameter.clone() for path, parameter in pair.ours.named_parameters()}
    with pytest.raises(CheckpointError) as caught:
        read_peft(pair.ours, folder, "wrong", family=pair.family)
    told = {fault.field: fault.rule for fault in caught.value.faults}
    assert told == {
        "classifier.bias": "is missing",
        "bert.encoder.layer.0.attention.self.query.lora_A.weight": "is missing",
        "bert.encoder.layer.0.attention.self.qwery.lora_A.weight": "belongs to no linear map of this network that is "
        "adapted",
        "bert.encoder.layer.1.attention.self.value.lora_B.weight": "must have shape [20, 2]",
    }
    assert names(pair.ours) == ("mine",)
    assert all(torch.equal(before[path], parameter) for path, parameter in pair.ours.named_parameters())


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("peft_type", "OFT"),
        ("bias", "all"),
        ("init_lora_weights", "pissa"),
        ("lora_bias", True),
        ("unheard_of", 3),
        ("r", "two"),
        ("lora_alpha", "two"),
        ("lora_dropout", 2.0),
        ("lora_dropout", "much"),
        ("target_modules", 3),
        ("target_modules", "("),
        ("rank_pattern", {"query": "x"}),
        ("alpha_pattern", {"(": 1}),
        ("target_modules", ["nowhere"]),
    ],
)
def test_what_is_not_understood_is_refused(entry: str, value: Any, tmp_path: Path) -> None:
    """An entry that means something else than it would here is an error that names it."""
    pair, folder = _written(tmp_path)
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {entry: value}))
    with pytest.raises(CheckpointError) as caught:
        read_peft(pair.ours, folder, "wrong", family=pair.family)
    assert any(entry.removeprefix("lora_").partition("_")[0] in fault.field for fault in caught.value.faults)
    assert names(pair.ours) == ("mine",)


def test_what_they_have_no_form_of_is_refused(tmp_path: Path) -> None:
    """Adapters are not PEFT's, and a family without a class of theirs has no names there."""
    pair, _ = _written(tmp_path)
    with pytest.raises(InputError, match="has no form in PEFT"):
        write_peft(pair.ours, "mine", Adapters(), tmp_path / "no", family=pair.family)
    gopher = random_model(tiny(family("gopher")))
    attach(gopher, {"mine": LoRA()})
    scramble(gopher)
    with pytest.raises(CheckpointError, match="no class of theirs"):
        write_peft(gopher, "mine", LoRA(), tmp_path / "no", family=family("gopher"))
    assert not (tmp_path / "no").exists()


def test_soft_prompts_go_through_the_same_door(tmp_path: Path) -> None:
    """A prompt that PEFT wrote with a classifier is read with it, and comes out as a folder that is the same."""
    pair = Pair("bert", tmp_path / "base", task=True)
    config = peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=3)
    adapted = peft.get_peft_model(pair.theirs(), config).eval()
    randomise(adapted, "default.")
    adapted.save_pretrained(tmp_path / "adapter")
    value = read_peft(pair.ours, tmp_path / "adapter", "theirs", family=pair.family)
    assert value.n_virtual == 3
    score = adapted.base_model.classifier.modules_to_save["default"].weight
    assert torch.equal(pair.ours.heads["classifier"].score.weight, score)
    write_peft(pair.ours, "theirs", value, tmp_path / "again", family=pair.family, heads=["classifier"])
    first, second = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("adapter", "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert isinstance(peft.PeftModel.from_pretrained(pair.theirs(), tmp_path / "again"), peft.PeftModel)
