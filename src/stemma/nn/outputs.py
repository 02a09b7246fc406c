"""What a pass is given and what it gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxtyping import Bool, Float, Int
from torch import Tensor

from stemma.nn.embeddings import KINDS
from stemma.nn.experts import Routing
from stemma.nn.history import History


@dataclass(frozen=True)
class Inputs:
    """A batch, as `Model.forward` takes it.

    Args:
        tokens: ids; the encoder's where there are two stacks.
        mask: True where a token is real rather than padding, on whichever side; all are where not given.
        segments: number of each token's segment; the first where not given.
        languages: number of each token's language; of none where not given.
        tasks: number of each token's task; the first where not given.
        documents: number of the document that each token belongs to, where a row holds several: attention and positions
            then stay inside a document.
        prefix: how many first tokens of each row every token of a decoder sees.
        places: the rows of both tables of `BlockPositions`; one text without blanks where not given.
        ranks: when each token is predicted, in a permutation: it sees what has a lower rank, and those of -1, which
            are not predicted. Logits are those of the second stream then.
        history: of the same text's segments before this one, in a permutation, from an output; their segment is 0.
        images: pixels, one image for each run of image tokens, in the order in which they stand.
        spans: for a head of span boundaries, the positions of the tokens before and after each span.
        understanding: for task modules, whether a text is read both ways rather than continued.
        decoder_tokens: ids for the decoder, where there are two stacks.
        decoder_mask: as `mask`, for the decoder.
    """

    tokens: Int[Tensor, "B S"]
    mask: Bool[Tensor, "B S"] | None = None
    segments: Int[Tensor, "B S"] | None = None
    languages: Int[Tensor, "B S"] | None = None
    tasks: Int[Tensor, "B S"] | None = None
    documents: Int[Tensor, "B S"] | None = None
    prefix: Int[Tensor, " B"] | None = None
    places: Int[Tensor, "2 B S"] | None = None
    ranks: Int[Tensor, "B S"] | None = None
    history: History | None = None
    images: Float[Tensor, "images 3 height width"] | None = None
    spans: Int[Tensor, "B spans 2"] | None = None
    understanding: bool | None = None
    decoder_tokens: Int[Tensor, "B T"] | None = None
    decoder_mask: Bool[Tensor, "B T"] | None = None

    @property
    def kinds(self) -> Mapping[str, Tensor]:
        """The ids beside the tokens' that were given, by their kind."""
        return {kind: getattr(self, kind) for kind in KINDS if getattr(self, kind) is not None}


@dataclass(frozen=True)
class Memory:
    """An encoder's output, as a decoder looks it up.

    Args:
        hidden: last hidden states.
        mask: True where a position is a real token; None where all are.
    """

    hidden: Float[Tensor, "B T D"]
    mask: Bool[Tensor, "B T"] | None = None


@dataclass(frozen=True)
class Output:
    """What a forward pass gives.

    Args:
        hidden: last hidden states; the decoder's where there are two stacks.
        logits: scores of the vocabulary, where the architecture has a language modelling head; on request those of the
            last position alone.
        pooled: tanh of the pooled first position, where there is a pooler.
        next_sentence: two scores, where there is such a head.
        replaced: one score a token, where there is such a head.
        spans: scores of the vocabulary for each place of the spans that were given.
        classes: scores of each row's text, where there is such a head and a row is one text.
        tags: scores of each token, where there is such a head.
        answers: two scores a token, of a beginning and of an end, where there is such a head.
        memory: the encoder's output, where there are two stacks.
        asked: last states of the second stream, where there are ranks.
        history: on request, what the text's next segment reads of this one and of those before.
        hiddens: on request, the embeddings and each block's output; the encoder's before the decoder's, and a text's
            before those of a second stream; a task module's, of its own width, and what it hands up come last.
        attentions: on request, each attention's map, in the order of computation; a text's before a second stream's.
        routings: on request, how each block with experts sent its tokens.
    """

    hidden: Float[Tensor, "B S D"]
    logits: Float[Tensor, "B read V"] | None = None
    pooled: Float[Tensor, "B D"] | None = None
    next_sentence: Float[Tensor, "B 2"] | None = None
    replaced: Float[Tensor, "B S"] | None = None
    spans: Float[Tensor, "B spans places V"] | None = None
    classes: Float[Tensor, "B N"] | None = None
    tags: Float[Tensor, "B S N"] | None = None
    answers: Float[Tensor, "B S 2"] | None = None
    memory: Memory | None = None
    asked: Float[Tensor, "B asking D"] | None = None
    history: History | None = None
    hiddens: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None
    routings: tuple[Routing, ...] | None = None


@dataclass(frozen=True)
class Record:
    """Where a pass puts what was asked for; nothing is kept that was not."""

    hiddens: list[Tensor] | None = None
    attentions: list[Tensor] | None = None
    routings: list[Routing] | None = None

    def on(self, output: Output) -> Output:
        """The output with what was put here."""
        kept: dict[str, Any] = {name: tuple(value) for name, value in vars(self).items() if value is not None}
        return replace(output, **kept)
