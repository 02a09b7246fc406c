"""ELMo's official files: the embeddings stored with them, the way back, and files that are broken."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import pytest
import torch

from stemma.checkpoints import read_elmo, write_elmo
from stemma.errors import CheckpointError
from stemma.families import ELMO, ULMFIT
from stemma.nn import RecurrentModel
from stemma.spec.recurrent_parts import Apart, ProjectedLSTM, ScalarMix
from stemma.text import spell, spell_batch, spell_sentence

from .. import tolerances
from ..tiny import apart, random_model, tiny_recurrent

FOLDERS = {
    "elmo-allennlp-fixture/elmo": "sentences.json",
    "elmo-bilm-tf-fixture/model": "lm_embeddings_sentences.json",
}
each_fixture = pytest.mark.parametrize("name", FOLDERS)
SPEC = tiny_recurrent(ELMO, heads=(), widths=(14, 14))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder, to be broken."""
    write_elmo(random_model(SPEC), tmp_path / "elmo")
    return tmp_path / "elmo"


def stored(path: Path) -> dict[str, torch.Tensor]:
    """All tensors of an HDF5 file."""
    found: dict[str, torch.Tensor] = {}
    with h5py.File(path) as file:
        file.visititems(
            lambda name, part: found.update({name: torch.tensor(part[()])} if hasattr(part, "shape") else {})
        )
    return found


# --- The official files ----------------------------------------------------------------------------------------------


@each_fixture
def test_stored_embeddings_are_reproduced(name: str, shared: Path, figure: Callable[..., None]) -> None:
    """Thirty sentences as ten batches of three, each row going on where its last sentence ended, as they were made."""
    folder = shared / "weights" / name
    model = read_elmo(folder).eval()
    columns = json.loads((folder / FOLDERS[name]).read_text(encoding="utf-8"))
    wanted = [stored(folder / f"lm_embeddings_{column}.hdf5") for column in range(3)]
    state, furthest = None, 0.0
    for number in range(10):
        sentences = [column[number].split() for column in columns]
        with torch.no_grad():
            output = model(torch.tensor(spell_batch(sentences)), state=state)
        state = output.state
        for row, words in enumerate(sentences):
            last = torch.cat([*wanted[row][str(number)]], -1)
            furthest = max(furthest, apart(output.layers[-1][row, 1 : len(words) + 1], last))
    figure("elmo embeddings", largest=furthest)
    assert furthest < tolerances.FP32


def test_stored_token_embeddings_are_reproduced(shared: Path) -> None:
    """Those of whole vocabulary, which know no context."""
    folder = shared / "weights" / "elmo-allennlp-fixture" / "elmo"
    model = read_elmo(folder).eval()
    words = (folder / "vocab_test.txt").read_text(encoding="utf-8").split("\n")
    wanted = stored(folder / "elmo_token_embeddings.hdf5")["embedding"]
    assert len(words) == len(wanted)
    # The vocabulary names the marks of a sentence as if they were words.
    marks = dict(zip(("<S>", "</S>"), spell_sentence([]), strict=True))
    with torch.no_grad():
        vectors = model.embeddings(torch.tensor([[marks.get(word) or spell(word) for word in words]]))
    assert apart(vectors[0], wanted) < tolerances.FP32


@each_fixture
def test_official_files_survive_a_round_trip(name: str, shared: Path, tmp_path: Path) -> None:
    folder = shared / "weights" / name
    write_elmo(read_elmo(folder), tmp_path / "again")
    first, second = (stored(path / "lm_weights.hdf5") for path in (folder, tmp_path / "again"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[part], second[part]) for part in first)
    options = [json.loads((path / "options.json").read_text(encoding="utf-8")) for path in (folder, tmp_path / "again")]
    assert options[0] == options[1]


def test_the_mix_of_a_tagger_trained_on_it_is_ours(shared: Path) -> None:
    """The tagger's file holds the same biLM as torch tensors, and a mix that was trained with it."""
    tagger = shared / "weights" / "elmo-allennlp-fixture" / "simple_tagger_with_elmo" / "serialization" / "best.th"
    theirs = torch.load(tagger, weights_only=True)
    model = read_elmo(shared / "weights" / "elmo-allennlp-fixture" / "elmo", heads=(ScalarMix(),)).eval()
    prefix = "text_field_embedder.token_embedder_elmo._elmo."
    mix = model.heads["mix"]
    with torch.no_grad():
        mix.gamma.copy_(theirs[f"{prefix}scalar_mix_0.gamma"])
        mix.weights.copy_(torch.cat([theirs[f"{prefix}scalar_mix_0.scalar_parameters.{n}"] for n in range(3)]))
        output = model(torch.tensor(spell_batch([["a", "tagger"]])))
    assert mix.weights.unique().numel() == 3
    shares = mix.weights.exp() / mix.weights.exp().sum()
    expected = sum(share * layer for share, layer in zip(shares, output.layers, strict=True)) * mix.gamma
    assert apart(output.mixed, expected) < tolerances.FP32
    lstm = f"{prefix}_elmo_lstm._elmo_lstm.forward_layer_1."
    layer = model.layers[1][0]
    # AllenNLP keeps the gates in the order i, f, j, o too, and the 1 of the forget gate inside the offsets.
    assert apart(layer.weight_input, theirs[f"{lstm}input_linearity.weight"]) == 0
    assert apart(layer.weight_hidden, theirs[f"{lstm}state_linearity.weight"]) == 0
    offsets = layer.bias.detach().clone()
    offsets[64:128] += 1
    assert apart(offsets, theirs[f"{lstm}state_linearity.bias"]) == 0


# --- Both ways -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_what_is_written_is_read(skip: bool, clip: float | None, tmp_path: Path) -> None:
    spec = SPEC.change(directions=Apart(skip), cell=ProjectedLSTM(10, clip, clip))
    model = random_model(spec)
    write_elmo(model, tmp_path / "elmo")
    again = read_elmo(tmp_path / "elmo" / "options.json", tmp_path / "elmo" / "lm_weights.hdf5")
    assert again.architecture.change(dropout=spec.dropout) == spec
    parameters = dict(model.named_parameters())
    assert all(torch.equal(parameter, parameters[name]) for name, parameter in again.named_parameters())


def test_heads_are_new_and_the_type_is_chosen(folder: Path) -> None:
    model = read_elmo(folder, heads=(ScalarMix(),), dtype=torch.float64)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    assert model.heads["mix"].gamma.item() == 1.0


def test_what_their_files_cannot_hold_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError) as caught:
        write_elmo(random_model(tiny_recurrent(ULMFIT)), tmp_path / "elmo")
    fields = [fault.field for fault in caught.value.faults]
    assert fields == ["tokens", "cell", "directions", "widths", "tokens.d_embedding", "heads"]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_stands_is_left_alone(folder: Path) -> None:
    before = stored(folder / "lm_weights.hdf5")
    with pytest.raises(CheckpointError, match="exists already"):
        write_elmo(random_model(SPEC, seed=1), folder)
    after = stored(folder / "lm_weights.hdf5")
    assert all(torch.equal(before[name], after[name]) for name in before)


# --- Broken files ----------------------------------------------------------------------------------------------------


def faults(folder: Path) -> list[tuple[str, str]]:
    with pytest.raises(CheckpointError) as caught:
        read_elmo(folder)
    return [(fault.field, fault.rule) for fault in caught.value.faults]


def test_every_wrong_tensor_is_named_at_once(folder: Path) -> None:
    with h5py.File(folder / "lm_weights.hdf5", "a") as file:
        del file["CNN_proj/b_proj"]
        file["extra/part"] = [1.0, 2.0]
        del file["char_embed"]
        file["char_embed"] = torch.zeros(260, 6).numpy()
        del file["CNN/b_cnn_0"]
        file["CNN/b_cnn_0"] = torch.zeros(3, dtype=torch.int32).numpy()
    assert sorted(faults(folder)) == [
        ("CNN/b_cnn_0", "must hold numbers, and in this file"),
        ("CNN_proj/b_proj", "is missing"),
        ("char_embed", "must have the shape [261, 6]"),
        ("extra/part", "has no place in this model"),
    ]


def test_a_tensor_that_lies_in_another_file_is_not_followed(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(40))
    with h5py.File(folder / "lm_weights.hdf5", "a") as file:
        del file["CNN_proj/b_proj"]
        file.create_dataset("CNN_proj/b_proj", (10,), "f4", external=[(str(secret), 0, 40)])
    assert faults(folder) == [("CNN_proj/b_proj", "must hold numbers, and in this file")]
    with h5py.File(folder / "lm_weights.hdf5", "a") as file:
        del file["CNN_proj/b_proj"]
        file["CNN_proj/b_proj"] = h5py.ExternalLink(str(secret), "b")
    assert faults(folder) == [("CNN_proj/b_proj", "is missing")]


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("lstm.colour", 1, "lstm.colour"),
        ("lstm.dim", None, "lstm.dim"),
        ("lstm.dim", "wide", "widths"),
        ("lstm.dim", -3, "widths"),
        ("lstm.dim", 2**40, "lstm.dim"),
        ("lstm.n_layers", 10**9, "lstm.n_layers"),
        ("lstm.n_layers", "two", "lstm.n_layers"),
        ("lstm.n_layers", 0, "widths"),
        ("lstm.cell_clip", -1.0, "cell.cell_clip"),
        ("lstm.use_skip_connections", "yes", "directions.skip"),
        ("char_cnn.filters", [[1, 2, 3]], "char_cnn.filters"),
        ("char_cnn.filters", [[1, -2]], "char_cnn.filters"),
        ("char_cnn.filters", 7, "char_cnn.filters"),
        ("char_cnn.n_highway", 10**9, "char_cnn.n_highway"),
        ("char_cnn.activation", "gelu", "tokens.activation"),
        ("char_cnn.embedding", 4, "char_cnn.embedding"),
    ],
)
def test_a_wrong_option_is_named(folder: Path, path: str, value: Any, field: str) -> None:
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    section, name = path.split(".")
    if value is None:
        del options[section][name]
    else:
        options[section][name] = value
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
    assert field in [name for name, _ in faults(folder)]


def test_options_that_ask_for_another_size_are_told_tensor_by_tensor(folder: Path) -> None:
    options = json.loads((folder / "options.json").read_text(encoding="utf-8"))
    options["lstm"]["dim"] = 15
    (folder / "options.json").write_text(json.dumps(options), encoding="utf-8")
    found = faults(folder)
    assert len(found) == 2 * 2 * 3
    assert all("LSTMCell" in name and rule.startswith("must have the shape") for name, rule in found)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("lm_weights.hdf5", b"", "cannot be read"),
        ("lm_weights.hdf5", b"not HDF5 at all", "cannot be read"),
        ("options.json", b"{", "is no JSON"),
        ("options.json", b"[]", "must be a JSON object"),
        ("lm_weights.hdf5", None, "cannot be read"),
        ("options.json", None, "cannot be read"),
    ],
)
def test_a_file_of_another_kind_is_one_error(folder: Path, file: str, content: bytes | None, words: str) -> None:
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    ((_, rule),) = faults(folder)
    assert words in rule


def test_a_cut_file_is_one_error(folder: Path) -> None:
    whole = (folder / "lm_weights.hdf5").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (folder / "lm_weights.hdf5").write_bytes(whole[: int(share * len(whole))])
        assert len(faults(folder)) == 1


def test_without_h5py_the_remedy_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = builtins.__import__

    def absent(name: str, *args: Any) -> Any:
        if name == "h5py":
            raise ImportError(name)
        return found(name, *args)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(CheckpointError, match=r"pip install stemma-lm\[hdf5\]"):
        read_elmo(folder)


# --- Spelling --------------------------------------------------------------------------------------------------------


def test_words_are_spelt_as_in_the_authors_code() -> None:
    assert spell("cat", 8) == [259, 100, 98, 117, 260, 261, 261, 261]
    assert spell("", 4) == [259, 260, 261, 261]
    assert spell("ü", 5) == [259, 0xC3 + 1, 0xBC + 1, 260, 261]
    assert [len(spell(word)) for word in ("", "a" * 48, "a" * 400)] == [50, 50, 50]
    assert spell("a" * 400)[-2:] == [98, 260]
    assert spell("\ud800!", 5) == spell("!", 5), "what UTF-8 cannot say is left out"
    assert spell("<S>") != spell_sentence([])[0], "a mark is no word"


def test_rows_end_in_words_without_characters() -> None:
    long, short = spell_batch([["a", "b"], []], 5)
    assert len(long) == len(short) == 4
    assert short[2:] == [[0] * 5] * 2
    assert spell_batch([]) == []


def test_a_model_reads_what_is_spelt() -> None:
    model = RecurrentModel(SPEC).eval()
    sentences = [["The", "tree"], ["A", "recurrent", "ancestor"]]
    batch = model(torch.tensor(spell_batch(sentences, 9)))
    alone = model(torch.tensor(spell_batch(sentences[:1], 9)))
    assert apart(batch.hidden[:1, :4], alone.hidden) < tolerances.FP32
