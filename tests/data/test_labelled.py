"""Labelled records of every format, all that can be wrong with them, and data sets as they lie."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from stemma.data import Answer, Kind, Labelled, Record, bio, check_labels, known, read
from stemma.errors import InputError
from stemma.metrics import entities

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PAIRS: Mapping[str, Kind] = {"text": "text", "label": "label"}
TAGGED: Mapping[str, Kind] = {"words": "words", "tags": "tags"}
ASKED: Mapping[str, Kind] = {"context": "text", "question": "text", "answers": "spans"}
ROWS = [{"text": 'A "fine" film, really', "label": "1"}, {"text": "čeština 🙂", "label": "0"}]
CONTEXT = "The tower stands in Paris."

Write = Callable[..., str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(name: str, content: str | bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return to_file


def bare(records: list[Record]) -> list[dict[str, Any]]:
    """Without the places, which each test that is about them compares itself."""
    return [{role: value for role, value in record.items() if role != "where"} for record in records]


def refused(source: Labelled, needed: Mapping[str, Kind]) -> str:
    with pytest.raises(InputError) as error:
        read(source, needed)
    return str(error.value)


def json_lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def squad(questions: list[Any]) -> str:
    return json.dumps({"data": [{"paragraphs": [{"context": CONTEXT, "qas": questions}]}]})


CONTENTS = {
    "rows.jsonl": json_lines(ROWS),
    "rows.tsv": "label\ttext\r\n" + "".join(f"{row['label']}\t{row['text']}\r\n" for row in ROWS),
    "rows.csv": '\ufefflabel,text\n1,"A ""fine"" film, really"\n0,čeština 🙂\n',
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_table_reads_the_same_in_every_format(name: str, suffix: str, write: Write) -> None:
    content = CONTENTS[name].encode()
    packers: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".zst": zstandard.compress}
    path = write(name + suffix, packers.get(suffix, bytes)(content))
    assert bare(read(Labelled(paths=(path,)), PAIRS)) == ROWS


def test_a_parquet_file_reads_lists_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"premise": ["p"], "ways": [["a", "b"]], "label": [1]}), path)
    source = Labelled(paths=(str(path),), fields={"text": "premise", "choices": "ways"})
    (record,) = read(source, {"text": "text", "choices": "texts", "label": "label"})
    assert record == {"where": f"{path}:1", "text": "p", "choices": ("a", "b"), "label": "1"}


def test_columns_by_number_mean_a_table_without_a_header(write: Write) -> None:
    path = write("scores.csv", 'One,"Two, too",3.5\nThree,Four,0\n')
    source = Labelled(paths=(path,), fields={"text": 0, "second": 1, "label": -1})
    assert bare(read(source, {"text": "text", "second": "text", "label": "number"})) == [
        {"text": "One", "second": "Two, too", "label": 3.5},
        {"text": "Three", "second": "Four", "label": 0.0},
    ]


def test_quoting_is_a_choice(write: Write) -> None:
    path = write("rows.tsv", '"a\tb"\t1\n')
    assert bare(read(Labelled(paths=(path,), fields={"text": 0, "label": -1}), PAIRS))[0]["text"] == '"a'
    quoted = Labelled(paths=(path,), fields={"text": 0, "label": 1}, quoting=True)
    assert bare(read(quoted, PAIRS)) == [{"text": "a\tb", "label": "1"}]


def test_several_columns_are_a_list_and_labels_are_renamed(write: Write) -> None:
    path = write("rows.jsonl", json_lines([{"a": "x", "b": "y", "label": 0}, {"a": "u", "b": "v", "label": True}]))
    source = Labelled(paths=(path,), fields={"choices": ("a", "b")}, labels={"0": "first"})
    assert bare(read(source, {"choices": "texts", "label": "label"})) == [
        {"choices": ("x", "y"), "label": "first"},
        {"choices": ("u", "v"), "label": "true"},
    ]


def test_lines_of_text_with_others_beside_them(write: Write) -> None:
    paths, beside = (write("en.txt", "One\nTwo\n"),), (write("de.txt.gz", gzip.compress(b"Eins\nZwei\n")),)
    assert bare(read(Labelled(paths=paths), {"text": "text"})) == [{"text": "One"}, {"text": "Two"}]
    source = Labelled(paths=paths, beside=beside, fields={"target": "second"})
    assert bare(read(source, {"text": "text", "target": "text"})) == [
        {"text": "One", "target": "Eins"},
        {"text": "Two", "target": "Zwei"},
    ]
    shorter = Labelled(paths=paths, beside=(write("short.txt", "Eins\n"),))
    assert "has no line 2" in refused(shorter, {"text": "text", "second": "text"})


def test_several_files_come_in_order_and_first_stops_early(write: Write) -> None:
    write("a.jsonl", json_lines(ROWS))
    pattern = write("b.jsonl", json_lines(ROWS) + "{broken").replace("b.jsonl", "?.jsonl")
    records = read(Labelled(paths=(pattern,), first=3), PAIRS)
    assert [Path(record["where"]).name for record in records] == ["a.jsonl:1", "a.jsonl:2", "b.jsonl:1"]


def test_conll_reads_columns_comments_and_blank_lines_of_tabs(write: Write) -> None:
    text = "-DOCSTART- -X- O\n\n# id = 1\nEU NNP I-ORG\n# SYM O\n\t\nParis NNP I-LOC\nBerlin NNP B-LOC\n"
    path = write("ner.conll", text)
    records = read(Labelled(paths=(path,)), TAGGED)
    assert bare(records) == [
        {"words": ("EU", "#"), "tags": ("B-ORG", "O")},
        {"words": ("Paris", "Berlin"), "tags": ("B-LOC", "B-LOC")},
    ]
    assert [record["where"] for record in records] == [f"{path}:4", f"{path}:7"]
    by_column = Labelled(paths=(path,), fields={"tags": 1})
    assert bare(read(by_column, TAGGED))[1]["tags"] == ("NNP", "NNP")


def test_words_and_tags_of_json_lists_and_of_spaced_cells(write: Write) -> None:
    lists = write("a.jsonl", json_lines([{"words": ["In", "Oslo"], "tags": ["O", "S-LOC"]}]))
    cells = write("b.tsv", "words\ttags\nIn Oslo\tO B-LOC\n")
    for path in (lists, cells):
        assert bare(read(Labelled(paths=(path,)), TAGGED)) == [{"words": ("In", "Oslo"), "tags": ("O", "B-LOC")}]


@pytest.mark.parametrize(
    "answers",
    [
        {"text": ["Paris"], "answer_start": [20]},
        [{"text": "Paris", "answer_start": 20}],
        [{"text": "Paris", "start": 20}],
    ],
)
def test_spans_in_each_form(answers: object, write: Write) -> None:
    row = {"context": CONTEXT, "question": "Where?", "answers": answers}
    (record,) = read(Labelled(paths=(write("qa.jsonl", json_lines([row])),)), ASKED)
    assert record["answers"] == (Answer("Paris", 20),)
    assert CONTEXT[20 : record["answers"][0].end] == "Paris"


def test_squad_with_a_question_without_an_answer(write: Write) -> None:
    asked = {"id": "q1", "question": "Where?", "answers": [{"text": "Paris", "answer_start": 20}]}
    path = write("dev.json", squad([asked, {"id": "q2", "question": "Who?", "answers": [], "is_impossible": True}]))
    first, second = read(Labelled(paths=(path,)), ASKED)
    assert first["answers"] == (Answer("Paris", 20),)
    assert second == {"where": f"{path}:question q2", "question": "Who?", "context": CONTEXT, "answers": ()}


SPAN_FAULTS = {
    "says 'Paris' where the context has ' Pari'": [{"text": "Paris", "start": 19}],
    "has a span from 24 to 29, outside the context of 26 characters": [{"text": "Paris", "start": 24}],
    "has a span from -1 to 4": [{"text": "Paris", "start": -1}],
    "starts at None, which is no whole number": [{"text": "Paris"}],
    "starts at 20.0": [{"text": "Paris", "start": 20.0}],
    "answers={'text': ['Paris'], 'answer_start': []} is no list of answers": {"text": ["Paris"], "answer_start": []},
    "answers='Paris' is no list of answers": "Paris",
    "is empty": [{"text": "", "start": 2}],
}


@pytest.mark.parametrize("rule", SPAN_FAULTS)
def test_spans_that_are_not_in_the_context(rule: str, write: Write) -> None:
    row = {"context": CONTEXT, "question": "Where?", "answers": SPAN_FAULTS[rule]}
    told = refused(Labelled(paths=(write("qa.jsonl", json_lines([row])),)), ASKED)
    assert rule in told
    assert "qa.jsonl:1: answers" in told


VALUE_FAULTS: list[tuple[Kind, object, str]] = [
    ("text", " ", "is empty"),
    ("text", 3, "is no text"),
    ("text", "\ud83d", "holds bytes or halves of pairs that are no UTF-8"),
    ("label", None, "is no text"),
    ("label", "", "is empty"),
    ("label", 1.5, "is no text"),
    ("number", "high", "is no number"),
    ("number", "nan", "is no finite number"),
    ("number", 10**400, "is no number"),
    ("number", True, "is no finite number"),
    ("number", None, "is no number"),
    ("words", [], "is no list of texts"),
    ("words", ["a", ""], "is empty"),
    ("texts", "a b", "is no list of texts"),
    ("texts", {"a": 1}, "is no list of texts"),
]


@pytest.mark.parametrize(("kind", "value", "rule"), VALUE_FAULTS)
def test_a_value_that_is_not_of_its_kind(kind: Kind, value: object, rule: str, write: Write) -> None:
    told = refused(Labelled(paths=(write("rows.jsonl", json_lines([{"x": value}])),)), {"x": kind})
    assert rule in told
    assert "rows.jsonl:1: x=" in told


def test_all_faults_of_a_source_come_at_once_with_their_lines(write: Write) -> None:
    lines = ['{"text": "fine", "label": "a"}', "{broken", '{"text": ""}', "[1]", '{"text": "fine"}']
    told = refused(Labelled(paths=(write("rows.jsonl", "\n".join(lines)),)), PAIRS)
    assert "5 faults" in told
    for wanted in (
        "rows.jsonl:2='{broken' is no JSON",
        "rows.jsonl:3: text='' is empty",
        "rows.jsonl:3: label=None has no column 'label'; use one of text",
        "rows.jsonl:4=[1] is no JSON object",
        "rows.jsonl:5: label=None has no column 'label'",
    ):
        assert wanted in told


def test_twenty_faults_are_told_and_the_others_counted(write: Write) -> None:
    told = refused(Labelled(paths=(write("rows.jsonl", json_lines([{"text": ""}] * 30)),)), {"text": "text"})
    assert told.count("is empty") == 20
    assert "others=10 faults more" in told


@pytest.mark.parametrize("name", ["rows.tsv", "rows.csv"])
def test_a_table_that_lacks_a_column_says_so_once(name: str, write: Write) -> None:
    told = refused(Labelled(paths=(write(name, CONTENTS[name]),), fields={"label": "target"}), PAIRS)
    assert told.count("has no column 'target'; use one of label, text") == 1


def test_a_row_of_fewer_cells_is_named(write: Write) -> None:
    told = refused(Labelled(paths=(write("rows.tsv", "text\tlabel\na\t1\nb\n"),)), PAIRS)
    assert "rows.tsv:3: cells=1 must be 2, as in the first line" in told


def test_words_without_a_tag_are_named(write: Write) -> None:
    told = refused(Labelled(paths=(write("a.conll", "In O\nOslo\n\nIn O\n"),)), TAGGED)
    assert "a.conll:2: columns=1 must be 2, as in line 1" in told
    row = {"words": ["a", "b"], "tags": ["O"]}
    assert "are 1 for 2 words" in refused(Labelled(paths=(write("a.jsonl", json_lines([row])),)), TAGGED)


def test_tags_of_unknown_form_are_named(write: Write) -> None:
    told = refused(Labelled(paths=(write("a.conll", "In O\nOslo LOC\n"),)), TAGGED)
    assert "a.conll:1: tags='LOC' is of unknown form" in told


BROKEN = {
    "cut.jsonl.gz": gzip.compress(json_lines(ROWS).encode())[:-9],
    "no.jsonl.zst": b"no zstandard",
    "no.parquet": b"no parquet",
    "no.json": b'{"data": [1]}',
    "wide.jsonl": "x".encode("utf-16"),
    "open.csv": b'text,label\n"never closed,1\n',
    "empty.jsonl": b"",
    "header.tsv": b"text\tlabel\n",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_damaged_file_is_one_clear_error(name: str, write: Write) -> None:
    assert name in refused(Labelled(paths=(write(name, BROKEN[name]),)), PAIRS)


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"paths": ("nowhere.tsv",)}, "paths='nowhere.tsv' matches no file"),
        ({"paths": ()}, "must not be empty"),
        ({"paths": (__file__,), "format": "xml"}, "format='xml' is unknown"),
        ({"paths": (__file__,), "first": 0}, "first=0 must be at least 1"),
        ({"paths": (__file__,), "fields": {"where": 0}}, "is where a record comes from"),
        ({"paths": (__file__,), "beside": (__file__,), "format": "csv"}, "stands beside files of text only"),
    ],
)
def test_options_that_break_a_rule(options: dict[str, Any], rule: str) -> None:
    assert rule in refused(Labelled(**options), PAIRS)


def test_a_source_decodes_from_a_run_file() -> None:
    content = {"paths": ["a.tsv"], "fields": {"text": 0, "choices": ["a", "b"]}, "labels": {"0": "no"}}
    source = TypeAdapter(Labelled).validate_python(content)
    assert source == Labelled(paths=("a.tsv",), fields={"text": 0, "choices": ("a", "b")}, labels={"0": "no"})


def test_identity_follows_the_files_and_the_options(write: Write) -> None:
    path = write("rows.jsonl", json_lines(ROWS))
    before = Labelled(paths=(path,)).identity()
    assert json.dumps(before) == json.dumps(Labelled(paths=(path,)).identity())
    assert before != Labelled(paths=(path,), labels={"0": "no"}).identity()
    write("rows.jsonl", json_lines(ROWS * 2))
    assert before != Labelled(paths=(path,)).identity()


def test_labels_that_training_did_not_see(write: Write) -> None:
    records = read(Labelled(paths=(write("rows.jsonl", json_lines(ROWS * 2)),)), PAIRS)
    assert known(records, "label") == ("0", "1")
    assert check_labels(records, "label", ("0", "1")) == []
    (fault,) = check_labels(records, "label", ("0", "2"))
    assert "rows.jsonl:1: label='1' is not among the labels 0, 2" in str(fault)


NAMES = st.sampled_from(["PER", "LOC", "creative-work"])
TAGS = st.lists(st.one_of(st.just("O"), st.builds("{}-{}".format, st.sampled_from("BIESLU"), NAMES)), max_size=12)


@given(tags=TAGS)
def test_bio_keeps_the_spans_and_is_settled_after_once(tags: list[str]) -> None:
    written = bio(tags)
    assert len(written) == len(tags)
    assert entities(written) == entities(tags)
    assert bio(written) == written
    assert [tag == "O" for tag in written] == [tag == "O" for tag in tags]
    for before, tag in zip(("O", *written), written, strict=False):
        assert not tag.startswith("I-") or before[1:] == tag[1:]


SENTENCE: dict[str, Kind] = {"text": "text", "label": "label"}
LYING: dict[str, tuple[Labelled, dict[str, Kind], int]] = {
    "sst2/train.tsv": (Labelled(paths=(), fields={"text": 0, "label": 1}), SENTENCE, 6920),
    "sst2/dev.tsv": (Labelled(paths=(), fields={"text": 0, "label": 1}), SENTENCE, 872),
    "mrpc/msr-para-val.tsv": (
        Labelled(paths=(), fields={"text": "#1 String", "second": "#2 String", "label": "Quality"}),
        {"text": "text", "second": "text", "label": "label"},
        500,
    ),
    "stsb-multi-mt/stsb-en-test.csv": (
        Labelled(paths=(), fields={"text": 0, "second": 1, "label": 2}),
        {"text": "text", "second": "text", "label": "number"},
        1379,
    ),
    "wnut17/wnut17train.conll": (Labelled(paths=()), dict(TAGGED), 3394),
    "wnut17/emerging.dev.conll": (Labelled(paths=()), dict(TAGGED), 1009),
    "wnut17/emerging.test.annotated": (Labelled(paths=(), format="conll"), dict(TAGGED), 1287),
    "multi30k/raw/val.en.gz": (
        Labelled(paths=(), beside=("multi30k/raw/val.de.gz",), fields={"target": "second"}),
        {"text": "text", "target": "text"},
        1014,
    ),
    "gsm8k/test.jsonl": (
        Labelled(paths=(), fields={"text": "question", "target": "answer"}),
        {"text": "text", "target": "text"},
        1319,
    ),
    "xcopa/it/val.it.jsonl": (
        Labelled(paths=(), fields={"text": "premise", "choices": ("choice1", "choice2")}),
        {"text": "text", "choices": "texts", "label": "label"},
        100,
    ),
}


@pytest.mark.parametrize("name", LYING)
def test_data_sets_as_they_lie(name: str) -> None:
    source, needed, count = LYING[name]
    if not (REAL / name).is_file():
        pytest.skip(f"{name} is not there")
    beside = tuple(str(REAL / path) for path in source.beside)
    records = read(replace(source, paths=(str(REAL / name),), beside=beside), needed)
    assert len(records) == count
    assert all(set(record) == {"where", *needed} for record in records)
