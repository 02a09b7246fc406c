"""Where a network begins and ends: embeddings, images, and the heads that read the last hidden states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stemma.spec.parts import Activation
from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead


@dataclass(frozen=True)
class Embedding:
    """What happens to a token's vector before the first block, besides its position.

    Args:
        segments: rows of the table of segment vectors; 0 for none (BERT has 2).
        languages: rows of the table of language vectors; 0 for none (XLM).
        tasks: rows of the table of task vectors; 0 for none (ERNIE 2.0).
        norm: normalise the sum (BERT).
        scaled: multiply the token's vector by sqrt(d_model) (Vaswani et al. 2017, section 3.4).
        width: of the tables, where it is not d_model: a linear map leads to d_model after positions and norm (ALBERT:
            Lan et al. 2020, section 3.1); 0 for d_model.
        early_width: of the tokens' table alone: maps without offset lead to d_model before all else, and back to the
            table's width after all blocks (OPT-350M); 0 for d_model.
    """

    segments: int = 0
    languages: int = 0
    tasks: int = 0
    norm: bool = False
    scaled: bool = False
    width: int = 0
    early_width: int = 0


@dataclass(frozen=True)
class Vision:
    """A vision transformer whose patches stand among the tokens (LLaVA: Liu et al. 2023, section 4.1; CLIP's encoder).

    Its blocks are pre-norm with LayerNorm and plain feed-forward networks; its patch vectors pass two linear maps with
    an activation between them into the decoder's width.

    Args:
        image_size: height and width in pixels.
        patch_size: of a patch, in pixels.
        n_layers: blocks.
        d_model: width.
        n_heads: attention heads.
        d_ff: inner width of the feed-forward networks.
        token: id in whose place a patch's vector stands.
        layer: which hidden state is read, as an index; -2 is the input of the last block.
        class_vector: whether the vector of the class position is handed on with those of the patches.
        activation: of the blocks.
        projector: activation between the two maps.
        eps: of the norms.
    """

    image_size: int
    patch_size: int
    n_layers: int
    d_model: int
    n_heads: int
    d_ff: int
    token: int
    layer: int = -2
    class_vector: bool = False
    activation: Activation = "gelu_sigmoid"
    projector: Activation = "gelu"
    eps: float = 1e-5

    @property
    def n_patches(self) -> int:
        """Squares into which one image is cut."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def n_vectors(self) -> int:
        """Vectors of one image that stand among the tokens."""
        return self.n_patches + self.class_vector

    @property
    def depth(self) -> int:
        """Blocks that precede the hidden state that is read: those that run."""
        return self.layer if self.layer >= 0 else self.n_layers + 1 + self.layer


@dataclass(frozen=True)
class TaskModules:
    """Small stacks on a universal one: one for understanding, one for generation (ERNIE 3.0: Sun et al. 2021, 3.2.2).

    Args:
        n_layers: blocks of each.
        d_model: their width.
        n_heads: their attention heads.
        d_ff: inner width of their feed-forward networks.
    """

    n_layers: int
    d_model: int
    n_heads: int
    d_ff: int


@dataclass(frozen=True)
class LanguageModelHead:
    """Scores of the vocabulary for the next token.

    Args:
        tied: the projection is the embedding table itself (Press and Wolf 2017).
        bias: add an offset a word.
        scaled: multiply the hidden state by d_model ** -0.5 first (T5 1.0).
    """

    name: ClassVar[str] = "lm"
    tied: bool = True
    bias: bool = False
    scaled: bool = False


@dataclass(frozen=True)
class MaskedLMHead:
    """Dense layer, activation, norm, then scores of the vocabulary with an offset (Devlin et al. 2019, appendix A).

    Args:
        activation: that of the dense layer.
        tied: the projection is the embedding table itself.
        dense: whether there are dense layer, activation and norm at all (XLM has none).
    """

    name: ClassVar[str] = "mlm"
    activation: Activation = "gelu"
    tied: bool = True
    dense: bool = True


@dataclass(frozen=True)
class Pooler:
    """Dense layer and tanh on the first position's vector (Devlin et al. 2019)."""

    name: ClassVar[str] = "pooler"


@dataclass(frozen=True)
class NextSentenceHead:
    """Two scores from the pooled vector: is the second segment the next one? (Devlin et al. 2019, section 3.1).

    ALBERT asks the same layer whether two segments stand in their order (Lan et al. 2020, section 3.1).
    """

    name: ClassVar[str] = "nsp"


@dataclass(frozen=True)
class ReplacedTokenHead:
    """Dense layer, activation, one score a token: was it replaced? (ELECTRA: Clark et al. 2020, section 2).

    Args:
        activation: that of the dense layer.
    """

    name: ClassVar[str] = "replaced"
    activation: Activation = "gelu"


@dataclass(frozen=True)
class SpanBoundaryHead:
    """Scores of a masked span's tokens from the two vectors that stand around it (Joshi et al. 2020, section 3.2).

    Two dense layers with GELU and norm read both vectors and that of the place in the span; the projection is the
    embedding table, with an offset.

    Args:
        max_span: rows of the table of places.
        d_place: width of that table.
    """

    name: ClassVar[str] = "span"
    max_span: int = 20
    d_place: int = 200


Head = (
    LanguageModelHead
    | MaskedLMHead
    | Pooler
    | NextSentenceHead
    | ReplacedTokenHead
    | SpanBoundaryHead
    | ClassifierHead
    | TaggerHead
    | AnswerHead
)
