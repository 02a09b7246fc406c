"""The file by which a folder says how images become pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stemma.checkpoints.safety import read_json
from stemma.errors import CheckpointError, Fault
from stemma.images import MEAN, STD
from stemma.spec.ends import Vision

# Theirs, and that in which newer versions keep it together with the rest.
_FILE, _TOGETHER = "preprocessor_config.json", "processor_config.json"
_BICUBIC = 3


def check_processing(folder: Path, vision: Vision) -> None:
    """See to it that a folder's images are to be read as `stemma.images.read_images` reads them.

    Args:
        folder: a folder that says nothing of images is taken as meant so.
        vision: gives the size.

    Raises:
        CheckpointError: naming every entry that asks for other pixels.
    """
    stored = read_json(folder / _FILE) if (folder / _FILE).is_file() else {}
    if (folder / _TOGETHER).is_file():
        stored |= read_json(folder / _TOGETHER).get("image_processor") or {}
    wanted = _settings(vision)
    others = {name: False for name in stored if name.startswith("do_")}
    # Older files give a size as one number.
    short = dict.fromkeys(("size", "crop_size"), vision.image_size)
    faults = [
        Fault(name, stored[name], f"must be {value!r}: no other pixels are made", "use a model that reads such images")
        for name, value in (others | wanted).items()
        if stored.get(name) not in (None, value, short.get(name))
    ]
    if faults:
        raise CheckpointError(_FILE, faults)


def write_processing(vision: Vision, folder: Path) -> None:
    """Write the same file, so that `transformers` reads images alike.

    Args:
        vision: gives the size.
        folder: stands already.
    """
    content = {"image_processor_type": "CLIPImageProcessor"} | _settings(vision)
    (folder / _FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _settings(vision: Vision) -> dict[str, Any]:
    size = vision.image_size
    return {
        **{f"do_{step}": True for step in ("convert_rgb", "resize", "center_crop", "rescale", "normalize")},
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
        "resample": _BICUBIC,
        "rescale_factor": 1 / 255,
        "image_mean": list(MEAN),
        "image_std": list(STD),
    }
