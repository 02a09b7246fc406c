"""Models to ONNX: one pass over whole texts, with any number of rows and tokens."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.export import Dim

from stemma.checkpoints.atomic import new_folder
from stemma.checkpoints.plain import additions
from stemma.checkpoints.stored import Stored
from stemma.errors import CheckpointError, Fault
from stemma.nn import Model
from stemma.nn.cache import LookUp
from stemma.nn.layout import lay_out
from stemma.nn.masks import Mask, Relative, Scores
from stemma.nn.outputs import Inputs
from stemma.nn.stacks import Stack
from stemma.spec.architecture import Architecture
from stemma.spec.parts import Decoder, Encoder, EncoderDecoder

FILE = "model.onnx"
"""The graph's name in its folder."""

# What a graph's file can hold; larger weights lie in a file beside it.
_MOST_BYTES = 1 << 30
_REMEDY = "write it with --to hf, which holds every network"


def write_onnx(
    stored: Stored, folder: str | Path, *, overwrite: bool = False, beside: Callable[[Path], None] | None = None
) -> tuple[str, ...]:
    """Write a folder with a graph that maps ids to logits, or where there are none to the last hidden states.

    Its inputs bear the names that others use: `input_ids`, `attention_mask`, of an encoder with segments
    `token_type_ids`, of two stacks `decoder_input_ids`; all are int64. The output is `logits` or `last_hidden_state`.

    Args:
        stored: a model in float32: an encoder, a decoder or both.
        folder: appears once all of it is written.
        overwrite: replace it where it stands.
        beside: writes further files, such as a tokenizer's, into the folder that it is given.

    Returns:
        heads that the graph leaves out.

    Raises:
        CheckpointError: the network, or its precision, cannot be told; or the packages of the extra are missing.
    """
    spec = stored.architecture
    _check(stored)
    graph = _Pair(stored.model) if isinstance(spec.stacks, EncoderDecoder) else _Single(stored.model)
    # Sizes that differ from each other and from 0 and 1, which a trace takes for constants.
    ids, other = torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 5, dtype=torch.long)
    batch, length = Dim("batch"), Dim("length")
    given = {"input_ids": (ids, length), "attention_mask": (torch.ones_like(ids), length)}
    if isinstance(spec.stacks, EncoderDecoder):
        given["decoder_input_ids"] = (other, Dim("decoder_length"))
    elif spec.embedding.segments:
        given["token_type_ids"] = (torch.zeros_like(ids), length)
    shapes = tuple({0: batch, 1: along} for _, along in given.values())
    with new_folder(Path(folder), overwrite=overwrite) as partial:
        with torch.no_grad(), _told(stored):
            traced = torch.export.export(graph.eval(), tuple(x for x, _ in given.values()), dynamic_shapes=shapes)
            program = torch.onnx.export(
                traced,
                input_names=list(given),
                output_names=[graph.output],
                dynamic_shapes=shapes,
                dynamo=True,
                verbose=False,
            )
        assert program is not None, "the exporter gives a program where it is given no file"
        for node in program.model.graph.all_nodes():
            node.metadata_props.clear()  # the exporter's own stack, with paths of this machine
        large = sum(parameter.nbytes for parameter in stored.model.parameters()) >= _MOST_BYTES
        program.save(str(partial / FILE), external_data=large)
        if beside is not None:
            beside(partial)
    return tuple(head.name for head in spec.heads if head.name != "lm")


def _check(stored: Stored) -> None:
    """See to it that a model can be exported, before anything is written.

    Raises:
        CheckpointError: naming all that keeps it from it.
    """
    spec = stored.architecture
    faults = []
    if stored.family.shape is not Architecture:
        faults.append(Fault("family", stored.family.name, "is recurrent, which is not exported", _REMEDY))
    else:
        if not isinstance(spec.stacks, Encoder | Decoder | EncoderDecoder):
            faults.append(Fault("stacks", spec.stacks.label, "is not exported", _REMEDY))
        faults += [
            Fault(part, "present", "is not exported", _REMEDY)
            for part in ("vision", "modules", "experts")
            if getattr(spec, part) is not None
        ]
        if (dtype := stored.model.embeddings.token.weight.dtype) != torch.float32:
            faults.append(Fault("dtype", str(dtype).removeprefix("torch."), "must be float32", "use --dtype float32"))
        faults += additions(stored)
    for package in ("onnx", "onnxscript"):
        try:
            import_module(package)
        except ImportError:
            remedy = "install it: pip install 'stemma-lm[onnx]'"
            faults.append(Fault(package, None, "is needed to write ONNX", remedy))
    if faults:
        raise CheckpointError("onnx", faults)


@contextmanager
def _told(stored: Stored) -> Iterator[None]:
    """The exporter's failures as ours, without its warnings of what it calls itself."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (RuntimeError, torch._dynamo.exc.UserError) as error:
        rule = f"cannot be exported: {str(error).splitlines()[0]}"
        raise CheckpointError("onnx", Fault("family", stored.family.name, rule, _REMEDY)) from error
    finally:
        logger.setLevel(level)


class _Dense(Mask):
    """A mask that is always made whole, for texts whose length is not known yet."""

    def scores(
        self,
        n_queries: int,
        n_keys: int,
        device: torch.device,
        relative: Relative | None = None,
        window: int | None = None,
    ) -> Scores:
        """What is added to the scores of every query and key."""
        seen = self.dense(n_queries, n_keys, device, window)
        return Scores(seen if relative is None else relative(n_queries, n_keys).masked_fill(~seen, -torch.inf))


class _Graph(nn.Module):
    """A pass whose inputs and output are tensors alone.

    Args:
        model: the network.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.scores = "lm" in model.heads
        self.output = "logits" if self.scores else "last_hidden_state"

    def through(
        self, stack: Stack, tokens: Tensor, mask: Tensor, causal: bool, memory: LookUp | None, segments: Tensor | None
    ) -> Tensor:
        """What a stack makes of ids."""
        model = self.model
        positions, seen = lay_out(model.architecture, Inputs(tokens, mask=mask), causal)
        x, virtual = model.embeddings.vectors(tokens)
        additions = model.decoder_additions if causal and model.decoder_additions is not None else model.embeddings
        x = additions.add(x, positions, {} if segments is None else {"segments": segments})
        hidden: Tensor = stack(x, positions, _Dense(**vars(seen)), memory=memory, virtual=virtual)
        return hidden

    def told(self, hidden: Tensor) -> Tensor:
        """The output of a graph."""
        if not self.scores:
            return hidden
        logits: Tensor = self.model.heads["lm"](hidden, self.model.embeddings.token.weight)
        return logits


class _Single(_Graph):
    """An encoder, or a decoder."""

    def forward(self, tokens: Tensor, mask: Tensor, segments: Tensor | None = None) -> Tensor:
        """Logits or hidden states of every token."""
        stack = self.model.encoder if self.model.decoder is None else self.model.decoder
        assert stack is not None, "a network has a stack"
        causal = stack is self.model.decoder
        return self.told(self.through(stack, tokens, mask != 0, causal, None, segments))


class _Pair(_Graph):
    """An encoder and a decoder that looks up what it made."""

    def forward(self, tokens: Tensor, mask: Tensor, decoder_tokens: Tensor) -> Tensor:
        """Logits of every token of the decoder."""
        encoder, decoder, real = self.model.encoder, self.model.decoder, mask != 0
        assert encoder is not None, "one half encodes"
        assert decoder is not None, "the other decodes"
        memory = self.through(encoder, tokens, real, False, None, None)
        layers = tuple(block.cross_attention.project_memory(memory) for block in decoder.in_order())
        found = LookUp(layers, Scores(real[:, None, None]))
        written = torch.ones_like(decoder_tokens, dtype=torch.bool)
        return self.told(self.through(decoder, decoder_tokens, written, True, found, None))
