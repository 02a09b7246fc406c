"""`stemma embed` and `stemma similarity`: texts as vectors."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table, write
from stemma.cli.vectors import CHUNK, Embedder, Precision, Texts, save_rows
from stemma.errors import Fault

if TYPE_CHECKING:
    import numpy as np
    from rich.console import RenderableType

EMBED_EXAMPLES = """Examples:

$ stemma embed texts.txt --model minilm --out vectors.npy

$ stemma embed corpus.jsonl.gz --field title --precision int8 --out vectors.npy"""

SIMILARITY_EXAMPLES = """Examples:

$ stemma similarity "A cat sits on the mat." "A kitten rests on a rug." """


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("embed", epilog=EMBED_EXAMPLES)(embed)
    app.command("similarity", epilog=SIMILARITY_EXAMPLES)(similarity)


def embed(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="One text a line, or a record: .txt .jsonl .csv (.gz).", show_default=False
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npy file to write, float32, one row a text.")],
    model: options.Model = "minilm",
    field: Annotated[str, typer.Option("--field", help="The field of a record that holds the text.")] = "text",
    precision: Annotated[
        Precision | None, typer.Option("--precision", help="Of the products; float32 where not given, int8 is fastest.")
    ] = None,
    quantize: options.Quantize = "none",
    dimensions: Annotated[int | None, typer.Option("--dimensions", help="Keep so many first numbers.")] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="Name of the model's prompt before each text.")] = None,
    ray: Annotated[str | None, typer.Option("--ray", help="Address of a Ray cluster; local starts one.")] = None,
    json: options.Json = False,
) -> None:
    """Embed each text of a file of any size and write the vectors."""
    checks = [options.at_least("--dimensions", dimensions, 1), options.fresh("--out", out)]
    options.check("stemma embed", checks)
    texts, embedder = (
        Texts(file, field),
        Embedder(model, precision, {"dimensions": dimensions, "prompt": prompt}, quantize),
    )
    count = texts.count()
    vectors: Iterable[np.ndarray]
    if ray is None:
        vectors = map(embedder.on(open_model(model, embedder.dtype, quantize)), texts.chunks())
    else:
        from stemma.cli.spreading import spread

        vectors = spread(texts, embedder, ray)
    widths = []

    def save(stream: BinaryIO) -> None:
        widths.append(save_rows(stream, count, _progress(vectors, count)))

    write("stemma embed", "--out", out, save)
    result = {"model": model, "out": str(out), "texts": count, "dimensions": widths[0]}
    show(result, json, lambda row: [f"{row['out']}: {row['texts']} texts, {row['dimensions']} dimensions"])


def similarity(
    texts: Annotated[list[str], typer.Argument(metavar="A B...", help="Two texts or more.", show_default=False)],
    model: options.Model = "minilm",
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    json: options.Json = False,
) -> None:
    """Compare texts by the cosine of their embeddings: two, or each with each."""
    few = Fault("B", None, "is missing", "give two texts or more") if len(texts) < 2 else None
    names = ("A", "B") if len(texts) == 2 else tuple(f"TEXT {place + 1}" for place in range(len(texts)))
    options.check("stemma similarity", [few, *map(options.readable, names, texts)])
    lm = open_model(model, dtype, quantize)

    import numpy as np

    vectors = lm.embed(texts).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = (vectors @ vectors.T).tolist()
    if len(texts) == 2:
        result = {"model": lm.name, "a": texts[0], "b": texts[1], "similarity": cosines[0][1]}
        show(result, json, _draw_similarity)
    else:
        show({"model": lm.name, "texts": texts, "similarities": cosines}, json, _draw_similarities)


def _draw_similarity(result: dict[str, Any]) -> Iterator[RenderableType]:
    yield table(("a", "b", "similarity#"), [(result["a"], result["b"], f"{result['similarity']:.4f}")])


def _draw_similarities(result: dict[str, Any]) -> Iterator[RenderableType]:
    columns = ("text", *(f"{place + 1}#" for place in range(len(result["texts"]))))
    rows = zip(result["texts"], result["similarities"], strict=True)
    yield table(columns, [(text, *(f"{cosine:.4f}" for cosine in cosines)) for text, cosines in rows])


def _progress(vectors: Iterable[Any], count: int) -> Iterable[Any]:
    """The parts, with a bar on a terminal where there is more than one."""
    if count <= CHUNK or not sys.stderr.isatty():
        return vectors
    from rich.console import Console
    from rich.progress import track

    total = -(-count // CHUNK)
    return track(vectors, "embedding", total=total, console=Console(stderr=True), transient=True)
