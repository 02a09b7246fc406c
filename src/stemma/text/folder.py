"""A folder of tokenizer files -> Tokenizer."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import normalizers

from stemma.errors import Fault, TokenizerError
from stemma.text import assemble
from stemma.text.charsmap import charsmap_faults
from stemma.text.configuration import Configuration, read_configuration, read_json, read_text
from stemma.text.sentencepiece import PieceType, backend_of, parse_model, sentinels
from stemma.text.splits import GPT2, SPLITS
from stemma.text.tokenizer import Tokenizer
from stemma.text.vocabulary import check, index, is_cased, merge_faults, read_merges

_Named = dict[str, str | None]
_SENTENCEPIECE_FILES = ("spiece.model", "tokenizer.model", "sentencepiece.bpe.model")
_BERT: _Named = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_CUSTOM: _Named = {
    **_BERT, "bos": "<s>", "eos": "</s>", "unk": "<unk>", "pad": "<pad>", "mask": "<mask>",
}  # fmt: skip
_T5_SENTINELS = 100


def read_tokenizer(folder: str | Path, *, extra_ids: int | None = None) -> Tokenizer | None:
    """Read the tokenizer of a model's folder.

    It takes the first that is there: `tokenizer.json`; `vocab.txt` (WordPiece); `vocab.json` and `merges.txt` (BPE);
    a SentencePiece model. `tokenizer_config.json` and its neighbours say the rest.

    Args:
        folder: with or without other files.
        extra_ids: how many sentinels follow a SentencePiece vocabulary; None: what the folder says, 100 for T5.

    Returns:
        the tokenizer, or None where the folder holds no tokenizer file.

    Raises:
        TokenizerError: broken files, or ones that do not fit together.
    """
    folder = Path(folder)
    sentencepiece = next((folder / name for name in _SENTENCEPIECE_FILES if (folder / name).is_file()), None)
    single, words, merges = folder / "tokenizer.json", folder / "vocab.txt", folder / "merges.txt"
    if not (single.is_file() or words.is_file() or merges.is_file() or sentencepiece):
        return None
    said = read_configuration(folder)
    defaults: _Named = {}
    if single.is_file():
        backend = _read_single(single, said)
        defaults = {role: name for role, name in _CUSTOM.items() if name and backend.token_to_id(name) is not None}
        defaults |= {role: name for role, name in _BERT.items() if name and backend.token_to_id(name) is not None}
    elif words.is_file():
        backend, defaults = _read_wordpiece(words, said), _BERT
    elif merges.is_file():
        backend, defaults = _read_bpe(folder, said)
    else:
        assert sentencepiece is not None
        backend, defaults = _read_sentencepiece(sentencepiece, said, extra_ids)
    said.complete(backend, str(folder))
    if single.is_file():
        _frame_as_said(backend, said)
    return Tokenizer(backend, said.roles(backend, defaults), chat_template=said.template, stops=said.stops(backend))


def _read_single(path: Path, said: Configuration) -> tokenizers.Tokenizer:
    text = read_text(path)
    try:
        backend = tokenizers.Tokenizer.from_str(text)
    except Exception as error:
        # The Rust library raises nothing more precise.
        check(str(path), _faults_of_single(path))
        fault = Fault("tokenizer.json", str(error), "is what the reader says", "write the file anew")
        raise TokenizerError(str(path), fault) from error
    if backend.normalizer is not None:
        check(str(path), _faults_of_normaliser(json.loads(backend.normalizer.__getstate__())))
    holders: dict[int, list[str]] = {}
    for token, token_id in backend.get_vocab().items():
        holders.setdefault(token_id, []).append(token)
    check(
        str(path),
        [
            Fault("vocab", sorted(tokens), f"all have the id {token_id}", "give each its own")
            for token_id, tokens in holders.items()
            if len(tokens) > 1
        ],
    )
    return backend


def _faults_of_normaliser(state: Mapping[str, Any]) -> list[Fault]:
    if state["type"] == "Sequence":
        return [fault for step in state["normalizers"] for fault in _faults_of_normaliser(step)]
    return charsmap_faults(base64.b64decode(state.get("precompiled_charsmap", "")))


def _frame_as_said(backend: tokenizers.Tokenizer, said: Configuration) -> None:
    """Follow `add_bos_token` and `add_eos_token`, which outrank the file for the tokenizers that know them."""
    wanted = {role: said.tokenizer.get(f"add_{role}_token") for role in ("bos", "eos")}
    if all(value is None for value in wanted.values()):
        return
    names = {role: said.token(role) if value else None for role, value in wanted.items()}
    assemble.frame(backend, "$A:0", "$A:0 $B:1")
    assemble.frame_sentence(backend, names["bos"], names["eos"])


def _faults_of_single(path: Path) -> list[Fault]:
    """What makes a `tokenizer.json` unreadable, as far as it can be told."""
    model = read_json(path).get("model")
    if not isinstance(model, Mapping):
        return [Fault("model", model, "is no vocabulary", "write the file anew")]
    vocab, merges = model.get("vocab"), model.get("merges")
    if not isinstance(vocab, Mapping) or not isinstance(merges, list):
        return []
    pairs: list[Any] = [tuple(merge.split(" ", 1)) if isinstance(merge, str) else tuple(merge) for merge in merges]
    faults = [
        Fault(f"merges[{place}]", merge, "is no pair of tokens", "write two tokens")
        for place, merge in enumerate(pairs)
        if len(merge) != 2
    ]
    return faults or merge_faults(vocab, pairs)


def _read_wordpiece(path: Path, said: Configuration) -> tokenizers.Tokenizer:
    tokens = read_text(path).removesuffix("\n").split("\n")
    vocab = index([token.removesuffix("\r") for token in tokens], str(path))
    names = {role: said.token(role, default) for role, default in _BERT.items()}
    backend = assemble.wordpiece(
        vocab, str(path), unk=names["unk"] or "[UNK]",
        # A vocabulary without capitals is one of small letters.
        lowercase=bool(said.tokenizer.get("do_lower_case", not is_cased(vocab))),
        strip_accents=said.tokenizer.get("strip_accents"),
        chinese=bool(said.tokenizer.get("tokenize_chinese_chars", True)),
    )  # fmt: skip
    cls, sep = names["cls"], names["sep"]
    if cls in vocab and sep in vocab:
        assemble.frame(backend, f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")
    assemble.mark(backend, [name for name in names.values() if name in vocab])
    return backend


def _read_bpe(folder: Path, said: Configuration) -> tuple[tokenizers.Tokenizer, _Named]:
    path = folder / "merges.txt"
    lines = [line for line in read_text(path).split("\n") if line]
    if lines and lines[0].startswith("#version"):
        del lines[0]
    merges = read_merges(lines, str(path))
    vocab, where = read_json(folder / "vocab.json"), str(folder)
    check(
        where,
        [
            Fault(f"vocab.json: {token}", i, "is no id", "give each token a number from 0 on")
            for token, i in vocab.items()
            if type(i) is not int or not 0 <= i < 1 << 32
        ],
    )
    prefix_space = bool(said.tokenizer.get("add_prefix_space", False))
    match said.family:
        case None | "GPT2":
            if any(token.endswith("</w>") for token in vocab):
                return assemble.suffix_bpe(vocab, merges, where), {"unk": "<unk>"}
            backend = assemble.byte_bpe(vocab, merges, where, (GPT2,), prefix_space=prefix_space)
            bos = said.token("bos") if said.tokenizer.get("add_bos_token") else None
            assemble.frame_sentence(backend, bos, None)
            end = "<|endoftext|>" if "<|endoftext|>" in vocab else None
            assemble.mark(backend, [end] if end else [])
            return backend, {"bos": end, "eos": end, "unk": end}
        case "OpenAIGPT":
            return assemble.suffix_bpe(vocab, merges, where), {"unk": "<unk>"}
        case "Roberta" | "Bart":
            backend = assemble.byte_bpe(vocab, merges, where, (GPT2,), prefix_space=prefix_space)
            names: _Named = {**_CUSTOM, "cls": "<s>", "sep": "</s>"}
            assemble.mark(backend, [name for name in names.values() if name in vocab], lstrip=["<mask>"])
            assemble.frame(backend, "<s>:0 $A:0 </s>:0", "<s>:0 $A:0 </s>:0 </s>:0 $B:0 </s>:0")
            return backend, names
        case "Qwen2":
            backend = assemble.byte_bpe(vocab, merges, where, SPLITS["qwen2"])
            backend.normalizer = normalizers.NFC()
            return backend, {}
        case other:
            raise _unknown_family(where, other, "GPT2, OpenAIGPT, Roberta, Bart or Qwen2")


def _read_sentencepiece(path: Path, said: Configuration, extra_ids: int | None) -> tuple[tokenizers.Tokenizer, _Named]:
    try:
        model = parse_model(path.read_bytes(), str(path))
    except OSError as error:
        fault = Fault("file", str(path), f"cannot be read: {error.strerror}", "check the path")
        raise TokenizerError(str(path), fault) from error
    family = said.family or {"t5": "T5", "mt5": "T5", "albert": "Albert", "xlnet": "XLNet"}.get(
        str(said.model.get("model_type"))
    )
    named: _Named = {role: model.named(getattr(model, role)) for role in ("unk", "bos", "eos", "pad")}
    before: tuple[normalizers.Normalizer, ...] = ()
    if family in ("Albert", "XLNet"):
        before = _old_cleaning(said, lowercase=family == "Albert")
        named |= {"cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"} if family == "Albert" else {
            "bos": "<s>", "eos": "</s>", "cls": "<cls>", "sep": "<sep>", "mask": "<mask>"
        }  # fmt: skip
    if extra_ids is None:
        extra_ids = said.tokenizer.get("extra_ids", _T5_SENTINELS if family in ("T5", "MT5") else 0)
    backend = backend_of(model, str(path), before, sentinels(extra_ids))
    cls, sep = named.get("cls"), named.get("sep")
    bos, eos = named["bos"], named["eos"]
    match family:
        case "Albert":
            assemble.frame(backend, f"{cls}:0 $A:0 {sep}:0", f"{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")
        case "XLNet":
            assemble.frame(backend, f"$A:0 {sep}:0 {cls}:2", f"$A:0 {sep}:0 $B:1 {sep}:1 {cls}:2")
        case "T5" | "MT5":
            assemble.frame_sentence(backend, None, eos)
        case None | "Llama" | "CodeLlama" | "Mistral" | "Gemma":
            begins = said.tokenizer.get("add_bos_token", bos is not None)
            ends = said.tokenizer.get("add_eos_token", bos is None)
            assemble.frame_sentence(backend, bos if begins else None, eos if ends else None)
        case other:
            raise _unknown_family(str(path), other, "T5, MT5, Albert, XLNet, Llama, CodeLlama, Mistral or Gemma")
    controls = {piece for piece, _, kind in model.pieces if kind != PieceType.NORMAL}
    assemble.mark(backend, [name for name in named.values() if name in controls])
    return backend, named


def _old_cleaning(said: Configuration, lowercase: bool) -> tuple[normalizers.Normalizer, ...]:
    """What ALBERT and XLNet do to a text before SentencePiece sees it."""
    steps: list[normalizers.Normalizer] = [normalizers.Replace("``", '"'), normalizers.Replace("''", '"')]
    if not said.tokenizer.get("keep_accents", False):
        steps += [normalizers.NFKD(), normalizers.StripAccents()]
    if said.tokenizer.get("do_lower_case", lowercase):
        steps.append(normalizers.Lowercase())
    return tuple(steps)


def _unknown_family(where: str, family: str, known: str) -> TokenizerError:
    fault = Fault(
        "tokenizer_class", f"{family}Tokenizer", f"is none of {known}", "add its tokenizer.json to the folder"
    )
    return TokenizerError(where, fault)
