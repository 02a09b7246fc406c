"""What a network may be given: nothing that it would pass over in silence."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from stemma.errors import Fault, InputError
from stemma.nn.embeddings import KINDS, check_ids, check_length, readable
from stemma.nn.outputs import Inputs
from stemma.spec.architecture import Architecture
from stemma.spec.ends import SpanBoundaryHead
from stemma.spec.parts import BlockPositions, Decoder, Encoder, EncoderDecoder, Permutation, RelativeSinusoidal


def check_given(spec: Architecture, inputs: Inputs, *, cached: bool, keep: int = 0) -> None:
    """See to it that a pass reads all that it is given, and is given all that it needs.

    Args:
        spec: the architecture.
        inputs: what is given.
        cached: whether there is a cache.
        keep: positions that are to be remembered.

    Raises:
        InputError: naming everything that does not fit.
    """
    given = (
        [name for name, value in vars(inputs).items() if value is not None] + ["cache"] * cached + ["keep"] * bool(keep)
    )
    faults = [
        Fault(name, "given", f"is not read by {_words(spec)}", "leave it out")
        for name in given
        if name not in _readable_by(spec)
    ]
    if isinstance(spec.stacks, EncoderDecoder) and "decoder_tokens" not in given:
        remedy = "give the decoder's ids; the first is the family's start token"
        faults.append(Fault("decoder_tokens", None, "is needed by an encoder-decoder", remedy))
    if keep < 0:
        faults.append(Fault("keep", keep, "must not be negative", "use 0 to keep nothing"))
    if {"history", "documents"} <= set(given):
        faults.append(Fault("documents", "given", "cannot go with a history", "go on with one text a row"))
    if {"prefix", "documents"} <= set(given):
        faults.append(Fault("prefix", "given", "cannot go with documents", "give one text a row"))
    if inputs.understanding and "prefix" in given:
        faults.append(Fault("prefix", "given", "cannot go with understanding", "leave it out: all is seen"))
    if cached:
        remedies = {
            "mask": "make the cache with starts=, and pad on the left",
            "documents": "read one text a row",
            "prefix": "make the cache with prefix=, and read the prefix before all else",
            "places": "make the cache with prefix= and blanks=",
            "understanding": "read the text without a cache",
        }
        given = [name for name in given if name != "understanding" or inputs.understanding]
        faults += [
            Fault(name, "given", "cannot go with a cache", remedy) for name, remedy in remedies.items() if name in given
        ]
    if faults:
        raise InputError("model", faults)


def _readable_by(spec: Architecture) -> set[str]:
    """Names of inputs that an architecture reads."""
    names = {"tokens", "mask"} | {kind for kind in KINDS if getattr(spec.embedding, kind)}
    match spec.stacks:
        case Encoder():
            names |= {"documents"} | ({"spans"} if spec.head(SpanBoundaryHead) else set())
        case Decoder():
            names |= {"documents", "prefix", "cache"}
        case EncoderDecoder():
            names |= {"decoder_tokens", "decoder_mask"}
        case Permutation():
            names |= {"documents", "ranks", "history", "keep"}
    if isinstance(spec.position, BlockPositions):
        names |= {"places"}
    if isinstance(spec.position, RelativeSinusoidal) and spec.position.segments:
        names |= {"segments"}
    if spec.vision is not None:
        names |= {"images"}
    if spec.modules is not None:
        names |= {"understanding"}
    return names


def _words(spec: Architecture) -> str:
    return f"this network, which is {spec.kind}"


def check_halves(spec: Architecture, needed: type[Encoder] | type[Decoder], *, memory: bool | None = None) -> None:
    """See to it that there is an encoder to encode, a decoder to decode, and a memory for just those who look it up.

    Args:
        spec: the architecture.
        needed: the half that is asked for.
        memory: whether there is one, where a decoder is asked for.

    Raises:
        InputError: where a half is missing, or a memory is missing or not read.
    """
    stacks = spec.stacks
    if not isinstance(stacks, EncoderDecoder | needed):
        half = needed.__name__.lower()
        raise InputError("model", Fault(half, None, f"is no part of a network that is {stacks.label}", "call it whole"))
    if memory is not None and memory != isinstance(stacks, EncoderDecoder):
        rule = "has nowhere to be looked up" if memory else "is needed by an encoder-decoder"
        remedy = "leave it out" if memory else "give what encode() gives"
        raise InputError("model", Fault("memory", "given" if memory else None, rule, remedy))


def check_prefix(spec: Architecture, prefix: Tensor | None, blanks: Tensor | None) -> None:
    """See to it that a cache's prefix is read, and that only blanks that follow one are filled.

    Raises:
        InputError: naming everything that does not fit.
    """
    faults = []
    if prefix is not None and not isinstance(spec.stacks, Decoder):
        faults.append(Fault("prefix", "given", f"is not read by {_words(spec)}", "leave it out"))
    if blanks is not None and not isinstance(spec.position, BlockPositions):
        faults.append(Fault("blanks", "given", "need BlockPositions", "leave them out"))
    if blanks is not None and prefix is None:
        faults.append(
            Fault("blanks", "given", "are filled after a prefix", "give the lengths of the texts with blanks")
        )
    if faults:
        raise InputError("cache", faults)


def check_tables(spec: Architecture, inputs: Inputs) -> None:
    """See to it that ids of every kind have a row in their table.

    Raises:
        InputError: naming an id that has none.
    """
    for ids, rows, name in _tables(spec, inputs):
        if readable(ids):
            check_ids(ids, rows, name)


def _tables(spec: Architecture, inputs: Inputs) -> Iterator[tuple[Tensor, int, str]]:
    rows = {kind: getattr(spec.embedding, kind) for kind in KINDS}
    yield from ((ids, rows[kind], kind) for kind, ids in inputs.kinds.items() if rows[kind])
    if inputs.places is not None and isinstance(spec.position, BlockPositions):
        yield inputs.places[0], spec.position.max_positions, "places"
        yield inputs.places[1], spec.position.max_block, "places"


def check_reach(spec: Architecture, positions: Tensor, length: int | None) -> None:
    """See to it that positions have a row in their table.

    Args:
        spec: the architecture.
        positions: of each token in its text.
        length: of the longest text; counted from `positions` where None.

    Raises:
        InputError: where they have none.
    """
    if readable(positions):
        check_length(int(positions.max()) + 1 if length is None else length, spec)
