"""One Tokenizer: round trips, streams, chats, and what it refuses."""

from __future__ import annotations

import codecs
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models

from stemma.errors import InputError, TokenizerError
from stemma.text import Roles, Tokenizer, pad_rows, render_chat, train, truncate

_TEXT = ["the cat sat on the mat, naïve 日本 😀 it's 12", "a dog isn't a cat. The end"] * 3
_KINDS: dict[str, Tokenizer] = {
    kind: train(_TEXT, kind=kind, vocab_size=400)  # type: ignore[arg-type]
    for kind in ("bytebpe", "bpe", "wordpiece", "unigram")
}
_KIND = pytest.mark.parametrize("kind", _KINDS)
_UNICODE = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(_UNICODE)
def test_byte_level_text_comes_back(text: str) -> None:
    tokenizer = _KINDS["bytebpe"]
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(_UNICODE)
def test_sentence_bpe_text_comes_back(text: str) -> None:
    tokenizer = _KINDS["bpe"]
    # The sign for a space is read as one.
    assert tokenizer.decode(tokenizer.encode(text)) == text.replace("▁", " ")


@_KIND
@given(ids=st.lists(st.integers(0, 399)), skip=st.booleans())
def test_a_stream_is_the_whole_and_breaks_no_character(kind: str, ids: list[int], skip: bool) -> None:
    tokenizer = _KINDS[kind]
    ids = [i for i in ids if i < tokenizer.vocab_size]
    stream = tokenizer.stream(skip_special=skip)
    parts = [stream.push(i) for i in ids]
    whole = "".join(parts) + stream.flush()
    assert whole == tokenizer.decode(ids, skip_special=skip)
    # The Rust library gives up a whole run of bytes for one that is wrong; where none is, it says the same.
    theirs = tokenizer.backend.decode(ids, skip_special_tokens=skip)
    if "\ufffd" not in whole + theirs:
        assert whole == theirs
    # A stream can be used again.
    assert "".join(map(stream.push, ids)) + stream.flush() == whole


def test_a_stream_holds_back_half_a_character() -> None:
    tokenizer = _KINDS["bpe"]
    ids = [tokenizer.id_of(f"<0x{byte:02X}>") for byte in "é€".encode()]
    stream = tokenizer.stream()
    assert [stream.push(i) for i in ids if i is not None] == ["", "é", "", "", "€"]
    assert stream.push(ids[0] or 0) == ""
    assert stream.flush() == "\ufffd"


@given(st.lists(st.binary(min_size=1, max_size=3), max_size=12))
def test_wrong_bytes_read_as_python_reads_them(chunks: list[bytes]) -> None:
    tokenizer = _KINDS["bpe"]
    ids = [tokenizer.id_of(f"<0x{byte:02X}>") or 0 for chunk in chunks for byte in chunk]
    raw = b"".join(chunks).removeprefix(b" ")
    assert tokenizer.decode(ids) == codecs.decode(raw, "utf-8", "replace")


@_KIND
def test_offsets_lie_where_the_text_is(kind: str) -> None:
    tokenizer = _KINDS[kind]
    text = "the cat sat"
    encoding = tokenizer.encode_with_offsets(text, add_special=False)
    assert encoding.ids == tokenizer.encode(text, add_special=False)
    assert "".join(text[start:end] for start, end in encoding.offsets).replace(" ", "") == "thecatsat"
    assert encoding.segments == [0] * len(encoding.ids)


def test_a_pair_has_two_segments() -> None:
    encoding = _KINDS["wordpiece"].encode_with_offsets("cat", pair="mat")
    assert [_KINDS["wordpiece"].token_of(i) for i in encoding.ids] == ["[CLS]", "cat", "[SEP]", "mat", "[SEP]"]
    assert encoding.segments == [0, 0, 0, 1, 1]


@_KIND
def test_batches_are_rows(kind: str) -> None:
    tokenizer = _KINDS[kind]
    assert tokenizer.encode_batch(_TEXT) == [tokenizer.encode(text) for text in _TEXT]
    pairs = tokenizer.encode_batch(_TEXT, pairs=_TEXT[::-1], add_special=False)
    assert pairs == [tokenizer.encode(a, pair=b, add_special=False) for a, b in zip(_TEXT, _TEXT[::-1], strict=True)]


def test_kinds_parts_and_stops() -> None:
    assert [(kind, tokenizer.kind) for kind, tokenizer in _KINDS.items()] == [(kind, kind) for kind in _KINDS]
    byte, bert = _KINDS["bytebpe"], _KINDS["wordpiece"]
    assert byte.bos == byte.eos == 0
    assert byte.stops == byte.special == {0}
    assert bert.special == {bert.pad, bert.unk, bert.cls, bert.sep, bert.mask} == {0, 1, 2, 3, 4}
    assert bert.stops == frozenset()
    assert 256 < len(byte) == byte.vocab_size <= 400


def test_tokens_read_as_text(gpt2: Tokenizer) -> None:
    assert [gpt2.text_of(i) for i in gpt2.encode(" the €\n")] == [" the", " €", "\n"]
    byte = _KINDS["bytebpe"]
    assert [byte.text_of(i) for i in byte.encode("ж")] == ["<0xD0>", "<0xB6>"]
    assert _KINDS["bpe"].text_of(_KINDS["bpe"].id_of("<0x0A>") or 0) == "\n"
    assert gpt2.text_of(50_256) == "<|endoftext|>"
    assert _KINDS["wordpiece"].text_of(4) == "[MASK]"


@_KIND
def test_ids_outside_are_all_named(kind: str) -> None:
    tokenizer = _KINDS[kind]
    with pytest.raises(TokenizerError) as raised:
        tokenizer.decode([0, 10_000, -1])
    assert [fault.value for fault in raised.value.faults] == [10_000, -1]
    for use in (tokenizer.text_of, tokenizer.token_of, tokenizer.stream().push):
        with pytest.raises(TokenizerError, match="outside the vocabulary"):
            use(10_000)


def test_what_is_no_text_is_refused() -> None:
    tokenizer = _KINDS["bytebpe"]
    with pytest.raises(TokenizerError, match="surrogate"):
        tokenizer.encode("a\ud800")
    broken: Any = ["a", 1, "\udfff", None]
    with pytest.raises(TokenizerError) as raised:
        tokenizer.encode_batch(broken)
    assert [fault.field for fault in raised.value.faults] == ["texts[1]", "texts[2]", "texts[3]"]
    with pytest.raises(TokenizerError, match="as many as the texts"):
        tokenizer.encode_batch(["a", "b"], pairs=["a"])


def test_parts_outside_the_vocabulary_are_refused() -> None:
    with pytest.raises(TokenizerError) as raised:
        Tokenizer(Backend(models.BPE({"a": 0}, [])), Roles(bos=1, eos=0, mask=-1), stops=[7])
    assert [fault.field for fault in raised.value.faults] == ["bos", "mask", "stops"]


def test_a_decoder_of_another_trade_is_refused() -> None:
    backend = Backend(models.BPE({"a": 0}, []))
    backend.decoder = decoders.CTC()
    with pytest.raises(TokenizerError, match="no decoding step"):
        Tokenizer(backend)


@given(
    st.lists(st.lists(st.integers(1, 9), max_size=8), max_size=5), st.sampled_from(["left", "right"]), st.integers(1, 9)
)
def test_padding_keeps_every_row(rows: list[list[int]], side: Any, most: int) -> None:
    ids, mask = pad_rows(rows, 0, side=side, max_length=most)
    assert len({len(row) for row in ids + mask}) <= 1
    assert [[i for i, real in zip(*pair, strict=True) if real] for pair in zip(ids, mask, strict=True)] == [
        row[:most] for row in rows
    ]
    assert all(sorted(row, reverse=side == "right") == row for row in mask)


def test_padding_sides_and_cuts() -> None:
    tokenizer = _KINDS["wordpiece"]
    assert tokenizer.pad_rows([[5, 6, 7], [8]])[0] == [[5, 6, 7], [8, 0, 0]]
    assert tokenizer.pad_rows([[5, 6, 7], [8]], side="left", max_length=2, truncate_side="left") == (
        [[6, 7], [0, 8]],
        [[True, True], [False, True]],
    )
    assert truncate([1, 2, 3], None) == [1, 2, 3]
    wrong: Any = "middle"
    with pytest.raises(InputError) as raised:
        pad_rows([[1]], 0, side=wrong, truncate_side=wrong, max_length=0)
    assert len(raised.value.faults) == 3


_TEMPLATE = """{{ bos_token }}{% for message in messages %}
{{ message.role }}: {{ message['content'] }}{{ eos_token }}
{% endfor %}
{% if tools %}
{{ tools | tojson }}
{% endif %}
{% if add_generation_prompt %}
assistant:
{%- endif %}"""


def test_a_chat_has_each_special_token_once() -> None:
    backend = train(_TEXT, kind="bpe", vocab_size=400).backend
    tokenizer = Tokenizer(backend, Roles(bos=1, eos=2), chat_template=_TEMPLATE)
    ids = tokenizer.encode_chat([{"role": "user", "content": "the cat"}])
    assert (ids.count(1), ids.count(2), ids[0]) == (1, 1, 1)
    assert (
        tokenizer.render_chat([{"role": "user", "content": "Hi"}], add_generation_prompt=False) == "<s>user: Hi</s>\n"
    )


def test_templates_have_what_transformers_gives_them() -> None:
    from transformers.utils.chat_template_utils import render_jinja_template

    template = _TEMPLATE + (
        "{% generation %}x{% endgeneration %}{% for i in [1, 2, 3] %}{% if i == 2 %}{% break %}{% endif %}{{ i }}"
        "{% endfor %}{{ strftime_now('%Y') | length }}{{ {'a': '<é>'} | tojson(indent=1) }}"
    )
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "tool_calls": [{"name": "f"}]}]
    tools = [{"name": "f", "parameters": {}}]
    theirs, _ = render_jinja_template([messages], tools=tools, chat_template=template, add_generation_prompt=True)
    assert render_chat(template, messages, tools=tools) == theirs[0]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ raise_exception('no system role') }}", "no system role"),
        ("{% for m in messages %}", "end of template"),
        ("{{ messages[5].content.upper() }}", "no element 5"),
        ("{{ 1 + 'a' }}", "unsupported operand"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ messages.append(1) }}", "'append' of 'list' object is unsafe"),
        ("{{ 1 / 0 }}", "division by zero"),
    ],
)
def test_a_failing_template_is_one_error(template: str, expected: str) -> None:
    with pytest.raises(TokenizerError) as raised:
        render_chat(template, [{"role": "user", "content": "Hi"}])
    assert expected in str(raised.value)


def test_all_bad_messages_are_named() -> None:
    messages: Any = [{"content": "Hi"}, {"role": "user"}, "Hi", {"role": 3, "content": ""}]
    with pytest.raises(TokenizerError) as raised:
        render_chat("", messages)
    fields = [fault.field for fault in raised.value.faults]
    assert fields == ["messages[0].role", "messages[1].content", "messages[2]", "messages[3].role"]
    with pytest.raises(TokenizerError, match="chat_template=None is missing"):
        _KINDS["bpe"].encode_chat([{"role": "user", "content": "Hi"}])
