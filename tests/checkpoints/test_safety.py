"""Headers that lie, found before another reader believes them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from stemma.checkpoints.rules import Info
from stemma.checkpoints.safety import parse_json, read_safetensors_header
from stemma.errors import CheckpointError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


def test_a_sound_header_is_read(folder: Path) -> None:
    tensors = {
        "b": torch.zeros(2, 3, dtype=torch.bfloat16),
        "a": torch.zeros(0, 4),
        "c": torch.zeros((), dtype=torch.int64),
    }
    save_file(tensors, folder / "sound.safetensors", metadata={"format": "pt"})
    infos = read_safetensors_header(folder / "sound.safetensors")
    assert infos == {"b": Info((2, 3)), "a": Info((0, 4)), "c": Info((), floating=False)}


@given(data=st.data())
def test_what_passes_the_check_the_library_reads(data: st.DataObject, folder: Path) -> None:
    """A header that is changed at random is either refused or as safe as the library finds it."""
    path = folder / "fuzz.safetensors"
    save_file({"a": torch.zeros(3), "b": torch.zeros(2, 2, dtype=torch.float16)}, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=9))
    path.write_bytes(content)
    with suppress(CheckpointError):
        infos = read_safetensors_header(path)
        with safe_open(path, "pt") as opened:
            assert set(opened.keys()) == set(infos)
            assert all(tuple(opened.get_tensor(name).shape) == info.shape for name, info in infos.items())


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["F32", "I64", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["dtype", "shape", "data_offsets"]), inner)
    ),
    max_leaves=8,
)
entries = st.fixed_dictionaries({"dtype": values, "shape": values, "data_offsets": values})


@given(header=st.dictionaries(st.text(max_size=3), entries | values, min_size=1, max_size=4), size=st.integers(0, 64))
def test_any_header_only_ever_raises_our_error(header: dict[str, Any], size: int, folder: Path) -> None:
    text = json.dumps(header).encode()
    path = folder / "any.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    with suppress(CheckpointError):
        infos = read_safetensors_header(path)
        assert all(isinstance(info, Info) for info in infos.values())


def test_a_key_that_stands_twice_is_named() -> None:
    with pytest.raises(CheckpointError, match="a='twice' may be named once only"):
        parse_json(b'{"a": 1, "b": {}, "a": 2}', "here")
