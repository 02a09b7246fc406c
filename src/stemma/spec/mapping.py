"""How a family's checkpoints are written down, as invertible data that `stemma.checkpoints` runs in both directions.

A weight rule speaks of *our* names on the left and *their* names on the right. `*` in both stands for one and the same
number or word, and what follows the matched prefix (".weight", ".bias") carries over. A leading `@` in their name
stands for the prefix of the variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stemma.spec.ends import Head

# --- Configuration ---------------------------------------------------------------------------------------------------

REQUIRED = object()
"""Marks a key without which a configuration cannot be read."""


@dataclass(frozen=True)
class Key:
    """One entry of their configuration that is one field of our architecture.

    Args:
        theirs: their key; dots lead into nested objects.
        ours: path of the field, such as "norm.eps" or "heads.lm.tied"; several paths hold one value.
        default: their value where the key is absent.
        values: their value to ours, where the two differ; the first of several that mean the same is written.
        also: other spellings under which the key is read.
        plus: what our number has more than theirs.
        null: a path and the value there that a null means; null means the default where there is none.
        same_as: their key whose value here is told by our 0.
        zero: their value that our 0 stands for.
    """

    theirs: str
    ours: str | tuple[str, ...]
    default: Any = REQUIRED
    values: Mapping[Any, Any] | None = None
    also: tuple[str, ...] = ()
    plus: int = 0
    null: tuple[str, Any] | None = None
    same_as: str = ""
    zero: int | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths of `ours`, always as a tuple."""
        return (self.ours,) if isinstance(self.ours, str) else self.ours


@dataclass(frozen=True)
class Constant:
    """An entry that changes logits and of which the family knows one meaning only.

    Args:
        theirs: their key.
        value: what it must be; what an absent key means too.
        also: further values that mean the same.
        written: whether it is written out, for readers whose own default differs.
    """

    theirs: str
    value: Any
    also: tuple[Any, ...] = ()
    written: bool = False


@dataclass(frozen=True)
class Fact:
    """An entry that changes neither parameters nor logits: kept as it is and written back.

    Args:
        theirs: their key.
        default: what is written where a model did not come with one; None writes nothing.
    """

    theirs: str
    default: Any = None


@dataclass(frozen=True)
class Labels:
    """The names of classes: their number is a field of ours, the names are kept as a fact.

    Args:
        ours: path of the number, such as "heads.tagger.n_classes".
        theirs: their key of the names.
    """

    ours: str
    theirs: str = "id2label"


ConfigRule = Key | Constant | Fact | Labels

# --- Weights ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rename:
    """One tensor under another name.

    Args:
        ours: prefix of our names.
        theirs: prefix of their names.
        names: our child's name to theirs, below the prefixes; the prefixes themselves where empty.
        transposed: their matrices are stored as (in, out).
        row: their vectors are stored as matrices of one row.
        by_head: the second axis of their matrices is two axes, the heads and the channels of each.
    """

    ours: str
    theirs: str
    names: Mapping[str, str] = field(default_factory=dict)
    transposed: bool = False
    row: bool = False
    by_head: bool = False


@dataclass(frozen=True)
class Split:
    """Several of our tensors, equal in all but their rows, fused along the rows into one of theirs.

    Args:
        ours: prefix of our names.
        theirs: prefix of the fused tensor.
        parts: our children, in the order in which they are fused.
        transposed: the fused matrix is stored as (in, out).
        groups: the size that counts groups, such as "n_kv_heads", where the rows of each group lie together.
    """

    ours: str
    theirs: str
    parts: tuple[str, ...]
    transposed: bool = False
    groups: str = ""


@dataclass(frozen=True)
class Permute:
    """Rows of rotary projections that GGUF stores with the two halves of each head interleaved.

    Args:
        ours: prefix of our names.
        theirs: prefix of their names.
        names: our child's name to theirs.
        heads: our child's name to the size that counts its heads, "n_heads" or "n_kv_heads".
    """

    ours: str
    theirs: str
    names: Mapping[str, str]
    heads: Mapping[str, str]


@dataclass(frozen=True)
class Tie:
    """A second copy of a tensor under another name: read only to see that it is equal.

    Args:
        theirs: the copy's name.
        to: the name that the tensor is read from.
        written: whether the copy is written out too.
    """

    theirs: str
    to: str
    written: bool = False


@dataclass(frozen=True)
class Ignore:
    """A tensor among their weights that nothing was learned in, or that their class does not read.

    Args:
        theirs: its name.
    """

    theirs: str


@dataclass(frozen=True)
class Zero:
    """A tensor that they always hold and that is zero where our architecture has none.

    Args:
        theirs: its name.
        shape: names of sizes, or numbers.
    """

    theirs: str
    shape: tuple[str | int, ...]


WeightRule = Rename | Split | Permute | Tie | Ignore | Zero

# --- Together --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Variant:
    """One of their classes: the network with certain heads.

    Args:
        name: their class's name.
        heads: our heads.
        prefix: what their names begin with, where the body lies inside the class; read with or without it.
        weights: tensors that only this class has.
        config: entries that mean something else to this class than to the family's others.
        choices: whether its one score is that of a choice among several, which the heads do not tell.
    """

    name: str
    heads: tuple[Head, ...]
    prefix: str = ""
    weights: tuple[WeightRule, ...] = ()
    config: tuple[ConfigRule, ...] = ()
    choices: bool = False

    @property
    def counts(self) -> bool:
        """Whether its configuration names the classes."""
        return any(isinstance(rule, Labels) for rule in self.config)


@dataclass(frozen=True)
class Gguf:
    """A family inside a GGUF file.

    Args:
        architecture: the value of "general.architecture" and the prefix of its keys.
        config: the metadata, without that prefix.
        weights: the tensors.
        heads: the heads; a tied output is recognised by the absence of "output.weight".
    """

    architecture: str
    config: tuple[ConfigRule, ...]
    weights: tuple[WeightRule, ...]
    heads: tuple[Head, ...]


@dataclass(frozen=True)
class Checkpoint:
    """A family as a Hugging Face folder, and where there is one as a GGUF file.

    Args:
        model_type: their name of the family in config.json.
        variants: their classes for pretraining and without heads, the usual one first.
        config: entries of config.json; one that stands in none of the rules is an error.
        weights: tensors; our names are those of the first variant's body and heads.
        tasks: their classes for tasks.
        gguf: the same for GGUF.
        spellings: other spellings of parts of their names, and what each is read as.
        untied_by: a tensor whose presence, with other values than the embedding's, means an untied output.
    """

    model_type: str
    variants: tuple[Variant, ...]
    config: tuple[ConfigRule, ...]
    weights: tuple[WeightRule, ...]
    tasks: tuple[Variant, ...] = ()
    gguf: Gguf | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    untied_by: str = ""

    @property
    def classes(self) -> tuple[Variant, ...]:
        """All of their classes."""
        return (*self.variants, *self.tasks)

    def config_of(self, variant: Variant) -> tuple[ConfigRule, ...]:
        """The entries as a class understands them."""
        own = {rule.theirs for rule in variant.config}
        return (*variant.config, *(rule for rule in self.config if rule.theirs not in own))

    def weights_of(self, variant: Variant) -> tuple[WeightRule, ...]:
        """The tensors of a class."""
        return (*variant.weights, *self.weights)
