"""The options beside ELMo's weights, both ways."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from stemma.errors import CheckpointError, Fault, SpecError
from stemma.families.recurrent import ELMO
from stemma.spec.recurrent import Recurrent
from stemma.spec.recurrent_parts import Apart, Characters, ProjectedLSTM, RecurrentHead

_NEEDED = object()
_OPTIONS: Mapping[str, object] = {
    "lstm.dim": _NEEDED,
    "lstm.projection_dim": _NEEDED,
    "lstm.use_skip_connections": _NEEDED,
    "lstm.n_layers": 1,
    "lstm.cell_clip": None,
    "lstm.proj_clip": None,
    "char_cnn.filters": _NEEDED,
    "char_cnn.n_highway": 0,
    "char_cnn.n_characters": _NEEDED,
    "char_cnn.embedding.dim": _NEEDED,
    "char_cnn.activation": _NEEDED,
    "char_cnn.max_characters_per_token": _NEEDED,
}
"""What the network's shape is read from, and what stands for an option that is not given, as in bilm-tf."""

# How it was trained, which changes no result.
_TRAINING = frozenset(
    "all_clip_norm_val batch_size bidirectional dropout milestones n_epochs n_negative_samples_batch n_tokens_vocab "
    "n_train_tokens unroll_steps".split()
)
# No network comes near it, and its bytes still fit 63 bits.
_LARGEST = 2**20


def _flat(options: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Every option by its path; what is nested where no option is stands whole."""
    for name, value in options.items():
        if isinstance(value, dict) and any(known.startswith(f"{path}{name}.") for known in _OPTIONS):
            yield from _flat(value, f"{path}{name}.")
        else:
            yield path + name, value


def read_options(options: Mapping[str, Any], n_tensors: int, heads: tuple[RecurrentHead, ...]) -> Recurrent:
    """The network that options describe.

    Args:
        options: the content of options.json.
        n_tensors: of the weights; options that ask for more layers are not tried.
        heads: of the network, of which the options know nothing.

    Raises:
        CheckpointError: naming every option that is unknown, missing or wrong.
    """
    given = {name: value for name, value in _flat(options) if name not in _TRAINING}
    faults = [
        Fault(name, given[name], "is no option that is known", f"remove it, or use {', '.join(_OPTIONS)}")
        for name in given
        if name not in _OPTIONS
    ]
    read = {**_OPTIONS, **given}
    faults += [Fault(name, None, "is missing", "take the file that belongs to the weights") for name in _missing(read)]
    numbers = {name: value for name, value in read.items() if isinstance(value, int | float)}
    limits = {"lstm.n_layers": n_tensors, "char_cnn.n_highway": n_tensors}
    faults += [
        Fault(name, value, f"exceeds {limits.get(name, _LARGEST)}", "correct the options")
        for name, value in numbers.items()
        if value > limits.get(name, _LARGEST)
    ]
    if type(read["lstm.n_layers"]) is not int:
        faults.append(Fault("lstm.n_layers", read["lstm.n_layers"], "must be a whole number", "correct the options"))
    if "char_cnn.filters" in given and not _pairs(given["char_cnn.filters"]):
        rule = "must be a list of pairs: width and channels"
        faults.append(Fault("char_cnn.filters", read["char_cnn.filters"], rule, "correct the options"))
    if faults:
        raise CheckpointError("options", faults)
    try:
        spec: Recurrent = ELMO.build(
            tokens=Characters(
                d_embedding=read["lstm.projection_dim"],
                filters=tuple((width, channels) for width, channels in read["char_cnn.filters"]),
                n_highway=read["char_cnn.n_highway"],
                n_characters=read["char_cnn.n_characters"],
                d_character=read["char_cnn.embedding.dim"],
                activation=read["char_cnn.activation"],
                max_characters=read["char_cnn.max_characters_per_token"],
            ),
            widths=(read["lstm.dim"],) * read["lstm.n_layers"],
            cell=ProjectedLSTM(read["lstm.projection_dim"], read["lstm.cell_clip"], read["lstm.proj_clip"]),
            directions=Apart(skip=read["lstm.use_skip_connections"]),
            heads=heads,
        )
    except SpecError as error:
        raise CheckpointError("options", error.faults) from None
    return spec


def _missing(read: Mapping[str, object]) -> list[str]:
    return [name for name, value in read.items() if value is _NEEDED]


def _pairs(filters: object) -> bool:
    return isinstance(filters, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(size) is int and 0 < size <= _LARGEST for size in pair)
        for pair in filters
    )


def write_options(spec: Recurrent) -> dict[str, Any]:
    """What `read_options` reads back.

    Args:
        spec: a biLM without heads.

    Raises:
        CheckpointError: naming everything that their files cannot hold.
    """
    faults = [
        Fault(name, part, "has no place in ELMo's files", remedy)
        for name, part, there, remedy in (
            ("tokens", spec.tokens, isinstance(spec.tokens, Characters), "use Characters(...)"),
            ("cell", spec.cell, isinstance(spec.cell, ProjectedLSTM), "use ProjectedLSTM(...)"),
            ("directions", spec.directions, isinstance(spec.directions, Apart), "use Apart()"),
            ("widths", spec.widths, len({*spec.widths}) == 1, "make all layers equally wide"),
            ("tokens.d_embedding", spec.tokens.d_embedding, {*spec.outputs} == {spec.inputs[0]}, "use d_projection"),
            ("heads", spec.heads, not spec.heads, "save them by themselves, and build the model with heads=()"),
        )
        if not there
    ]
    if faults:
        raise CheckpointError("architecture", faults)
    tokens, cell, directions = spec.tokens, spec.cell, spec.directions
    assert isinstance(tokens, Characters), "checked above"
    assert isinstance(cell, ProjectedLSTM), "checked above"
    assert isinstance(directions, Apart), "checked above"
    return {
        "lstm": {
            "use_skip_connections": directions.skip,
            "projection_dim": cell.d_projection,
            "cell_clip": cell.cell_clip,
            "proj_clip": cell.projection_clip,
            "dim": spec.widths[0],
            "n_layers": spec.n_layers,
        },
        "char_cnn": {
            "activation": tokens.activation,
            "filters": [list(pair) for pair in tokens.filters],
            "n_highway": tokens.n_highway,
            "embedding": {"dim": tokens.d_character},
            "n_characters": tokens.n_characters,
            "max_characters_per_token": tokens.max_characters,
        },
    }
