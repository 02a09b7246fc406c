"""What matters in training alone: dropout and first values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Dropout:
    """Rates of dropout while training (Srivastava et al. 2014).

    Args:
        residual: on the embeddings and on each sub-layer's output.
        attention: on the attention probabilities.
        feedforward: between the two maps of the feed-forward network.
        output: on the output of a stack (T5).
    """

    residual: float = 0.0
    attention: float = 0.0
    feedforward: float = 0.0
    output: float = 0.0


@dataclass(frozen=True)
class Normal:
    """Weights from N(0, std), offsets zero (BERT, GPT-2).

    Args:
        std: the deviation.
        truncated: draw again what lies beyond two deviations (BERT).
        shrink_residual: divide the deviation of each map that ends a sub-layer by sqrt(2 * n_layers) (GPT-2, 2.3).
    """

    std: float = 0.02
    truncated: bool = False
    shrink_residual: bool = False


@dataclass(frozen=True)
class XavierUniform:
    """Uniform with variance 2 / (fan in + fan out); embeddings N(0, d_model ** -0.5) (tensor2tensor)."""


@dataclass(frozen=True)
class FanIn:
    """Normal with variance 1 / fan in, queries 1 / (d_model * d_head), embeddings N(0, 1) (T5, Mesh TensorFlow)."""


Initialisation = Normal | XavierUniform | FanIn
