"""`stemma generate` and `stemma chat`: text from a model, streamed as it comes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stemma.cli import options
from stemma.cli.output import open_model, show
from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from stemma.generation import Beam, Greedy, Sample
    from stemma.pretrained import Pretrained
    from stemma.pretrained import Speculate as Speculation

GENERATE_EXAMPLES = """Examples:

$ stemma generate "The transformer" --max-new-tokens 40

$ stemma generate "Once upon a time" --temperature 0.8 --top-p 0.95 --seed 7

$ stemma generate "One" "Two" --beams 4 --json

$ stemma generate "Again and again and" --quantize int4 --speculate lookup"""

CHAT_EXAMPLES = """Examples:

$ stemma chat "What is a stemma?"

$ stemma chat --system "Answer in one sentence."   (then one message a line)"""


Speculate = Annotated[
    str | None,
    typer.Option("--speculate", metavar="lookup|MODEL", help="Guess tokens from the text or by a smaller model."),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this file to the command line."""
    app.command("generate", epilog=GENERATE_EXAMPLES)(generate)
    app.command("chat", epilog=CHAT_EXAMPLES)(chat)


def generate(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="The texts to continue.", show_default=False)],
    model: options.Model = "smollm2",
    max_new_tokens: options.NewTokens = 40,
    stop: Annotated[list[str] | None, typer.Option("--stop", help="End before this text; may be repeated.")] = None,
    beams: Annotated[int | None, typer.Option("--beams", help="Search with this many beams.")] = None,
    length_penalty: Annotated[float | None, typer.Option("--length-penalty", help="Beams; above 1 for longer.")] = None,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.Penalty = None,
    seed: options.Seed = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    speculate: Speculate = None,
    json: options.Json = False,
) -> None:
    """Continue texts: greedily, by beam search (--beams) or by sampling (any of its options)."""
    sampling = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
    }
    options.check(
        "stemma generate",
        [
            *(options.readable("TEXT", text) for text in texts),
            *(options.readable("--stop", text) for text in stop or () if text == ""),
            options.at_least("--max-new-tokens", max_new_tokens, 1),
            options.at_least("--beams", beams, 1),
        ],
    )
    strategy = _strategy("stemma generate", sampling, beams, length_penalty)
    lm = open_model(model, dtype, quantize)
    guesser = _guesser(speculate, lm)
    ends = tuple(stop or ())
    if len(texts) == 1 and not json:
        typer.echo(texts[0], nl=False)
        lm.generate(texts[0], strategy, max_new_tokens, stop=ends, stream=_write, speculate=guesser)
        typer.echo()
        return
    added = lm.generate(texts, strategy, max_new_tokens, stop=ends, speculate=guesser)
    completions = [{"prompt": text, "text": more} for text, more in zip(texts, added, strict=True)]
    show({"model": lm.name, "completions": completions}, json, _draw_completions)


def chat(
    message: Annotated[
        str | None, typer.Argument(metavar="MESSAGE", help="One message; without it, one a line of the input.")
    ] = None,
    model: options.Model = "smollm2",
    system: Annotated[str | None, typer.Option("--system", help="What the model is told before all else.")] = None,
    max_new_tokens: options.NewTokens = 200,
    temperature: options.Temperature = None,
    top_k: options.TopK = None,
    top_p: options.TopP = None,
    min_p: options.MinP = None,
    repetition_penalty: options.Penalty = None,
    seed: options.Seed = None,
    dtype: options.Dtype = None,
    quantize: options.Quantize = "none",
    speculate: Speculate = None,
    json: options.Json = False,
) -> None:
    """Talk with a model that has a chat template."""
    sampling = {
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "seed": seed,
    }
    options.check(
        "stemma chat",
        [
            options.readable("MESSAGE", message),
            options.readable("--system", system),
            options.at_least("--max-new-tokens", max_new_tokens, 1),
        ],
    )
    strategy = _strategy("stemma chat", sampling)
    lm = open_model(model, dtype, quantize)
    guesser = _guesser(speculate, lm)
    messages = [] if system is None else [{"role": "system", "content": system}]
    for said in _asked() if message is None else [message]:
        messages.append({"role": "user", "content": said})
        reply = lm.chat(messages, strategy, max_new_tokens, stream=None if json else _write, speculate=guesser)
        messages.append({"role": "assistant", "content": reply})
        if not json:
            typer.echo()
    if json:
        show({"model": lm.name, "messages": messages}, json, lambda _: ())


def _strategy(
    command: str,
    sampling: dict[str, float | int | None],
    beams: int | None = None,
    length_penalty: float | None = None,
) -> Greedy | Sample | Beam:
    """The decoding strategy that the given options name; options of two strategies at once are an error."""
    given: dict[str, Any] = {name: value for name, value in sampling.items() if value is not None}
    faults = []
    if beams is not None:
        for name, value in given.items():
            option = f"--{name.replace('_', '-')}"
            faults.append(Fault(option, value, "samples, which --beams does not", "leave one of them out"))
    elif length_penalty is not None:
        faults.append(Fault("--length-penalty", length_penalty, "needs --beams", "add --beams 4"))
    options.check(command, faults)

    from stemma.generation import Beam, Greedy, Sample

    if beams is None:
        return Sample(**given) if given else Greedy()
    return Beam(width=beams) if length_penalty is None else Beam(width=beams, length_penalty=length_penalty)


def _guesser(speculate: str | None, lm: Pretrained) -> Speculation:
    """What guesses the next tokens of a quantised model."""
    if speculate is None:
        return None
    if lm.quantised is None:
        remedy = "add --quantize int8, or leave it out"
        raise InputError("stemma generate", Fault("--speculate", speculate, "needs a quantised model", remedy))
    if speculate == "lookup":
        return "lookup"
    return open_model(speculate, quantize=lm.quantised.kind)


def _asked() -> Iterator[str]:
    """The messages of the standard input, one a line; blank lines are passed over."""
    while True:
        if sys.stdin.isatty():
            typer.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.rstrip("\n")


def _write(piece: str) -> None:
    typer.echo(piece, nl=False)


def _draw_completions(result: dict[str, Any]) -> Iterable[RenderableType]:
    from rich.text import Text

    for completion in result["completions"]:
        yield Text(completion["prompt"], style="bold").append(completion["text"], style="not bold")
