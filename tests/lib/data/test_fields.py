"""Field maps: places in a row, and the errors that name a field."""

from pathlib import Path

import pytest

from components.lib.data import fields
from components.lib.data.detect import resolved
from components.lib.data.reasons import Refused
from components.lib.recipe.schema import Source
from tests.fixtures.rows import write
from tests.lib.data.formats import ASKED, THOUGHT

ROW = {
    "q": ASKED, "meta": {"answers": [["7", "8"], ["9"]], "n.m": 5}, "a.b": {"c": "deep"},
    "text": '{"x": [1, {"y": 2}]}', "list": [1, 2, 3], "none": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("q", ASKED), ("meta.answers.0.1", "8"), ("meta.answers.-1.0", "9"), ("meta.n.m", 5), ("a.b.c", "deep"),
        ("text.x.1.y", 2), ("list.2", 3), ("list.-3", 1),
        ("list.3", None), ("list.-4", None), ("list.x", None), ("list.²", None), ("q.x", None),
        ("none", None), ("none.x", None),
        ("meta.answers.0.1.2", None), ("", None), (".", None), ("meta.", None), ("missing", None),
    ],
)  # fmt: skip
def test_a_place_in_a_row(path: str, value: object) -> None:
    assert fields.found(ROW, path) == value


def test_a_table_is_read_by_a_field_map(tmp_path: Path) -> None:
    rows = [{"item": {"text": ASKED, "keys": [[n]]}, "cot": THOUGHT} for n in range(3)]
    path = write(tmp_path / "rows.jsonl", rows)
    places = {"question": "item.text", "gold": "item.keys.0.0"}
    source, seen = resolved(Source(path=path, fields=places), 0)
    assert (source.adapter, source.use, source.answers) == ("problem", "problems", "number")
    assert seen.schemas == {"problem": 3}
    draft = fields.reader(source)(rows[2])
    assert (draft.question, draft.gold, draft.reasoning) == (ASKED, "2", "")

    source, _ = resolved(Source(path=path, fields=places | {"reasoning": "cot"}), 0)
    assert (source.adapter, source.use) == ("trace", "both")
    draft = fields.reader(source)(rows[2])
    assert (draft.reasoning, draft.answer, draft.gold) == (THOUGHT, "#### 2", "2")


def test_a_field_map_serves_the_other_adapters_too(tmp_path: Path) -> None:
    row = {"turns": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": f"<think>{THOUGHT}</think>7"}]}
    source = Source(path=write(tmp_path / "rows.jsonl", [row]), fields={"conversations": "turns"})
    source, found = resolved(source, 0)
    assert source.adapter == "sharegpt" and found.schemas == {"sharegpt": 1}
    assert fields.reader(source)(row).answer == "7"


def test_a_refusal_names_the_field_and_its_place() -> None:
    source = Source(path="x", adapter="problem", fields={"question": "q", "gold": "meta.gold"})
    with pytest.raises(Refused) as refused:
        fields.reader(source)(ROW)
    assert refused.value.reason == "missing-field"
    assert refused.value.detail == {"field": "gold", "place": "meta.gold"}


@pytest.mark.parametrize(
    ("places", "adapter", "message"),
    [
        ({"question": "q", "gold": "nope.0"}, "auto", "fields: gold: none of the first 2 rows has 'nope.0'; they have "
         "q, a"),
        ({"question": "q", "golds": "a"}, "problem", "fields: golds: the adapter problem never asks for it; it asks "
         "for choices, gold, options, question, solution"),
        ({"gold": "q"}, "sharegpt", ""),
    ],
)  # fmt: skip
def test_a_bad_field_map_is_an_error_that_names_the_field(
    tmp_path: Path, places: dict, adapter: str, message: str
) -> None:
    path = write(tmp_path / "rows.jsonl", [{"q": ASKED, "a": 7, "gold": 7}] * 2)
    source = Source(path=path, name="mine", adapter=adapter, fields=places)
    if not message:
        resolved(source, 0)
        return
    with pytest.raises(ValueError) as error:
        resolved(source, 0)
    assert f"source 'mine': {message}" in str(error.value)
