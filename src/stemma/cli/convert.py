"""`stemma convert`: a checkpoint in one format written in another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show, waiting
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from stemma.pretrained import Pretrained

EXAMPLES = """Examples:

$ stemma convert smollm2 smollm2-folder --dtype bfloat16

$ stemma convert smollm2-folder smollm2.gguf --to gguf --type q4_1

$ stemma convert minilm minilm-onnx --to onnx"""

Form = Literal["hf", "gguf", "onnx"]
Numbers = Literal["f32", "f16", "bf16", "q8_0", "q4_1", "q4_0"]


def register(app: typer.Typer) -> None:
    """Add the command of this file to the command line."""
    app.command("convert", epilog=EXAMPLES)(convert)


def convert(
    src: Annotated[str, typer.Argument(metavar="SRC", help="A model as --model takes it.", show_default=False)],
    dst: Annotated[Path, typer.Argument(metavar="DST", help="The folder or file to write.", show_default=False)],
    to: Annotated[Form, typer.Option("--to", help="A folder for transformers and vLLM, a file, a graph.")] = "hf",
    numbers: Annotated[
        Numbers | None, typer.Option("--type", help="How a .gguf file holds matrices; f32 where not given.")
    ] = None,
    dtype: options.Dtype = None,
    json: options.Json = False,
) -> None:
    """Read a model and write it for other programs: a Hugging Face folder, a GGUF file, an ONNX graph."""
    options.check("stemma convert", [options.fresh("DST", dst), *_mismatches(dst, to, numbers, dtype)])
    lm = open_model(src, dtype)
    with waiting(f"writing {dst}"):
        left_out = _write(lm, dst, to, numbers or "f32")
    files = sorted(path.name for path in dst.iterdir()) if dst.is_dir() else [dst.name]
    result = {"model": lm.name, "out": str(dst), "files": files}
    show(result | ({"left_out": list(left_out)} if left_out else {}), json, _lines)


def _mismatches(dst: Path, to: Form, numbers: Numbers | None, dtype: str | None) -> list[Fault]:
    faults = []
    if to == "gguf" and dst.suffix != ".gguf":
        faults.append(Fault("DST", str(dst), "must end in .gguf", f"use {dst.name}.gguf"))
    if to != "gguf" and dst.suffix == ".gguf":
        faults.append(Fault("DST", str(dst), "names a file, and a folder is written", f"use {dst.stem}, or --to gguf"))
    if to != "gguf" and numbers is not None:
        faults.append(Fault("--type", numbers, "is of GGUF files alone", "add --to gguf, or leave it out"))
    if to != "hf" and dtype is not None:
        remedy = "use --type bf16" if to == "gguf" else "leave it out"
        faults.append(Fault("--dtype", dtype, f"is not read with --to {to}", remedy))
    return faults


def _write(lm: Pretrained, dst: Path, to: Form, numbers: Numbers) -> Sequence[str]:
    """Write a model; gives the heads that the format left out."""
    if to == "hf":
        lm.save(dst)
        return ()
    if to == "onnx":
        from stemma.checkpoints.onnx import write_onnx

        return write_onnx(lm.stored, dst, beside=None if lm.tokenizer is None else lm.tokenizer.save)
    from stemma.checkpoints.gguf_write import write_gguf
    from stemma.text.gguf_entries import gguf_entries

    if lm.tokenizer is None:
        remedy = "put tokenizer.json into the folder"
        raise InputError(lm.name, Fault("tokenizer", None, "is missing, without which llama.cpp reads nothing", remedy))
    entries = {"general.name": Path(lm.name).stem} | gguf_entries(lm.tokenizer, lm.architecture.vocab_size)
    return write_gguf(lm.stored, dst, numbers.upper(), entries=entries)


def _lines(result: Mapping[str, Any]) -> Iterator[str]:
    yield f"{result['out']}: {', '.join(result['files'])}"
    if "left_out" in result:
        yield f"left out: {', '.join(result['left_out'])}"
