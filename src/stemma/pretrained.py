"""What `stemma.load` gives: a model, its tokenizer, and the verbs that need both."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Union, overload

from stemma.adaptation.verbs import Adapts
from stemma.errors import Fault, InputError
from stemma.prediction import Learnt, Tells, write_task
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float

    from stemma.checkpoints import Stored
    from stemma.embedding import Precision
    from stemma.engine.weights import QuantisedWeights
    from stemma.generation import BeamPath, NextToken, Score, Stepper, Strategy
    from stemma.nn import Model
    from stemma.nn.pooling import Projections


Speculate: TypeAlias = Union["Pretrained", Literal["lookup"], None]
"""What guesses the next tokens: nothing, the text so far, or a smaller model."""


@dataclass
class Pretrained(Tells, Adapts):
    """A model, its tokenizer, and what can be done with both.

    Args:
        name: as it was asked for.
        model: the network, in evaluation mode.
        tokenizer: None where the folder held none.
        family: the nearest family of the tree.
        pooling: how a text becomes one vector, for models made to.
        facts: entries of the configuration that change no logits.
        projections: the tensors of the pooling's dense layers.
        learnt: the task that it was adapted to, if it was.
        quantised: its matrices as small integers, where it was loaded so.
    """

    name: str
    model: Model
    tokenizer: Tokenizer | None
    family: Family
    pooling: Pooling | None
    facts: Mapping[str, Any]
    projections: Projections = ()
    learnt: Learnt | None = None
    quantised: QuantisedWeights | None = None

    @property
    def architecture(self) -> Architecture:
        """That of the model."""
        return self.model.architecture

    @property
    def stored(self) -> Stored:
        """What a checkpoint of it holds."""
        from stemma.checkpoints import Stored

        return Stored(self.family, self.model, self.facts, self.pooling, projections=self.projections)

    def next(self, text: str, top: int = 5) -> list[NextToken]:
        """The likeliest next tokens with their true probabilities, the likeliest first.

        Args:
            text: what precedes.
            top: how many.
        """
        from stemma.generation import next_tokens

        return next_tokens(self.model, self._reader(), text, top, decoder_start=self._start)

    def beams(self, text: str, width: int = 5, steps: int = 5) -> list[BeamPath]:
        """The likeliest continuations that beam search finds.

        Args:
            text: what precedes.
            width: of the beam, and how many are returned.
            steps: the most tokens of each.
        """
        from stemma.generation import beam_paths

        return beam_paths(self.stepper(), self._reader(), text, width, steps)

    def score(self, text: str, target: str) -> Score:
        """The loss against a known target, for each token and in total, in nats.

        Args:
            text: what precedes, or what an encoder reads.
            target: the continuation.
        """
        from stemma.generation import score

        return score(self.model, self._reader(), text, target, decoder_start=self._start)

    @overload
    def generate(
        self,
        text: str,
        strategy: Strategy | None = None,
        max_new_tokens: int = 40,
        *,
        stop: Sequence[str] = (),
        stream: Callable[[str], None] | None = None,
        images: Sequence[str | Path] = (),
        speculate: Speculate = None,
    ) -> str: ...

    @overload
    def generate(
        self,
        text: list[str] | tuple[str, ...],
        strategy: Strategy | None = None,
        max_new_tokens: int = 40,
        *,
        stop: Sequence[str] = (),
        stream: Callable[[str], None] | None = None,
        images: Sequence[str | Path] = (),
        speculate: Speculate = None,
    ) -> list[str]: ...

    def generate(
        self,
        text: str | list[str] | tuple[str, ...],
        strategy: Strategy | None = None,
        max_new_tokens: int = 40,
        *,
        stop: Sequence[str] = (),
        stream: Callable[[str], None] | None = None,
        images: Sequence[str | Path] = (),
        speculate: Speculate = None,
    ) -> str | list[str]:
        """What follows a text, or each of several; the text itself is not repeated.

        Args:
            text: one text or several.
            strategy: how tokens are chosen; greedily where not given.
            max_new_tokens: the most tokens to add.
            stop: strings before which the text ends.
            stream: takes the pieces of one text as they become certain.
            images: files of those in the texts, in the order in which their tokens ("<image>") stand.
            speculate: guesses of a quantised model's next tokens that are read together, for the same text in less
                time: "lookup" guesses from the text itself, a smaller quantised model of the same vocabulary by itself.

        Raises:
            InputError: naming every fault of the texts and options.
        """
        if isinstance(text, str):
            return self._complete([text], strategy, max_new_tokens, stop, stream, images, speculate)[0]
        if stream is not None:
            raise InputError("generate", Fault("stream", "given", "takes one text", "give one text, or no stream"))
        return self._complete(list(text), strategy, max_new_tokens, stop, None, images, speculate)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        strategy: Strategy | None = None,
        max_new_tokens: int = 200,
        *,
        stop: Sequence[str] = (),
        stream: Callable[[str], None] | None = None,
        images: Sequence[str | Path] = (),
        speculate: Speculate = None,
    ) -> str:
        """The assistant's answer to a conversation; arguments as in `generate`.

        Args:
            messages: each with a "role" and a "content".
        """
        prompt = self._reader().encode_chat(messages)
        return self._complete([prompt], strategy, max_new_tokens, stop, stream, images, speculate)[0]

    def embed(
        self,
        texts: Sequence[str],
        *,
        pooling: Pooling | None = None,
        prompt: str | None = None,
        dimensions: int | None = None,
        precision: Precision | None = None,
    ) -> Float[np.ndarray, "N width"]:
        """One vector a text, in float32 and in the order of the texts.

        Args:
            texts: at least none.
            pooling: how tokens become one vector; the model's own where not given, else their mean.
            prompt: name of the pooling's prompt that precedes each text; its default one where None, none where "".
            dimensions: how many first numbers of a vector are kept.
            precision: "int8" computes maps in blocks with 8-bit integers, on a processor, as a quantised model does
                where nothing is given.

        Raises:
            InputError: naming every fault of the texts and options, and an encoder-decoder.
        """
        from stemma.embedding import embed

        chosen = pooling or self.pooling or Pooling("mean")
        projections = self.projections if chosen.projections else ()
        precision = precision or ("own" if self.quantised is None else "int8")
        model = self._ready() if precision == "own" else self.model
        options: dict[str, Any] = {"prompt": prompt, "dimensions": dimensions, "precision": precision}
        return embed(model, self._reader(), texts, chosen, projections, **options)

    def beside(self, run: str | Path, name: str) -> Tells:
        """What a tuning run learnt, on these weights: many may share them, each with its own task, and this model too.

        Args:
            run: its folder.
            name: under which its adaptations are switched.

        Raises:
            StemmaError: the adaptations change weights, were made for another base, or are damaged.
        """
        from stemma.tuning.beside import put_beside

        return put_beside(self, Path(run), name)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write a folder that `transformers` opens too: weights, configuration, tokenizer and stemma.json.

        A quantised model is written as such, for `stemma.load` alone.

        Args:
            folder: appears once all of it is written.
            overwrite: whether a folder that stands there is replaced.

        Raises:
            CheckpointError: where it stands already, or where their format cannot hold the model.
        """

        def beside(partial: Path) -> None:
            if self.tokenizer is not None:
                self.tokenizer.save(partial)
            if self.learnt is not None:
                write_task(self.learnt, partial)

        if self.quantised is not None and self.quantised.holds():
            from stemma.engine.saving import write_quantised

            told = self.stored, self.quantised.kind, self.quantised.matrices
            write_quantised(*told, folder, overwrite=overwrite, beside=beside)
            return
        from stemma.checkpoints import write_folder

        write_folder(self.stored, folder, overwrite=overwrite, beside=beside)

    def _complete(
        self,
        prompts: Sequence[str | Sequence[int]],
        strategy: Strategy | None,
        max_new_tokens: int,
        stop: Sequence[str],
        stream: Callable[[str], None] | None,
        images: Sequence[str | Path],
        speculate: Speculate,
    ) -> list[str]:
        from stemma.generation import generate

        pixels = self._pixels(images) if images else None
        completions = generate(
            self.stepper(pixels, speculate),
            self._reader(),
            prompts,
            strategy,
            max_new_tokens,
            stop=stop,
            stream=None if stream is None else lambda _, piece: stream(piece),
        )
        return [best.text for best, *_ in completions]

    def stepper(self, pixels: torch.Tensor | None = None, speculate: Speculate = None) -> Stepper:
        """What writes: see `stemma.generation.search`.

        Args:
            pixels: of the images in the prompts.
            speculate: as in `generate`.
        """
        from stemma.generation import ModelStepper

        reader = ModelStepper(self._ready(), self._start, pixels)
        if self.quantised is None:
            return reader
        smaller = speculate.quantised if isinstance(speculate, Pretrained) else speculate
        return self.quantised.stepper(reader, smaller)

    def _pixels(self, images: Sequence[str | Path]) -> torch.Tensor:
        import torch

        from stemma.images import read_images

        vision = self.architecture.vision
        if vision is None:
            rule = f"are not read by this network, which is {self.architecture.kind}"
            raise InputError(self.name, Fault("images", list(map(str, images)), rule, "leave them out"))
        return torch.from_numpy(read_images(images, vision.image_size)).to(self.model.embeddings.token.weight.device)

    @property
    def _start(self) -> int | None:
        """The id with which the decoder of a pair begins."""
        if self.architecture.head(LanguageModelHead) is None or self.architecture.kind != "encoder-decoder":
            return None
        start = self.facts.get("decoder_start_token_id")
        return start if start is not None else self._reader().pad

    def _reader(self) -> Tokenizer:
        if self.tokenizer is None:
            remedy = "put tokenizer.json into the folder, or work with ids through .model"
            raise InputError(self.name, Fault("tokenizer", None, "is missing", remedy))
        return self.tokenizer

    def _ready(self) -> Model:
        """The model with its weights in the processor's order, where the memory has room for a second copy."""
        from stemma.nn.memory import has_room

        if isinstance(self.architecture, Architecture) and has_room(self.model):
            self.model.pack()
        return self.model
