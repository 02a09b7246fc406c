"""Each recipe and its twin of published size are runs that could begin; `prove_recipes.py` carries the former out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import pytest

from stemma.data import Texts
from stemma.families import family
from stemma.objectives import Setting, Vocabulary, passes
from stemma.spec.architecture import Architecture
from stemma.spec.recurrent_parts import Characters
from stemma.training import Cosine, Evaluation, Network, NewTokenizer, Run, read_lines, read_run
from stemma.training.folders import begin_network

ROOT = Path(__file__).resolve().parent.parent
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
TWINS = sorted((ROOT / "recipes" / "published").glob("*.toml"))
# Where a vocabulary of pieces stands in for one of words, and where the published parameters are those of another head.
OWN = {"tokens", "heads"}


def name(path: Path) -> str:
    return path.stem


def network(run: Run) -> Network:
    assert isinstance(run.model, Network), "a recipe names a family"
    return run.model


def vocabulary(run: Run) -> Vocabulary:
    """One of the run's own kind, learnt from a few words."""
    assert isinstance(run.tokenizer, NewTokenizer)
    small = replace(run.tokenizer, size=512)
    tokenizer = small.learn(
        [Texts(items=["a small cat. a red ball. the cat has the ball!"])], family(network(run).family)
    )
    read = getattr(network(run).spec(len(tokenizer)), "tokens", None)
    return Vocabulary.of(tokenizer, max_characters=read.max_characters if isinstance(read, Characters) else None)


def paths(run: Run) -> Iterator[str]:
    assert not isinstance(run.corpus, str)
    for source in run.corpus:
        yield from (*source.paths, *source.beside)


def test_every_recipe_has_a_twin() -> None:
    assert [path.stem for path in RECIPES] == [path.stem for path in TWINS]
    assert len(RECIPES) == 12


@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_is_small_and_its_data_stand_beside_the_repository(path: Path, shared: Path) -> None:
    run = read_run(path)
    assert run.evaluation is not None
    assert run.held_out is not None
    assert run.steps * run.rows * run.length < 10_000_000
    assert all(path.startswith("../shared/") and (ROOT / path).is_file() for path in paths(run))


@pytest.mark.parametrize("path", TWINS, ids=name)
def test_a_twin_is_what_its_family_publishes(path: Path) -> None:
    run, recipe = read_run(path), read_run(ROOT / "recipes" / path.name)
    of = family(network(run).family)
    assert of.name == network(recipe).family
    assert [one.name for one in run.objectives] == [one.name for one in recipe.objectives]
    assert type(run.schedule) is type(recipe.schedule)
    assert isinstance(run.tokenizer, NewTokenizer)
    spec, published = network(run).spec(run.tokenizer.size), of.build(network(run).size)
    assert {one.name for one in fields(spec) if getattr(spec, one.name) != getattr(published, one.name)} <= OWN
    assert run.tokenizer.size <= spec.vocab_size
    assert not isinstance(spec, Architecture) or spec.max_tokens is None or run.length <= spec.max_tokens


@pytest.mark.parametrize("path", RECIPES + TWINS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_is_lacking(path: Path) -> None:
    run = read_run(path)
    found = vocabulary(run)
    setting = Setting(found, run.length, network(run).spec(found.size))
    assert [fault for one in passes(run.objectives) for fault in one.faults(setting)] == []


@pytest.mark.slow
@pytest.mark.parametrize("path", RECIPES, ids=name)
def test_a_recipe_learns_from_python_s_documentation(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where its own corpus is not there, in a few small steps."""
    monkeypatch.chdir(tmp_path)
    recipe = read_run(path)
    assert isinstance(recipe.tokenizer, NewTokenizer)
    run = replace(
        recipe,
        steps=4,
        rows=4,
        length=32,
        tokenizer=replace(recipe.tokenizer, most=50_000),
        schedule=Cosine(),
        evaluation=Evaluation(every=4),
        folder=tmp_path / "run",
    )
    assert run.train(device="cpu").ended == "steps"
    lines = read_lines(tmp_path / "run" / "run.jsonl")
    (held_out,) = [line["held_out.loss"] for line in lines if "held_out.loss" in line]
    assert math.isfinite(held_out)
    assert begin_network(str(tmp_path / "run" / "model"), 0, 0).family.name == network(recipe).family
