"""Tokenizer -> the files of a Hugging Face folder."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from stemma.errors import Fault, TokenizerError
from stemma.files import new_file

if TYPE_CHECKING:
    from stemma.text.tokenizer import Tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and, for a chat model, `chat_template.jinja`.

    Args:
        tokenizer: what to write.
        folder: made where it is missing; each file is whole or is not there.

    Raises:
        TokenizerError: the folder cannot be written.
    """
    folder = Path(folder)
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        # Text comes back as it was, without a second guess about its spaces.
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", *([] if tokenizer.cls is None else ["token_type_ids"]), "attention_mask"],
        "stop_tokens": [tokenizer.token_of(i) for i in sorted(tokenizer.stops)],
    }
    config |= {f"{name}_token": tokenizer.token_of(i) for name, i in asdict(tokenizer.roles).items() if i is not None}
    files = {
        "tokenizer.json": tokenizer.backend.to_str(pretty=True),
        "tokenizer_config.json": json.dumps(config, indent=2, ensure_ascii=False) + "\n",
    }
    if tokenizer.chat_template is not None:
        files["chat_template.jinja"] = tokenizer.chat_template
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            write_file(folder / name, content)
    except OSError as error:
        fault = Fault("folder", str(folder), f"cannot be written: {error.strerror}", "choose another folder")
        raise TokenizerError("save", fault) from error


def write_file(path: Path, content: str) -> None:
    """Write a file that takes its name once all of it is on the disk.

    Args:
        path: of the file, in a folder that stands.
        content: its text.

    Raises:
        OSError: it cannot be written; what stood there stands.
    """
    with new_file(path) as file:
        file.write(content.encode())
