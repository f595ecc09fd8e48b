"""A checker's file: found where the recipe names it, checked before anything runs, and carried with the recipe."""

import random
import string

import pytest

from components.lib.recipe import checkers, selection
from components.lib.recipe.files import read, write
from components.lib.recipe.recipes import TINY
from components.lib.recipe.settings import replace, to_json

CODE = "def check(completion, row):\n    return row['gold'] in completion\n"
SOURCES = "[{path: rows.jsonl, answers: 'python:own.py'}]"


def put(folder, text=CODE, name="own.py"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def with_source(answers):
    return replace(TINY, sources=(replace(TINY.sources[-1], answers=answers),))


def test_it_lies_beside_the_recipe_that_names_it(tmp_path, monkeypatch):
    put(tmp_path / "below")
    low = put(tmp_path / "below", f"base: tiny\nsources: {SOURCES}\n", "low.yaml")
    top = put(tmp_path, "base: below/low.yaml\nseed: 1\n", "top.yaml")
    monkeypatch.chdir("/")
    for path in (low, top):
        recipe = selection.chosen(str(path), [])
        assert recipe.sources[0].answers == "python:own.py"
        assert {name: checkers.unpacked(text) for name, text in recipe.checkers.items()} == {"python:own.py": CODE}
    monkeypatch.chdir(tmp_path / "below")
    given = '[{"path": "tiny:problems", "answers": "python:own.py"}]'
    assert selection.chosen("tiny", [f"sources={given}"]).checkers == recipe.checkers


def test_equal_code_is_equal_text_and_two_of_one_name_are_refused(tmp_path):
    one, other = put(tmp_path / "a"), put(tmp_path / "b")
    both = [replace(TINY.sources[-1], answers=f"python:{path}") for path in (one, other)]
    recipe = replace(TINY, sources=(both[0],), evaluation=(both[1],))
    assert list(checkers.with_code(recipe).checkers) == ["python:own.py"]
    other.write_text(CODE + "# another\n")
    with pytest.raises(ValueError, match=r"two different checkers are called own\.py; rename one"):
        checkers.with_code(recipe)


def test_what_is_shown_is_its_name_and_what_a_run_keeps_can_be_run_again(tmp_path):
    recipe = checkers.with_code(with_source(f"python:{put(tmp_path)}"))
    assert read(put(tmp_path / "json", to_json(recipe), "mine.json")) == recipe, "as preflight writes it"
    text = write(checkers.unfolded(recipe, tmp_path / "out"))
    assert "checkers:" not in text and "gold" in CODE and CODE not in text
    again = selection.chosen(str(put(tmp_path / "out", text, "recipe.yaml")), [])
    assert again.checkers == recipe.checkers and again.sources == recipe.sources


FAULTS = {
    "is missing": (None, "cannot be read (No such file or directory)"),
    "is too large": (CODE + "#" * 70_000, "bytes; at most 65,536 travel with a recipe: shorten it"),
    "does not compile": ("def check(completion, row)\n", "own.py:1 does not compile: expected ':'"),
    "is binary": ("\0", "own.py:1 does not compile: source code string cannot contain null bytes"),
    "defines no check": ("def chekc(completion, row):\n    return check\n", "has no function check(completion, row)"),
    "is empty": ("", "has no function check(completion, row)"),
}


@pytest.mark.fault("the file of a checker is wrong")
@pytest.mark.parametrize("what", FAULTS)
def test_a_bad_file_is_refused_when_the_recipe_is_read(what, tmp_path, seen):
    text, said = FAULTS[what]
    path = tmp_path / "own.py" if text is None else put(tmp_path, text)
    with pytest.raises(ValueError, match="checker") as error:
        checkers.with_code(with_source(f"python:{path}"))
    assert said in str(error.value) and str(path) in str(error.value) and "\n" not in str(error.value)
    seen(str(error.value), fault=f"the file of a checker {what}")


@pytest.mark.parametrize("answers", ["python:", "python:own", "python:own.txt"])
def test_what_names_no_file_is_refused(answers):
    with pytest.raises(ValueError, match="names no checker; write python:FILE.py"):
        checkers.with_code(with_source(answers))


ELSEWHERE = ["from math import isclose as check", "try:\n    check = max\nfinally:\n    pass", "class check: pass"]


@pytest.mark.parametrize("code", ELSEWHERE)
def test_check_may_come_from_anywhere(code, tmp_path):
    assert checkers.read(f"python:{put(tmp_path, code)}") == code


def test_other_text_than_utf8_is_refused(tmp_path):
    put(tmp_path).write_bytes(CODE.encode() + b"# \xff\n")
    with pytest.raises(ValueError, match=r"own\.py is not UTF-8 \(invalid start byte at byte \d+\)"):
        checkers.read(f"python:{tmp_path / 'own.py'}")


def test_what_no_argument_can_hold_is_refused(tmp_path):
    """Two files whose text does not get shorter."""
    letters = random.Random(0)
    noise = ["".join(letters.choices(string.ascii_letters + string.digits, k=60_000)) for _ in range(2)]
    paths = [put(tmp_path, f"{CODE}#{text}\n", f"{number}.py") for number, text in enumerate(noise)]
    both = tuple(replace(TINY.sources[-1], answers=f"python:{path}") for path in paths)
    with pytest.raises(ValueError, match=r"make 1\d\d,\d+ bytes and a step takes at most 114,688; shorten"):
        checkers.with_code(replace(TINY, sources=both))
    checkers.with_code(replace(TINY, sources=both[:1]))


def test_a_text_that_is_no_code_is_refused():
    for text in ("x", "eA==", "H4sIAAAA", checkers.packed(CODE)[:-8]):
        with pytest.raises(ValueError, match="is not the base64 of a gzip"):
            checkers.unpacked(text)
