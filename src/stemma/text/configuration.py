"""The JSON files beside a vocabulary: which tokens play which part, what ends a text, how the model chats."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken

from stemma.errors import Fault, TokenizerError
from stemma.text.tokenizer import ROLES, Roles
from stemma.text.vocabulary import check


def read_text(path: Path) -> str:
    """Read a UTF-8 file.

    Raises:
        TokenizerError: the file cannot be read or is no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror or "error") if isinstance(error, OSError) else error.reason
        fault = Fault("file", path.name, f"cannot be read: {reason}", "copy the file again")
        raise TokenizerError(str(path), fault) from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        TokenizerError: the file cannot be read, is no JSON or is no object.
    """
    try:
        value = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        fault = Fault("file", path.name, f"is no JSON: {error}", "copy the file again")
        raise TokenizerError(str(path), fault) from error
    if not isinstance(value, dict):
        raise TokenizerError(str(path), Fault("file", path.name, "holds no JSON object", "copy the file again"))
    return value


def _name(value: object) -> str | None:
    """The token of an entry: a string, or the fields of an added token."""
    content = value.get("content") if isinstance(value, Mapping) else value
    return content if isinstance(content, str) else None


def _ids(value: object) -> list[int]:
    return [i for i in (value if isinstance(value, list) else [value]) if isinstance(i, int)]


@dataclass(frozen=True)
class Configuration:
    """What a folder's JSON files say about its tokenizer.

    Args:
        tokenizer: `tokenizer_config.json` over `special_tokens_map.json`.
        model: `config.json`.
        generation: `generation_config.json`.
        template: the chat template.
    """

    tokenizer: Mapping[str, Any]
    model: Mapping[str, Any]
    generation: Mapping[str, Any]
    template: str | None

    @property
    def family(self) -> str | None:
        """The class of tokenizer that the files ask for, without `Tokenizer` or `Fast`: `Bert`, `Llama`, ..."""
        name = self.tokenizer.get("tokenizer_class")
        if not isinstance(name, str) or name.startswith(("PreTrained", "TokenizersBackend")):
            return None
        return name.removesuffix("Fast").removesuffix("Tokenizer")

    def token(self, role: str, default: str | None = None) -> str | None:
        """The token that plays a part."""
        return _name(self.tokenizer.get(f"{role}_token")) or default

    def _added(self) -> Iterable[tuple[int | None, AddedToken]]:
        """Every token that stands whole in a text, with its id where it is given."""
        decoder = self.tokenizer.get("added_tokens_decoder") or {}
        for key, value in sorted(decoder.items(), key=lambda item: int(item[0])):
            yield int(key), _added_token(value, special=bool(value.get("special")))
        extra = self.tokenizer.get("additional_special_tokens") or self.tokenizer.get("extra_special_tokens") or []
        for value in [self.tokenizer.get(f"{role}_token") for role in ROLES] + list(
            extra if isinstance(extra, list) else ()
        ):
            if _name(value) is not None:
                yield None, _added_token(value, special=True)

    def complete(self, backend: tokenizers.Tokenizer, where: str) -> None:
        """Give a vocabulary the added tokens that only the configuration names.

        Raises:
            TokenizerError: a token whose id is not the one that the configuration gives.
        """
        faults = []
        for token_id, token in self._added():
            held = {added.content: added for added in backend.get_added_tokens_decoder().values()}
            known = held.get(token.content)
            if known is None or (token.special and not known.special):
                (backend.add_special_tokens if token.special else backend.add_tokens)([token])
            found = backend.token_to_id(token.content)
            if token_id is not None and found != token_id:
                faults.append(
                    Fault(
                        "added_tokens_decoder", token.content, f"has the id {found}, not {token_id}", "correct the file"
                    )
                )
        check(where, faults)

    def roles(self, backend: tokenizers.Tokenizer, defaults: Mapping[str, str | None]) -> Roles:
        """The ids with a part to play: by name, else by the model's own ids, else by the vocabulary's custom."""
        found: dict[str, int] = {}
        for role in ROLES:
            name = self.token(role) or (None if self._by_id(role) else defaults.get(role))
            token_id = backend.token_to_id(name) if name is not None else None
            ids = [token_id] if token_id is not None else self._by_id(role)
            if ids:
                found[role] = ids[0]
        return Roles(**found)

    def _by_id(self, role: str) -> list[int]:
        return [] if self.tokenizer else _ids(self.model.get(f"{role}_token_id"))

    def stops(self, backend: tokenizers.Tokenizer) -> list[int]:
        """The ids that end generation, beside the end token itself."""
        names = [backend.token_to_id(name) for name in self.tokenizer.get("stop_tokens") or ()]
        return [i for i in names if i is not None] + _ids(self.generation.get("eos_token_id"))


def _added_token(value: Any, special: bool) -> AddedToken:
    keys = ("lstrip", "rstrip", "single_word", "normalized")
    flags = {key: bool(value.get(key, False)) for key in keys} if isinstance(value, Mapping) else {"normalized": False}
    return AddedToken(_name(value) or "", special=special, **flags)


def read_configuration(folder: Path) -> Configuration:
    """Read the JSON files of a folder; what is missing says nothing.

    Raises:
        TokenizerError: files that are broken, all of them named.
    """
    faults: list[Fault] = []

    def optional(name: str) -> dict[str, Any]:
        try:
            return read_json(folder / name) if (folder / name).is_file() else {}
        except TokenizerError as error:
            faults.extend(error.faults)
            return {}

    tokenizer = optional("special_tokens_map.json") | optional("tokenizer_config.json")
    model, generation = optional("config.json"), optional("generation_config.json")
    check(str(folder), faults + _misshapen(tokenizer))
    template = tokenizer.get("chat_template")
    if isinstance(template, list):
        template = {entry["name"]: entry["template"] for entry in template}.get("default")
    path = folder / "chat_template.jinja"
    return Configuration(tokenizer, model, generation, read_text(path) if path.is_file() else template)


def _misshapen(tokenizer: Mapping[str, Any]) -> list[Fault]:
    """Entries of `tokenizer_config.json` that are not what their names promise."""

    def has(value: object, *keys: str) -> bool:
        return isinstance(value, Mapping) and all(isinstance(value.get(key), str) for key in keys)

    template = tokenizer.get("chat_template") or ""
    added, stops = tokenizer.get("added_tokens_decoder") or {}, tokenizer.get("stop_tokens") or []
    whole = {
        "chat_template": isinstance(template, str)
        or (isinstance(template, list) and all(has(entry, "name", "template") for entry in template)),
        "added_tokens_decoder": isinstance(added, Mapping)
        and all(key.isdecimal() and has(value, "content") for key, value in added.items()),
        "stop_tokens": isinstance(stops, list) and all(isinstance(token, str) for token in stops),
    }
    for name in (f"{role}_token" for role in ROLES):
        value = tokenizer.get(name)
        whole[name] = value is None or isinstance(value, str) or has(value, "content")
    return [
        Fault(key, tokenizer[key], "is not of the usual shape", "correct tokenizer_config.json")
        for key, right in whole.items()
        if not right
    ]
