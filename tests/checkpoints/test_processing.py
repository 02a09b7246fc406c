"""How a folder says that images become pixels, both ways."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stemma.checkpoints.processing import check_processing, write_processing
from stemma.errors import CheckpointError
from stemma.images import read_images
from stemma.spec.ends import Vision

VISION = Vision(28, 14, n_layers=1, d_model=8, n_heads=2, d_ff=8, token=0)

# As released folders have it, with what versions of the reference add.
RELEASED: dict[str, Any] = dict(
    crop_size=28, pad=True, do_center_crop=True, do_convert_rgb=True, do_normalize=True, do_resize=True,
    feature_extractor_type="CLIPFeatureExtractor", image_processor_type="CLIPImageProcessor", resample=3, size=28,
    image_mean=[0.48145466, 0.4578275, 0.40821073], image_std=[0.26862954, 0.26130258, 0.27577711], do_pad=None,
    processor_class="LlavaProcessor", do_rescale=True, rescale_factor=0.00392156862745098, tokenizer_class="x",
)  # fmt: skip


def _write(folder: Path, content: Any, name: str = "preprocessor_config.json") -> None:
    (folder / name).write_text(json.dumps(content))


def test_the_reference_reads_what_is_written(tmp_path: Path) -> None:
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    write_processing(VISION, tmp_path)
    check_processing(tmp_path, VISION)
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    theirs = CLIPImageProcessorPil.from_pretrained(tmp_path)(Image.fromarray(noise), return_tensors="np")
    assert np.abs(theirs["pixel_values"] - read_images([tmp_path / "noise.png"], 28)).max() <= 1e-6


def test_released_files_are_read(tmp_path: Path) -> None:
    check_processing(tmp_path, VISION)
    _write(tmp_path, RELEASED)
    check_processing(tmp_path, VISION)
    _write(tmp_path, {"image_processor": RELEASED, "patch_size": 14}, "processor_config.json")
    check_processing(tmp_path, VISION)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("do_center_crop", False),
        ("do_pad", True),
        ("size", {"height": 28, "width": 28}),
        ("crop_size", 24),
        ("resample", 2),
        ("image_mean", [0.5, 0.5, 0.5]),
    ],
)
@pytest.mark.parametrize("together", [False, True])
def test_other_pixels_are_an_error(name: str, value: Any, together: bool, tmp_path: Path) -> None:
    changed = RELEASED | {name: value}
    if together:
        _write(tmp_path, {"image_processor": changed}, "processor_config.json")
    else:
        _write(tmp_path, changed)
    with pytest.raises(CheckpointError, match=f"{name}=.* must be") as caught:
        check_processing(tmp_path, VISION)
    assert len(caught.value.faults) == 1
