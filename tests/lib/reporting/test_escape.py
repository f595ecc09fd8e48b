"""Hostile text, from its row and its source's name to every file and message in which a run tells of it."""

import json
import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt
from markdown_it.token import Token

from components.compare.compare import compare
from components.lib.files import read_json, write_json, write_jsonl
from components.lib.recipe.recipes import QWEN, TINY
from components.lib.recipe.schema import Compare, Source
from components.lib.recipe.settings import replace, to_json
from components.lib.reporting.escape import code, markdown
from components.lib.reporting.messages import message
from components.lib.reporting.page import render
from components.push.push import push
from tests.conftest import saved_item
from tests.fixtures.outcomes import outcome
from tests.fixtures.pages import check_page
from tests.fixtures.releases import make_run
from tests.fixtures.rows import evaluation, good, run, write

NAME = "<img src=x onerror=alert(1)> | `a` [x](javascript:alert(1)) **b** <!channel> https://evil.example"
ASKED = f"# <script>alert(1)</script> {NAME} ![i](x) &lt;b&gt; \\| \\` ~~s~~ ```f"
FENCED = f"{ASKED}\n```\n<script>alert(2)</script>\n````\n~~~\n</think>\n\n#### 5"
PARSER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
HARMLESS = {"text", "code_inline", "softbreak", "strong_open", "strong_close"}  # strong: the report's own headings


def tokens(text: str) -> Iterator[Token]:
    for token in PARSER.parse(text):
        yield token
        yield from token.children or []


def shown(text: str) -> list[str]:
    """The texts that a reader sees in paragraphs, headings and cells; fails where anything but text is made."""
    found = list(tokens(text))
    assert not [token for token in found if token.type in ("html_block", "html_inline", "link_open", "image", "s_open")]
    inline = [token for token in found if token.type == "inline"]
    assert {child.type for token in inline for child in token.children or []} <= HARMLESS
    return ["".join(child.content for child in token.children or []) for token in inline]


def wide(text: str) -> None:
    """Each row of a table has as many cells as its head."""
    for table, rows in groupby(text.split("\n"), lambda line: line.startswith("|")):
        assert not table or len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def standardized(folder: Path) -> tuple[Source, Path]:
    """A source with a hostile name and hostile rows, standardised; one is also an evaluation problem."""
    rows, test = good("gsm8k", 12), evaluation()
    rows[3]["question"] = test[0]["question"] = f"{ASKED} {rows[3]['question']}"
    rows[5]["answer"] = NAME
    folder.mkdir()
    source = Source(
        path=write(folder / "<i>`x|y`.jsonl", rows), name=NAME, adapter="gsm8k", licence="<b>|`l`", use="sft"
    )
    found = run(folder / "data", source, test=test, gate_share=0.0, plateau_share=0.0)
    assert len(found["rejects"]) == 2 and len(found["sft"]) == 10
    return source, folder / "data" / "out"


def evaluated(folder: Path) -> dict[str, Path]:
    """Saved evaluations of two checkpoints with a hostile question, completion, gold and model name."""
    for checkpoint, right in (("base", False), ("grpo", True)):
        items = [saved_item(checkpoint, "evaluation", "zero-shot", number, right) for number in range(6)]
        for item in items:
            item |= {"question": ASKED, "completion": FENCED if not right else item["completion"], "gold": "4"}
        write_jsonl(folder / checkpoint / "items.jsonl", items)
        write_json(folder / checkpoint / "summary.json", {
            "checkpoint": checkpoint, "model": NAME, "revision": "`|<b>", "model_sha256": "ab" * 32,
            "template_sha256": "cd" * 32, "seed": 0, "settings": {"samples": 1}, "results": [],
        })  # fmt: skip
    return {name: folder / name for name in ("base", "grpo")}


@pytest.mark.fault("a source is called <img src=x onerror=alert(1)>, as its rows and the model may be")
def test_a_hostile_name_and_row_are_text_in_the_data_summary(tmp_path: Path, seen) -> None:
    _, out = standardized(tmp_path / "hostile")
    text = (out / "summary.md").read_text(encoding="utf-8")
    cells = shown(text)
    assert NAME in cells, "whole, in one cell"
    wide(text)
    seen(next(line for line in text.splitlines() if "onerror" in line))
    page = (out / "summary.html").read_text(encoding="utf-8")
    check_page(page)
    assert "<script>" not in page and "<img" not in page


def test_hostile_questions_completions_and_models_are_text_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "curves").mkdir()
    write_jsonl(tmp_path / "curves" / "curves.jsonl", [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 0.5}])
    write_jsonl(tmp_path / "curves" / "alarms.jsonl", [{"step": 1, "message": ASKED}])
    recipe = replace(TINY, compare=Compare(confidence=0.95, bootstrap_samples=100, examples=2))
    compare(evaluations=evaluated(tmp_path), curves={"grpo": tmp_path / "curves"}, out=tmp_path, recipe=recipe)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    cells = shown(text)
    assert f"{ASKED} (right: 4)" in cells and f"grpo, step 1: {ASKED}" in cells
    assert any("javascript:alert(1)" in cell and "evil.example" in cell for cell in cells)
    fences = [token.content for token in tokens(text) if token.type == "fence"]
    assert f"{FENCED}\n" in fences and all("<script>alert(2)" not in cell for cell in cells)
    assert [token.map for token in tokens(text) if token.type == "heading_open" and token.tag == "h1"] == [[0, 1]]
    wide(text)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    check_page(page)
    assert "<script>" not in page and "<img" not in page


def test_hostile_names_are_text_in_the_cards_of_model_and_data(tmp_path: Path) -> None:
    source, data = standardized(tmp_path / "hostile")
    given = make_run(tmp_path, registry=str(tmp_path / "registry"))
    plan = replace(given["plan"], model=NAME, sources=(source,))
    recipe = replace(QWEN, name=NAME, model=NAME, stages=("sft", "grpo"))
    results = read_json(tmp_path / "results" / "results.json")
    results["results"][0]["checkpoint"] = NAME
    write_json(tmp_path / "results" / "results.json", results)
    sft = [{"messages": [], "source": NAME, "revision": "`r|", "licence": source.licence}]
    write_jsonl(data / "sft.jsonl", sft)
    pushed = push(**given | {"plan": plan, "recipe": to_json(recipe), "data": data, "run_id": "r"})
    cards = [Path(pushed["location"]) / "README.md", *(tmp_path / "registry" / "datasets").rglob("README.md")]
    assert len(cards) == 2
    for path in cards:
        card = ModelCard.load(path)
        texts = shown(card.text)
        assert NAME in texts and source.licence in texts and any(Path(source.path).name in cell for cell in texts)
        wide(card.text)
    python = next(token.content for token in tokens(ModelCard.load(cards[0]).text) if token.type == "fence")
    compile(python, "card", "exec")


def test_hostile_sentences_and_logs_are_text_in_slack_and_ntfy() -> None:
    hostile = outcome("r|<!here>", ending="failed", failed_step="`sft`", recipe=f"{NAME}\n<!channel>", sentence=ASKED,
                      log=[f"``` {NAME}", "<@U1> @channel"])  # fmt: skip
    sent = json.loads(message(hostile, "https://ui.example/a b|c>d`", "slack").body)
    assert sent["mrkdwn"] is False
    texts: list[dict[str, Any]] = [block.get("text") or block["elements"][0] for block in sent["blocks"]]
    assert [text["type"] for text in texts] == ["plain_text", "plain_text", "mrkdwn", "mrkdwn"]
    assert all(text["verbatim"] for text in texts[2:])
    whole = [sent["text"], *(text["text"] for text in texts)]
    assert whole[-1] == "run <https://ui.example/a%20b%7Cc%3Ed%60|r|&lt;!here&gt;>"
    assert not [text for text in whole[:-1] if "<" in text or ">" in text]
    assert whole[3].count("```") == 2 and whole[3].count("`") == 8 and "javascript:alert(1)" in whole[1]
    headers = message(hostile, "https://ui.example/ä\r\nX: y", "ntfy").headers
    assert headers["Click"] == "https://ui.example/%C3%A4%0D%0AX:%20y" and "\n" not in headers["Title"]


@pytest.mark.parametrize("text", [
    "# a", "###### a", "- a", "+ a", "-", "* a", "1. a", "12) a", "---", "- - -", "===", "***", "> a", "    a", "| a |",
    "~~~", "```", "<div>", "&amp;", "a  \nb", "[a]: https://x", "[a]", "![a](b)", "https://x.y", "<https://x.y>",
    "www.x.y", "a@b.c", "\\# a", "\\", "_a_", "a_b_c", "`a`", "$a$", "+50.0", "1.5", "-2", "#5", "", "a\\|b", "a | b",
])  # fmt: skip
def test_any_text_is_a_line_of_itself_and_a_cell_of_itself(text: str) -> None:
    wanted = " ".join(text.split())
    for around in ("", "- ", "a "):
        (line,) = shown(f"{around}{markdown(text)}") or [""]
        assert line.strip() == f"{around.strip('- ')} {wanted}".strip()
    assert shown(f"| a | b |\n|---|---|\n| {markdown(text)} | c |")[2:] == [wanted, "c"]
    (quoted,) = [token for token in tokens(f"x {code(text)}") if token.type == "code_inline"]
    assert quoted.content.strip() == wanted


def test_a_template_of_markdown_escapes_what_it_is_given(tmp_path: Path) -> None:
    """Whoever adds a line to one need not think of it."""
    (tmp_path / "page.md").write_text("{% macro m(x) %}**{{ x }}**{% endmacro %}{{ m(a) }} {{ a }}", encoding="utf-8")
    assert render(tmp_path / "page.md", a="<b>*") == r"**&lt;b&gt;\*** &lt;b&gt;\*"
