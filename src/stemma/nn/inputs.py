"""What a network may be given: nothing that it would pass over in silence."""

from __future__ import annotations

from collections.abc import Mapping

from stemma.errors import Fault, InputError
from stemma.spec.parts import Decoder, Encoder, EncoderDecoder, Stacks

_UNREAD: Mapping[type, frozenset[str]] = {
    Encoder: frozenset({"decoder_tokens", "decoder_mask", "cache"}),
    Decoder: frozenset({"decoder_tokens", "decoder_mask", "segments"}),
    EncoderDecoder: frozenset({"documents", "segments", "cache"}),
}


def check_given(stacks: Stacks, **given: object) -> None:
    """See to it that a pass reads all that it is given, and is given all that it needs.

    Args:
        stacks: those of the architecture.
        given: what stands beside the tokens; None where it was left out.

    Raises:
        InputError: naming everything that does not fit.
    """
    names = [name for name, value in given.items() if value is not None]
    faults = [
        Fault(name, "given", f"is not read by a network that is {stacks.label}", "leave it out")
        for name in names
        if name in _UNREAD[type(stacks)]
    ]
    if isinstance(stacks, EncoderDecoder) and "decoder_tokens" not in names:
        remedy = "give the decoder's ids; the first is the family's start token"
        faults.append(Fault("decoder_tokens", None, "is needed by an encoder-decoder", remedy))
    if isinstance(stacks, Decoder) and "cache" in names:
        remedies = {"mask": "make the cache with starts=, and pad on the left", "documents": "read one text a row"}
        faults += [
            Fault(name, "given", "cannot go with a cache", remedy) for name, remedy in remedies.items() if name in names
        ]
    if faults:
        raise InputError("model", faults)


def check_halves(stacks: Stacks, needed: type[Encoder] | type[Decoder], *, memory: bool | None = None) -> None:
    """See to it that there is an encoder to encode, a decoder to decode, and a memory for just those who look it up.

    Args:
        stacks: those of the architecture.
        needed: the half that is asked for.
        memory: whether there is one, where a decoder is asked for.

    Raises:
        InputError: where a half is missing, or a memory is missing or not read.
    """
    if not isinstance(stacks, EncoderDecoder | needed):
        half = needed.__name__.lower()
        raise InputError("model", Fault(half, None, f"is no part of a network that is {stacks.label}", "call it whole"))
    if memory is not None and memory != isinstance(stacks, EncoderDecoder):
        rule = "has nowhere to be looked up" if memory else "is needed by an encoder-decoder"
        remedy = "leave it out" if memory else "give what encode() gives"
        raise InputError("model", Fault("memory", "given" if memory else None, rule, remedy))
