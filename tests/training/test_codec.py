"""Values go into tables and files and come back as they were, and what is wrong with a file is told in full."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stemma.data import Files
from stemma.errors import InputError
from stemma.families import catalogue
from stemma.objectives import OBJECTIVES, Distillation, MaskedLM
from stemma.objectives.demonstration import USUAL
from stemma.spec import Full, Rotary
from stemma.training import (
    AdamW,
    Constant,
    CorpusFiles,
    Cosine,
    Evaluation,
    Guards,
    InverseSqrt,
    Linear,
    Muon,
    Network,
    NewTokenizer,
    Run,
    Saving,
    SlantedTriangular,
    WarmupStableDecay,
    read_run,
)
from stemma.training.codec import decode, encode, record
from stemma.training.toml import write_toml

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "run.toml"
FIXED: dict[str, Any] = dict(steps=100, objectives=[MaskedLM()], corpus="pydoc")


def again(run: Run) -> Run:
    """Through a file."""
    table, faults = encode(run), []
    del table["kind"]
    found = record(Run, tomllib.loads(write_toml(table)), "", faults)
    assert faults == []
    assert isinstance(found, Run)
    return found


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_comes_back(name: str) -> None:
    shown = USUAL[name]
    one = OBJECTIVES[name](**shown.options)
    found = again(Run(model="m", **FIXED | {"objectives": [one]}))
    assert found.objectives == (one,)


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_every_architecture_comes_back(family: Any) -> None:
    """As a network of its family, every field told."""
    size = next(iter(family.sizes), None)
    spec = family.build(size)
    found = again(Run(model=spec, **FIXED)).model
    assert isinstance(found, Network)
    assert found.spec(7) == spec


@pytest.mark.parametrize(
    "changes",
    [{"optimiser": one} for one in (AdamW(lr=1, betas=(0.8, 0.9)), Muon(momentum=0.5))]
    + [
        {"schedule": one}
        for one in (
            Constant(),
            Cosine(warmup=3),
            InverseSqrt(),
            Linear(floor=0.5),
            SlantedTriangular(),
            WarmupStableDecay(decay=5),
        )
    ]
    + [
        {"clip": None, "average": None, "evaluation": None, "held_out": None, "tokenizer": None},
        {"evaluation": Evaluation(every=7, patience=2), "saving": Saving(milestones=3), "guards": Guards(most=4)},
        {
            "tokenizer": NewTokenizer(
                kind="unigram", special={"unk": "\x00\x7f\"'é\\"}, extra=("a b", "[]"), lowercase=False
            )
        },
        {"tokenizer": "a folder", "trackers": ("tensorboard", "trackio"), "cache": "c", "ray": "auto"},
        {"corpus": CorpusFiles(paths=("a", "b"), otherwise="pydoc", languages=("en",))},
        {"corpus": (Files(paths=("a",), fields=(0, "x")), CorpusFiles(paths=("b",), beside=("c",)))},
        {"objectives": [Distillation(teacher="t", of=MaskedLM(rate=0.25))]},
        {"model": Network("gpt2", "345M")},
        {"model": Network("llama", None, {"n_layers": 2, "attention": Full(), "position": Rotary(base=5.0)})},
    ],
    ids=lambda changes: ", ".join(f"{name}={type(value).__name__}" for name, value in changes.items()),
)
def test_every_part_of_a_run_comes_back(changes: dict[str, Any]) -> None:
    run = Run(**{"model": "m", **FIXED, **changes})
    assert again(run) == run


PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text()


def shown(value: Any) -> Any:
    """As TOML has it: None as false, and a number that is none as itself."""
    if isinstance(value, list):
        return [shown(one) for one in value]
    if isinstance(value, dict):
        return {name: shown(one) for name, one in value.items()}
    return False if value is None else "no number" if value != value else value


@given(
    st.dictionaries(
        st.text(),
        st.recursive(PLAIN, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)),
    )
)
def test_any_table_is_written_as_python_reads_it(table: dict[str, Any]) -> None:
    assert shown(tomllib.loads(write_toml(table))) == shown(table)


def test_the_example_says_what_it_seems_to() -> None:
    run = read_run(EXAMPLE)
    assert run.steps == 20
    assert run.model.changes["n_layers"] == 2  # type: ignore[union-attr]
    assert [type(head).__name__ for head in run.model.changes["heads"]] == [  # type: ignore[union-attr]
        "MaskedLMHead",
        "Pooler",
        "NextSentenceHead",
    ]
    assert [one.name for one in run.objectives] == ["mlm", "nsp"]
    assert run.schedule == Linear(warmup=5)
    assert run.tokenizer == NewTokenizer(size=500, kind="wordpiece")
    assert again(run) == run


class TestSettings:
    """`--set`: a key's path and a TOML value."""

    @pytest.mark.parametrize(
        ("setting", "path", "value"),
        [
            ("optimiser.lr=2e-3", "optimiser.lr", 2e-3),
            ("rows = 16", "rows", 16),
            ("precision=bfloat16", "precision", "bfloat16"),
            ('folder="a b"', "folder", "a b"),
            ("clip=false", "clip", None),
            ("evaluation.patience=false", "evaluation.patience", None),
            ("evaluation=false", "evaluation", None),
            ("tokenizer.kind=false", "tokenizer.kind", None),
            ("objectives.0.rate=0.3", "objectives.0.rate", 0.3),
            ("corpus.0.paths=['a.txt', 'b.txt']", "corpus.0.paths", ("a.txt", "b.txt")),
            ("corpus.0.otherwise=false", "corpus.0.otherwise", None),
            ("guards={broken='stop'}", "guards.broken", "stop"),
            ("tensor_parallel=2", "tensor_parallel", 2),
            ("cache=somewhere", "cache", "somewhere"),
            ("tokenizer=smollm2", "tokenizer", "smollm2"),
        ],
    )
    def test_each(self, setting: str, path: str, value: Any) -> None:
        found: Any = read_run(EXAMPLE, [setting])
        for name in path.split("."):
            found = found[int(name)] if name.isdigit() else getattr(found, name)
        assert found == value

    def test_the_last_of_two_wins_and_a_folder_is_told_apart(self) -> None:
        run = read_run(EXAMPLE, ["rows=16", "rows=32"], folder="elsewhere")
        assert (run.rows, run.folder) == (32, "elsewhere")

    @pytest.mark.parametrize(
        ("setting", "told"),
        [
            ("rows", "--set='rows' gives no value"),
            ("objectives.7.rate=1", "--set='objectives.7.rate=1' leads nowhere"),
            ("objectives.first.rate=1", "leads nowhere"),
            ("steps.more=1", "leads nowhere"),
            ("=3", "=3 is no field"),
        ],
    )
    def test_what_leads_nowhere(self, setting: str, told: str) -> None:
        with pytest.raises(InputError) as raised:
            read_run(EXAMPLE, [setting])
        assert told in str(raised.value)
        assert len(raised.value.faults) == 1


BROKEN = """
steps = "many"
rows = 0
lenght = 64
micro_batches = 3
precision = "float16"
held_out = 2
[model]
family = "brt"
[tokenizer]
sise = 3
kind = "bytes"
[[corpus]]
paths = ["nowhere/*.txt"]
split = "page"
[[objectives]]
name = "mlmm"
[[objectives]]
name = "mlm"
rate = "x"
[optimiser]
kind = "Adam"
[schedule]
kind = "Linear"
warmup = 1.5
[guards]
broken = "ignore"
"""


def test_all_faults_of_a_file_at_once(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text(BROKEN)
    with pytest.raises(InputError) as raised:
        read_run(file)
    told = {fault.field: str(fault) for fault in raised.value.faults}
    assert told.keys() == {
        *("steps", "rows", "lenght", "precision", "held_out", "model.family", "tokenizer.sise", "tokenizer.kind"),
        *("corpus.0.split", "objectives.0.name", "objectives.1.rate", "optimiser.kind", "schedule.warmup"),
        "guards.broken",
    }
    assert told["steps"] == "steps='many' must be a valid integer; correct it"
    assert told["lenght"].startswith("lenght=64 is no field; use one of steps, rows, ")
    assert told["precision"] == "precision='float16' must be 'float32' or 'bfloat16'; correct it"
    assert told["optimiser.kind"] == "optimiser.kind='Adam' is unknown; use one of AdamW, Muon"
    assert "use one of causal, " in told["objectives.0.name"]
    assert "use one of transformer, " in told["model.family"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["model=5"], ["model=5 must be a valid string or a table"]),
        (["guards=3"], ["guards=3 must be a table; give the fields of Guards"]),
        (["model.family=5"], ["model.family=5 must be a valid string"]),
        (["model.size=huge"], ["model.size='huge' is no size of bert"]),
        (["model.n_layers=2.5", "model.bais=true"], ["model.n_layers=2.5", "model.bais=True is no field"]),
        (["model.position={kind='Rotary', base='x'}"], ["model.position.base='x'"]),
        (["model.position.kind=Rotaty"], ["model.position.kind='Rotaty' is unknown; use one of Learned, "]),
        (["model.heads.1.kind=Poller"], ["model.heads.1.kind='Poller' is unknown"]),
        (["compile=1"], ["compile=1 must be a valid boolean"]),
        (["compile=true", "steps=true"], ["steps=True must be a valid integer"]),
        (["rows=7"], ["rows=7 must be a multiple of micro_batches=2"]),
        (["rows=x"], ["rows='x' must be a valid integer"]),
        (["schedule.warmup=50"], ["schedule="]),
        (["trackers=['wandb']"], ["trackers=['wandb'] must be 'tensorboard' or 'trackio'"]),
        (["objectives=[]"], ["objectives="]),
        (["alpha=-1", "held_out=1"], ["alpha=-1.0 must be at least 0", "held_out=1.0 must lie between 0 and 1"]),
        (["objectives.0={name='distill', teacher='t', of={rate=0.1}}"], ["objectives.0.of.rate=0.1 is no field"]),
        (["corpus=nowhere", "evaluation={}"], ["evaluation.every=None is missing"]),
        (["objectives.0={name='distill'}"], ["objectives.0.teacher=None is missing"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_each_fault_is_told_where_it_is(settings: list[str], told: list[str]) -> None:
    with pytest.raises(InputError) as raised:
        read_run(EXAMPLE, settings)
    assert [str(fault).startswith(part) for fault, part in zip(raised.value.faults, told, strict=True)] == [True] * len(
        told
    )


def test_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text("rows = -1\n[evaluation]\n")
    with pytest.raises(InputError) as raised:
        read_run(tmp_path)
    told = {fault.field: fault.rule for fault in raised.value.faults}
    missing = dict.fromkeys(("evaluation.every", "steps", "model", "objectives", "corpus"), "is missing")
    assert told == {**missing, "rows": "must be a whole number of at least 1"}


@pytest.mark.parametrize(
    ("content", "told"), [(None, "cannot be read: No such file"), (b"steps =", "is no TOML"), (b"\xff", "is no TOML")]
)
def test_a_file_that_is_none(content: bytes | None, told: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "run.toml").write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_run(tmp_path / "run.toml")


@dataclass(frozen=True)
class Both:
    """A field of either kind, and one that is called as the type is told."""

    kind: Literal["a", "b"] = "a"
    part: AdamW | Muon | None = None
    parts: tuple[AdamW | Muon, ...] = ()


def test_alternatives() -> None:
    faults: list[Any] = []
    table = {"kind": "b", "part": {"kind": "Muon"}, "parts": [{"kind": "AdamW", "lr": 1}]}
    assert decode(Both, table, "", faults) == Both("b", Muon(), (AdamW(lr=1),))
    assert decode(Both, {"part": False}, "", faults) == Both()
    assert faults == []
    assert decode(Both, {"part": {"lr": 1}, "parts": [{}, 3]}, "x", faults) is None
    assert [fault.field for fault in faults] == ["x.part.kind", "x.parts.0.kind", "x.parts.1"]
