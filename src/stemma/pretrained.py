"""What `stemma.load` gives: a model, its tokenizer, and the verbs that need both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from stemma.adaptation.verbs import Adapts
from stemma.errors import Fault, InputError
from stemma.prediction import Learnt, Tells, read_task, write_task
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Family
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer

if TYPE_CHECKING:
    import numpy as np
    import torch
    from jaxtyping import Float

    from stemma.embedding import Precision
    from stemma.generation import BeamPath, NextToken, Score, Strategy
    from stemma.nn import Model
    from stemma.nn.pooling import Projections


def load(
    source: str | Path,
    *,
    dtype: str | torch.dtype = "float32",
    device: str = "cpu",
    ignore: Collection[str] = (),
    allow_pickle: bool = False,
) -> Pretrained:
    """Load a model with what belongs to it.

    Args:
        source: a folder, a .gguf file, the name of an embedded model ("smollm2", "minilm"), or a hub id.
        dtype: of the parameters, whatever the file's.
        device: where the parameters lie.
        ignore: patterns of configuration keys and tensors that may be passed over.
        allow_pickle: read pytorch_model.bin where there is no safetensors file; weights only.

    Raises:
        SourceError: where the name leads nowhere.
        CheckpointError: naming everything that keeps the files from being read as they were meant.
    """
    from stemma.checkpoints import locate, read_folder, read_gguf
    from stemma.checkpoints.precisions import precision_of
    from stemma.text import from_gguf, read_tokenizer

    precision = precision_of(dtype)
    path = locate(source).path
    if (path / "adapted.json").is_file():
        return _adapted(source, path, precision, device)
    if (path / "network.json").is_file():
        from stemma.training.folders import begin_network

        stored = begin_network(str(path), 0, 0)
        stored.model.to(precision)
        tokenizer = read_tokenizer(path)
    elif path.is_dir():
        stored = read_folder(path, dtype=precision, ignore=ignore, allow_pickle=allow_pickle)
        tokenizer = read_tokenizer(path)
    else:
        stored = read_gguf(path, dtype=precision)
        tokenizer = from_gguf(stored.metadata)
    model = stored.model.to(device).eval()
    learnt = read_task(path) if path.is_dir() else None
    told = stored.family, stored.pooling, stored.facts, stored.projections
    return Pretrained(str(source), model, tokenizer, *told, learnt)


def _adapted(source: str | Path, path: Path, dtype: torch.dtype, device: str) -> Pretrained:
    """The base of a folder that holds what was learnt alone, with it."""
    from stemma.training.vocabularies import open_tokenizer
    from stemma.tuning.writing import read_adapted

    base, stored, learnt = read_adapted(path)
    model = stored.model.to(device, dtype)
    told = stored.family, stored.pooling, stored.facts, stored.projections
    return Pretrained(str(source), model, open_tokenizer(base), *told, learnt)


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
    """

    name: str
    model: Model
    tokenizer: Tokenizer | None
    family: Family
    pooling: Pooling | None
    facts: Mapping[str, Any]
    projections: Projections = ()
    learnt: Learnt | None = None

    @property
    def architecture(self) -> Architecture:
        """That of the model."""
        return self.model.architecture

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

        return beam_paths(self._ready(), self._reader(), text, width, steps, decoder_start=self._start)

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
    ) -> str | list[str]:
        """What follows a text, or each of several; the text itself is not repeated.

        Args:
            text: one text or several.
            strategy: how tokens are chosen; greedily where not given.
            max_new_tokens: the most tokens to add.
            stop: strings before which the text ends.
            stream: takes the pieces of one text as they become certain.
            images: files of those in the texts, in the order in which their tokens ("<image>") stand.

        Raises:
            InputError: naming every fault of the texts and options.
        """
        if isinstance(text, str):
            return self._complete([text], strategy, max_new_tokens, stop, stream, images)[0]
        if stream is not None:
            raise InputError("generate", Fault("stream", "given", "takes one text", "give one text, or no stream"))
        return self._complete(list(text), strategy, max_new_tokens, stop, None, images)

    def chat(
        self,
        messages: Sequence[Mapping[str, Any]],
        strategy: Strategy | None = None,
        max_new_tokens: int = 200,
        *,
        stop: Sequence[str] = (),
        stream: Callable[[str], None] | None = None,
        images: Sequence[str | Path] = (),
    ) -> str:
        """The assistant's answer to a conversation; arguments as in `generate`.

        Args:
            messages: each with a "role" and a "content".
        """
        prompt = self._reader().encode_chat(messages)
        return self._complete([prompt], strategy, max_new_tokens, stop, stream, images)[0]

    def embed(
        self,
        texts: Sequence[str],
        *,
        pooling: Pooling | None = None,
        prompt: str | None = None,
        dimensions: int | None = None,
        precision: Precision = "own",
    ) -> Float[np.ndarray, "N width"]:
        """One vector a text, in float32 and in the order of the texts.

        Args:
            texts: at least none.
            pooling: how tokens become one vector; the model's own where not given, else their mean.
            prompt: name of the pooling's prompt that precedes each text; its default one where None, none where "".
            dimensions: how many first numbers of a vector are kept.
            precision: "int8" computes maps in blocks with 8-bit integers, on a processor.

        Raises:
            InputError: naming every fault of the texts and options, and an encoder-decoder.
        """
        from stemma.embedding import embed

        chosen = pooling or self.pooling or Pooling("mean")
        projections = self.projections if chosen.projections else ()
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

        Args:
            folder: appears once all of it is written.
            overwrite: whether a folder that stands there is replaced.

        Raises:
            CheckpointError: where it stands already, or where their format cannot hold the model.
        """
        from stemma.checkpoints import Stored, write_folder

        stored = Stored(self.family, self.model, self.facts, self.pooling, projections=self.projections)

        def beside(partial: Path) -> None:
            if self.tokenizer is not None:
                self.tokenizer.save(partial)
            if self.learnt is not None:
                write_task(self.learnt, partial)

        write_folder(stored, folder, overwrite=overwrite, beside=beside)

    def _complete(
        self,
        prompts: Sequence[str | Sequence[int]],
        strategy: Strategy | None,
        max_new_tokens: int,
        stop: Sequence[str],
        stream: Callable[[str], None] | None,
        images: Sequence[str | Path],
    ) -> list[str]:
        from stemma.generation import ModelStepper, generate

        pixels = self._pixels(images) if images else None
        completions = generate(
            ModelStepper(self._ready(), self._start, pixels),
            self._reader(),
            prompts,
            strategy,
            max_new_tokens,
            stop=stop,
            stream=None if stream is None else lambda _, piece: stream(piece),
        )
        return [best.text for best, *_ in completions]

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
