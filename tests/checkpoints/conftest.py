"""Tiny random models of every class that the catalogue knows, made by transformers and saved by it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from stemma.checkpoints.config import write_config
from stemma.checkpoints.labels import CHOICE, labelled
from stemma.errors import CheckpointError
from stemma.spec import Architecture, Bias, Family, LanguageModelHead, MaskedLMHead
from stemma.spec.mapping import Checkpoint, Key, Tie, Variant

from ..tiny import formats, slowly, small_parts

# All sizes differ, so that no two can be confused; two stacks differ in depth where a family has two.
SIZES: Mapping[str, Any] = dict(n_layers=2, d_model=24, n_heads=6, d_head=4, d_ff=20, vocab_size=31)


def flipped(architecture: Architecture) -> Architecture:
    """With tied outputs untied and untied ones tied."""
    heads = [
        replace(h, tied=not h.tied) if isinstance(h, LanguageModelHead | MaskedLMHead) else h
        for h in architecture.heads
    ]
    return architecture.change(heads=tuple(heads))


def _as_it_is(architecture: Architecture) -> Architecture:
    return architecture


SWITCHES: Mapping[str, Callable[[Architecture], Architecture]] = {
    "plain": _as_it_is,
    "flipped": flipped,
    "grouped": lambda one: one.change(n_kv_heads=2),
    "biased": lambda one: one.change(bias=Bias()),
    "wide": lambda one: one.change(d_head=12),
}


@dataclass(frozen=True)
class Case:
    """One of their classes in one setting.

    Args:
        family: ours.
        variant: their class.
        switch: what is unusual.
        architecture: what must come out when their folder is read.
        config: their configuration.
    """

    family: Family
    variant: Variant
    switch: str
    architecture: Architecture
    config: Mapping[str, Any]

    def __str__(self) -> str:
        heads = "+".join(head.name for head in self.variant.heads) or "body"
        return f"{self.family.name}-{self.variant.name}-{heads}-{self.switch}"

    @property
    def checkpoint(self) -> Checkpoint:
        assert self.family.checkpoint is not None
        return self.family.checkpoint

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the heads do not tell of the class."""
        return labelled({}, problem=CHOICE) if self.variant.choices else {}

    def save(self, folder: Path) -> None:
        """Random weights in a folder as transformers writes it."""
        model = self._class(CONFIG_MAPPING[self.checkpoint.model_type].from_dict(dict(self.config)), **self._options)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(generator=generator)
            parameters = dict(model.named_parameters())
            for tie in self.checkpoint.weights:
                # BERT's class and its kin keep two offsets of a vocabulary and read the second alone.
                if isinstance(tie, Tie) and tie.written and self.switch == "flipped" and tie.theirs in parameters:
                    parameters[tie.theirs].copy_(parameters[tie.to])
        model.save_pretrained(folder)
        if self.checkpoint.untied_by and self.switch == "flipped":
            # Their class ties always when it is made, and keeps apart what a file holds apart.
            weights = load_file(folder / "model.safetensors")
            weights[self.checkpoint.untied_by] = torch.randn(weights["shared.weight"].shape, generator=generator)
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})

    def open(self, folder: Path) -> dict[str, torch.Tensor]:
        """What transformers reads from a folder, once it has missed nothing and has nothing left over."""
        model, report = self._class.from_pretrained(folder, output_loading_info=True, **self._options)
        assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), report
        state: dict[str, torch.Tensor] = model.state_dict()
        return state

    @property
    def _class(self) -> Any:
        return getattr(transformers, self.variant.name)

    @property
    def _options(self) -> dict[str, Any]:
        pooling = "add_pooling_layer" in inspect.signature(self._class.__init__).parameters
        return {"add_pooling_layer": False} if pooling and not self.variant.heads else {}


def cases() -> Iterator[Case]:
    """Every class of every family in every setting that its configuration can tell."""
    for family in formats():
        checkpoint = family.checkpoint
        assert checkpoint is not None, "a format is one of checkpoints"
        for variant in checkpoint.classes:
            for switch, change in SWITCHES.items() if variant in checkpoint.variants else [("plain", _as_it_is)]:
                heads = variant.heads
                if variant.counts:
                    heads = (*heads[:-1], replace(heads[-1], n_classes=3))
                if any(isinstance(head, LanguageModelHead) for head in heads) and checkpoint.untied_by:
                    heads = tuple(replace(h, scaled=dict(family.traits)["heads"][0].scaled) for h in heads)
                told = {path for rule in checkpoint.config if isinstance(rule, Key) for path in rule.paths}
                sizes = {name: size for name, size in SIZES.items() if name != "d_ff" or name in told}
                usual = family.build(**sizes | small_parts(family, SIZES["vocab_size"]), heads=heads)
                if switch != "plain" and change(usual) == usual:
                    continue
                try:
                    architecture = change(usual)
                    kept = {"heads.lm.tied"} if checkpoint.untied_by else set()
                    config = write_config(
                        architecture, checkpoint.config_of(variant), family, variant.heads, {}, kept=kept
                    )
                except CheckpointError:
                    continue
                ids = {name: 1 for name in config if name.endswith("token_id")}
                yield Case(family, variant, switch, architecture, config | ids)


CASES = tuple(cases())


def _marked(chosen: Iterable[Case]) -> list[Any]:
    return [pytest.param(case, id=str(case), marks=slowly(case.family)) for case in chosen]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for `case` runs for each; one that asks for `usual` for one of each class."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", _marked(CASES))
    if "usual" in metafunc.fixturenames:
        metafunc.parametrize("usual", _marked(case for case in CASES if case.switch == "plain"))


@pytest.fixture(autouse=True)
def _quiet() -> None:
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def all_cases() -> tuple[Case, ...]:
    return CASES


@pytest.fixture(scope="session")
def llama_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny LLaMA folder, to be copied and broken."""
    folder = tmp_path_factory.mktemp("llama") / "model"
    next(c for c in CASES if c.variant.name == "LlamaForCausalLM" and c.switch == "grouped").save(folder)
    return folder
