"""Image files to pixels: the same numbers as `transformers`, and clear errors; and the verbs that take files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from stemma.errors import InputError
from stemma.families import LLAMA2, LLAVA
from stemma.images import read_images
from stemma.loading import load
from stemma.pretrained import Pretrained
from stemma.spec.ends import Vision
from stemma.text import train

from .tiny import random_model, tiny

# The same grey levels; what is left are single-precision roundings of the scaling to mean 0 and deviation 1.
ROUNDING = 1e-6

TEXTS = ["what is in this image? a cat", "the image shows two images"]


def _picture(folder: Path, width: int, height: int, mode: str = "RGB", seed: int = 0) -> Path:
    """A small PNG with slopes and noise."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 256, (height, width))
    colours = np.stack([(3 * x + y) % 256, 5 * y % 256, noise], -1).astype(np.uint8)
    file = folder / f"{width}x{height}-{mode}-{seed}.png"
    Image.fromarray(colours).convert(mode).save(file)
    return file


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("size", [15, 28])
@pytest.mark.parametrize(("width", "height"), [(70, 45), (33, 90), (15, 15), (201, 12)])
def test_pixels_are_those_of_the_reference(width: int, height: int, size: int, mode: str, tmp_path: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    file = _picture(tmp_path, width, height, mode)
    square = {"height": size, "width": size}
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=square)
    with Image.open(file) as image:
        expected = processor(image, return_tensors="np")["pixel_values"]
    found = read_images([file], size)
    assert (found.shape, found.dtype) == ((1, 3, size, size), np.float32)
    assert np.abs(found - expected).max() <= ROUNDING


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    file, turned = _picture(tmp_path, 30, 20), tmp_path / "turned.png"
    with Image.open(file) as image:
        exif = Image.Exif()
        exif[0x0112] = 6  # turn by a quarter to the right
        image.transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    assert np.array_equal(read_images([turned], 10), read_images([file], 10))


def test_every_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(_picture(tmp_path, 40, 40).read_bytes()[:300])
    files = [tmp_path / "missing.png", tmp_path / "text.png", cut, _picture(tmp_path, 9, 9)]
    with pytest.raises(InputError, match="3 faults") as caught:
        read_images(files, 8)
    assert [fault.value for fault in caught.value.faults] == [str(file) for file in files[:3]]


def test_a_strip_that_would_grow_to_gigabytes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no image that can be read: it would have 1344000 x 336 pixels"):
        read_images([_picture(tmp_path, 4000, 1)], 336)


def test_a_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="decompression bomb"):
        read_images([_picture(tmp_path, 40, 40)], 8)


def test_without_pillow_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(InputError, match=r"Pillow=None is needed to read images; install it: pip install 'stemma-lm"):
        read_images(["x.png"], 8)


# --- The verbs -------------------------------------------------------------------------------------------------------


def _pretrained(folder: Path) -> Pretrained:
    """A tiny LLaVA whose vocabulary has an image token, saved and loaded."""
    tokenizer = train(TEXTS * 3, vocab_size=290, extra=["<image>"])
    (token,) = tokenizer.encode("<image>", add_special=False)
    vision = Vision(20, 5, n_layers=2, d_model=12, n_heads=3, d_ff=18, token=token)
    # Heads that every format can tell of.
    sizes = dict(d_model=24, n_kv_heads=4, d_head=6, vocab_size=tokenizer.vocab_size)
    model = random_model(tiny(LLAVA, vision=vision, **sizes))
    Pretrained("made", model, tokenizer, LLAVA, None, {}).save(folder / "saved")
    return load(folder / "saved")


def test_images_are_given_as_files_with_the_text(tmp_path: Path) -> None:
    lm, files = _pretrained(tmp_path), [_picture(tmp_path, 31, 24, seed=seed) for seed in (0, 1)]
    prompts = ["<image> what is in this image?", "two images: <image>"]
    answers = lm.generate(prompts, max_new_tokens=8, images=files)
    assert answers == [
        lm.generate(text, max_new_tokens=8, images=[file]) for text, file in zip(prompts, files, strict=True)
    ]
    assert lm.generate(prompts[0], max_new_tokens=8, images=files[1:]) != answers[0]
    vision, tokens = lm.architecture.vision, lm.tokenizer.encode(prompts[0])
    assert vision is not None
    place = tokens.index(vision.token)
    ids = [*tokens[:place], *[vision.token] * 16, *tokens[place + 1 :]]
    with torch.inference_mode():
        logits = lm.model(torch.tensor([ids]), images=torch.from_numpy(read_images(files[:1], 20))).logits
    first = lm.tokenizer.decode([int(logits[0, -1].argmax())])
    assert lm.generate(prompts[0], max_new_tokens=1, images=files[:1]) == first


def test_an_image_too_few_is_an_error(tmp_path: Path) -> None:
    lm = _pretrained(tmp_path)
    with pytest.raises(
        InputError, match=r"tokens=\[32\] image tokens a row must be 16 for each image, of which 1 are given"
    ):
        lm.generate("<image> and <image>", images=[_picture(tmp_path, 9, 9)])


def test_a_model_of_text_alone_takes_no_images() -> None:
    tokenizer = train(TEXTS, vocab_size=270)
    model = random_model(tiny(LLAMA2, vocab_size=tokenizer.vocab_size))
    with pytest.raises(InputError, match="are not read by this network, which is decoder-only"):
        Pretrained("made", model, tokenizer, LLAMA2, None, {}).generate("a", images=["x.png"])
