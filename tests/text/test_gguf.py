"""GGUF tokenizers against llama.cpp's own vectors and against transformers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stemma.errors import TokenizerError
from stemma.text import Tokenizer, from_gguf
from stemma.text.splits import SPLITS

Metadata = Callable[[Path], dict[str, Any]]
_QUICK = "gpt-2 bert-bge llama-spm"
_SLOW = "falcon mpt starcoder refact phi-3 deepseek-llm deepseek-coder"


@pytest.mark.parametrize(
    "name", [*_QUICK.split(), *(pytest.param(name, marks=pytest.mark.slow) for name in _SLOW.split())]
)
def test_every_vector_of_llama_cpp(shared: Path, metadata: Metadata, name: str) -> None:
    path = shared / f"weights/ggml-vocabs/ggml-vocab-{name}.gguf"
    tokenizer = from_gguf(metadata(path))
    inputs = path.with_name(path.name + ".inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    outputs = path.with_name(path.name + ".out").read_text().split("\n")
    expected = [[int(token) for token in line.split()] for line in outputs]
    assert len(inputs) == len(expected) == 47
    assert [tokenizer.encode(text, add_special=False) for text in inputs] == expected
    assert tokenizer.encode_batch(inputs, add_special=False) == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt-neox", "baichuan"])
def test_a_vocabulary_without_vectors_comes_back(shared: Path, metadata: Metadata, name: str) -> None:
    tokenizer = from_gguf(metadata(shared / f"weights/ggml-vocabs/ggml-vocab-{name}.gguf"))
    text = "The dog's 12 puppies."
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.slow
def test_smollm2_is_as_transformers_converts_it(smollm2: Tokenizer, smollm2_file: Path, texts: list[str]) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(smollm2_file.parent, gguf_file=smollm2_file.name)
    # transformers cuts no digits apart for this pre-tokeniser, though the model's own tokenizer.json does.
    plain = [text for text in texts if not any(character.isnumeric() for character in text)]
    assert len(plain) > 1000
    assert smollm2.encode_batch(plain) == [theirs(text)["input_ids"] for text in plain]
    assert smollm2.chat_template == theirs.chat_template
    assert (smollm2.bos, smollm2.eos, smollm2.unk, smollm2.pad) == (1, 2, 0, 2)
    assert smollm2.stops == {0, 2}
    chat = [
        {"role": "user", "content": "Hi there"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Go"},
    ]
    assert smollm2.encode_chat(chat) == list(theirs.apply_chat_template(chat, add_generation_prompt=True)["input_ids"])
    assert smollm2.text_of(smollm2.encode(" the")[0]) == " the"


@pytest.mark.slow
def test_digits_of_smollm2_stand_alone(smollm2: Tokenizer) -> None:
    assert [smollm2.text_of(i) for i in smollm2.encode("in 1999")] == ["in", " ", "1", "9", "9", "9"]


def test_llama_puts_its_start_before_a_text(llama: Tokenizer) -> None:
    assert llama.encode("Hello") == [1, 15043]
    assert llama.encode("Hello", pair="Hello") == [1, 15043, 1, 15043]
    assert llama.kind == "bpe"


def test_a_bert_file_frames_and_lowers(shared: Path, metadata: Metadata, minilm: Path) -> None:
    from transformers import AutoTokenizer

    ours = from_gguf(metadata(shared / "weights/ggml-vocabs/ggml-vocab-bert-bge.gguf"))
    theirs = AutoTokenizer.from_pretrained(minilm)
    assert ours.encode("A Café", pair="unaffable.") == theirs("A Café", "unaffable.")["input_ids"]
    assert ours.mask == 103


def _tiny(**changes: object) -> dict[str, object]:
    parts: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": ["a", "b", "ab", "<end>"],
        "tokenizer.ggml.token_type": [1, 1, 1, 3],
        "tokenizer.ggml.merges": ["a b"],
        "tokenizer.ggml.eos_token_id": 3,
    }
    return {key: value for key, value in {**parts, **changes}.items() if value is not None}


def test_the_tiny_file_is_whole() -> None:
    tokenizer = from_gguf(_tiny())
    assert tokenizer.encode("ab<end>ba") == [2, 3, 1, 0]
    assert tokenizer.decode([2, 3, 1]) == "abb"
    assert tokenizer.decode([2, 3, 1], skip_special=False) == "ab<end>b"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"tokenizer.ggml.merges": ["a b", "a x", "nonsense"]}, ["nonsense"]),
        ({"tokenizer.ggml.merges": ["a b", "a x", "b y"]}, ["merges[1]", "'ax'", "merges[2]", "'by'"]),
        ({"tokenizer.ggml.merges": None}, ["tokenizer.ggml.merges", "is missing"]),
        ({"tokenizer.ggml.tokens": ["a", "b", "ab", "a"]}, ["'a'", "stands 2 times"]),
        ({"tokenizer.ggml.tokens": ["a", "b", "ab", 7]}, ["tokens[3]", "wrong type"]),
        ({"tokenizer.ggml.tokens": "abc"}, ["must be a list"]),
        ({"tokenizer.ggml.scores": ["x"] * 4, "tokenizer.ggml.merges": [1]}, ["scores[3]", "merges[0]"]),
        ({"tokenizer.ggml.model": "t5", "tokenizer.ggml.precompiled_charsmap": [1, 2, 3]}, ["charsmap", "is cut off"]),
        ({"tokenizer.ggml.model": "t5", "tokenizer.ggml.scores": [0.0, 0.0, 0.0, float("nan")]}, ["scores[3]"]),
        ({"tokenizer.ggml.eos_token_id": 4, "tokenizer.ggml.bos_token_id": -1}, ["eos_token_id=4", "bos_token_id=-1"]),
        ({"tokenizer.ggml.token_type": [1, 1]}, ["must be as long as the tokens, 4"]),
        ({"tokenizer.ggml.pre": "made-up"}, ["'made-up'", "gpt-2", "llama-bpe"]),
        ({"tokenizer.ggml.model": "rwkv"}, ["'rwkv'", "use one of gpt2"]),
        ({"tokenizer.ggml.model": None}, ["tokenizer.ggml.model", "is missing"]),
        ({"tokenizer.ggml.add_bos_token": True}, ["bos_token_id", "is missing though add_bos_token is set"]),
    ],
)
def test_broken_metadata_is_one_error(changes: dict[str, object], expected: list[str]) -> None:
    with pytest.raises(TokenizerError) as raised:
        from_gguf(_tiny(**changes))
    for part in expected:
        assert part in str(raised.value)


@pytest.mark.parametrize("name", sorted(SPLITS))
def test_every_split_cuts_without_losing_a_character(name: str) -> None:
    from tokenizers import Regex, pre_tokenizers

    cuts = [pre_tokenizers.Split(Regex(pattern), behavior="isolated") for pattern in SPLITS[name]]
    text = "Hello, wOrld's  1234567 ½ I'LL\r\n\n  été 日本語 ა😀\t(x==y) 　。"
    pieces = [piece for piece, _ in pre_tokenizers.Sequence(cuts).pre_tokenize_str(text)]
    assert "".join(pieces) == text
    assert len(pieces) > 6


def test_t5_sentinels_get_their_names() -> None:
    tokens = ["<pad>", "</s>", "<unk>", "▁a", *(f"[PAD{i}]" for i in range(4, 132))]
    parts = {
        "tokenizer.ggml.model": "t5",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0, 0.0, 0.0, -1.0] + [-1000.0] * 128,
        "tokenizer.ggml.token_type": [3, 3, 2, 1] + [5] * 128,
        "tokenizer.ggml.eos_token_id": 1,
        "tokenizer.ggml.unknown_token_id": 2,
        "tokenizer.ggml.padding_token_id": 0,
    }
    tokenizer = from_gguf(parts)
    assert tokenizer.encode(" a <extra_id_0> a") == [3, 103, 3, 1]
