"""`stemma corrupt`: every objective shows what it does to a sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemma.cli.main import run
from stemma.objectives import OBJECTIVES
from stemma.objectives.demonstration import USUAL
from stemma.text import train

SENTENCE = "Thank you for inviting me to your party last week"
OTHER = "I had a very good time"
PAIRED = {name for name, kind in OBJECTIVES.items() if kind.reads == "pairs"}

each_name = pytest.mark.parametrize("name", OBJECTIVES)
Call = Callable[..., str]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Run the command, which must succeed; gives what it printed."""

    def called(name: str, *options: str, text: str = SENTENCE) -> str:
        pair = ("--pair", OTHER) if name in PAIRED else ()
        assert run(["corrupt", "--objective", name, text, *pair, *options]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out

    return called


def shown(call: Call, name: str, *options: str) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(call(name, "--json", *options))
    return result


def test_all_objectives_are_shown() -> None:
    assert USUAL.keys() == OBJECTIVES.keys()
    asked = "causal prefix mlm whole-word span nsp sop rtd plm t5 bart glm tlm elmo".split()
    assert set(asked) <= OBJECTIVES.keys()


@each_name
def test_the_json_has_the_parts_that_programs_read(name: str, call: Call) -> None:
    result = shown(call, name)
    assert result.keys() == {"objective", "original", "tokens", "inputs", "targets"}
    assert result["objective"] == name
    if name != "whole-word":
        assert result["original"] == (SENTENCE + f" {OTHER}" * (name in PAIRED)).split()
    assert result["targets"]
    read = result["inputs"].get("decoder_tokens", result["tokens"])
    for term, asked in result["targets"].items():
        assert asked, term
        for one in asked:
            assert one.keys() == {"place", "token"}
            assert isinstance(one["token"], str)
            assert isinstance(one["place"], list) or 0 <= one["place"] < len(read)


@each_name
def test_the_table_names_every_term_and_token(name: str, call: Call) -> None:
    result, printed = shown(call, name), call(name)
    assert printed.startswith(f"{name}: ")
    assert all(term in printed for term in result["targets"])
    assert all(token in printed for token in result["tokens"])


@each_name
def test_a_seed_decides(name: str, call: Call) -> None:
    # T5's last span ends the text, and a short one has no other.
    text = " ".join([SENTENCE] * 4)
    found = {seed: call(name, "--json", "--seed", str(seed), text=text) for seed in range(5)}
    assert found[0] == call(name, "--json", text=text)
    draws = name not in ("causal", "elmo", "translation", "imitation", "distill")
    assert (len(set(found.values())) > 1) == draws


def test_masked_words_come_back(call: Call) -> None:
    for seed in range(20):
        result = shown(call, "mlm", "--seed", str(seed))
        tokens = list(result["tokens"])
        for one in result["targets"]["masked"]:
            tokens[one["place"]] = one["token"]
        assert tokens == ["[CLS]", *SENTENCE.split(), "[SEP]"]
        assert len(result["targets"]["masked"]) == 2


@pytest.mark.parametrize("name", sorted(PAIRED))
def test_a_text_alone_is_its_own_second_one(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    printed = []
    for pair in ([], ["--pair", SENTENCE]):
        assert run(["corrupt", "--objective", name, SENTENCE, "--json", *pair]) == 0
        shown = json.loads(capsys.readouterr().out)
        printed.append((shown["tokens"], shown["inputs"], shown["targets"]))
    assert printed[0] == printed[1]


def test_a_given_pair_is_the_stranger(call: Call) -> None:
    seconds = set[str]()
    for seed in range(20):
        result = shown(call, "nsp", "--pair", OTHER, "--seed", str(seed))
        first, second = (
            {token for token, one in zip(result["tokens"], result["inputs"]["segments"], strict=True) if one == number}
            for number in (0, 1)
        )
        (answer,) = result["targets"]["sentence"]
        strange = answer["token"] == "it is from another text"
        assert first - {"[CLS]", "[SEP]"} <= set(SENTENCE.split())
        assert second - {"[SEP]"} <= set((OTHER if strange else SENTENCE).split())
        seconds.add(answer["token"])
    assert len(seconds) == 2


def test_a_tokenizer_of_ones_own(call: Call, tmp_path: Path) -> None:
    train([SENTENCE.lower()], kind="wordpiece", vocab_size=60).save(tmp_path)
    result = shown(call, "whole-word", "--tokenizer", str(tmp_path))
    assert result["original"][0][0] == "t"
    assert len(result["original"]) > len(SENTENCE.split())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--objective", "no-such", "text"], ["no-such", "mlm", "t5"]),
        (["text"], ["--objective"]),
        (["--objective", "mlm", " "], ["TEXT"]),
        (["--objective", "mlm", "text", "--seed", "-1"], ["--seed"]),
        (["--objective", "mlm", "text", "--pair", "texte"], ["pair", "texte"]),
        (["--objective", "mlm", "a " * 600], ["600", "512"]),
        (["--objective", "nsp", "text", "--tokenizer", "{folder}"], ["cls", "sep"]),
        (["--objective", "nsp", "text", "--tokenizer", "{empty}"], ["--tokenizer", "holds no tokenizer"]),
        (["--objective", "nsp", "text", "--tokenizer", "no-such-model"], ["no-such-model"]),
    ],
)
def test_a_broken_command_line_ends_in_one_clear_error(
    arguments: list[str], named: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, empty = tmp_path / "model", tmp_path / "empty"
    empty.mkdir()
    train(["text"], vocab_size=260).save(folder)
    assert run(["corrupt", *(one.format(folder=folder, empty=empty) for one in arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("error: ")
    assert all(word in printed.err for word in named), printed.err
