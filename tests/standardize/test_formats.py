"""Files of public formats through standardize: each row is kept as it should be, or refused with its reason."""

import json
from pathlib import Path

import pytest

from components.lib.data.adapters.stated import agree
from components.lib.data.detect import schema_of
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import replace
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize
from tests.fixtures.rows import SETTINGS, Outputs, kept, read, reasons, write
from tests.lib.data.formats import ASKED, FORMATS, Kept

SPLITS = ("problems", "plateau", "gate")


def named(row: dict, number: int) -> dict:
    """The row with a question of its own."""
    return json.loads(json.dumps(row).replace("Tom has 3 cups", f"Tom{number * 37} of house {number} has 3 cups"))


def standardized(folder: Path, *sources: Source, **settings) -> Outputs:
    plan = Plan(
        model="", revision="main", seed=0, sources=sources,
        evaluation=(Source(path="tiny:evaluation", adapter="gsm8k"),),
    )  # fmt: skip
    standardize(plan=plan, settings=replace(SETTINGS, plateau_share=0.0, gate_share=0.0, **settings), out=folder)
    return read(folder)


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_of_a_format(tmp_path: Path, name: str) -> None:
    pytest.importorskip("math_verify", reason="needs math-verify: no mathematics is compared")
    adapter, cases = FORMATS[name]
    cases = [(row, what) for row, what in cases if ASKED in json.dumps(row)]
    if name == "trace":  # of a source with a kind of its own
        cases = [(row, what) for row, what in cases if "options" not in row]
    path = write(tmp_path / "rows.jsonl", [named(row, number) for number, (row, _) in enumerate(cases)])
    source = Source(path=path, name="rows", use="both")
    found = standardized(tmp_path / "out", source, duplicate_similarity=1.0, overlap_words=60)

    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    sources = [source for source in summary["sources"] if source["name"] == "rows"]
    assert {source["adapter"] for source in sources} == {adapter} and len(sources) == 2
    assert all(source["read"] == len(cases) for source in sources)
    for number, (_, what) in enumerate(cases):
        check(found, number, what)


def check(found: Outputs, number: int, what: Kept | str) -> None:
    """What became of row `number` of the source "rows"."""
    problems = [row for split in SPLITS for row in found[split] if row["source"] == "rows" and row["index"] == number]
    conversations = [row for row in found["sft"] if row["source"] == "rows" and row["index"] == number]
    refused = [row["reason"] for row in found["rejects"] if row["source"] == "rows" and row["index"] == number]
    told = (number, what, refused, problems, conversations)
    assert len(problems) + len(conversations) + len(refused) == 2, told
    if isinstance(what, str):
        assert refused == [what, what], told
        return
    assert bool(conversations) == what.trace, told
    if not what.trace:
        assert refused == [*([] if what.gold else ["no-gold"]), what.flaw or "no-trace"], told
    if what.gold is not None:
        assert problems and agree(problems[0]["gold"], what.gold), told


def test_a_mixed_file_is_read_as_most_of_it_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"a": 1}, *({"instruction": f"What is {n}?", "output": "x"} for n in range(2))]
    rows += [
        {"query": f"What is {n} and {n}?", "response": f"It is {2 * n}.\nThe answer is: {2 * n}"} for n in range(9)
    ]
    found = standardized(tmp_path / "out", Source(path=write(tmp_path / "rows.jsonl", rows), name="rows"))

    assert reasons(found, "rows") == dict.fromkeys(range(3), "missing-field")
    assert kept(found, "rows") == set(range(3, 12))
    said = "the first 12 rows are 9 metamath, 2 alpaca, 1 no known schema: read as metamath, for problems"
    assert said in capsys.readouterr().out
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    source = next(source for source in summary["sources"] if source["name"] == "rows")
    assert source["recognised"] == {"metamath": 9, "alpaca": 2, "no known schema": 1}
    assert (source["adapter"], source["use"], source["answers"]) == ("metamath", "problems", "number")
    for page in ("summary.md", "summary.html"):
        told = (tmp_path / "out" / page).read_text()
        assert "metamath for problems, answers number (first rows: 9 metamath, 2 alpaca, 1 no known schema)" in told


def test_every_row_of_the_formats_shows_its_format() -> None:
    sound = [
        (name, adapter, row)
        for name, (adapter, cases) in FORMATS.items()
        for row, what in cases
        if isinstance(what, Kept)
    ]
    shown = {name: [schema_of(row) for one, _, row in sound if one == name] for name in FORMATS}
    for name, (adapter, _) in FORMATS.items():
        assert shown[name].count(adapter) > len(shown[name]) / 2, (name, shown[name])
