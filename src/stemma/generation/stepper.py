"""What search needs of a model: start on prompts, take one more token a row, reorder rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from stemma.adaptation.virtual import ids_in_force
from stemma.errors import Fault, InputError
from stemma.nn import Cache, Model, PackedProducts
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead, Vision
from stemma.spec.parts import EncoderDecoder

Prompt = Sequence[int]


@runtime_checkable
class Stepper(Protocol):
    """A model while it writes: a batch of rows, each of them a beginning of a text."""

    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> Float[Tensor, "B V"]:
        """Read the prompts, one row each, and give the logits of what follows.

        Args:
            prompts: ids, of any lengths.
            max_new_tokens: the most tokens that any row will have to take.

        Raises:
            InputError: naming every fault of every prompt, before anything runs.
        """
        ...

    def step(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Take one more token a row and give the logits of what follows."""
        ...

    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Go on with these rows, in this order; a row may be repeated or left out."""
        ...

    def history(self, prompt: Prompt) -> list[int]:
        """The ids that precede the first new one in the text that is written."""
        ...


@runtime_checkable
class Alone(Protocol):
    """A stepper with threads of its own, which those of torch would keep from their work."""

    def alone(self) -> AbstractContextManager[None]:
        """While this is entered, torch computes on one thread."""
        ...


@runtime_checkable
class Chooser(Protocol):
    """A stepper that finds the likeliest tokens by itself, without handing out a whole vocabulary's logits."""

    def choose(self, tokens: Sequence[int]) -> tuple[list[int], list[float]]:
        """Take one more token a row and give the likeliest of what follows, the first of equals.

        Returns:
            Their ids and log-probabilities, which are no numbers where the logits are none.
        """
        ...


class ModelStepper:
    """Decoder-only and encoder-decoder models as a stepper.

    A decoder-only model reads prompts padded on the left; the encoder of a pair reads them padded on the right.

    Args:
        model: any model with a language-model head.
        decoder_start: the id with which the decoder of a pair begins; not used otherwise.
        images: pixels of those in the prompts, in which one image token stands for each.
        before: ids that stand before every text, such as those of virtual tokens, by the input in which they do:
            "tokens" for the prompts, "decoder_tokens" for what the decoder of a pair begins with. Where not given,
            those of the adaptations that are in force.

    Raises:
        InputError: a model that cannot write, or a pair without `decoder_start`.
    """

    def __init__(
        self,
        model: Model,
        decoder_start: int | None = None,
        images: Float[Tensor, "images 3 height width"] | None = None,
        before: Mapping[str, Prompt] | None = None,
    ) -> None:
        check_writer(model.architecture, decoder_start)
        self.model = model
        self.decoder_start = decoder_start
        self.images = images
        self.before: Mapping[str, Prompt] = ids_in_force(model) if before is None else before  # type: ignore[assignment]
        self._cache: Cache | None = None
        self._fast = PackedProducts()

    @property
    def cache(self) -> Cache:
        """What was read so far."""
        assert self._cache is not None, "start comes first"
        return self._cache

    def history(self, prompt: Prompt) -> list[int]:
        """The prompt, or what the decoder of a pair begins with."""
        paired = isinstance(self.model.architecture.stacks, EncoderDecoder)
        return [self.decoder_start] if paired and self.decoder_start is not None else list(prompt)

    @torch.inference_mode()
    def start(self, prompts: Sequence[Prompt], max_new_tokens: int) -> Float[Tensor, "B V"]:
        """Read the prompts and give the logits of what follows: see `Stepper.start`."""
        prompts = [_spread(prompt, self.model.architecture.vision) for prompt in prompts]
        first, begun = (self.before.get(side, ()) for side in ("tokens", "decoder_tokens"))
        check_prompts(self.model.architecture, prompts, max_new_tokens, first, begun)
        prompts = [[*first, *prompt] for prompt in prompts]
        device = next(self.model.parameters()).device
        longest = max(map(len, prompts))
        missing = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)
        ragged = bool(missing.any())
        self._fast = PackedProducts()
        with evaluating(self.model), self._fast:
            if isinstance(self.model.architecture.stacks, EncoderDecoder):
                rows = torch.tensor([[*prompt, *[0] * (longest - len(prompt))] for prompt in prompts], device=device)
                slots = torch.arange(longest, device=device)
                memory = self.model.encode(rows, mask=slots < longest - missing[:, None] if ragged else None)
                self._cache = self.model.new_cache(len(prompts), len(begun) + max_new_tokens, memory=memory)
                rows = torch.tensor([[*begun, self.decoder_start]] * len(prompts), device=device)
            else:
                rows = torch.tensor([[*[0] * (longest - len(prompt)), *prompt] for prompt in prompts], device=device)
                # The last new token is never read.
                capacity = longest + max_new_tokens - 1
                self._cache = self.model.new_cache(len(prompts), capacity, starts=missing if ragged else None)
            return self._decode(rows, self.images)

    @torch.inference_mode()
    def step(self, tokens: Int[Tensor, " B"]) -> Float[Tensor, "B V"]:
        """Take one more token a row and give the logits of what follows."""
        with evaluating(self.model), self._fast:
            return self._decode(tokens[:, None])

    @torch.inference_mode()
    def reorder(self, rows: Int[Tensor, " rows"]) -> None:
        """Go on with these rows of the cache."""
        self.cache.reorder(rows)

    def _decode(self, tokens: Int[Tensor, "B S"], images: Tensor | None = None) -> Float[Tensor, "B V"]:
        logits = self.model.decode(tokens, cache=self.cache, images=images, last_only=True).logits
        assert logits is not None, "the head was checked when the stepper was made"
        return logits[:, -1]


def _spread(prompt: Prompt, vision: Vision | None) -> Prompt:
    """A prompt whose image tokens stand once for each vector of their image."""
    if vision is None or vision.token not in prompt:
        return prompt
    return [one for token in prompt for one in [token] * (vision.n_vectors if token == vision.token else 1)]


def check_writer(architecture: Architecture, decoder_start: int | None) -> None:
    """See to it that an architecture can write.

    Raises:
        InputError: no language-model head, or no fit token for the decoder of a pair to begin with.
    """
    faults = []
    if architecture.head(LanguageModelHead) is None:
        names = [head.name for head in architecture.heads]
        faults.append(Fault("heads", names, "has no lm head to write with", "use a model with a LanguageModelHead"))
    if isinstance(architecture.stacks, EncoderDecoder) and not _is_token(architecture, decoder_start):
        rule = f"must be an id below vocab_size={architecture.vocab_size}, with which the decoder begins"
        faults.append(Fault("decoder_start", decoder_start, rule, "give decoder_start_token_id of the checkpoint"))
    if faults:
        raise InputError("generation", faults)


def check_prompts(
    architecture: Architecture,
    prompts: Sequence[Prompt],
    max_new_tokens: int,
    first: Prompt = (),
    begun: Prompt = (),
) -> None:
    """See to it that an architecture can read these prompts and write as much, after what stands before each.

    Raises:
        InputError: naming every fault of every prompt.
    """
    if faults := list(_prompt_faults(architecture, prompts, max_new_tokens, first, begun)):
        raise InputError("generation", faults)


def check_pair(architecture: Architecture, prompt: Prompt, target: Prompt) -> None:
    """See to it that an architecture can read this prompt and score this target.

    Raises:
        InputError: naming every fault of both.
    """
    faults = list(_prompt_faults(architecture, [prompt], max(len(target), 1)))
    faults += _token_faults(architecture, "target", target)
    if faults:
        raise InputError("generation", faults)


def _prompt_faults(
    architecture: Architecture, prompts: Sequence[Prompt], max_new_tokens: int, first: Prompt = (), begun: Prompt = ()
) -> Iterator[Fault]:
    if max_new_tokens < 1:
        yield Fault("max_new_tokens", max_new_tokens, "must be at least 1", "use 1 or more")
    paired = isinstance(architecture.stacks, EncoderDecoder)
    limit = architecture.max_tokens
    if paired and limit is not None and len(begun) + max_new_tokens > limit:
        yield Fault("max_new_tokens", max_new_tokens, f"exceeds the {limit} learned positions", f"use at most {limit}")
    for place, prompt in enumerate(prompts):
        yield from _token_faults(architecture, f"prompts[{place}]", prompt)
        # The last new token is never read, and needs no position.
        length = len(first) + len(prompt) + (0 if paired else max_new_tokens - 1)
        if limit is not None and length > limit:
            rule = f"exceeds the {limit} learned positions" + ("" if paired else f" with {max_new_tokens} new tokens")
            yield Fault(
                f"len(prompts[{place}])", len(prompt), rule, "shorten the prompt" if paired else "shorten one of them"
            )


def _token_faults(architecture: Architecture, where: str, tokens: Prompt) -> Iterator[Fault]:
    if not tokens:
        yield Fault(where, list(tokens), "holds no token", "give some text, or a token such as the tokenizer's bos")
    if alien := [token for token in tokens if not _is_token(architecture, token)]:
        rule = f"lies outside the vocabulary of {architecture.vocab_size}"
        yield Fault(where, alien, rule, "use the tokenizer of this model")


def _is_token(architecture: Architecture, token: int | None) -> bool:
    return token is not None and 0 <= token < architecture.vocab_size


@contextmanager
def evaluating(model: Model) -> Iterator[None]:
    """Without dropout; a model in training goes on training afterwards."""
    if not model.training:
        yield
        return
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
