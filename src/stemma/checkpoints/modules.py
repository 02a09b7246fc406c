"""The list of modules by which sentence-transformers says what makes one vector of a text."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from stemma.checkpoints.safety import parse_json, read_json
from stemma.errors import CheckpointError, Fault

_ORDER = re.compile(r"Transformer Pooling( Dense)*( Normalize)?")
INPUT, REMEDY = "sentence_embedding", "use sentence-transformers for this model"


class Module(NamedTuple):
    """One module.

    Args:
        kind: its class.
        folder: where its files lie.
    """

    kind: str
    folder: Path

    def settings(self, known: Collection[str], faults: list[Fault]) -> dict[str, Any]:
        """What its config.json holds; entries that are not known are faults, as is another input than the vector."""
        held = settings(self.folder / "config.json")
        name = self.folder.name
        faults += [
            Fault(f"{name}.{key}", held[key], "is unknown", REMEDY)
            for key in held.keys() - {*known, "module_input_name", "module_output_name"}
        ]
        for key in ("module_input_name", "module_output_name"):
            if (value := held.get(key)) not in (None, INPUT):
                faults.append(Fault(f"{name}.{key}", value, f"must be {INPUT}", REMEDY))
        return held


def read_modules(folder: Path) -> Sequence[Module]:
    """The modules of a folder in order; none where it is no folder of sentence-transformers.

    Raises:
        CheckpointError: a list that is none, modules of other kinds or in another order, or outside the folder.
    """
    path = folder / "modules.json"
    if not path.is_file():
        return []
    listed = parse_json(b'{"modules": ' + path.read_bytes() + b"}", str(path))["modules"]
    if not isinstance(listed, list) or not all(isinstance(module, dict) for module in listed):
        raise CheckpointError(str(path), Fault("modules", listed, "must be a list of objects", "save the model again"))
    faults: list[Fault] = []
    kinds = [str(module.get("type")).rpartition(".")[2] for module in listed]
    if not _ORDER.fullmatch(" ".join(kinds)):
        rule = "must be Transformer, Pooling, any number of Dense and at most one Normalize"
        faults.append(Fault("modules.json", kinds, rule, REMEDY))
    places = [str(module.get("path", "")) for module in listed]
    if any(place and Path(place).name != place for place in places) or places[:1] not in ([], [""]):
        faults.append(Fault("modules.json", places, "must lie in this folder, the model at its top", REMEDY))
    if faults:
        raise CheckpointError(str(folder), faults)
    return [Module(kind, folder / place) for kind, place in zip(kinds, places, strict=True)]


def write_modules(folder: Path, contents: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """Write the list and a folder for each module but the first, which stands at the top.

    Args:
        folder: stands already.
        contents: the kind of each module and its config.json.
    """
    places = ["", *(f"{n}_{kind}" for n, (kind, _) in enumerate(contents[1:], start=1))]
    listed = [
        {"idx": n, "name": str(n), "path": place, "type": f"sentence_transformers.models.{kind}"}
        for n, ((kind, _), place) in enumerate(zip(contents, places, strict=True))
    ]
    write(folder / "modules.json", listed)
    for place, (_, content) in list(zip(places, contents, strict=True))[1:]:
        (folder / place).mkdir()
        write(folder / place / "config.json", content)


def settings(path: Path) -> dict[str, Any]:
    """The object in a file that need not be there."""
    return read_json(path) if path.is_file() else {}


def write(path: Path, content: object) -> None:
    """Write JSON as sentence-transformers does."""
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
