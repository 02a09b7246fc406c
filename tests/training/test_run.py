"""A whole run: from a corpus to a folder that `transformers` opens, and every way in which it cannot begin."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

import stemma
from stemma.checkpoints import read_folder
from stemma.data import Files, Texts
from stemma.errors import CheckpointError, InputError, StemmaError
from stemma.families import GPT2
from stemma.objectives import (
    CausalLM,
    MaskedLM,
    NextSentence,
    PermutationLM,
    ReplacedTokens,
    SpanCorruption,
    SpanLM,
    TranslationLM,
)
from stemma.spec import Embedding, Experts, MaskedLMHead, NextSentenceHead, Normal, Pooler
from stemma.spec.recurrent_parts import Words
from stemma.training import AdamW, CorpusFiles, Guards, Network, NewTokenizer, Outcome, Run, Saving, read_lines
from stemma.training.folders import begin_network
from stemma.training.opening import open_run

from ..tiny import apart
from ..tolerances import FP32
from .small import Ends, Kept
from .tiny_run import SMALL, STEPS, corpus, paragraphs, tiny_run, vocabulary

FIGURES = ("loss", "norm", "rate", "tokens", "held_out.loss")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model: Any = begin_network(str(folder / "model"), 0, 0).model
    return dict(model.named_parameters())


def figures(folder: Path) -> list[dict[str, Any]]:
    return [{name: line[name] for name in FIGURES if name in line} for line in read_lines(folder / "run.jsonl")]


def record(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((Path(run.folder) / "run.json").read_text())
    return found


def test_a_run_learns_and_leaves_everything(over: tuple[Run, Outcome]) -> None:
    run, outcome = over
    folder = Path(run.folder)
    assert outcome.ended == "steps"
    left = {path.name for path in folder.iterdir()}
    assert left == {"checkpoints", "corpora", "model", "run.json", "run.jsonl", "run.toml", "tokenizer"}
    model = {path.name for path in (folder / "model").iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= model
    lines = read_lines(folder / "run.jsonl")
    tried = {line["step"]: line["held_out.loss"] for line in lines if "held_out.loss" in line}
    assert list(tried) == [10, 20, STEPS]
    assert tried[STEPS] < tried[20] < tried[10] - 0.1
    kept = record(run)
    assert kept["losses"]["held_out"]["loss"] == tried[kept["model_step"]] == min(tried.values())
    assert kept["tokens"] == STEPS * run.rows * run.length
    assert kept["parameters"] == sum(parameter.numel() for parameter in weights(folder).values())
    documents = kept["data"][0]["documents"], kept["data"][0]["held_out"]
    assert documents[1] == round(0.05 * sum(documents))
    # Six for each weight of a product, and some for attention; positions and tables are looked up.
    products = 12 * 16 * 16 + 420 * 16
    assert 6 * products < kept["flops"] / kept["tokens"] < 1.15 * 6 * products
    counted = kept["baselines"]["next"]
    assert 0 < counted["bigram"] < counted["unigram"] < kept["losses"]["held_out"]["loss"]


def test_the_folder_opens_in_transformers(over: tuple[Run, Outcome]) -> None:
    folder = Path(over[0].folder) / "model"
    text = "An assertion is a convenient way to check."
    card = (Path(over[0].folder) / "checkpoints" / "step-000000020" / "README.md").read_text()
    assert "| steps | 20 (ended: not yet) |" in card
    ours, theirs = stemma.load(str(folder)), transformers.AutoModelForCausalLM.from_pretrained(folder).eval()
    cut = transformers.AutoTokenizer.from_pretrained(folder)
    ids = cut(text, return_tensors="pt")["input_ids"]
    assert ids[0].tolist() == ours.tokenizer.encode(text)
    assert cut.decode(ids[0]) == ours.tokenizer.decode(ids[0].tolist()) == text
    with torch.no_grad():
        assert apart(ours.model(ids).logits, theirs(ids).logits) <= FP32
    # They are those of the best checkpoint, not those that the network began with.
    begun: Any = begin_network(over[0].model, len(ours.tokenizer), 0).model
    assert apart(begun(ids).logits, theirs(ids).logits) > 0.1


BERT_HEADS = (MaskedLMHead(), Pooler(), NextSentenceHead())
KINDS: Mapping[str, tuple[Network, list[Any]]] = {
    "bert": (Network("bert", None, {**SMALL, "heads": BERT_HEADS}), [MaskedLM(), NextSentence()]),
    "t5": (Network("t5", None, SMALL), [SpanCorruption()]),
    "mixtral": (Network("mixtral", None, {**SMALL, "experts": Experts(3, 2)}), [CausalLM()]),
    "xlnet": (Network("xlnet", None, SMALL), [PermutationLM()]),
    "electra": (Network("electra", None, SMALL), [ReplacedTokens()]),
    "spanbert": (Network("spanbert", None, SMALL), [SpanLM()]),
    "ulmfit": (Network("ulmfit", None, dict(widths=(12, 10), tokens=Words(0, 10))), [CausalLM()]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_is_left_as_others_open_it(name: str, tmp_path: Path) -> None:
    model, objectives = KINDS[name]
    run = tiny_run(
        tmp_path,
        model=model,
        objectives=objectives,
        tokenizer=vocabulary(name),
        steps=2,
        evaluation=None,
        held_out=None,
    )
    assert run.train().ended == "steps"
    for folder in (tmp_path / "model", *(tmp_path / "checkpoints").iterdir()):
        assert "held out" in (folder / "README.md").read_text()
        if name == "ulmfit":
            assert (folder / "network.json").is_file()
            assert not (folder / "config.json").exists()
        else:
            opens(folder, stacks=2 if name == "t5" else 1)


def opens(folder: Path, stacks: int) -> None:
    """Its own class in transformers reads a folder, and gives our logits."""
    config = json.loads((folder / "config.json").read_text())
    opened = getattr(transformers, config["architectures"][0]).from_pretrained(folder, output_loading_info=True)
    theirs, told = opened
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    text = "An assertion is a convenient way to check."
    ids = transformers.AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")["input_ids"]
    ours: Any = read_folder(folder).model.eval()
    assert ids[0].tolist() == stemma.text.read_tokenizer(folder).encode(text)
    asked = {"decoder_input_ids": ids[:, :5]} if stacks == 2 else {}
    read = {"decoder_tokens": ids[:, :5]} if stacks == 2 else {}
    with torch.no_grad():
        given, wanted = ours(ids, **read), theirs.eval()(ids, **asked)
    logits = given.logits if given.logits is not None else given.replaced
    other = wanted.prediction_logits if hasattr(wanted, "prediction_logits") else wanted.logits
    assert apart(logits.reshape(other.shape), other) <= FP32


def test_held_out_documents_are_never_learnt_from(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, held_out=0.2)
    opened = open_run(run, begun=False)
    part = opened.parts[0]
    assert part.held_out is not None
    both = [{(int(c.shard[n]), int(c.starts[n])) for n in range(len(c))} for c in (part.learnt, part.held_out)]
    assert len(both[0]) == len(part.learnt) > 3 * len(both[1]) > 0
    assert not both[0] & both[1]
    assert opened.epochs == [opened.lessons[0].row.__self__.in_epoch(0)]  # type: ignore[attr-defined]


class TestGoingOn:
    """A run that ends and goes on is the run that never ended."""

    @pytest.mark.slow
    def test_an_interrupted_run_goes_on_bit_for_bit(self, over: tuple[Run, Outcome], tmp_path: Path) -> None:
        run = replace(over[0], folder=tmp_path / "run")
        ended = run.train([Ends(13, signal.SIGINT)])
        assert ended.ended == "interrupted"
        assert 13 <= ended.progress.step < STEPS
        assert not (tmp_path / "run" / "model").exists()
        assert not (tmp_path / "run" / "run.json").exists()
        assert run.train().ended == "steps"
        whole, parts = (
            [line for line in figures(Path(folder)) if line] for folder in (over[0].folder, tmp_path / "run")
        )
        assert parts == whole
        first, second = weights(Path(over[0].folder)), weights(tmp_path / "run")
        assert all(torch.equal(first[name], second[name]) for name in {**first, **second})

    def test_the_same_run_again_is_over_already(self, over: tuple[Run, Outcome], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(over[0].folder, tmp_path / "run"))
        kept = Kept()
        assert replace(over[0], folder=folder).train([kept], resume=True).progress.step == STEPS
        assert kept.lines == {}

    def test_more_steps(self, over: tuple[Run, Outcome], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(over[0].folder, tmp_path / "run"))
        longer, kept = replace(over[0], folder=folder, steps=STEPS + 2), Kept()
        with pytest.raises(InputError, match=r"holds another run, or this one with other settings; .* --resume"):
            longer.train()
        assert longer.train([kept], resume=True).progress.step == STEPS + 2
        assert list(kept.lines) == [STEPS + 1, STEPS + 2]
        assert f"steps = {STEPS + 2}" in (folder / "run.toml").read_text()

    @pytest.mark.parametrize(
        ("changes", "error", "told"),
        [
            ({"rows": 8}, CheckpointError, "rows=8 was 4 when the run began"),
            ({"seed": 1}, CheckpointError, "seed=1 was 0"),
            ({"model": Network("gpt2", None, {**SMALL, "d_model": 8})}, CheckpointError, "has the shape"),
            ({"tokenizer": NewTokenizer(size=500)}, InputError, "tokenizer=.*500.* was .*420.* when the run began"),
        ],
        ids=["rows", "seed", "network", "tokenizer"],
    )
    def test_what_cannot_change_changes_nothing(
        self, changes: dict[str, Any], error: type[StemmaError], told: str, over: tuple[Run, Outcome], tmp_path: Path
    ) -> None:
        folder = Path(shutil.copytree(over[0].folder, tmp_path / "run"))
        before = (folder / "run.toml").read_text()
        with pytest.raises(error, match=told):
            replace(over[0], folder=folder, **changes).train(resume=True)
        assert (folder / "run.toml").read_text() == before

    def test_damaged_checkpoints(self, over: tuple[Run, Outcome], tmp_path: Path) -> None:
        folder = Path(shutil.copytree(over[0].folder, tmp_path / "run"))
        for state in folder.glob("checkpoints/*/state.json"):
            state.write_text(state.read_text() + " ")
        with pytest.raises(CheckpointError, match="are damaged, all of them"):
            replace(over[0], folder=folder).train(resume=True)

    @pytest.mark.slow
    def test_a_checkpoint_is_where_another_run_begins(self, over: tuple[Run, Outcome], tmp_path: Path) -> None:
        fresh, kept = Kept(), Kept()
        model = str(Path(over[0].folder) / "model")
        tiny_run(tmp_path / "a", tokenizer=model, steps=1).train([fresh])
        further = tiny_run(tmp_path / "b", model=model, tokenizer=None, steps=1)
        assert further.train([kept]).ended == "steps"
        assert kept.figure()[1] < fresh.figure()[1] - 0.3
        assert (tmp_path / "b" / "model" / "tokenizer.json").read_bytes() == Path(model, "tokenizer.json").read_bytes()


@pytest.fixture(scope="module")
def native(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of a recurrent network."""
    model, objectives = KINDS["ulmfit"]
    run = tiny_run(tmp_path_factory.mktemp("native"), model=model, objectives=objectives, tokenizer=vocabulary())
    assert replace(run, steps=3).train().ended == "steps"
    return Path(run.folder)


class TestNative:
    """A network for which `transformers` has no class."""

    def test_it_is_gone_on_with(self, native: Path, tmp_path: Path) -> None:
        model = str(native / "model")
        assert {path.name for path in (native / "model").iterdir()} >= {"network.json", "README.md", "tokenizer.json"}
        assert tiny_run(tmp_path, model=model, tokenizer=None, steps=1, optimiser=AdamW(lr=1e-30)).train().ended
        first, second = weights(native), weights(tmp_path)
        assert all(apart(first[name], second[name]) < FP32 for name in {**first, **second})

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("{", "is no JSON"),
            ('{"family": "ulmfit", "widhts": [3]}', "widhts"),
            ('{"family": "nobody"}', "family='nobody' is not in the tree"),
        ],
    )
    def test_a_broken_description(self, text: str, told: str, native: Path, tmp_path: Path) -> None:
        broken = Path(shutil.copytree(native / "model", tmp_path / "model"))
        (broken / "network.json").write_text(text)
        with pytest.raises(CheckpointError, match=told):
            begin_network(str(broken), 0, 0)

    def test_other_weights(self, native: Path, tmp_path: Path) -> None:
        broken = Path(shutil.copytree(native / "model", tmp_path / "model"))
        content = json.loads((broken / "network.json").read_text())
        (broken / "network.json").write_text(json.dumps(content | {"widths": [14, 10]}))
        with pytest.raises(CheckpointError, match="must have the shape"):
            begin_network(str(broken), 0, 0)


def test_pairs_beside_single_texts(tmp_path: Path) -> None:
    """XLM: each objective reads the corpora that fit it."""
    (tmp_path / "a.en").write_text("".join(f"the number {n} is small\n" for n in range(60)))
    (tmp_path / "a.fr").write_text("".join(f"le nombre {n} est petit\n" for n in range(60)))
    singles = [
        Files(paths=(str(tmp_path / f"a.{one}"),), split="line", languages=(one,), repeats="exact")
        for one in ("en", "fr")
    ]
    pairs = Files(paths=(str(tmp_path / "a.en"),), beside=(str(tmp_path / "a.fr"),), languages=("en", "fr"))
    model = Network("xlm", None, {**SMALL, "embedding": Embedding(languages=2, norm=True)})
    run = tiny_run(
        tmp_path / "run",
        model=model,
        objectives=[MaskedLM(), TranslationLM()],
        corpus=[*singles, pairs],
        tokenizer=NewTokenizer(size=300),
        steps=4,
        alpha=0.7,
    )
    assert run.train().ended == "steps"
    kept = record(run)
    assert [one["documents"] + one["held_out"] for one in kept["data"]] == [60, 60, 60]
    terms = {name for name in kept["losses"]["held_out"] if name != "loss"}
    assert terms == {f"loss.{name}" for name in kept["baselines"]}
    assert len(terms) == 2


def test_texts_in_memory_are_known_by_what_they_hold(tmp_path: Path) -> None:
    texts = [f"the number {n} is small" for n in range(60)]
    run = tiny_run(tmp_path, corpus=Texts(items=texts), tokenizer=vocabulary(), steps=1)
    assert run.train().ended == "steps"
    assert "small" not in (tmp_path / "run.toml").read_text()
    assert run.train().ended == "steps"
    with pytest.raises(InputError, match="holds another run"):
        replace(run, corpus=Texts(items=[*texts, "one more"])).train()


def test_losses_that_are_no_numbers_leave_json_that_everyone_reads(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, tokenizer=vocabulary(), steps=4, optimiser=AdamW(lr=1e38), guards=Guards(broken="report"))
    run.train()

    def refuse(word: str) -> None:
        pytest.fail(f"{word} is no JSON")

    kept = json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    assert kept["losses"]["held_out"] == {"loss": None, "loss.next": None}
    assert "| loss.next |  |  | " in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.slow
def test_boards_are_told(tmp_path: Path) -> None:
    tiny_run(tmp_path, tokenizer=vocabulary(), steps=2, trackers=("tensorboard",)).train()
    assert list(tmp_path.glob("events.out.tfevents.*"))


def test_the_corpus_may_be_a_pattern(tmp_path: Path) -> None:
    run = tiny_run(tmp_path, corpus=str(corpus().with_name("*.txt")), held_out=None, evaluation=None, steps=1)
    assert run.train().ended == "steps"
    kept = record(run)
    assert kept["data"][0]["documents"] == 1
    assert kept["losses"]["held_out"] == kept["baselines"] == {}


def test_the_usual_vocabulary_is_as_large_as_the_networks(tmp_path: Path) -> None:
    spec = GPT2.build(**SMALL, vocab_size=333, initialisation=Normal(0.02))
    run = tiny_run(tmp_path, model=spec, tokenizer=None, steps=1, saving=Saving(every=1))
    assert run.train().ended == "steps"
    assert record(run)["tokenizer"] == "bytebpe, 333 tokens"


def test_documentation_stands_in_for_absent_files(caplog: pytest.LogCaptureFixture) -> None:
    absent = CorpusFiles(paths=("nowhere/*.txt",), otherwise="pydoc", split="paragraph", languages=("en",))
    assert absent.resolved() == Files(paths=("pydoc",), split="paragraph", languages=("en",))
    assert "nowhere/*.txt: no such files; Python's documentation is read instead" in caplog.text
    pairs = replace(absent, beside=("nowhere/*.fr",), languages=("en", "fr")).resolved()
    assert isinstance(pairs, Texts)
    assert pairs.languages == ("en", "fr")
    left, right = next(iter(pairs.items))
    assert abs(len(left.split()) - len(right.split())) <= 1
    there = CorpusFiles(paths=(str(corpus()),), otherwise="pydoc")
    assert there.resolved() == Files(paths=there.paths)
    assert paragraphs(paths=("nowhere",)).faults()
