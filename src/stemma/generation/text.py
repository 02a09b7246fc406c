"""Generation from text to text, and what a model thinks of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp

import torch

from stemma.errors import Fault, InputError
from stemma.generation.beams import best
from stemma.generation.hypothesis import Hypothesis, Processor
from stemma.generation.search import search
from stemma.generation.stepper import ModelStepper, Prompt, Stepper, check_pair, evaluating
from stemma.generation.stops import StopFilter
from stemma.generation.strategies import Beam, Greedy, Sample, Strategy
from stemma.nn import Model
from stemma.spec.parts import EncoderDecoder
from stemma.text import Tokenizer

Stream = Callable[[int, str], None]
"""Called with a prompt's index and the next piece of its text, in whole characters."""

_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True)
class Completion:
    """One way in which a prompt goes on, as text.

    Args:
        text: without special tokens, cut before a stop string.
        hypothesis: the tokens, to the end of the stop string where there is one.
    """

    text: str
    hypothesis: Hypothesis


@dataclass(frozen=True)
class ScoredToken:
    """A token and its log-probability in nats, given all that precedes it."""

    id: int
    text: str
    logprob: float


@dataclass(frozen=True)
class NextToken(ScoredToken):
    """A token that may come next.

    Args:
        probability: the exponential of its log-probability.
    """

    probability: float


@dataclass(frozen=True)
class BeamPath:
    """A likely continuation.

    Args:
        text: of all its tokens.
        logprob: the sum over its tokens, in nats.
        tokens: what it consists of.
    """

    text: str
    logprob: float
    tokens: tuple[ScoredToken, ...]


@dataclass(frozen=True)
class Score:
    """What a model thinks of a known continuation.

    Args:
        loss: the negative log-probability of the whole, in nats.
        tokens: what it consists of.
    """

    loss: float
    tokens: tuple[ScoredToken, ...]


def generate(
    model: Model | Stepper,
    tokenizer: Tokenizer,
    prompts: Sequence[str | Prompt],
    strategy: Strategy | None = None,
    max_new_tokens: int = 40,
    *,
    stop: Sequence[str] = (),
    stream: Stream | None = None,
    processor: Processor | None = None,
    decoder_start: int | None = None,
) -> list[list[Completion]]:
    """Continue texts, or answer them where the model has an encoder; each gets what it would get alone.

    Args:
        model: the model, or a stepper over one.
        tokenizer: its tokenizer, whose `stops` end a text.
        prompts: texts, or the ids of texts.
        strategy: how to choose; greedily where not given.
        max_new_tokens: the most tokens to add.
        stop: strings before which a text ends, wherever tokens begin and end.
        stream: takes the text as it becomes certain; beams are certain at the end only, and the best one is given then.
        processor: bends the logits before the strategy sees them.
        decoder_start: the id with which the decoder begins, where there is an encoder.

    Returns:
        For each prompt its completions, the best first; more than one only where the strategy's `n_best` asks for them.

    Raises:
        InputError: naming every fault of the prompts or of the options.
    """
    strategy = strategy or Greedy()
    _check_stop(stop)
    stepper = _stepper(model, decoder_start)
    rows = [_prompt(stepper, tokenizer, prompt) for prompt in prompts]

    def writer(prompt: int) -> _Writer:
        return _Writer(tokenizer, stepper.history(rows[prompt]), stop)

    steady = isinstance(strategy, Greedy | Sample)
    writers = [writer(prompt) for prompt in range(len(rows))]

    def watch(prompt: int, tokens: Sequence[int]) -> bool:
        if not steady:
            # Beams part and are dropped: each is read anew.
            reader = writer(prompt)
            reader.read(tokens)
            return reader.stopped
        piece = writers[prompt].push(tokens[-1])
        if not writers[prompt].stopped and (tokens[-1] in tokenizer.stops or len(tokens) == max_new_tokens):
            piece += writers[prompt].flush()
        if piece and stream is not None:
            stream(prompt, piece)
        return writers[prompt].stopped

    found = search(
        stepper,
        rows,
        strategy,
        max_new_tokens=max_new_tokens,
        stops=tokenizer.stops,
        watch=watch if stop or (steady and stream is not None) else None,
        processor=processor,
    )
    completions = [
        [Completion(writer(prompt).read(hypothesis.tokens), hypothesis) for hypothesis in hypotheses]
        for prompt, hypotheses in enumerate(found)
    ]
    if stream is not None and not steady:
        for prompt, (first, *_) in enumerate(completions):
            if first.text:
                stream(prompt, first.text)
    return completions


def next_tokens(
    model: Model | Stepper, tokenizer: Tokenizer, text: str | Prompt, top: int = 5, *, decoder_start: int | None = None
) -> list[NextToken]:
    """The likeliest next tokens with their true probabilities, the likeliest first; arguments as in `generate`.

    Args:
        top: how many.
    """
    if top < 1:
        raise InputError("generation", Fault("top", top, "must be at least 1", "use 1 or more"))
    stepper = _stepper(model, decoder_start)
    logits = stepper.start([_prompt(stepper, tokenizer, text)], 1)
    found = best(logits.double().log_softmax(-1), top)
    return [NextToken(token, _text_of(tokenizer, token), logprob, exp(logprob)) for logprob, _, token in found]


def beam_paths(
    model: Model | Stepper,
    tokenizer: Tokenizer,
    text: str | Prompt,
    width: int = 5,
    steps: int = 5,
    *,
    decoder_start: int | None = None,
) -> list[BeamPath]:
    """The likeliest continuations that beam search finds, by their log-probability; arguments as in `generate`.

    Args:
        width: of the beam, and how many paths are returned.
        steps: the most tokens that a path may have.
    """
    stepper = _stepper(model, decoder_start)
    prompt = _prompt(stepper, tokenizer, text)
    strategy = Beam(width=width, length_penalty=0.0, n_best=width)
    (found,) = search(stepper, [prompt], strategy, max_new_tokens=steps, stops=tokenizer.stops)
    return [
        BeamPath(
            _Writer(tokenizer, stepper.history(prompt), ()).read(path.tokens),
            path.logprob,
            _scored(tokenizer, path.tokens, path.logprobs),
        )
        for path in found
    ]


def score(
    model: Model, tokenizer: Tokenizer, text: str | Prompt, target: str | Prompt, *, decoder_start: int | None = None
) -> Score:
    """The loss of a known continuation, or of a known answer where the model has an encoder.

    The target's tokens are those by which text and target together differ from the text alone, so that words are cut as
    the model has seen them; where the two do not part between tokens, the target is cut by itself.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        text: what precedes, or what the encoder reads.
        target: what is scored; nothing is added to it, no end of text either.
        decoder_start: the id with which the decoder begins, where there is an encoder.
    """
    stepper = ModelStepper(model, decoder_start)
    paired = isinstance(model.architecture.stacks, EncoderDecoder)
    prompt = _prompt(stepper, tokenizer, text)
    wanted = _target(tokenizer, "" if paired else text, target)
    check_pair(model.architecture, prompt, wanted)
    device = next(model.parameters()).device
    read = torch.tensor([prompt if paired else [*prompt, *wanted[:-1]]], device=device)
    written = torch.tensor([[decoder_start, *wanted[:-1]]], device=device) if paired else None
    with torch.inference_mode(), evaluating(model):
        logits = model(read, decoder_tokens=written).logits
        assert logits is not None, "the head was checked above"
        logprobs = logits[0, -len(wanted) :].double().log_softmax(-1)
        gained = logprobs.gather(-1, torch.tensor(wanted, device=device)[:, None]).flatten().tolist()
    return Score(-sum(gained), _scored(tokenizer, wanted, gained))


class _Writer:
    """Turns the new tokens of one hypothesis into text."""

    def __init__(self, tokenizer: Tokenizer, history: Sequence[int], stop: Sequence[str]) -> None:
        self._tokenizer = tokenizer
        self._ends = tokenizer.stops
        self._decoder = tokenizer.stream()
        # What precedes decides whether the first new token begins with a space.
        for token in history:
            self._text(token)
        self._filter = StopFilter(stop)

    @property
    def stopped(self) -> bool:
        return self._filter.stopped

    def push(self, token: int) -> str:
        return "" if token in self._ends else self._filter.push(self._text(token))

    def flush(self) -> str:
        return self._filter.push(self._decoder.flush()) + self._filter.flush()

    def read(self, tokens: Sequence[int]) -> str:
        return "".join(map(self.push, tokens)) + self.flush()

    def _text(self, token: int) -> str:
        return self._decoder.push(token) if _is_known(self._tokenizer, token) else _UNKNOWN


def _is_known(tokenizer: Tokenizer, token: int) -> bool:
    """Whether a token can be read: many a model has more rows than its vocabulary, to fill a matrix."""
    return tokenizer.backend.id_to_token(token) is not None


def _stepper(model: Model | Stepper, decoder_start: int | None) -> Stepper:
    return ModelStepper(model, decoder_start) if isinstance(model, Model) else model


def _prompt(stepper: Stepper, tokenizer: Tokenizer, text: str | Prompt) -> list[int]:
    """The ids of a prompt; where they are continued, without the end that some tokenizers add."""
    if not isinstance(text, str):
        return list(text)
    ids = tokenizer.encode(text)
    return _open(tokenizer, text, ids) if stepper.history(ids) == ids else ids


def _open(tokenizer: Tokenizer, text: str, ids: list[int]) -> list[int]:
    bare = tokenizer.encode(text, add_special=False)
    places = range(len(ids) - len(bare) + 1)
    return next((ids[: n + len(bare)] for n in places if ids[n : n + len(bare)] == bare), ids)


def _target(tokenizer: Tokenizer, text: str | Prompt, target: str | Prompt) -> list[int]:
    """The ids by which a text and its target together differ from the text; the target's own where they do not part."""
    if not isinstance(target, str):
        return list(target)
    if isinstance(text, str):
        before, whole = (tokenizer.encode(part, add_special=False) for part in (text, text + target))
        if whole[: len(before)] == before:
            return whole[len(before) :]
    return tokenizer.encode(target, add_special=False)


def _scored(tokenizer: Tokenizer, tokens: Sequence[int], logprobs: Sequence[float]) -> tuple[ScoredToken, ...]:
    return tuple(
        ScoredToken(token, _text_of(tokenizer, token), logprob) for token, logprob in zip(tokens, logprobs, strict=True)
    )


def _text_of(tokenizer: Tokenizer, token: int) -> str:
    return tokenizer.text_of(token) if _is_known(tokenizer, token) else _UNKNOWN


def _check_stop(stop: Sequence[str]) -> None:
    if isinstance(stop, str):
        raise InputError("generation", Fault("stop", stop, "must be a sequence of strings", f"write ({stop!r},)"))
    faults = [Fault(f"stop[{n}]", text, "is empty", "leave it out") for n, text in enumerate(stop) if not text]
    if faults:
        raise InputError("generation", faults)
