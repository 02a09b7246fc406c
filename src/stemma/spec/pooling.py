"""How token vectors become one vector of a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

PoolingKind = Literal["mean", "cls", "max", "last", "weighted", "mean_sqrt_len"]
ProjectionActivation = Literal["none", "tanh", "relu", "gelu", "silu", "sigmoid"]


@dataclass(frozen=True)
class Projection:
    """A dense layer after pooling: activation(W x + b).

    Args:
        d_in: width of what it reads.
        d_out: width of what it gives.
        bias: add an offset.
        activation: of the product.
    """

    d_in: int
    d_out: int
    bias: bool = True
    activation: ProjectionActivation = "tanh"

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Its tensors.

        >>> Projection(4, 2).shapes()
        {'weight': (2, 4), 'bias': (2,)}
        """
        return {"weight": (self.d_out, self.d_in)} | ({"bias": (self.d_out,)} if self.bias else {})


@dataclass(frozen=True)
class Prompt:
    """A text that is put before each text, such as "query: ".

    Args:
        name: by which it is asked for.
        text: itself.
    """

    name: str
    text: str


@dataclass(frozen=True)
class Pooling:
    """One vector from the last hidden states of a text (Reimers and Gurevych 2019, Sentence-BERT, section 3).

    Args:
        kind: the mean or the maximum over the real tokens, the first token's vector, the last one's, a mean whose
            weights grow by one a token (Muennighoff 2022, SGPT, section 4.1), or the sum over the root of the length.
        normalise: scale the vector to length 1.
        max_tokens: longer texts are cut to this many tokens, special ones counted; None for the model's own limit.
        projections: dense layers between pooling and scaling, in order.
        prompts: what may be put before a text.
        default_prompt: name of the prompt that is put where none is asked for; None for no prompt.
        include_prompt: whether the prompt's tokens are pooled too.
    """

    kind: PoolingKind = "mean"
    normalise: bool = False
    max_tokens: int | None = None
    projections: tuple[Projection, ...] = ()
    prompts: tuple[Prompt, ...] = ()
    default_prompt: str | None = None
    include_prompt: bool = True

    def width(self, d_hidden: int) -> int:
        """How many numbers a vector has, out of hidden states of a width."""
        return self.projections[-1].d_out if self.projections else d_hidden

    def prompt(self, name: str | None) -> str | None:
        """The text of a prompt, or of the default one; None where there is none of that name.

        >>> Pooling(prompts=(Prompt("query", "query: "),)).prompt("query")
        'query: '
        """
        texts = {prompt.name: prompt.text for prompt in self.prompts}
        asked = self.default_prompt if name is None else name
        return "" if asked is None else texts.get(asked)
