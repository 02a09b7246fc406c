"""The tree as text and as records, and a family's card."""

from __future__ import annotations

from typing import Any

import pytest

from stemma.errors import InputError, SpecError
from stemma.families import BERT, GPT2, LLAMA2, T5, catalogue
from stemma.families.records import UNPUBLISHED, USUAL_LENGTH, card, human, metric, text_tree, tree_json, tree_rows
from stemma.spec import costs, count


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "0"),
        (999, "999"),
        (1000, "1K"),
        (999_499, "999K"),
        (999_500, "1M"),
        (1_557_611_200, "1.56B"),
        (10**12, "1T"),
    ],
)
def test_three_figures(number: int, words: str) -> None:
    assert human(number) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0 B"), (0.25, "0.25 B"), (999.4, "999 B"), (999.6, "1 kB"), (3.14e23, "314 ZB"), (5e27, "5e+03 YB")],
)
def test_metric_prefixes(number: float, words: str) -> None:
    assert metric(number, "B") == words


def test_rows_hang_on_their_parents() -> None:
    rows = tree_rows()
    roots = [family.name for family in catalogue() if family.parent is None]
    assert [row.family for row in rows if not row.branch] == roots
    assert sorted(row.family for row in rows) == sorted(family.name for family in catalogue())
    lines = text_tree().splitlines()
    for child in (family for family in catalogue() if family.parent):
        assert child.parent is not None
        above = next(place for place, row in enumerate(rows) if row.family == child.parent.name)
        below = next(place for place, row in enumerate(rows) if row.family == child.name)
        depth = len(rows[above].branch)
        assert above < below
        assert len(rows[below].branch) == depth + 3
        assert {line[depth] for line in lines[above + 1 : below]} <= set("├│")
        assert lines[below][depth] in "├└"


def test_a_line_tells_the_family_s_facts() -> None:
    row = next(row for row in tree_rows() if row.family == "gpt2")
    assert row[2:] == (2019, "OpenAI", "decoder-only", "117M 124M, 345M 355M, 762M 774M, 1542M 1.56B")
    assert all(str(fact) in text_tree() for fact in row)


def test_records_are_the_contract() -> None:
    records = {record["family"]: record for record in tree_json()}
    keys = ["family", "parent", "year", "organisation", "paper", "kind", "objective", "tokenizer", "sizes"]
    assert all(list(record) == keys for record in records.values())
    assert list(records) == [family.name for family in catalogue()]
    assert records["transformer"]["parent"] is None
    assert records["llama2"] == {
        "family": "llama2",
        "parent": "llama",
        "year": 2023,
        "organisation": "Meta AI",
        "paper": "arXiv:2307.09288",
        "kind": "decoder-only",
        "objective": "next token",
        "tokenizer": LLAMA2.tokenizer,
        "sizes": {
            size: {
                "parameters": count.parameters(LLAMA2.build(size)),
                "n_layers": n_layers,
                "d_model": d_model,
                "n_heads": n_heads,
                "n_kv_heads": n_kv_heads,
                "d_ff": d_ff,
                "vocab_size": 32_000,
            }
            for size, n_layers, d_model, n_heads, n_kv_heads, d_ff in (
                ("7B", 32, 4096, 32, 32, 11_008),
                ("13B", 40, 5120, 40, 40, 13_824),
                ("70B", 80, 8192, 64, 8, 28_672),
            )
        },
    }


@pytest.mark.parametrize("family", catalogue(), ids=lambda family: family.name)
def test_a_card_adds_up(family: Any) -> None:
    record = card(family)
    assert record["lineage"] == [ancestor.name for ancestor in family.ancestors]
    assert list(record["sizes"]) == list(family.sizes)
    for name, size in record["sizes"].items():
        assert size["parameters"] == sum(size["parameters_by_part"].values()) == count.parameters(family.build(name))
        assert size["weight_bytes"] == 2 * size["parameters"]
        assert 0 <= size["training_flops_per_token"] - 3 * size["forward_flops_per_token"] < 3
        assert size["forward_flops_per_token"] > 0
        assert (size["cache_bytes_per_token"] > 0) == (family.kind in ("decoder-only", "encoder-decoder"))


def test_the_figures_of_a_card_are_known() -> None:
    size = card(LLAMA2, "70B", dtype="float16")["sizes"]["70B"]
    assert size["cache_bytes_per_token"] == 320 * 1024  # 2 x 80 layers x 8 groups x 128 x 2 bytes
    assert size["forward_flops_per_token"] == costs.forward_flops(LLAMA2.build("70B"), 4096) // 4096
    pair = card(T5, "small", dtype="float32")["sizes"]["small"]
    assert pair["forward_flops_per_token"] == costs.forward_flops(T5.build("small"), (512, 512)) // 1024
    assert pair["cache_bytes_per_token"] == 2 * 6 * 8 * 64 * 4


def test_what_a_paper_does_not_tell_is_said() -> None:
    silent = GPT2.derive("silent", data=None, context=None, paper="")
    record = card(silent, "117M")
    assert (record["data"], record["context"], record["paper"]) == (UNPUBLISHED,) * 3
    assert record["length"] == USUAL_LENGTH
    assert card(BERT)["length"] == record["length"] == 512


def test_a_card_names_what_is_wrong() -> None:
    with pytest.raises(SpecError, match="117B"):
        card(GPT2, "117B")
    with pytest.raises(InputError, match="int3"):
        card(GPT2, "117M", dtype="int3")
