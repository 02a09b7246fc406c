"""From text to text: stop strings, streaming, and what a model thinks of a text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stemma.errors import InputError
from stemma.families import GPT2, LLAMA, T5
from stemma.generation import Beam, Greedy, Sample, StochasticBeam, beam_paths, generate, next_tokens, score
from stemma.nn import Model
from stemma.spec import Learned
from stemma.text import Tokenizer, train

CORPUS = ["The cat sat on the mat. The dog saw the cat and sat down.", "Ünïcode, naïve café; one two three four."] * 4
SPOKEN = "the cat 🙂 naïve 👩‍👩‍👧 done"


@pytest.fixture(scope="module", params=["bytebpe", "bpe", "unigram"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return train(CORPUS, kind=request.param, vocab_size=60 if request.param == "unigram" else 360)


@pytest.fixture(scope="module")
def byte_tokenizer() -> Tokenizer:
    return train(CORPUS, kind="bytebpe", vocab_size=300)


class Script:
    """A stepper that says what it is told to, and then ends."""

    def __init__(self, tokenizer: Tokenizer, *texts: str) -> None:
        self.vocab_size = tokenizer.vocab_size + 3
        end = min(tokenizer.stops) if tokenizer.stops else 0
        self.scripts = [[*tokenizer.encode(text, add_special=False), end] for text in texts]
        self.prompt_length = 0

    def start(self, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> torch.Tensor:
        self.rows = [(place, 0) for place in range(len(prompts))]
        return self._read()

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.rows = [(place, said + 1) for place, said in self.rows]
        return self._read()

    def reorder(self, rows: torch.Tensor) -> None:
        self.rows = [self.rows[row] for row in rows.tolist()]

    def history(self, prompt: Sequence[int]) -> list[int]:
        return list(prompt)

    def _read(self) -> torch.Tensor:
        logits = torch.zeros(len(self.rows), self.vocab_size)
        for row, (place, said) in enumerate(self.rows):
            script = self.scripts[place]
            logits[row, script[min(said, len(script) - 1)]] = 30.0
        return logits


class Heard:
    """Collects what is streamed, prompt by prompt."""

    def __init__(self) -> None:
        self.pieces: dict[int, list[str]] = {}

    def __call__(self, prompt: int, piece: str) -> None:
        assert piece
        self.pieces.setdefault(prompt, []).append(piece)

    def text(self, prompt: int) -> str:
        return "".join(self.pieces.get(prompt, []))


def test_characters_are_streamed_whole(byte_tokenizer: Tokenizer) -> None:
    heard = Heard()
    script = Script(byte_tokenizer, SPOKEN)
    assert len(script.scripts[0]) > len(SPOKEN)
    ((found,),) = generate(script, byte_tokenizer, ["The"], max_new_tokens=99, stream=heard)
    assert found.text == SPOKEN
    assert heard.text(0) == SPOKEN
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in heard.pieces[0])
    assert all(piece in SPOKEN for piece in heard.pieces[0])
    assert found.hypothesis.finished


def test_what_is_cut_by_the_limit_is_shown_as_it_is(byte_tokenizer: Tokenizer) -> None:
    heard = Heard()
    smile = byte_tokenizer.encode("🙂", add_special=False)
    assert len(smile) > 1
    script = Script(byte_tokenizer, "🙂")
    ((found,),) = generate(script, byte_tokenizer, ["The"], max_new_tokens=len(smile) - 1, stream=heard)
    assert found.text == heard.text(0) == "\N{REPLACEMENT CHARACTER}"
    assert not found.hypothesis.finished


def test_several_prompts_are_streamed_apart(byte_tokenizer: Tokenizer) -> None:
    heard = Heard()
    said = ["the cat sat.", SPOKEN, "one"]
    found = generate(Script(byte_tokenizer, *said), byte_tokenizer, ["a", "b", "c"], max_new_tokens=99, stream=heard)
    assert [best.text for (best, *_) in found] == said
    assert [heard.text(prompt) for prompt in range(3)] == said


@pytest.mark.parametrize("strategy", [Greedy(), Sample(), Beam(width=2), StochasticBeam(width=2)], ids=repr)
@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        (("sat on",), "the cat "),
        (("at", "cat"), "the "),
        (("the cat sat", "cat"), "the "),
        (("e c",), "th"),
        (("the cat",), ""),
        (("dog", "mat."), "the cat sat on the "),
        (("mat!", "mats"), "the cat sat on the mat."),
        (("🙂",), "the cat sat on the mat."),
    ],
)
def test_a_stop_string_is_cut_out_wherever_tokens_end(
    byte_tokenizer: Tokenizer, strategy: Any, stop: tuple[str, ...], expected: str
) -> None:
    heard = Heard()
    script = Script(byte_tokenizer, "the cat sat on the mat.")
    ((found,),) = generate(script, byte_tokenizer, ["The"], strategy, 99, stop=stop, stream=heard)
    assert found.text == expected
    assert heard.text(0) == expected
    assert found.hypothesis.finished
    text = byte_tokenizer.decode(found.hypothesis.tokens)
    assert text.startswith(expected)
    if expected != "the cat sat on the mat.":
        # It ends with the token that completes the stop string.
        assert any(piece in text for piece in stop)
        assert not any(piece in byte_tokenizer.decode(found.hypothesis.tokens[:-1]) for piece in stop)


@given(said=st.text("abc 🙂é", min_size=1, max_size=12), stop=st.text("abc 🙂é", min_size=1, max_size=3))
def test_streamed_text_is_the_text_before_the_stop_string(byte_tokenizer: Tokenizer, said: str, stop: str) -> None:
    heard = Heard()
    ((found,),) = generate(
        Script(byte_tokenizer, said), byte_tokenizer, ["The"], max_new_tokens=99, stop=(stop,), stream=heard
    )
    assert found.text == heard.text(0) == said.split(stop)[0]


def test_new_text_joins_the_prompt_as_it_was_written(tokenizer: Tokenizer) -> None:
    """A SentencePiece vocabulary leaves out a text's first space, which a continuation must keep."""
    prompt, whole = tokenizer.encode("the cat", add_special=False), tokenizer.encode("the cat sat", add_special=False)
    assert whole[: len(prompt)] == prompt
    script = Script(tokenizer, "")
    script.scripts = [[*whole[len(prompt) :], script.scripts[0][-1]]]
    ((found,),) = generate(script, tokenizer, [prompt], max_new_tokens=len(whole) - len(prompt))
    assert found.text == " sat"


def test_a_row_without_a_token_is_shown_and_not_fatal(byte_tokenizer: Tokenizer) -> None:
    script = Script(byte_tokenizer, "")
    script.scripts = [[byte_tokenizer.vocab_size + 1]]
    ((found,),) = generate(script, byte_tokenizer, ["The"], max_new_tokens=2)
    assert found.text == "\N{REPLACEMENT CHARACTER}" * 2
    assert next_tokens(script, byte_tokenizer, "The", top=1)[0].text == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("strategy", [Greedy(), Sample(seed=2), Beam(width=3, n_best=2)], ids=repr)
@pytest.mark.parametrize("family", [LLAMA, T5], ids=["decoder-only", "encoder-decoder"])
def test_texts_of_real_models_do_not_depend_on_the_batch(
    tiny: Callable[..., Model], byte_tokenizer: Tokenizer, family: Any, strategy: Any
) -> None:
    texts = ["The cat", "The dog saw the cat and", "one"]
    model = tiny(family, vocab_size=byte_tokenizer.vocab_size)
    options = {"max_new_tokens": 5, "stop": ("at",), "decoder_start": 0 if family is T5 else None}
    together = generate(model, byte_tokenizer, texts, strategy, **options)
    for text, found in zip(texts, together, strict=True):
        heard = Heard()
        (alone,) = generate(model, byte_tokenizer, [text], strategy, stream=heard, **options)
        assert [best.text for best in alone] == [best.text for best in found]
        assert heard.text(0) == found[0].text


@pytest.mark.parametrize("family", [GPT2, T5], ids=["decoder-only", "encoder-decoder"])
def test_next_tokens_paths_and_scores_agree_with_one_pass(
    tiny: Callable[..., Model], byte_tokenizer: Tokenizer, family: Any
) -> None:
    model, start = tiny(family, vocab_size=byte_tokenizer.vocab_size), {"decoder_start": 0} if family is T5 else {}
    prompt = byte_tokenizer.encode("The cat")
    if family is T5:
        logits = model(torch.tensor([prompt]), decoder_tokens=torch.tensor([[0]])).logits[0, -1]
    else:
        logits = model(torch.tensor([prompt])).logits[0, -1]
    expected = logits.log_softmax(-1).detach()

    found = next_tokens(model, byte_tokenizer, "The cat", top=4, **start)
    assert [token.id for token in found] == expected.topk(4).indices.tolist()
    assert [token.logprob for token in found] == pytest.approx(expected.topk(4).values.tolist(), abs=1e-9)
    assert [token.probability for token in found] == pytest.approx(expected.topk(4).values.exp().tolist(), abs=1e-9)
    assert found[0].text == byte_tokenizer.text_of(found[0].id)
    everything = next_tokens(model, byte_tokenizer, "The cat", top=10**6, **start)
    assert sum(token.probability for token in everything) == pytest.approx(1)
    assert list(asdict(found[0])) == ["id", "text", "logprob", "probability"]

    paths = beam_paths(model, byte_tokenizer, "The cat", width=3, steps=4, **start)
    assert [path.logprob for path in paths] == sorted((path.logprob for path in paths), reverse=True)
    assert len(paths) == 3
    for path in paths:
        ids = [token.id for token in path.tokens]
        assert path.text == byte_tokenizer.decode(ids)
        assert path.logprob == pytest.approx(sum(token.logprob for token in path.tokens))
        known = score(model, byte_tokenizer, "The cat", ids, **start)
        assert known.loss == pytest.approx(-path.logprob, abs=1e-9)
        assert [token.logprob for token in known.tokens] == pytest.approx(
            [token.logprob for token in path.tokens], abs=1e-9
        )
    assert list(asdict(paths[0])) == ["text", "logprob", "tokens"]
    assert list(asdict(paths[0])["tokens"][0]) == ["id", "text", "logprob"]


def test_a_target_is_cut_as_in_the_whole_text(tiny: Callable[..., Model], tokenizer: Tokenizer) -> None:
    model = tiny(GPT2, vocab_size=tokenizer.vocab_size)
    known = score(model, tokenizer, "the cat", " sat on")
    before, whole = (tokenizer.encode(text, add_special=False) for text in ("the cat", "the cat sat on"))
    assert [token.id for token in known.tokens] == whole[len(before) :]
    assert known.loss == pytest.approx(-sum(token.logprob for token in known.tokens))


def test_a_score_is_taken_without_dropout(tiny: Callable[..., Model], byte_tokenizer: Tokenizer) -> None:
    model = tiny(GPT2, vocab_size=byte_tokenizer.vocab_size)
    calm = score(model, byte_tokenizer, "the", " cat")
    model.train()
    assert score(model, byte_tokenizer, "the", " cat") == calm
    assert model.training


def test_faults_of_text_are_named(tiny: Callable[..., Model], byte_tokenizer: Tokenizer) -> None:
    model = tiny(GPT2, vocab_size=byte_tokenizer.vocab_size, position=Learned(8))
    with pytest.raises(InputError) as caught:
        generate(model, byte_tokenizer, ["a"], stop=("", "b", ""))
    assert [fault.field for fault in caught.value.faults] == ["stop[0]", "stop[2]"]
    with pytest.raises(InputError, match="must be a sequence of strings"):
        generate(model, byte_tokenizer, ["a"], stop="end")
    with pytest.raises(InputError, match="holds no token"):
        generate(model, byte_tokenizer, [""], max_new_tokens=2)
    with pytest.raises(InputError) as caught:
        score(model, byte_tokenizer, "", [1, 999])
    assert [fault.field for fault in caught.value.faults] == ["prompts[0]", "target"]
    with pytest.raises(InputError, match="target"):
        score(model, byte_tokenizer, "a", "")
    with pytest.raises(InputError, match="top=0 must be at least 1"):
        next_tokens(model, byte_tokenizer, "a", top=0)
    with pytest.raises(InputError, match="learned positions"):
        generate(model, byte_tokenizer, ["a"], max_new_tokens=9)
