"""Tables for a terminal and in Markdown: aligned, no number rewritten, no cell that breaks its row."""

from components.lib.reporting.table import lines, markdown


def test_lines_are_as_wide_as_their_widest_cell_and_numbers_stay_as_written():
    rows = [("sft", "1.50", "2026"), ("", "", ""), ("grpo long", "10", "-")]
    assert lines("lrl", ("name", "points", "when"), rows).split("\n") == [
        "name       points  when",
        "-----------------------",
        "sft          1.50  2026",
        "",
        "grpo long      10  -",
        "-----------------------",
    ]


def test_markdown_keeps_a_bar_inside_its_cell():
    table = markdown("lr", ("name", "n"), [("a|b", 1), ("c", "2.50")]).split("\n")
    assert table[1].replace("-", "") == "|:|:|" and table[2].startswith(r"| a\|b ")
    assert [line.replace(r"\|", "").count("|") for line in table] == [3] * 4
    assert table[3].split("|")[2].strip() == "2.50"
