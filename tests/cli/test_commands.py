"""What each command prints and writes, over a model that answers at once."""

from __future__ import annotations

import gzip
import io
import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from stemma.cli import convert, embed, generate, lineage, predict, vectors
from stemma.cli.main import run
from stemma.families import GPT2, catalogue
from stemma.families.picture import tree_svg
from stemma.spec import Architecture


@dataclass(frozen=True)
class NextToken:
    id: int
    text: str
    logprob: float
    probability: float


@dataclass(frozen=True)
class ScoredToken:
    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class BeamPath:
    text: str
    logprob: float
    tokens: list[ScoredToken]


@dataclass(frozen=True)
class TargetScore:
    loss: float
    tokens: list[ScoredToken]


A, B = ScoredToken(1, " a", math.log(0.5)), ScoredToken(2, " b\n", math.log(0.25))


class Echo:
    """Stands for a loaded model: every verb answers from its arguments."""

    name = "echo"
    family = GPT2
    quantised = None
    architecture = GPT2.build("117M")

    def next(self, text: str, top: int) -> list[NextToken]:
        return [NextToken(t.id, t.text, t.logprob, math.exp(t.logprob)) for t in (A, B)][:top]

    def beams(self, text: str, width: int, steps: int) -> list[BeamPath]:
        paths = [[A, A], [A, B], [B, A]][:width]
        return [BeamPath("".join(t.text for t in p), sum(t.logprob for t in p), p[:steps]) for p in paths]

    def score(self, text: str, target: str) -> TargetScore:
        return TargetScore(-A.logprob, [A])

    def generate(
        self, text: str | list[str], strategy: Any, max_new_tokens: int, stop: Any, stream: Any = None, **_: Any
    ) -> Any:
        added = f" [{type(strategy).__name__} {max_new_tokens} {list(stop)}]"
        if stream:
            stream(added)
        return added if isinstance(text, str) else [added for _ in text]

    def chat(self, messages: list[dict[str, str]], strategy: Any, max_new_tokens: int, stream: Any, **_: Any) -> str:
        reply = f"{len(messages)} messages"
        if stream:
            stream(reply)
        return reply

    def embed(self, texts: list[str], **options: Any) -> np.ndarray:
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "stemma.json").touch()


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command line that must succeed; gives what it printed."""
    for module in (predict, generate, embed, convert, lineage):
        monkeypatch.setattr(module, "open_model", lambda name, dtype=None, quantize="none": Echo())
    monkeypatch.chdir(tmp_path)

    def called(*arguments: str) -> str:
        assert run(arguments) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return called


def test_next_prints_the_contract(call: Callable[..., str]) -> None:
    printed = call("next", "x", "--top", "1", "--beams", "2", "--steps", "2", "--target", " a", "--json")
    a = {"id": 1, "text": " a", "logprob": A.logprob}
    b = {"id": 2, "text": " b\n", "logprob": B.logprob}
    assert json.loads(printed) == {
        "model": "echo",
        "prompt": "x",
        "tokens": [a | {"probability": pytest.approx(0.5)}],
        "beams": [
            {"text": " a a", "logprob": pytest.approx(2 * A.logprob), "tokens": [a, a]},
            {"text": " a b\n", "logprob": pytest.approx(A.logprob + B.logprob), "tokens": [a, b]},
        ],
        "target": {"loss": -A.logprob, "tokens": [a]},
    }


def test_next_prints_empty_beams_and_a_null_target_when_not_asked(call: Callable[..., str]) -> None:
    result = json.loads(call("next", "x", "--json"))
    assert list(result) == ["model", "prompt", "tokens", "beams", "target"]
    assert result["beams"] == []
    assert result["target"] is None


def test_next_draws_a_tree_in_which_a_shared_beginning_stands_once(call: Callable[..., str]) -> None:
    printed = call("next", "x", "--beams", "3", "--steps", "2", "--target", " a")
    tree = [line for line in printed.splitlines() if "── '" in line]
    assert [line.split("── ")[1].split("   ")[0] for line in tree] == [
        "' a' 50.0%",
        "' a' 50.0%",
        "' b\\n' 25.0%",
        "' b\\n' 25.0%",
        "' a' 50.0%",
    ]
    assert "50.00%" in printed
    assert "0.693" in printed


def test_generate_streams_after_the_prompt(call: Callable[..., str]) -> None:
    assert call("generate", "x", "-n", "3", "--stop", "e") == "x [Greedy 3 ['e']]\n"
    assert call("generate", "x", "--seed", "1") == "x [Sample 40 []]\n"
    assert call("generate", "x", "--beams", "2") == "x [Beam 40 []]\n"


def test_generate_takes_several_texts(call: Callable[..., str]) -> None:
    assert json.loads(call("generate", "x", "y", "--json")) == {
        "model": "echo",
        "completions": [{"prompt": "x", "text": " [Greedy 40 []]"}, {"prompt": "y", "text": " [Greedy 40 []]"}],
    }


def test_chat_keeps_the_conversation(call: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("one\n\ntwo\n"))
    assert call("chat", "--system", "be brief") == "2 messages\n4 messages\n"
    result = json.loads(call("chat", "hello", "--json"))
    assert [message["role"] for message in result["messages"]] == ["user", "assistant"]


def test_embed_writes_one_row_a_line(call: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "CHUNK", 32)
    lines = ["x" * n for n in range(1, 71)]
    (tmp_path / "texts.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with gzip.open(tmp_path / "texts.jsonl.gz", "wt") as stream:
        stream.writelines(json.dumps({"title": line}) + "\n" for line in lines)
    for source, options in (("texts.txt", ()), ("texts.jsonl.gz", ("--field", "title", "--precision", "int8"))):
        result = json.loads(call("embed", source, "--out", "new.npy", *options, "--json"))
        assert result == {"model": "minilm", "out": "new.npy", "texts": 70, "dimensions": 2}
        found = np.load("new.npy")
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found[:, 0], np.arange(1, 71))
        Path("new.npy").unlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["texts.jsonl.gz", "texts.txt"]


def test_similarities_of_several_texts_are_a_matrix(call: Callable[..., str]) -> None:
    result = json.loads(call("similarity", "a", "bbb", "a", "--json"))
    assert result["texts"] == ["a", "bbb", "a"]
    assert result["similarities"][0] == pytest.approx([1, 4 / math.sqrt(2 * 10), 1])
    assert "0.8944" in call("similarity", "a", "bbb", "a")


def test_similarity_is_the_cosine(call: Callable[..., str]) -> None:
    result = json.loads(call("similarity", "a", "bbb", "--json"))
    assert result["similarity"] == pytest.approx(4 / math.sqrt(2 * 10))
    assert "0.8944" in call("similarity", "a", "bbb")


def test_convert_names_what_it_wrote(call: Callable[..., str]) -> None:
    result = json.loads(call("convert", "echo", "folder", "--json"))
    assert result == {"model": "echo", "out": "folder", "files": ["stemma.json"]}


def test_tree_prints_the_contract(call: Callable[..., str]) -> None:
    records = json.loads(call("tree", "--json"))
    assert [record["family"] for record in records] == [family.name for family in catalogue()]
    for record, family in zip(records, catalogue(), strict=True):
        assert list(record) == [
            *("family", "parent", "year", "organisation", "paper", "kind", "objective", "tokenizer", "sizes")
        ]
        assert record["parent"] == (family.parent.name if family.parent else None)
        assert list(record["sizes"]) == list(family.sizes)
        for size in record["sizes"].values():
            assert all(isinstance(number, int) and number > 0 for number in size.values())
            assert {"parameters", "n_layers"} <= size.keys()
            if family.shape is Architecture:
                keys = ("parameters", "n_layers", "d_model", "n_heads", "n_kv_heads", "d_ff", "vocab_size")
                assert tuple(size) == keys


def test_tree_writes_its_picture(call: Callable[..., str], tmp_path: Path) -> None:
    assert json.loads(call("tree", "--svg", "tree.svg", "--json")) == {"out": "tree.svg"}
    assert (tmp_path / "tree.svg").read_text(encoding="utf-8") == tree_svg()
    assert [path.name for path in tmp_path.iterdir()] == ["tree.svg"]


def test_the_tree_shows_every_family_once(call: Callable[..., str]) -> None:
    words = call("tree").split()
    for family in catalogue():
        assert words.count(family.name) == 1


def test_diff_lists_what_differs_and_nothing_else(call: Callable[..., str]) -> None:
    changes = json.loads(call("diff", "gpt2", "llama", "--json"))["changes"]
    assert {"field": "position", "a": "Learned", "b": "Rotary"} in changes
    assert all(change["a"] != change["b"] for change in changes)
    assert json.loads(call("diff", "bert", "bert", "--json"))["changes"] == []


def test_info_of_a_family_lists_its_sizes(call: Callable[..., str]) -> None:
    for family in catalogue():
        assert list(json.loads(call("info", family.name, "--json"))["sizes"]) == list(family.sizes)


def test_info_of_a_model_adds_up(call: Callable[..., str]) -> None:
    result = json.loads(call("info", "echo", "--tokens", "4", "--json"))
    assert result["model"] == "echo"
    assert result["lineage"] == ["gpt", "transformer"]
    assert result["parameters"] == 124_439_808
    assert result["weight_bytes"] == 4 * result["parameters"]
    assert result["training_flops"] == 3 * result["forward_flops"]
    assert result["cache_bytes"] == 4 * 2 * 4 * 12 * 768
    assert result["architecture"]["n_layers"] == 12
    assert "124,439,808" in call("info", "echo")


def test_an_interrupted_command_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str, dtype: str | None, quantize: str) -> SimpleNamespace:
        raise KeyboardInterrupt

    monkeypatch.setattr(predict, "open_model", interrupted)
    assert run(["next", "x"]) == 130
