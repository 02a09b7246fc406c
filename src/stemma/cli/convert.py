"""`stemma convert`: a checkpoint in one format written as a folder that `transformers` opens."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, waiting
from stemma.errors import Fault

EXAMPLES = """Examples:

$ stemma convert smollm2 smollm2-folder --dtype bfloat16

$ stemma convert model.gguf model-folder"""


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("convert", epilog=EXAMPLES)(convert)


def convert(
    src: Annotated[str, typer.Argument(metavar="SRC", help="A model as --model takes it.", show_default=False)],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The folder to write.", show_default=False)],
    dtype: options.Dtype = "float32",
    json: options.Json = False,
) -> None:
    """Read a model and write it as a folder: safetensors, its tokenizer and stemma.json."""
    faults = [options.fresh("DST", dst)]
    if dst.suffix == ".gguf":
        faults.append(Fault("DST", str(dst), "names a file, and a folder is written", f"use {dst.stem}"))
    options.check("stemma convert", faults)
    lm = open_model(src, dtype)
    with waiting(f"writing {dst}"):
        lm.save(dst)
    result = {"model": lm.name, "out": str(dst), "files": sorted(path.name for path in dst.iterdir())}
    show(result, json, lambda row: [f"{row['out']}: {', '.join(row['files'])}"])
