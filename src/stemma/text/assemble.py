"""Every kind of vocabulary, assembled from its parts and checked as a whole first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from stemma.errors import Fault, TokenizerError
from stemma.text.charsmap import charsmap_faults
from stemma.text.splits import GPT2
from stemma.text.vocabulary import Merge, check, index, merge_faults

SPACE = "▁"


def byte_bpe(
    vocab: Mapping[str, int],
    merges: Sequence[Merge],
    where: str,
    splits: Sequence[str] = (GPT2,),
    *,
    whole_tokens: bool = False,
    prefix_space: bool = False,
) -> Tokenizer:
    """Byte-level BPE (Radford et al. 2019, section 2.2): any text can be written, so nothing is unknown.

    Published vocabularies lack bytes that their training text lacked; those drop out, in their own code too.

    Args:
        vocab: the id of each token, bytes written in `byte_alphabet`.
        merges: from the first to the last.
        where: the file, for the error.
        splits: the patterns that cut the text first.
        whole_tokens: whether a word that is a token is taken whole.
        prefix_space: whether a text begins as if a space stood before it.

    Raises:
        TokenizerError: merges that need tokens which the vocabulary lacks.
    """
    check(where, merge_faults(vocab, merges))
    backend = Tokenizer(models.BPE(dict(vocab), list(merges), ignore_merges=whole_tokens))
    cuts = [pre_tokenizers.Split(Regex(split), behavior="isolated") for split in splits]
    if tuple(splits) == (GPT2,):
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=True)
    else:
        backend.pre_tokenizer = pre_tokenizers.Sequence(
            [*cuts, pre_tokenizers.ByteLevel(add_prefix_space=prefix_space, use_regex=False)]
        )
    backend.decoder = decoders.ByteLevel()
    return backend


@dataclass(frozen=True)
class SentenceRules:
    """What SentencePiece does to a text around its pieces.

    Args:
        prefix: whether a space goes before the text.
        trim: whether spaces at the ends go and runs of spaces become one.
        byte_pieces: whether `<0x00>` to `<0xFF>` write what has no piece.
        charsmap: the compiled normalisation.
        before: normalisers that run first.
    """

    prefix: bool = True
    trim: bool = False
    byte_pieces: bool = False
    charsmap: bytes = b""
    before: tuple[normalizers.Normalizer, ...] = ()

    def give(self, backend: Tokenizer) -> Tokenizer:
        """Set a backend's normaliser and decoder."""
        steps = list(self.before)
        if self.charsmap:
            steps.append(normalizers.Precompiled(self.charsmap))
        if self.trim:
            steps += [normalizers.Replace(Regex("^ +| +$"), ""), normalizers.Replace(Regex(" {2,}"), " ")]
        # The space before the text goes in while spaces are spaces: it is there whatever the text begins with.
        if self.prefix:
            steps.append(normalizers.Prepend(SPACE))
        steps.append(normalizers.Replace(" ", SPACE))
        backend.normalizer = normalizers.Sequence(steps)
        reading = [decoders.Replace(SPACE, " "), decoders.Fuse()]
        if self.byte_pieces:
            reading.insert(1, decoders.ByteFallback())
        if self.prefix:
            reading.append(decoders.Strip(" ", 1, 0))
        backend.decoder = decoders.Sequence(reading)
        return backend


def sentence_bpe(
    vocab: Mapping[str, int], merges: Sequence[Merge], where: str, rules: SentenceRules, *, unk: str | None
) -> Tokenizer:
    """SentencePiece's BPE: spaces are letters, and what the vocabulary lacks is written in bytes or is unknown.

    Args:
        vocab: the id of each piece, spaces written `▁`.
        merges: from the first to the last.
        where: the file, for the error.
        rules: what happens around the pieces.
        unk: the piece for what cannot be written.

    Raises:
        TokenizerError: parts of merges, bytes or the unknown piece are missing.
    """
    faults = merge_faults(vocab, merges) + charsmap_faults(rules.charsmap)
    missing = [piece for byte in range(256) if (piece := f"<0x{byte:02X}>") not in vocab]
    if rules.byte_pieces and missing:
        faults.append(Fault("tokens", missing, "are bytes that the vocabulary lacks", "add them"))
    if unk is not None and unk not in vocab:
        faults.append(Fault("unk", unk, "is not in the vocabulary", "add it"))
    check(where, faults)
    model = models.BPE(dict(vocab), list(merges), unk_token=unk, fuse_unk=True, byte_fallback=rules.byte_pieces)
    return rules.give(Tokenizer(model))


def unigram(pieces: Sequence[tuple[str, float]], where: str, rules: SentenceRules, *, unk: int) -> Tokenizer:
    """A unigram language model over pieces (Kudo 2018): the likeliest way to cut the text.

    Args:
        pieces: each with its log-probability, in the order of their ids.
        where: the file, for the error.
        rules: what happens around the pieces.
        unk: the id for what cannot be written.

    Raises:
        TokenizerError: a piece stands twice, `unk` is no id, or a score or the normalisation is broken.
    """
    index([piece for piece, _ in pieces], where)
    faults = charsmap_faults(rules.charsmap)
    if not 0 <= unk < len(pieces):
        faults.append(Fault("unk", unk, f"lies outside the vocabulary of {len(pieces)}", "name an id"))
    faults += [
        Fault(f"scores[{place}]", score, "must be finite", "train the vocabulary again")
        for place, (_, score) in enumerate(pieces)
        if not math.isfinite(score)
    ]
    check(where, faults)
    return rules.give(Tokenizer(models.Unigram(list(pieces), unk_id=unk, byte_fallback=rules.byte_pieces)))


def wordpiece(
    vocab: Mapping[str, int],
    where: str,
    *,
    unk: str = "[UNK]",
    lowercase: bool = True,
    strip_accents: bool | None = None,
    chinese: bool = True,
) -> Tokenizer:
    """BERT's WordPiece: words are cut at spaces and punctuation, then into the longest pieces from the left.

    Args:
        vocab: the id of each piece, `##` before those inside a word.
        where: the file, for the error.
        unk: the token for a word that cannot be cut.
        lowercase: whether capitals become small letters.
        strip_accents: whether accents go; None: where capitals go.
        chinese: whether every Chinese character is a word.

    Raises:
        TokenizerError: `unk` is not in the vocabulary.
    """
    if unk not in vocab:
        raise TokenizerError(where, Fault("unk", unk, "is not in the vocabulary", "add it or name the one that is"))
    backend = Tokenizer(models.WordPiece(dict(vocab), unk_token=unk))
    backend.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=chinese, strip_accents=strip_accents, lowercase=lowercase
    )
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece("##")
    return backend


def suffix_bpe(vocab: Mapping[str, int], merges: Sequence[Merge], where: str, *, unk: str = "<unk>") -> Tokenizer:
    """The first GPT's BPE (Radford et al. 2018): lowercase words, the last piece of each ending in `</w>`.

    Raises:
        TokenizerError: parts of merges, or `unk`, that the vocabulary lacks.
    """
    faults = merge_faults(vocab, merges)
    if unk not in vocab:
        faults.append(Fault("unk", unk, "is not in the vocabulary", "add it"))
    check(where, faults)
    backend = Tokenizer(models.BPE(dict(vocab), list(merges), unk_token=unk, end_of_word_suffix="</w>", fuse_unk=False))
    backend.normalizer = normalizers.BertNormalizer(lowercase=True)
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.BPEDecoder("</w>")
    mark(backend, [unk])
    return backend


def mark(backend: Tokenizer, special: Iterable[str], whole: Iterable[str] = (), lstrip: Iterable[str] = ()) -> None:
    """Take tokens of the vocabulary whole wherever they are written.

    Args:
        backend: where they are tokens; those that are not get ids at the end.
        special: left out when ids become text.
        whole: text like any other.
        lstrip: those of `special` that swallow the spaces before them, as BERT-like masks do.
    """
    swallowing = frozenset(lstrip)
    tokens = [AddedToken(t, special=True, normalized=False, lstrip=t in swallowing) for t in dict.fromkeys(special)]
    backend.add_special_tokens(tokens)
    backend.add_tokens([AddedToken(token, special=False, normalized=False) for token in dict.fromkeys(whole)])


def frame(backend: Tokenizer, single: str, pair: str) -> None:
    """Say what goes around a text, and around two.

    Args:
        backend: holds every token named.
        single: tokens with their segment, `$A` for the text: `[CLS]:0 $A:0 [SEP]:0`.
        pair: the same with `$B` for the second text.
    """
    names = {part.rpartition(":")[0] for part in f"{single} {pair}".split()} - {"$A", "$B"}
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=pair, special_tokens=[(name, backend.token_to_id(name)) for name in sorted(names)]
    )


def frame_sentence(backend: Tokenizer, bos: str | None, eos: str | None) -> None:
    """Put `bos` before and `eos` after every text, where they are given."""

    def around(text: str, segment: int) -> str:
        return " ".join(f"{part}:{segment}" for part in (bos, text, eos) if part is not None)

    if bos is not None or eos is not None:
        frame(backend, around("$A", 0), f"{around('$A', 0)} {around('$B', 1)}")
