r"""How byte-level vocabularies cut text before merging: the pre-tokenisers that GGUF files name.

Each entry is the list of patterns of one model's published `tokenizer.json`; each pattern isolates its matches in what
the one before it left. The names are those of `tokenizer.ggml.pre` in llama.cpp.
"""

from __future__ import annotations

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SPACES = r"|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _words(digits: str, letter: str = r"\p{L}", other: str = r"[^\s\p{L}\p{N}]", tail: str = r"[\r\n]*") -> str:
    """The GPT-4 pattern, in the variants that differ in their digits and letters."""
    return rf"{_ENDINGS}|[^\r\n\p{{L}}\p{{N}}]?{letter}+|{digits}| ?{other}+{tail}{_SPACES}"


def _cased_words(digits: str, endings: str = "") -> str:
    """The GPT-4o pattern: a word is capitals and then small letters."""
    before = r"[^\r\n\p{L}\p{N}]?"
    return (
        rf"{before}{_UPPER}*{_LOWER}+{endings}|{before}{_UPPER}+{_LOWER}*{endings}|{digits}"
        rf"| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*{_SPACES}"
    )


_LLAMA3 = _words(r"\p{N}{1,3}")
_QWEN2 = _words(r"\p{N}")
_GPT4O = _cased_words(r"\p{N}{1,3}", f"{_ENDINGS}?")
_DIGITS = r"\p{N}"
# DeepSeek lists the letters that have case, up to Unicode 7 or so: these blocks are not among them.
_LATER_LETTERS = (
    "\u0560-\u0588\u10c7\u10cd\u10d0-\u10ff\u1c80-\u1c88\u2cf2\u2d00-\u2d2d\ua790-\ua7ff\uab30-\uab68"
    "\U00010570-\U000105bc\U00016e40-\U00016e7f\U0001d400-\U0001d7cb\U0001df00-\U0001df1e"
)
_CASED = rf"[\p{{Lu}}\p{{Ll}}\p{{Lt}}&&[^{_LATER_LETTERS}]]"
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
_DEEPSEEK_SIGNS = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+"
_ASCII_WORD = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
_DEEPSEEK3 = rf"{_ASCII_WORD}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*{_SPACES}"
_CLAUSES = " ?[^(\\s|.,!?…。，、।۔،)]+"

_NAMES: dict[tuple[str, ...], str] = {
    (r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"): "default",
    (GPT2,): "gpt-2 phi-2 jina-es jina-de jina-v1-en jina-v2-es jina-v2-de jina-v2-code roberta-bpe gigachat a.x-4.0 "
    "mellum modern-bert mpt olmo jais trillion granite-docling exaone4",
    (_DIGITS, GPT2): "smollm starcoder refact command-r codeshell exaone minerva-7b",
    (
        _LLAMA3,
    ): "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano dbrx smaug-bpe glm4 chatglm-bpe",
    (_QWEN2,): "qwen2 deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan solar-open grok-2",
    (_words(_DIGITS, r"[\p{L}\p{M}]", r"[^\s\p{L}\p{M}\p{N}]"),): "qwen35",
    (_words(_DIGITS, other=r"[^\s\p{L}\p{N}\r\n]", tail=""),): "seed-coder",
    (r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"): "falcon",
    (_cased_words(_DIGITS),): "tekken",
    (_GPT4O,): "gpt-4o llama4 kanana2 minimax-m2",
    (r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O): "tiny_aya",
    ("[\r\n]", rf"\s?{_CASED}+", _DEEPSEEK_SIGNS, r"\s+$", _CJK, r"\p{N}+"): "deepseek-llm",
    ("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, _DIGITS): "deepseek-coder",
    (r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", _DEEPSEEK3): "deepseek-v3 hunyuan-dense joyai-llm",
    (_CLAUSES,): "poro-chat bloom gpt3-finnish",
    (_CLAUSES, _DIGITS): "viking",
}

SPLITS: dict[str, tuple[str, ...]] = {name: patterns for patterns, names in _NAMES.items() for name in names.split()}
"""The patterns of each pre-tokeniser, by its GGUF name."""

WHOLE_TOKENS = frozenset({*_NAMES[(_LLAMA3,)].split(), "tekken"} - {"dbrx", "smaug-bpe", "glm4", "chatglm-bpe"})
"""Vocabularies in which a word that is a token is taken whole, without following the merges."""
