"""A whole network built from a spec. It sees ids and masks; never text, and never a loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from stemma.nn.attention import Attention
from stemma.nn.cache import Cache, LookUp
from stemma.nn.embeddings import Additions, Embeddings
from stemma.nn.feedforward import FeedForward
from stemma.nn.heads import LanguageModelling, Product, build_heads
from stemma.nn.history import History
from stemma.nn.initialize import initialise
from stemma.nn.inputs import check_given, check_halves, check_prefix, check_tables
from stemma.nn.layout import lay_out, lay_out_next
from stemma.nn.masks import Mask
from stemma.nn.outputs import Inputs, Memory, Output, Record
from stemma.nn.stacks import Stack
from stemma.nn.task_heads import judge, text_vectors
from stemma.nn.task_modules import TaskModules
from stemma.nn.two_stream import TwoStreams
from stemma.nn.vision import VisionEncoder, check_images
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Decoder, Encoder, EncoderDecoder, Learned, Permutation

_NOTHING = Record()
# Positions whose logits are computed.
_ALL, _LAST = slice(None), slice(-1, None)


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
        with torch.device("meta"):
            self.embeddings = Embeddings(architecture)
            self.decoder_additions = Additions(architecture) if _has_own_additions(architecture) else None
            self.encoder = Stack(architecture, causal=False) if architecture.n_encoder_layers else None
            self.decoder = Stack(architecture, causal=True) if architecture.n_decoder_layers else None
            self.vision = VisionEncoder(architecture, architecture.vision) if architecture.vision else None
            self.two_streams = TwoStreams(architecture) if isinstance(architecture.stacks, Permutation) else None
            self.task_modules = TaskModules(architecture, architecture.modules) if architecture.modules else None
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
        languages: Int[Tensor, "B S"] | None = None,
        tasks: Int[Tensor, "B S"] | None = None,
        documents: Int[Tensor, "B S"] | None = None,
        prefix: Int[Tensor, " B"] | None = None,
        places: Int[Tensor, "2 B S"] | None = None,
        ranks: Int[Tensor, "B S"] | None = None,
        history: History | None = None,
        images: Float[Tensor, "images 3 height width"] | None = None,
        spans: Int[Tensor, "B spans 2"] | None = None,
        understanding: bool | None = None,
        decoder_tokens: Int[Tensor, "B T"] | None = None,
        decoder_mask: Bool[Tensor, "B T"] | None = None,
        cache: Cache | None = None,
        last_only: bool = False,
        scores: bool = True,
        keep: int = 0,
        hiddens: bool = False,
        attentions: bool = False,
        routings: bool = False,
    ) -> Output:
        """One pass over a batch; what may be in it is told in `Inputs`.

        Args:
            tokens: ids; the encoder's where there are two stacks.
            mask: see `Inputs`, as for all that follows up to `decoder_mask`.
            segments: numbers of segments.
            languages: numbers of languages.
            tasks: numbers of tasks.
            documents: numbers of documents that share a row.
            prefix: lengths that every token sees.
            places: positions in two tables.
            ranks: the order of a permutation.
            history: of the segments before.
            images: pixels.
            spans: positions around spans.
            understanding: whether a text is read both ways.
            decoder_tokens: ids for the decoder.
            decoder_mask: its real tokens.
            cache: a decoder's cache; it says by itself which slots are padding.
            last_only: logits of the last position alone.
            scores: whether heads score the vocabulary; a loss may ask `product` for what it needs instead.
            keep: the most positions of the output's history; 0 for none.
            hiddens: keep every block's output.
            attentions: keep every attention map.
            routings: keep how every router sent its tokens.

        Raises:
            InputError: naming what does not fit the architecture.
        """
        inputs = Inputs(
            tokens=tokens,
            mask=mask,
            segments=segments,
            languages=languages,
            tasks=tasks,
            documents=documents,
            prefix=prefix,
            places=places,
            ranks=ranks,
            history=history,
            images=images,
            spans=spans,
            understanding=understanding,
            decoder_tokens=decoder_tokens,
            decoder_mask=decoder_mask,
        )
        scored = None if not scores else _LAST if last_only else _ALL
        check_given(self.architecture, inputs, cached=cache is not None, keep=keep)
        check_tables(self.architecture, inputs)
        record = Record([] if hiddens else None, [] if attentions else None, [] if routings else None)
        if isinstance(self.architecture.stacks, EncoderDecoder):
            assert decoder_tokens is not None, "checked above"
            memory = self.encode(tokens, mask, record=record)
            decoded = Inputs(decoder_tokens, mask=decoder_mask)
            positions, seen = lay_out(self.architecture, decoded, causal=True)
            output = self._decode(decoded, positions, seen, None, self._look_up(memory), scored, record)
            return replace(output, memory=memory)
        if isinstance(self.architecture.stacks, Encoder):
            return self._encode_only(inputs, scores, record)
        if self.two_streams is not None:
            return self._permuted(self.two_streams, inputs, keep, scored, record)
        if cache is not None:
            return self.decode(tokens, cache=cache, images=images, last_only=last_only, record=record)
        check_images(self.architecture.vision, tokens, images)
        positions, seen = lay_out(self.architecture, inputs, causal=not inputs.understanding)
        return self._decode(inputs, positions, seen, None, None, scored, record)

    def product(self, head: str, hidden: Float[Tensor, "*any D"], *others: Tensor) -> Product:
        """The last product of a head that scores the vocabulary, for a loss that never holds all logits.

        Args:
            head: "lm", "mlm" or "span".
            hidden: the hidden states that it is asked about.
            others: what else the head reads.
        """
        asked: Any = self.heads[head]
        product: Product = asked.product(hidden, *others, self.embeddings.token.weight)
        return product

    def encode(
        self, tokens: Int[Tensor, "B S"], mask: Bool[Tensor, "B S"] | None = None, *, record: Record = _NOTHING
    ) -> Memory:
        """The encoder's half of a pass.

        Args:
            tokens: ids.
            mask: True where a token is real.
            record: for inner use.

        Raises:
            InputError: where there is no encoder.
        """
        check_halves(self.architecture, Encoder)
        return Memory(self._encode(Inputs(tokens, mask=mask), record), mask)

    def decode(
        self,
        tokens: Int[Tensor, "B S"],
        *,
        cache: Cache,
        images: Float[Tensor, "images 3 height width"] | None = None,
        last_only: bool = False,
        record: Record = _NOTHING,
    ) -> Output:
        """The decoder's half of a pass, or the whole of a decoder's, after what the cache holds.

        Args:
            tokens: the next ids of each row.
            cache: from `new_cache`; appended.
            images: pixels, with the piece that holds their tokens. One token alone is never an image's: a model may
                write it like any other.
            last_only: logits of the last position alone.
            record: for inner use.

        Raises:
            InputError: where the cache or the table of positions is full, or tokens and images do not fit.
        """
        positions, seen = lay_out_next(self.architecture, tokens, cache)
        inputs = Inputs(tokens, images=images)
        if images is not None or tokens.shape[1] > 1:
            check_images(self.architecture.vision, tokens, images)
        return self._decode(inputs, positions, seen, cache, cache.memory, _LAST if last_only else _ALL, record)

    def new_cache(
        self,
        batch: int,
        capacity: int,
        *,
        starts: Int[Tensor, " B"] | None = None,
        prefix: Int[Tensor, " B"] | None = None,
        blanks: Int[Tensor, " B"] | None = None,
        memory: Memory | None = None,
    ) -> Cache:
        """An empty cache for this model.

        Args:
            batch: rows.
            capacity: the most positions of the decoder that it will hold.
            starts: the first slot of each row that holds a real token, where rows are padded on the left.
            prefix: how many first tokens of each row every token of it sees; they are read together, before the rest.
            blanks: with `BlockPositions`, the position of the blank that is filled after each row's prefix.
            memory: the encoder's output, where there are two stacks.

        Raises:
            InputError: where there is no decoder, or something is missing or not read.
        """
        check_halves(self.architecture, Decoder, memory=memory is not None)
        check_prefix(self.architecture, prefix, blanks)
        weight = self.embeddings.token.weight
        return Cache(
            self.architecture,
            batch,
            capacity,
            dtype=weight.dtype,
            device=weight.device,
            starts=starts,
            prefix=prefix,
            blanks=blanks,
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

    def _encode(self, inputs: Inputs, record: Record) -> Tensor:
        assert self.encoder is not None, "an encoder encodes"
        positions, seen = lay_out(self.architecture, inputs, causal=False)
        x, virtual = self.embeddings(inputs.tokens, positions, inputs.kinds)
        return self.encoder(x, positions, seen, virtual=virtual, **vars(record))

    def _encode_only(self, inputs: Inputs, scores: bool, record: Record) -> Output:
        hidden, heads, table = self._encode(inputs, record), self.heads, self.embeddings.token.weight
        spoken = self.embeddings.spoken(inputs.tokens, inputs.mask)
        pooled = torch.tanh(heads["pooler"](text_vectors(hidden, spoken, "first"))) if "pooler" in heads else None
        output = Output(
            hidden=hidden,
            logits=heads["mlm"](hidden, table) if "mlm" in heads and scores else None,
            pooled=pooled,
            next_sentence=heads["nsp"](pooled) if "nsp" in heads else None,
            replaced=heads["replaced"](hidden) if "replaced" in heads else None,
            spans=heads["span"](hidden, inputs.spans, table) if inputs.spans is not None and scores else None,
            **self._judged(hidden, inputs, scores),
        )
        return record.on(output)

    def _permuted(self, streams: TwoStreams, inputs: Inputs, keep: int, scored: slice | None, record: Record) -> Output:
        assert self.encoder is not None, "a permutation's stack is no decoder"
        positions, _ = lay_out(self.architecture, inputs, causal=False)
        x, virtual = self.embeddings(inputs.tokens, positions)
        hidden, asked, history = streams(self.encoder, x, positions, inputs, virtual, keep, scored == _LAST, record)
        logits = self._logits(hidden if asked is None else asked, scored)
        judged = self._judged(hidden, inputs, scored == _ALL)
        return record.on(Output(hidden=hidden, logits=logits, asked=asked, history=history, **judged))

    def _decode(
        self,
        inputs: Inputs,
        positions: Tensor,
        seen: Mask,
        cache: Cache | None,
        memory: LookUp | None,
        scored: slice | None,
        record: Record,
    ) -> Output:
        assert self.decoder is not None, "a decoder decodes"
        x, virtual = self.embeddings.vectors(inputs.tokens)
        if self.vision is not None and inputs.images is not None:
            x = self.vision.place(x, inputs.tokens, inputs.images)
        x = (self.decoder_additions or self.embeddings).add(x, positions, inputs.kinds)
        hidden = self.decoder(x, positions, seen, cache=cache, memory=memory, virtual=virtual, **vars(record))
        if self.task_modules is not None:
            hidden = self.task_modules(hidden, positions, seen, inputs, virtual, cache, record)
        judged = self._judged(hidden, inputs, scored == _ALL and cache is None)
        return record.on(Output(hidden=hidden, logits=self._logits(hidden, scored), **judged))

    def _judged(self, hidden: Tensor, inputs: Inputs, scores: bool) -> Mapping[str, Any]:
        """What task heads say, where each row is one text."""
        if not scores or inputs.documents is not None:
            return {}
        return judge(self.heads, self.architecture, hidden, self.embeddings.spoken(inputs.tokens, inputs.mask))

    def _logits(self, hidden: Tensor, scored: slice | None) -> Tensor | None:
        if "lm" not in self.heads or scored is None:
            return None
        logits: Tensor = self.heads["lm"](hidden[:, scored], self.embeddings.token.weight)
        return logits

    def _look_up(self, memory: Memory) -> LookUp:
        assert self.decoder is not None, "a memory is looked up by a decoder"
        # One query stands for all: padding hides a position of the encoder from every one of them.
        scores = Mask(keys=memory.mask, cross=True).scores(1, memory.hidden.shape[1], memory.hidden.device)
        blocks = self.decoder.in_order()
        projected = {block: block.cross_attention.project_memory(memory.hidden) for block in dict.fromkeys(blocks)}
        return LookUp(tuple(projected[block] for block in blocks), scores)


def _has_own_additions(spec: Architecture) -> bool:
    """Whether the second of two stacks has positions, a norm or a map of its own before its first block."""
    learned = isinstance(spec.position, Learned) or spec.embedding.norm or spec.d_embedding != spec.d_model
    return isinstance(spec.stacks, EncoderDecoder) and bool(learned)
