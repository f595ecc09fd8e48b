"""The generated page is what the recipes say now."""

from components.lib.recipe.reference import markdown
from tests import ROOT


def test_the_recipes_page_is_up_to_date():
    page = ROOT / "docs" / "recipes.md"
    assert page.read_text(encoding="utf-8") == markdown(), "run `make docs`"
