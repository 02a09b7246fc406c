"""A saved model comes back whole, and its verbs give what the parts give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import stemma
from stemma.errors import CheckpointError, InputError
from stemma.families import family
from stemma.generation import Beam, Greedy, Sample, beam_paths, generate, next_tokens
from stemma.nn import Output
from stemma.pretrained import Pretrained
from stemma.spec import Decoder, Encoder, EncoderDecoder, Family, Permutation
from stemma.spec.parts import BlockPositions, Learned, Rotary
from stemma.spec.pooling import Pooling
from stemma.text import Tokenizer, train

from .tiny import apart, marked, networks, random_model, results, run, small_parts, tiny, untold

TEXTS = ["the first of the texts", "another one, and longer than the first of the texts", "x"]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return train(TEXTS * 3, vocab_size=280)


def _made(name: str, tokenizer: Tokenizer | None, pooling: Pooling | None = None) -> Pretrained:
    known = family(name)
    vocab_size = tokenizer.vocab_size if tokenizer else 37
    sizes: dict[str, Any] = small_parts(known, vocab_size - 1) | {"vocab_size": vocab_size}
    match known.traits["position"]:
        case Learned(offset=offset):
            sizes["position"] = Learned(80 + offset, offset)
        case BlockPositions(max_block=rows):
            sizes["position"] = BlockPositions(80, rows)
        case Rotary(fraction=fraction):
            sizes["d_head"] = 6 if fraction == 1 else 12
    if known.checkpoint is not None:
        sizes |= untold(known.checkpoint)
    # Heads that every format can tell of.
    model = random_model(tiny(known, **{"d_model": 24, "n_kv_heads": 4} | sizes))
    facts = {"decoder_start_token_id": 3} if model.architecture.kind == "encoder-decoder" else {}
    return Pretrained(name, model, tokenizer, known, pooling, facts)


def _results(lm: Pretrained) -> dict[str, torch.Tensor]:
    output: Output = run(lm.model, torch.tensor([[5, 17, 2, 30]]))
    return results(output)


def _has_a_class(known: Family) -> bool:
    """Whether a family's heads are those of one of its format's classes, or its format is ours."""
    heads = {type(head) for head in known.traits["heads"]}
    variants = known.checkpoint.variants if known.checkpoint else ()
    return not variants or heads in [{type(head) for head in variant.heads} for variant in variants]


WRITABLE = [known for known in networks(Encoder, Decoder, EncoderDecoder, Permutation) if _has_a_class(known)]


@pytest.mark.parametrize("family", marked(WRITABLE))
def test_what_is_saved_is_loaded(family: stemma.spec.Family, tokenizer: Tokenizer, tmp_path: Path) -> None:
    first = _made(family.name, tokenizer)
    first.save(tmp_path / "saved")
    again = stemma.load(tmp_path / "saved")
    assert (again.architecture, again.family.name) == (first.architecture, family.name)
    assert all(torch.equal(value, _results(first)[name]) for name, value in _results(again).items())
    assert again.tokenizer is not None
    assert all(again.tokenizer.encode(text) == tokenizer.encode(text) for text in TEXTS)
    with pytest.raises(CheckpointError, match="exists"):
        first.save(tmp_path / "saved")
    first.save(tmp_path / "saved", overwrite=True)


# Those that read images are asked with images, in the tests of these.
WRITERS = [known for known in networks(Decoder, EncoderDecoder) if known.traits["vision"] is None]


@pytest.mark.slow
@pytest.mark.parametrize("family", marked(WRITERS))
def test_the_verbs_give_what_the_parts_give(family: stemma.spec.Family, tokenizer: Tokenizer, tmp_path: Path) -> None:
    _made(family.name, tokenizer).save(tmp_path / "saved")
    lm = stemma.load(tmp_path / "saved")
    start = 3 if lm.architecture.kind == "encoder-decoder" else None
    for strategy in (Greedy(), Beam(width=3), Sample(seed=5)):
        expected = generate(lm.model, tokenizer, TEXTS, strategy, 9, decoder_start=start)
        assert lm.generate(TEXTS, strategy, max_new_tokens=9) == [best.text for best, *_ in expected]
        assert lm.generate(TEXTS[0], strategy, max_new_tokens=9) == expected[0][0].text
    pieces: list[str] = []
    assert lm.generate(TEXTS[1], max_new_tokens=9, stream=pieces.append) == "".join(pieces)
    found = lm.next(TEXTS[0], top=4)
    assert [token.id for token in found] == [
        token.id for token in next_tokens(lm.model, tokenizer, TEXTS[0], 4, decoder_start=start)
    ]
    paths = beam_paths(lm.model, tokenizer, TEXTS[0], 3, 4, decoder_start=start)
    assert [path.text for path in lm.beams(TEXTS[0], 3, 4)] == [path.text for path in paths]
    score = lm.score(TEXTS[0], " first")
    assert score.loss == pytest.approx(-sum(token.logprob for token in score.tokens))


def test_a_folder_without_a_tokenizer_has_none(tmp_path: Path) -> None:
    _made("gpt2", None).save(tmp_path / "saved")
    lm = stemma.load(tmp_path / "saved")
    assert lm.tokenizer is None
    assert _results(lm)["logits"].shape[-1] == 37
    with pytest.raises(InputError, match="tokenizer=None is missing"):
        lm.generate("x")


def test_the_precision_is_the_one_asked_for(tmp_path: Path) -> None:
    made = _made("llama", None)
    made.save(tmp_path / "saved")
    assert stemma.load(tmp_path / "saved", dtype="bfloat16").model.embeddings.token.weight.dtype == torch.bfloat16
    double = stemma.load(tmp_path / "saved", dtype=torch.float64)
    assert apart(_results(double)["logits"], _results(made)["logits"]) < 1e-5
    with pytest.raises(InputError, match="dtype='float31' is unknown; use one of float32"):
        stemma.load(tmp_path / "saved", dtype="float31")


def test_a_stream_takes_one_text(tokenizer: Tokenizer) -> None:
    with pytest.raises(InputError, match="takes one text"):
        _made("gpt2", tokenizer).generate(TEXTS, stream=print)  # type: ignore[call-overload]


def test_pooling_is_saved_with_the_model(tokenizer: Tokenizer, tmp_path: Path) -> None:
    first = _made("bert", tokenizer, Pooling("cls", normalise=True, max_tokens=12))
    first.save(tmp_path / "saved")
    again = stemma.load(tmp_path / "saved")
    assert again.pooling == first.pooling
    assert (again.embed(TEXTS) == first.embed(TEXTS)).all()
