"""llama.cpp's C interface, without what it tells of itself."""

from __future__ import annotations

import ctypes
from pathlib import Path

import llama_cpp as cpp

_SILENT = cpp.llama_log_callback(lambda *_: None)  # kept here, for llama.cpp does not
cpp.llama_log_set(_SILENT, None)


def requantised(file: Path, kind: str, made: Path) -> Path:
    """What llama.cpp makes of a file: as another type, its scales by its own rule."""
    params = cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = getattr(cpp, f"LLAMA_FTYPE_MOSTLY_{kind}"), True
    assert cpp.llama_model_quantize(str(file).encode(), str(made).encode(), ctypes.byref(params)) == 0
    return made
