"""Folders of tokenizer files: read as transformers reads them, and written for it to open."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import TokenizerError
from stemma.text import Roles, Tokenizer, read_tokenizer, train
from stemma.text.charsmap import charsmap_faults

_KINDS = ("bytebpe", "bpe", "wordpiece", "unigram")
_TEXT = ["the cat sat on the mat, naïve 日本 😀 it's 12", "a dog isn't a cat. The end  of it"] * 3


def _auto(folder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder)


def _read(folder: Path) -> Tokenizer:
    tokenizer = read_tokenizer(folder)
    assert tokenizer is not None
    return tokenizer


def _copy(source: Path, target: Path, *names: str) -> Path:
    for name in names:
        (target / name).write_bytes((source / name).read_bytes())
    return target


@pytest.mark.parametrize("kind", _KINDS)
def test_a_saved_folder_opens_here_and_in_transformers(kind: Any, tmp_path: Path) -> None:
    trained = train(_TEXT, kind=kind, vocab_size=400)
    template = "{{ messages[0].content }}"
    saved = Tokenizer(trained.backend, trained.roles, chat_template=template, stops=[3])
    saved.save(tmp_path / "new/folder")
    again, theirs = _read(tmp_path / "new/folder"), _auto(tmp_path / "new/folder")
    samples = [*_TEXT, " a  b ", "é\n😀", "unknown ж"]
    ids = saved.encode_batch(samples)
    assert again.encode_batch(samples) == ids
    assert theirs(samples)["input_ids"] == ids
    assert [theirs.decode(row, skip_special_tokens=True) for row in ids] == [saved.decode(row) for row in ids]
    assert (again.roles, again.stops, again.special, again.chat_template) == (
        saved.roles, saved.stops, saved.special, template,
    )  # fmt: skip
    assert theirs.chat_template == template
    assert (theirs.eos_token_id, theirs.pad_token_id, theirs.mask_token_id) == (saved.eos, saved.pad, saved.mask)
    assert len(theirs) == saved.vocab_size
    pair = theirs("cat", "mat")
    assert pair["input_ids"] == saved.encode("cat", pair="mat")
    assert ("token_type_ids" in pair) == (kind == "wordpiece")
    assert sorted(path.name for path in (tmp_path / "new/folder").iterdir()) == [
        "chat_template.jinja", "tokenizer.json", "tokenizer_config.json",
    ]  # fmt: skip


@pytest.mark.slow
def test_smollm2_saved_opens_in_transformers(smollm2: Tokenizer, tmp_path: Path, texts: list[str]) -> None:
    smollm2.save(tmp_path)
    theirs = _auto(tmp_path)
    assert theirs(texts)["input_ids"] == smollm2.encode_batch(texts)
    chat = [{"role": "user", "content": "Hi"}]
    assert theirs.apply_chat_template(chat, add_generation_prompt=True)["input_ids"] == smollm2.encode_chat(chat)


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TokenizerError, match="cannot be written"):
        train(_TEXT, vocab_size=300).save(tmp_path / "file")


def test_minilm_is_as_transformers_reads_it(minilm: Path, texts: list[str]) -> None:
    ours, theirs = _read(minilm), _auto(minilm)
    expected = theirs(texts, truncation=False, padding=False)["input_ids"]
    assert ours.encode_batch(texts) == expected
    assert [ours.decode(ids) for ids in expected[:200]] == theirs.batch_decode(expected[:200], skip_special_tokens=True)
    assert (ours.kind, ours.cls, ours.sep, ours.pad, ours.mask, ours.unk) == ("wordpiece", 101, 102, 0, 103, 100)
    # Its file asks for truncation at 128; only the caller may.
    assert len(ours.encode("word " * 300)) == 302


def test_vocab_txt_alone_is_enough(minilm: Path, tmp_path: Path, texts: list[str]) -> None:
    ours = _read(_copy(minilm, tmp_path, "vocab.txt"))
    whole = _read(minilm)
    assert ours.encode_batch(texts[:300]) == whole.encode_batch(texts[:300])
    assert ours.encode("A [MASK] Café", pair="b") == whole.encode("A [MASK] Café", pair="b")
    assert ours.roles == whole.roles


def test_a_cased_vocab_txt_keeps_capitals(tmp_path: Path) -> None:
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "The", "the", "##re"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n")
    assert _read(tmp_path).encode("There the", add_special=False) == [5, 7, 6]
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": true}')
    assert _read(tmp_path).encode("There the", add_special=False) == [6, 7, 6]


@pytest.fixture(scope="module")
def gpt2_folder(
    gpt2_file: Path, metadata: Callable[[Path], dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The two files that GPT-2 was published with."""
    parts = metadata(gpt2_file)
    folder = tmp_path_factory.mktemp("gpt2")
    vocab = {token: i for i, token in enumerate(parts["tokenizer.ggml.tokens"])}
    (folder / "vocab.json").write_text(json.dumps(vocab), encoding="utf-8")
    lines = ["#version: 0.2", *parts["tokenizer.ggml.merges"], ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def test_vocab_json_and_merges_are_gpt2(gpt2_folder: Path, gpt2: Tokenizer, texts: list[str]) -> None:
    ours = _read(gpt2_folder)
    assert ours.encode_batch(texts) == gpt2.encode_batch(texts)
    assert ours.roles == Roles(bos=50_256, eos=50_256, unk=50_256)
    assert ours.encode("a<|endoftext|>") == [64, 50_256]


def test_a_missing_merge_part_is_named(gpt2_folder: Path, tmp_path: Path) -> None:
    _copy(gpt2_folder, tmp_path, "vocab.json", "merges.txt")
    with (tmp_path / "merges.txt").open("a", encoding="utf-8") as file:
        file.write("Ġzq Ġzk\n")
    with pytest.raises(TokenizerError) as raised:
        read_tokenizer(tmp_path)
    assert [fault.rule.split(",")[0] for fault in raised.value.faults] == [
        "needs 'Ġzq'", "needs 'Ġzk'", "needs 'ĠzqĠzk'",
    ]  # fmt: skip


def test_the_first_gpt_is_as_transformers_reads_it(shared: Path, tmp_path: Path, texts: list[str]) -> None:
    from transformers import OpenAIGPTTokenizer

    source = shared / "weights/openai-gpt-tokenizer"
    (tmp_path / "vocab.json").write_bytes((source / "encoder_bpe_40000.json").read_bytes())
    (tmp_path / "merges.txt").write_bytes((source / "vocab_40000.bpe").read_bytes())
    ours = _read(tmp_path)
    theirs = OpenAIGPTTokenizer.from_pretrained(tmp_path)
    sample = [text for text in texts if text.isascii()][:400]
    ids = ours.encode_batch(sample)
    assert ids == theirs(sample)["input_ids"]
    assert [ours.decode(row) for row in ids] == [ours.backend.decode(row) for row in ids]
    assert ours.decode(ours.encode("Hello there, world")) == "hello there , world"
    assert (ours.kind, ours.unk) == ("bpe", 0)


def test_roberta_and_qwen_have_their_own_rules(tmp_path: Path) -> None:
    trained = train(_TEXT, vocab_size=300, special={"bos": "<s>", "pad": "<pad>", "eos": "</s>", "mask": "<mask>"})
    state = json.loads(trained.backend.to_str())["model"]
    (tmp_path / "vocab.json").write_text(json.dumps(state["vocab"]))
    (tmp_path / "merges.txt").write_text("\n".join(" ".join(merge) for merge in state["merges"]))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "RobertaTokenizer"}')
    roberta = _read(tmp_path)
    one, two = roberta.encode("cat", add_special=False), roberta.encode("mat", add_special=False)
    assert roberta.encode("cat", pair="mat") == [0, *one, 2, 2, *two, 2]
    assert roberta.encode("cat <mask>", add_special=False) == [*one, 3]
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "Qwen2Tokenizer", "eos_token": "</s>"}')
    qwen = _read(tmp_path)
    assert qwen.encode("e\u0301") == qwen.encode("é")
    assert (qwen.eos, qwen.bos) == (2, None)
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "MarianTokenizer"}')
    with pytest.raises(TokenizerError, match="MarianTokenizer"):
        read_tokenizer(tmp_path)


def test_a_folder_without_tokenizer_files_has_none(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert read_tokenizer(tmp_path) is None


def _saved(folder: Path) -> dict[str, Any]:
    train(_TEXT, kind="bpe", vocab_size=400).save(folder)
    return dict(json.loads((folder / "tokenizer.json").read_text(encoding="utf-8")))


def _write(folder: Path, content: object, name: str = "tokenizer.json") -> None:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")


def test_generation_and_model_files_name_the_ends(tmp_path: Path) -> None:
    _saved(tmp_path)
    _write(tmp_path, {"eos_token_id": [2, 7]}, "generation_config.json")
    assert _read(tmp_path).stops == {2, 7}
    (tmp_path / "tokenizer_config.json").unlink()
    _write(tmp_path, {"eos_token_id": 1, "bos_token_id": 0}, "config.json")
    plain = _read(tmp_path)
    assert (plain.bos, plain.eos, plain.unk) == (0, 1, 0)


def test_the_configuration_may_add_tokens_and_frames(tmp_path: Path) -> None:
    _saved(tmp_path)
    size = len(_read(tmp_path))
    _write(
        tmp_path,
        {
            "bos_token": "<s>", "eos_token": {"content": "</s>"}, "add_bos_token": False, "add_eos_token": True,
            "chat_template": [{"name": "tool", "template": "t"}, {"name": "default", "template": "d"}],
            "added_tokens_decoder": {str(size): {"content": "<tool>", "special": True}},
        },
        "tokenizer_config.json",
    )  # fmt: skip
    tokenizer = _read(tmp_path)
    assert tokenizer.encode("<tool>") == [size, 2]
    assert tokenizer.vocab_size == size + 1
    assert tokenizer.chat_template == "d"


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("tokenizer.json", "{", "is no JSON"),
        ("tokenizer.json", "[]", "holds no JSON object"),
        ("tokenizer.json", {"model": None}, "is no vocabulary"),
        ("tokenizer.json", lambda file: file["model"]["merges"].append(["q", "zz"]), "needs 'qzz'"),
        ("tokenizer.json", lambda file: file["model"]["merges"].append(["q"]), "is no pair of tokens"),
        ("tokenizer.json", lambda file: file["model"]["vocab"].update(new=5), "all have the id 5"),
        ("tokenizer.json", lambda file: file["model"].update(type="Sorcery"), "tokenizer.json"),
        ("tokenizer_config.json", "nonsense", "is no JSON"),
        ("tokenizer_config.json", {"added_tokens_decoder": ["<s>"]}, "added_tokens_decoder"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"x": {"content": "<s>"}}}, "usual shape"),
        ("tokenizer_config.json", {"chat_template": 5, "bos_token": 6}, "bos_token=6"),
        ("tokenizer_config.json", {"stop_tokens": "</s>"}, "stop_tokens"),
        ("tokenizer_config.json", {"added_tokens_decoder": {"5": {"content": "<s>"}}}, "has the id 1, not 5"),
        ("generation_config.json", {"eos_token_id": 4000}, "stops=4000"),
    ],
)
def test_a_broken_file_is_one_error(tmp_path: Path, name: str, change: Any, expected: str) -> None:
    content = _saved(tmp_path)
    if callable(change):
        change(content)
    _write(tmp_path, content if callable(change) else change, name)
    with pytest.raises(TokenizerError) as raised:
        read_tokenizer(tmp_path)
    assert expected in str(raised.value)


def test_vocab_json_holds_numbers(tmp_path: Path) -> None:
    _write(tmp_path, {"a": 0, "b": "1", "ab": -1}, "vocab.json")
    _write(tmp_path, "a b", "merges.txt")
    with pytest.raises(TokenizerError) as raised:
        read_tokenizer(tmp_path)
    assert [fault.value for fault in raised.value.faults] == ["1", -1]


def test_a_lying_normalisation_is_refused(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes((shared / "weights/t5-tokenizer/spiece.model").read_bytes())
    _read(tmp_path).save(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    step = content["normalizer"]["normalizers"][0]
    data = base64.b64decode(step["precompiled_charsmap"])
    assert charsmap_faults(data) == []
    for head in (b"\xff\xff\xff\x7f", b"\x00\x00\x00\x00", b"\x07\x00\x00\x00", b"\x00\x05\x00\x00"):
        assert charsmap_faults(head + data[4:])
    assert charsmap_faults(data[:-1] + b"x")
    units = bytearray(data)
    units[4:8] = b"\x00\xfe\xff\x7f"
    step["precompiled_charsmap"] = base64.b64encode(units).decode()
    _write(tmp_path, content)
    with pytest.raises(TokenizerError, match="leads out of itself"):
        read_tokenizer(tmp_path)


def test_two_broken_files_are_named_together(tmp_path: Path) -> None:
    _saved(tmp_path)
    _write(tmp_path, "{", "config.json")
    _write(tmp_path, "{", "generation_config.json")
    with pytest.raises(TokenizerError) as raised:
        read_tokenizer(tmp_path)
    assert [fault.value for fault in raised.value.faults] == ["config.json", "generation_config.json"]
