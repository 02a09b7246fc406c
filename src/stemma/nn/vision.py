"""Images among the tokens: a vision transformer, and two maps into the decoder's width."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from stemma.errors import Fault, InputError
from stemma.nn.activations import ACTIVATION_FUNCTIONS
from stemma.nn.blocks import Surroundings
from stemma.nn.embeddings import Additions, readable
from stemma.nn.linears import Linear
from stemma.nn.masks import Scores
from stemma.nn.positions import position_ids
from stemma.nn.stacks import Stack
from stemma.spec.architecture import Architecture
from stemma.spec.count import vision_tower
from stemma.spec.ends import Vision


class Patches(nn.Conv2d):
    """One product for each square of pixels, whose first values are drawn by `initialise` alone."""

    def reset_parameters(self) -> None:
        """Nothing: see `stemma.nn.initialize`."""


class VisionEncoder(nn.Module):
    """Pixels to vectors that can stand for tokens (LLaVA: Liu et al. 2023, section 4.1; CLIP: Radford et al. 2021).

    The image is cut into squares, each a product; a class vector is put before them, positions are added, the sum is
    normalised and passes the blocks. The state that is read is seldom that of the last block: the rest, and the last
    norm, are held because the files hold them, and never run.

    Args:
        spec: the architecture.
        vision: its part for images.
    """

    def __init__(self, spec: Architecture, vision: Vision) -> None:
        super().__init__()
        tower, size = vision_tower(vision), vision.patch_size
        self.vision = vision
        self.patches = Patches(3, vision.d_model, size, stride=size, bias=False)
        self.class_vector = nn.Parameter(torch.empty(vision.d_model))
        self.additions = Additions(tower)
        self.tower = Stack(tower, causal=False)
        self.first = Linear(vision.d_model, spec.d_model)
        self.activation = ACTIVATION_FUNCTIONS[vision.projector]
        self.second = Linear(spec.d_model, spec.d_model)

    def forward(
        self, images: Float[Tensor, "images 3 height width"], attentions: list[Tensor] | None = None
    ) -> Float[Tensor, "images vectors D"]:
        """The vectors of each image, those of its patches row by row.

        Args:
            images: pixels.
            attentions: where the blocks' maps are put, if they are asked for.
        """
        squares = self.patches(images.to(self.class_vector.dtype)).flatten(2).mT
        x = torch.cat((self.class_vector.expand(len(squares), 1, -1), squares), 1)
        x = self.additions.add(x, position_ids(x.shape[1], 0, x.device), {})
        around = Surroundings(Scores(), attentions=attentions)
        for block in self.tower.blocks[: self.vision.depth]:
            x = block(x, around)
        read = x if self.vision.class_vector else x[:, 1:]
        return self.second(self.activation(self.first(read)))

    def place(
        self,
        x: Float[Tensor, "B S D"],
        tokens: Int[Tensor, "B S"],
        images: Float[Tensor, "images 3 height width"],
    ) -> Float[Tensor, "B S D"]:
        """Token vectors, with those of the images where the image token stands.

        Args:
            x: vectors of all tokens.
            tokens: ids.
            images: pixels, in the order in which their tokens stand.
        """
        return x.masked_scatter((tokens == self.vision.token)[..., None], self(images).to(x.dtype))


def check_images(
    vision: Vision | None,
    tokens: Int[Tensor, "B S"],
    images: Float[Tensor, "images 3 height width"] | None,
) -> None:
    """See to it that every image has its tokens and every image token its image.

    Args:
        vision: the architecture's part for images, if it has one.
        tokens: ids.
        images: pixels, if there are any.

    Raises:
        InputError: naming everything that does not fit.
    """
    if faults := list(_image_faults(vision, tokens, images)):
        raise InputError("model", faults)


def _image_faults(vision: Vision | None, tokens: Tensor, images: Tensor | None) -> Iterator[Fault]:
    shape = None if images is None else tuple(images.shape)
    if vision is None:
        if shape:
            yield Fault("images", shape, "are not read by this network", "leave them out")
        return
    size = (3, vision.image_size, vision.image_size)
    if shape and shape[1:] != size:
        rule = f"must be of the shape (images, {', '.join(map(str, size))})"
        yield Fault("images", shape, rule, "prepare them with stemma.images.read_images")
    if readable(tokens):
        n_images = shape[0] if shape else 0
        n_each = (tokens == vision.token).sum(-1)
        if int(n_each.sum()) != n_images * vision.n_vectors or bool((n_each % vision.n_vectors).any()):
            rule = f"image tokens a row must be {vision.n_vectors} for each image, of which {n_images} are given"
            remedy = f"write the id {vision.token} so often where an image stands, and give each image"
            yield Fault("tokens", n_each.tolist(), rule, remedy)
