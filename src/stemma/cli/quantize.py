"""`stemma quantize`: a model with its weights in 4 or 8 bits, and what that costs it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, table, waiting
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.pretrained import Pretrained

EXAMPLES = """Examples:

$ stemma quantize smollm2 smollm2-int8 --to int8

$ stemma quantize runs/story/model story-int4 --text held-out.txt --json"""

# Of the text that every machine has, Python's own help, so many topics are read where no file is given.
_TOPICS = 8


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("quantize", epilog=EXAMPLES)(quantize)


def quantize(
    src: Annotated[str, typer.Argument(metavar="SRC", help="A model as --model takes it.", show_default=False)],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write.", show_default=False)],
    to: Annotated[Literal["int8", "int4"], typer.Option("--to", help="Of the maps in blocks.")] = "int4",
    head: Annotated[Literal["int8", "int4"], typer.Option("--head", help="Of the vocabulary's tables.")] = "int8",
    text: Annotated[
        Path | None, typer.Option("--text", "-f", help="A UTF-8 text to measure by; Python's help where not given.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Write a model with its weights in few bits, and measure what that changes on a text."""
    options.check("stemma quantize", [options.fresh("DST", dst)])
    exact = open_model(src, "float32")
    if exact.quantised is not None:
        raise InputError(exact.name, Fault("SRC", src, "is quantised already", "name what it was made of"))
    with waiting("quantising"):
        from stemma.loading import load

        rounded = load(src, dtype="float32", quantize=to, quantize_head=head)
    with waiting("measuring"):
        changes = _changes(exact, rounded, _sample(text))
    with waiting(f"writing {dst}"):
        rounded.save(dst)
    sizes = {
        "before": sum(part.nbytes for part in exact.model.parameters()),
        "after": sum(file.stat().st_size for file in dst.glob("*.safetensors")),
    }
    show({"model": exact.name, "out": str(dst), "to": to, "head": head, "bytes": sizes, **changes}, json, _draw)


def _sample(file: Path | None) -> list[str]:
    """The paragraphs of a text."""
    if file is None:
        from pydoc_data.topics import topics

        return [topics[name] for name in sorted(topics)][:_TOPICS]
    try:
        whole = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "stemma quantize", Fault("--text", str(file), f"cannot be read: {error}", "name another")
        ) from None
    parts = [part for part in whole.split("\n\n") if part.strip()]
    options.check("stemma quantize", [None if parts else Fault("--text", str(file), "is empty", "give some text")])
    return parts


def _changes(exact: Pretrained, rounded: Pretrained, texts: list[str]) -> dict[str, Any]:
    """How far the weights moved, and what a model that writes or embeds makes of it."""
    import torch

    own, theirs = dict(exact.model.named_parameters()), dict(rounded.model.named_parameters())
    assert rounded.quantised is not None, "it was just loaded so"
    with torch.inference_mode():
        off = sum(float((own[name] - theirs[name]).square().sum()) for name in rounded.quantised.matrices)
        all_of = sum(float(own[name].square().sum()) for name in rounded.quantised.matrices)
    told: dict[str, Any] = {"weight_error": (off / all_of) ** 0.5}
    if exact.architecture.kind == "decoder-only":
        from stemma.evaluation import perplexity_of

        told["perplexity"] = {
            name: perplexity_of(lm, "\n\n".join(texts)) for name, lm in (("before", exact), ("after", rounded))
        }
    elif exact.architecture.kind == "encoder-only":
        import numpy as np

        vectors = [lm.embed(texts, precision="own") for lm in (exact, rounded)]
        units = [one / np.linalg.norm(one, axis=1, keepdims=True) for one in vectors]
        told["cosine"] = {
            "least": float((units[0] * units[1]).sum(1).min()),
            "mean": float((units[0] * units[1]).sum(1).mean()),
        }
    return told


def _draw(result: dict[str, Any]) -> Iterator[RenderableType]:
    size = result["bytes"]
    rows = [
        ("bytes of weights", f"{size['before']:,}", f"{size['after']:,}", f"{size['after'] / size['before'] - 1:+.1%}"),
        ("weights differ by", "", "", f"{result['weight_error']:.2%}"),
    ]
    if found := result.get("perplexity"):
        change = found["after"] / found["before"] - 1
        rows.append(("perplexity", f"{found['before']:.3f}", f"{found['after']:.3f}", f"{change:+.2%}"))
    if found := result.get("cosine"):
        rows.append(("cosine of vectors, least", "", f"{found['least']:.4f}", f"{found['least'] - 1:+.2%}"))
    yield table(("", "before#", "after#", "change#"), rows)
    yield f"{result['out']}: {result['to']}, its vocabulary {result['head']}"
