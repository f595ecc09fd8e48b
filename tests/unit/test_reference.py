"""The generated page is what the recipes say now."""

from pathlib import Path

from components.reference import markdown


def test_the_recipes_page_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "recipes.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run `make docs`"
