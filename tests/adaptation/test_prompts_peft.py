"""Soft prompts through PEFT's folders, both ways."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file

from stemma.adaptation.peft_names import Theirs
from stemma.adaptation.peft_prompts import read_prompt, write_prompt
from stemma.adaptation.prefix import PrefixTuning
from stemma.adaptation.prompts import PromptTuning, PTuning
from stemma.adaptation.virtual import held_by, virtual_ids
from stemma.checkpoints import read_folder
from stemma.errors import CheckpointError

from ..tiny import apart, random_tokens, scramble
from ..tolerances import FP32

N = 3
SIZES = dict(vocab_size=37, num_hidden_layers=4, num_attention_heads=4)


class Base(NamedTuple):
    """A network of transformers, the task that PEFT knows it by, and what PEFT guesses wrongly of prompts on it."""

    model: str
    config: str
    sizes: dict[str, Any]
    task: str
    told: Mapping[str, Any] = MappingProxyType({})

    @property
    def paired(self) -> bool:
        """Whether it has an encoder and a decoder."""
        return self.task == "SEQ_2_SEQ_LM"


BASES = {
    "bert": Base(
        "BertModel",
        "BertConfig",
        dict(SIZES, hidden_size=24, intermediate_size=28, max_position_embeddings=40),
        "FEATURE_EXTRACTION",
    ),
    "albert": Base(
        "AlbertModel",
        "AlbertConfig",
        dict(SIZES, hidden_size=24, embedding_size=20, intermediate_size=28, max_position_embeddings=40),
        "FEATURE_EXTRACTION",
        {"token_dim": 20},
    ),
    "gpt2": Base(
        "GPT2LMHeadModel",
        "GPT2Config",
        dict(vocab_size=37, n_embd=24, n_layer=4, n_head=4, n_positions=40, bos_token_id=0, eos_token_id=0),
        "CAUSAL_LM",
    ),
    "llama": Base(
        "LlamaForCausalLM",
        "LlamaConfig",
        dict(SIZES, hidden_size=24, num_key_value_heads=2, head_dim=6, intermediate_size=28),
        "CAUSAL_LM",
    ),
    "t5": Base(
        "T5ForConditionalGeneration",
        "T5Config",
        dict(vocab_size=37, d_model=24, num_layers=4, num_decoder_layers=3, num_heads=4, d_kv=6, d_ff=28),
        "SEQ_2_SEQ_LM",
    ),
    "bart": Base(
        "BartForConditionalGeneration",
        "BartConfig",
        dict(vocab_size=37, d_model=24, encoder_layers=4, decoder_layers=4, encoder_attention_heads=4)
        | dict(decoder_attention_heads=4, encoder_ffn_dim=28, decoder_ffn_dim=28, max_position_embeddings=40)
        | dict(bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2, forced_eos_token_id=2),
        "SEQ_2_SEQ_LM",
    ),
}
THEIRS: dict[str, Callable[..., Any]] = {
    "prompt": lambda peft, **given: peft.PromptTuningConfig(**given),
    "p-mlp": lambda peft, **given: peft.PromptEncoderConfig(encoder_hidden_size=10, **given),
    "p-lstm": lambda peft, **given: peft.PromptEncoderConfig(
        encoder_hidden_size=10, encoder_reparameterization_type="LSTM", **given
    ),
    "prefix": lambda peft, **given: peft.PrefixTuningConfig(**given),
    "prefix-mlp": lambda peft, **given: peft.PrefixTuningConfig(
        prefix_projection=True, encoder_hidden_size=10, **given
    ),
}
OURS = {
    "prompt": PromptTuning(n_virtual=N),
    "p-mlp": PTuning(n_virtual=N, width=10),
    "p-lstm": PTuning(n_virtual=N, width=10, encoder="lstm"),
    "prefix": PrefixTuning(n_virtual=N),
    "prefix-mlp": PrefixTuning(n_virtual=N, width=10),
}
KINDS = {"prompt": "PROMPT_TUNING", "p": "P_TUNING", "prefix": "PREFIX_TUNING"}
NAMES: Theirs = None  # type: ignore[assignment]  # A soft prompt names no part of the network.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
each_base = pytest.mark.parametrize("base", BASES)
TOKENS, TARGET = random_tokens(2, 7, vocab=37), random_tokens(2, 5, seed=1, vocab=37)


def _theirs(base: Base) -> Any:
    import transformers

    torch.manual_seed(0)
    model = getattr(transformers, base.model)(getattr(transformers, base.config)(**base.sizes)).eval()
    scramble(model)
    return model


def _ours(model: Any, folder: Path) -> Any:
    model.save_pretrained(folder)
    return read_folder(folder).model.eval()


def _logits(output: Any) -> torch.Tensor:
    found = getattr(output, "logits", None)
    return (output.last_hidden_state if found is None else found).detach()


def _read_by_theirs(base: Base, model: Any) -> torch.Tensor:
    targets = {"decoder_input_ids": TARGET} if base.paired else {}
    with torch.no_grad():
        return _logits(model(input_ids=TOKENS, attention_mask=torch.ones_like(TOKENS), **targets))


def _read_by_ours(base: Base, model: Any, name: str) -> torch.Tensor:
    [(side, ids)] = virtual_ids(model, [name]).items()
    given = {"tokens": TOKENS} | ({"decoder_tokens": TARGET} if base.paired else {})
    given[side] = torch.cat((torch.tensor([ids] * 2), given[side]), 1)
    with torch.no_grad():
        output = model(**given)
    return output.hidden if output.logits is None or base.task == "FEATURE_EXTRACTION" else output.logits


def _not_in_peft(base: str, submodules: int | None) -> str:
    """Why PEFT itself does not read a prefix as it should."""
    if base == "albert":
        return "shared_layers"
    return "num_transformer_submodules" if BASES[base].paired and submodules == 1 else ""


@pytest.mark.parametrize(
    ("base", "submodules"),
    [(base, submodules) for base in BASES for submodules in (None, 1) if submodules is None or BASES[base].paired],
)
@pytest.mark.parametrize("kind", THEIRS)
def test_what_peft_writes_is_read(base: str, kind: str, submodules: int | None, tmp_path: Path) -> None:
    import peft

    chosen = BASES[base]
    network = _theirs(chosen)
    model = _ours(network, tmp_path / "base")
    told = {} if kind.startswith("prefix") else chosen.told
    given = dict(num_virtual_tokens=N, task_type=chosen.task, num_transformer_submodules=submodules, **told)
    adapted = peft.get_peft_model(network, THEIRS[kind](peft, **given)).eval()
    scramble(adapted.prompt_encoder)
    expected = _read_by_theirs(chosen, adapted)
    adapted.save_pretrained(tmp_path / "peft")
    config = json.loads((tmp_path / "peft" / "adapter_config.json").read_text())
    tensors = load_file(tmp_path / "peft" / "adapter_model.safetensors")
    if kind.startswith("prefix") and (fault := _not_in_peft(base, submodules)):
        with pytest.raises(CheckpointError, match=fault):
            read_prompt(config, tensors, model, "read", NAMES, [])
        assert not held_by(model)
        return
    read_prompt(config, tensors, model, "read", NAMES, [])
    found = _read_by_ours(chosen, model, "read")
    assert apart(found[:, -expected.shape[1] :], expected) <= FP32


@pytest.mark.parametrize("kind", OURS)
@each_base
def test_what_we_write_peft_reads(base: str, kind: str, tmp_path: Path) -> None:
    import peft

    chosen = BASES[base]
    network = _theirs(chosen)
    model = _ours(network, tmp_path / "base")
    OURS[kind].attach(model, "ours")
    expected = _read_by_ours(chosen, model, "ours")
    if kind.startswith("prefix") and base == "albert":
        with pytest.raises(CheckpointError, match="shared_layers"):
            write_prompt(model, "ours", OURS[kind], NAMES)
        return
    config, tensors = write_prompt(model, "ours", OURS[kind], NAMES)
    folder = tmp_path / "peft"
    folder.mkdir()
    told = {"peft_type": KINDS[kind.partition("-")[0]], "task_type": chosen.task, "inference_mode": True, **config}
    (folder / "adapter_config.json").write_text(json.dumps(told))
    save_file(tensors, folder / "adapter_model.safetensors")
    adapted = peft.PeftModel.from_pretrained(network, folder).eval()
    found = _read_by_theirs(chosen, adapted)
    assert apart(expected[:, -found.shape[1] :], found) <= FP32
