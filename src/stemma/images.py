"""Image files to the pixels that a vision encoder reads."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stemma.errors import Fault, InputError

if TYPE_CHECKING:
    import numpy as np
    from jaxtyping import Float
    from PIL import Image

# Of the three colours over CLIP's training images (Radford et al. 2021, the authors' code).
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

# More pixels than any photograph has after scaling: a strip of one pixel in height could grow to any length.
_LARGEST = 2**26


def read_images(files: Sequence[str | Path], size: int) -> Float[np.ndarray, "images 3 size size"]:
    """The pixels of images as CLIP's encoder was trained to see them.

    The shorter side is scaled to `size` by bicubic interpolation, the middle is cut out of the longer one, and each
    colour is shifted and scaled to mean 0 and deviation 1.

    Args:
        files: paths of PNG, JPEG and other images that Pillow reads.
        size: height and width in pixels, as `Vision.image_size` has it.

    Raises:
        InputError: naming every file that is no image, or Pillow where it is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        remedy = "install it: pip install 'stemma-lm[images]'"
        raise InputError("images", Fault("Pillow", None, "is needed to read images", remedy)) from None
    import numpy as np

    pixels, faults = [], []
    for file in files:
        try:
            with warnings.catch_warnings():
                # An image that unpacks to gigabytes is refused, not warned about.
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(file) as image:
                    pixels.append(np.asarray(_square(image, size), dtype=np.float32))
        except (OSError, SyntaxError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            faults.append(Fault("file", str(file), f"is no image that can be read: {error}", "give a PNG or JPEG file"))
    if faults:
        raise InputError("images", faults)
    scaled = np.stack(pixels) / 255 if pixels else np.empty((0, size, size, 3))
    normal = (scaled - np.array(MEAN)) / np.array(STD)
    return np.ascontiguousarray(normal.transpose(0, 3, 1, 2), dtype=np.float32)


def _square(image: Image.Image, size: int) -> Image.Image:
    """The middle square, upright, in three colours."""
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    shorter = min(image.size)
    width, height = (size if side == shorter else size * side // shorter for side in image.size)
    if width * height > _LARGEST:
        raise Image.DecompressionBombError(f"it would have {width} x {height} pixels when scaled")
    scaled = image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size) // 2, (height - size) // 2
    return scaled.crop((left, top, left + size, top + size))
