"""`stemma embed` and `stemma similarity`: texts as vectors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table, write
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

# Texts between two steps of the progress bar, in batches: enough for the model to sort them by length.
BATCHES_A_STEP = 32

EMBED_EXAMPLES = """Examples:

$ stemma embed texts.txt --model minilm --out vectors.npy"""

SIMILARITY_EXAMPLES = """Examples:

$ stemma similarity "A cat sits on the mat." "A kitten rests on a rug." """


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("embed", epilog=EMBED_EXAMPLES)(embed)
    app.command("similarity", epilog=SIMILARITY_EXAMPLES)(similarity)


def embed(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A UTF-8 file, one text a line.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy file to write, float32, one row a line.")],
    model: options.Model = "minilm",
    batch_size: Annotated[int, typer.Option("--batch-size", help="Texts that run at once.")] = 32,
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Embed each line of a file and write the vectors."""
    options.check("stemma embed", [options.at_least("--batch-size", batch_size, 1), options.fresh("--out", out)])
    texts = _read_lines(file)
    lm = open_model(model, dtype)

    import numpy as np

    step = batch_size * BATCHES_A_STEP
    chunks = [texts[start : start + step] for start in range(0, len(texts), step)]
    vectors = np.concatenate([lm.embed(chunk, batch_size=batch_size) for chunk in _progress(chunks)])
    write("stemma embed", "--out", out, lambda stream: np.save(stream, vectors))
    result = {"model": lm.name, "out": str(out), "texts": vectors.shape[0], "dimensions": vectors.shape[1]}
    show(result, json, lambda row: [f"{row['out']}: {row['texts']} texts, {row['dimensions']} dimensions"])


def similarity(
    a: Annotated[str, typer.Argument(metavar="A", help="One text.", show_default=False)],
    b: Annotated[str, typer.Argument(metavar="B", help="Another text.", show_default=False)],
    model: options.Model = "minilm",
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Compare two texts by the cosine of their embeddings."""
    options.check("stemma similarity", [options.readable("A", a), options.readable("B", b)])
    lm = open_model(model, dtype)

    import numpy as np

    first, second = lm.embed([a, b]).astype(np.float64)
    cosine = float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second)))
    show({"model": lm.name, "a": a, "b": b, "similarity": cosine}, json, _draw_similarity)


def _draw_similarity(result: dict[str, Any]) -> Iterator[RenderableType]:
    yield table(("a", "b", "similarity#"), [(result["a"], result["b"], f"{result['similarity']:.4f}")])


def _read_lines(file: Path) -> list[str]:
    try:
        texts = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
        fault = Fault("FILE", str(file), f"cannot be read: {reason}", "name another file")
        raise InputError("stemma embed", fault) from error
    blank = [number for number, text in enumerate(texts, start=1) if not text.strip()]
    if not texts:
        raise InputError("stemma embed", Fault("FILE", str(file), "is empty", "write one text a line"))
    if blank:
        raise InputError("stemma embed", Fault("line", blank, "holds no text", f"fill or delete it in {file}"))
    return texts


def _progress(chunks: list[list[str]]) -> Iterable[list[str]]:
    """The chunks, with a bar on a terminal where there is more than one."""
    if len(chunks) == 1 or not sys.stderr.isatty():
        return chunks
    from rich.console import Console
    from rich.progress import track

    return track(chunks, "embedding", console=Console(stderr=True), transient=True)
