"""A whole network built from a spec. It sees ids and masks; never text, and never a loss."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stemma.nn.attention import Attention
from stemma.nn.blocks import Block
from stemma.nn.cache import Cache, LookUp
from stemma.nn.embeddings import Embeddings, check_ids, check_length
from stemma.nn.feedforward import FeedForward
from stemma.nn.heads import LanguageModelling, build_heads
from stemma.nn.initialize import initialise
from stemma.nn.inputs import check_given, check_halves
from stemma.nn.masks import Mask
from stemma.nn.positions import position_ids
from stemma.nn.stacks import Stack
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Decoder, Encoder, EncoderDecoder, SlidingWindow


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
        memory: the encoder's output, where there are two stacks.
        hiddens: on request, the embeddings and each block's output; the encoder's before the decoder's.
        attentions: on request, each attention's map, in the order of computation.
    """

    hidden: Float[Tensor, "B S D"]
    logits: Float[Tensor, "B read V"] | None = None
    pooled: Float[Tensor, "B D"] | None = None
    next_sentence: Float[Tensor, "B 2"] | None = None
    memory: Memory | None = None
    hiddens: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Record:
    """Where a pass puts what was asked for; nothing is kept that was not."""

    hiddens: list[Tensor] | None = None
    attentions: list[Tensor] | None = None


class Model(nn.Module):
    """The network that an architecture describes.

    Args:
        architecture: what to build.
        seed: of the first parameters; None leaves them uninitialised, for a checkpoint to fill.
        dtype: of the parameters.
        device: of the parameters; on "meta" none are allocated.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        seed: int | None = 0,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__()
        self.architecture = architecture
        pattern = architecture.attention
        self.window = pattern.window if isinstance(pattern, SlidingWindow) else None
        with torch.device("meta"):
            self.embeddings = Embeddings(architecture)
            self.encoder = Stack(architecture, causal=False) if architecture.n_encoder_layers else None
            self.decoder = Stack(architecture, causal=True) if architecture.n_decoder_layers else None
            self.heads = build_heads(architecture)
        self.to(dtype)
        if torch.device(device).type != "meta":
            self.to_empty(device=device)
            if seed is not None:
                initialise(self, architecture, torch.Generator(device).manual_seed(seed))

    def forward(
        self,
        tokens: Int[Tensor, "B S"],
        *,
        mask: Bool[Tensor, "B S"] | None = None,
        segments: Int[Tensor, "B S"] | None = None,
        documents: Int[Tensor, "B S"] | None = None,
        decoder_tokens: Int[Tensor, "B T"] | None = None,
        decoder_mask: Bool[Tensor, "B T"] | None = None,
        cache: Cache | None = None,
        last_only: bool = False,
        hiddens: bool = False,
        attentions: bool = False,
    ) -> Output:
        """One pass over a batch.

        Args:
            tokens: ids; the encoder's where there are two stacks.
            mask: True where a token is real rather than padding, on whichever side; all are where not given.
            segments: number of each token's segment, for architectures with segment vectors.
            documents: number of the document that each token belongs to, where a row holds several: attention and
                positions then stay inside a document.
            decoder_tokens: ids for the decoder, where there are two stacks.
            decoder_mask: as `mask`, for the decoder.
            cache: a decoder's cache; it says by itself which slots are padding.
            last_only: logits of the last position alone.
            hiddens: keep every block's output.
            attentions: keep every attention map.

        Raises:
            InputError: naming what does not fit the architecture.
        """
        check_given(
            self.architecture.stacks,
            mask=mask,
            segments=segments,
            documents=documents,
            decoder_tokens=decoder_tokens,
            decoder_mask=decoder_mask,
            cache=cache,
        )
        record = Record([] if hiddens else None, [] if attentions else None)
        if isinstance(self.architecture.stacks, EncoderDecoder):
            assert decoder_tokens is not None, "checked above"
            memory = self.encode(tokens, mask, record=record)
            positions, seen = self._layout(decoder_tokens, decoder_mask, None, causal=True)
            output = self._decode(decoder_tokens, positions, seen, None, self._look_up(memory), last_only, record)
            return replace(output, memory=memory)
        if isinstance(self.architecture.stacks, Encoder):
            positions, seen = self._layout(tokens, mask, documents, causal=False)
            return self._encode_only(tokens, positions, seen, segments, record)
        if cache is not None:
            return self.decode(tokens, cache=cache, last_only=last_only, record=record)
        positions, seen = self._layout(tokens, mask, documents, causal=True)
        return self._decode(tokens, positions, seen, None, None, last_only, record)

    def encode(
        self, tokens: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None, *, record: Record = Record()
    ) -> Memory:
        """The encoder's half of a pass.

        Args:
            tokens: ids.
            mask: True where a token is real.
            record: for inner use.

        Raises:
            InputError: where there is no encoder.
        """
        check_halves(self.architecture.stacks, Encoder)
        assert self.encoder is not None, "checked above"
        positions, seen = self._layout(tokens, mask, None, causal=False)
        x = self.embeddings(tokens, positions)
        hidden = self.encoder(x, positions, seen, hiddens=record.hiddens, attentions=record.attentions)
        return Memory(hidden, mask)

    def decode(
        self, tokens: Int[Tensor, "B S"], *, cache: Cache, last_only: bool = False, record: Record = Record()
    ) -> Output:
        """The decoder's half of a pass, or the whole of a decoder's, after what the cache holds.

        Args:
            tokens: the next ids of each row.
            cache: from `new_cache`; appended.
            last_only: logits of the last position alone.
            record: for inner use.

        Raises:
            InputError: where the cache or the table of positions is full.
        """
        n_queries = tokens.shape[1]
        cache.room_for(n_queries)
        self._check_tokens(tokens, cache.length + n_queries - cache.first_start)
        positions = position_ids(n_queries, cache.length, tokens.device, cache.starts)
        seen = cache.mask(self.window, n_queries)
        return self._decode(tokens, positions, seen, cache, cache.memory, last_only, record)

    def new_cache(
        self, batch: int, capacity: int, *, starts: Int[Tensor, " B"] | None = None, memory: Memory | None = None
    ) -> Cache:
        """An empty cache for this model.

        Args:
            batch: rows.
            capacity: the most positions of the decoder that it will hold.
            starts: the first slot of each row that holds a real token, where rows are padded on the left.
            memory: the encoder's output, where there are two stacks.

        Raises:
            InputError: where there is no decoder, or a memory is missing or not read.
        """
        check_halves(self.architecture.stacks, Decoder, memory=memory is not None)
        weight = self.embeddings.token.weight
        return Cache(
            self.architecture,
            batch,
            capacity,
            dtype=weight.dtype,
            device=weight.device,
            starts=starts,
            memory=None if memory is None else self._look_up(memory),
        )

    def pack(self) -> Model:
        """Make a copy of the weights in the processor's own order, which makes inference up to twice as fast.

        The copy is used inside `PackedProducts`, as the verbs do, where no gradient is asked for; it is forgotten as
        soon as a weight changes. It takes as much memory again as the weights. Only what is written through `.data`
        goes unseen: use `torch.no_grad()` instead.
        """
        for module in self.modules():
            if isinstance(module, Attention | FeedForward):
                module.inputs.pack()
                module.ending.pack()
            elif isinstance(module, LanguageModelling):
                module.pack(self.embeddings.token.weight)
        return self

    def _encode_only(
        self, tokens: Tensor, positions: Tensor, seen: Mask, segments: Tensor | None, record: Record
    ) -> Output:
        assert self.encoder is not None, "an encoder-only model has one"
        if segments is not None and self.architecture.embedding.segments and _readable(segments):
            check_ids(segments, self.architecture.embedding.segments, "segments")
        x = self.embeddings(tokens, positions, segments)
        hidden = self.encoder(x, positions, seen, hiddens=record.hiddens, attentions=record.attentions)
        pooled = torch.tanh(self.heads["pooler"](_first(hidden, seen.keys))) if "pooler" in self.heads else None
        return Output(
            hidden=hidden,
            logits=self.heads["mlm"](hidden, self.embeddings.token.weight) if "mlm" in self.heads else None,
            pooled=pooled,
            next_sentence=self.heads["nsp"](pooled) if "nsp" in self.heads else None,
            hiddens=_kept(record.hiddens),
            attentions=_kept(record.attentions),
        )

    def _decode(
        self,
        tokens: Tensor,
        positions: Tensor,
        seen: Mask,
        cache: Cache | None,
        memory: LookUp | None,
        last_only: bool,
        record: Record,
    ) -> Output:
        assert self.decoder is not None, "a decoder decodes"
        hidden = self.decoder(
            self.embeddings(tokens, positions),
            positions,
            seen,
            cache=cache,
            memory=memory,
            hiddens=record.hiddens,
            attentions=record.attentions,
        )
        read = hidden[:, -1:] if last_only else hidden
        logits = self.heads["lm"](read, self.embeddings.token.weight) if "lm" in self.heads else None
        return Output(hidden=hidden, logits=logits, hiddens=_kept(record.hiddens), attentions=_kept(record.attentions))

    def _look_up(self, memory: Memory) -> LookUp:
        assert self.decoder is not None, "a memory is looked up by a decoder"
        crossings = [block.cross_attention for block in self.decoder.blocks if isinstance(block, Block)]
        seen = Mask(keys=memory.mask, cross=True)
        # One query stands for all: padding hides a position of the encoder from every one of them.
        scores = seen.scores(1, memory.hidden.shape[1], memory.hidden.device)
        return LookUp(tuple(crossing.project_memory(memory.hidden) for crossing in crossings), scores)

    def _layout(
        self, tokens: Tensor, mask: Tensor | None, documents: Tensor | None, causal: bool
    ) -> tuple[Tensor, Mask]:
        """Positions of the tokens in their texts, and what each may see."""
        n_queries = tokens.shape[1]
        slots = position_ids(n_queries, 0, tokens.device)
        positions = slots if mask is None else (mask.long().cumsum(-1) - 1).clamp(min=0)
        if documents is not None:
            begins = torch.ones_like(documents, dtype=torch.bool)
            begins[:, 1:] = documents[:, 1:] != documents[:, :-1]
            positions = slots - torch.where(begins, slots, 0).cummax(-1).values
        alone = mask is None and documents is None
        self._check_tokens(tokens, n_queries if alone else None, positions)
        return positions, Mask(causal=causal, window=self.window, keys=mask, documents=documents)

    def _check_tokens(self, tokens: Tensor, length: int | None, positions: Tensor | None = None) -> None:
        if not _readable(tokens):
            return
        check_ids(tokens, self.architecture.vocab_size)
        if length is None and positions is not None:
            length = int(positions.max()) + 1
        if length is not None:
            check_length(length, self.architecture)


def _readable(ids: Tensor) -> bool:
    """Whether ids have values that can be looked at here."""
    return not torch.compiler.is_compiling() and ids.device.type != "meta" and ids.numel() > 0


def _first(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The vector of each row's first real token."""
    if mask is None:
        return hidden[:, 0]
    return hidden[torch.arange(hidden.shape[0], device=hidden.device), mask.int().argmax(-1)]


def _kept(tensors: list[Tensor] | None) -> tuple[Tensor, ...] | None:
    return None if tensors is None else tuple(tensors)
