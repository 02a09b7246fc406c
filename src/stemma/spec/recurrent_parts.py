"""The sum types of which a recurrent network is made: one class an alternative, only the fields that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from stemma.spec.tasks import AnswerHead, ClassifierHead, TaggerHead

# --- What is read ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Vectors:
    """Each token comes as a vector that was made elsewhere, such as GloVe's (McCann et al. 2017, section 3).

    Args:
        d_embedding: width of the vectors.
    """

    d_embedding: int


@dataclass(frozen=True)
class Words:
    """Each token is an id with a vector of its own.

    Args:
        vocab_size: rows of the table.
        d_embedding: width of the vectors.
    """

    vocab_size: int
    d_embedding: int


@dataclass(frozen=True)
class Characters:
    """Each token is spelt out, and its vector is made from its characters (Kim et al. 2015; Jozefowicz et al. 2016).

    Convolutions of several widths over the characters, the maximum of each channel over the word, highway layers
    (Srivastava et al. 2015), and a linear map.

    Args:
        d_embedding: width of the vectors.
        filters: the convolutions: their width in characters and their channels.
        n_highway: highway layers.
        n_characters: ids of characters; 0 is padding and has no vector.
        d_character: width of a character's vector.
        activation: of the convolutions.
        max_characters: ids that spell a word.
    """

    d_embedding: int
    filters: tuple[tuple[int, int], ...]
    n_highway: int = 2
    n_characters: int = 262
    d_character: int = 16
    activation: Literal["relu", "tanh"] = "relu"
    max_characters: int = 50

    @property
    def n_filters(self) -> int:
        """Channels of all convolutions."""
        return sum(channels for _, channels in self.filters)


Tokens = Vectors | Words | Characters

# --- Cells and directions --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LSTM:
    """Hochreiter and Schmidhuber 1997 with forget gates, as in torch: its output is as wide as its cell."""


@dataclass(frozen=True)
class ProjectedLSTM:
    """Its output is a linear map of its cell (Sak et al. 2014, section 2), as in TensorFlow's LSTMCell.

    The forget gate has 1 added to its offset.

    Args:
        d_projection: width of the output.
        cell_clip: the cell's values are kept within this distance of 0; None for no bound.
        projection_clip: as `cell_clip`, for the output.
    """

    d_projection: int
    cell_clip: float | None = None
    projection_clip: float | None = None


Cell = LSTM | ProjectedLSTM


@dataclass(frozen=True)
class Forward:
    """Left to right."""


@dataclass(frozen=True)
class Joined:
    """Both directions; a layer reads what both gave below it (CoVe), so a position knows the whole text."""


@dataclass(frozen=True)
class Apart:
    """Both directions, each a network of its own but for the token vectors (ELMo: Peters et al. 2018, section 3.1).

    Args:
        skip: from the second layer on, a layer's input is added to its output.
    """

    skip: bool = False


Directions = Forward | Joined | Apart

# --- Heads -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TiedScores:
    """Scores of the next word by the table of words itself (Press and Wolf 2017).

    Args:
        bias: add an offset a word.
    """

    name: ClassVar[str] = "lm"
    bias: bool = True


@dataclass(frozen=True)
class Scores:
    """Scores of the next word by a matrix of their own, one for both directions (Peters et al. 2018, section 3.1).

    Args:
        vocab_size: words.
        bias: add an offset a word.
    """

    name: ClassVar[str] = "lm"
    vocab_size: int
    bias: bool = True


@dataclass(frozen=True)
class ScalarMix:
    """gamma * sum_j softmax(w)_j h_j over all layers, that of the tokens too (Peters et al. 2018, equation 1).

    Args:
        norm: normalise each layer's vectors first, without gain (section 3.2).
    """

    name: ClassVar[str] = "mix"
    norm: bool = False


RecurrentHead = TiedScores | Scores | ScalarMix | ClassifierHead | TaggerHead | AnswerHead

# --- Training only ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RecurrentDropout:
    """Rates of dropout while training: the five of AWD-LSTM (Merity et al. 2017, section 4).

    Args:
        embedding: on whole words of the table (4.3).
        input: on the token vectors that the first layer reads.
        weight: on single weights from output to gates, DropConnect (section 2).
        hidden: on what passes from layer to layer.
        output: on what the last layer gives.
        locked: one mask for all positions of a text (4.2), but for the words and the weights.
    """

    embedding: float = 0.0
    input: float = 0.0
    weight: float = 0.0
    hidden: float = 0.0
    output: float = 0.0
    locked: bool = True
