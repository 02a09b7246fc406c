"""`stemma.load`: a model by its name, from whatever holds it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stemma.errors import Fault, InputError
from stemma.prediction import Learnt, read_task
from stemma.pretrained import Pretrained
from stemma.text import Tokenizer

if TYPE_CHECKING:
    import torch

    from stemma.checkpoints import Stored
    from stemma.engine import PackedMatrix

Quantisation = Literal["none", "int8", "int4"]
"""How many bits a weight of a map has."""


def load(
    source: str | Path,
    *,
    dtype: str | torch.dtype | None = None,
    device: str = "cpu",
    quantize: Quantisation = "none",
    quantize_head: Literal["int8", "int4"] = "int8",
    ignore: Collection[str] = (),
    allow_pickle: bool = False,
) -> Pretrained:
    """Load a model with what belongs to it.

    Args:
        source: a folder, a .gguf file, the name of an embedded model ("smollm2", "minilm"), or a hub id.
        dtype: of the parameters, whatever the file's; where not given float32, or of a quantised model bfloat16 as far
            as the processor has products of it.
        device: where the parameters lie.
        quantize: "int8" or "int4" rounds the matrices in blocks to integers of so many bits; the native step writes
            with these. A .gguf file's blocks of as many bits are taken as they are.
        quantize_head: the same for the tables of the vocabulary.
        ignore: patterns of configuration keys and tensors that may be passed over.
        allow_pickle: read pytorch_model.bin where there is no safetensors file; weights only.

    Raises:
        SourceError: where the name leads nowhere.
        CheckpointError: naming everything that keeps the files from being read as they were meant.
        InputError: a type or quantisation that is unknown, or not for this network.
    """
    from stemma.checkpoints import locate
    from stemma.checkpoints.precisions import precision_of
    from stemma.engine.saving import QUANTISED_FILE, read_quantised
    from stemma.engine.weights import QuantisedWeights, best_precision, check_kind, quantise, round_weights
    from stemma.text import read_tokenizer

    if quantize != "none":
        check_kind(quantize)
    path = locate(source).path
    held = (path / QUANTISED_FILE).is_file()
    precision = precision_of(dtype or (best_precision() if held or quantize != "none" else "float32"))
    kind: Quantisation = quantize
    matrices: Mapping[str, PackedMatrix] = {}
    if held:
        stored, kind, matrices = read_quantised(path, precision)
        tokenizer, learnt = read_tokenizer(path), read_task(path)
        if quantize not in ("none", kind):
            rule = f"is not how it was saved, which is {kind}"
            raise InputError(str(source), Fault("quantize", quantize, rule, "leave it out"))
    else:
        # What becomes integers is not rounded before.
        exact = precision if kind == "none" else precision_of("float32")
        stored, tokenizer, learnt = _read(path, exact, ignore, allow_pickle)
        if kind != "none":
            matrices = quantise(stored, kind, path, quantize_head)
            round_weights(stored.model.to(precision), matrices)
    stored.model.to(device, precision).eval()
    kept = None if kind == "none" else QuantisedWeights(stored.model, kind, matrices)
    return Pretrained(
        str(source),
        stored.model,
        tokenizer,
        stored.family,
        stored.pooling,
        stored.facts,
        stored.projections,
        learnt,
        kept,
    )


def _read(
    path: Path, dtype: torch.dtype, ignore: Collection[str], allow_pickle: bool
) -> tuple[Stored, Tokenizer | None, Learnt | None]:
    """The model that a folder or file holds, its tokenizer, and what it has learnt."""
    from stemma.checkpoints import read_folder, read_gguf
    from stemma.text import from_gguf, read_tokenizer

    if (path / "adapted.json").is_file():
        from stemma.training.vocabularies import open_tokenizer
        from stemma.tuning.writing import read_adapted

        base, stored, learnt = read_adapted(path)
        return stored, open_tokenizer(base), learnt
    if path.is_file():
        stored = read_gguf(path, dtype=dtype)
        return stored, from_gguf(stored.metadata), None
    if (path / "network.json").is_file():
        from stemma.training.folders import begin_network

        stored = begin_network(str(path), 0, 0)
    else:
        stored = read_folder(path, dtype=dtype, ignore=ignore, allow_pickle=allow_pickle)
    return stored, read_tokenizer(path), read_task(path)
