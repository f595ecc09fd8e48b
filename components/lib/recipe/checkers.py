"""A user's own checkers: the code that `answers: python:FILE.py` of a source names, and how it travels to the steps.

It is in no image. Whoever starts a run reads the file, and its code goes with the recipe, then with the plan, as base64
of its gzip: KFP hands a step all its inputs as one argument of a command line.
"""

import base64
import gzip
import hashlib
import json
import symtable
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

from components.lib.files import expanded, write_text
from components.lib.recipe.schema import CHECKER, Recipe
from components.lib.recipe.settings import replace, to_json

FOLDER = "checkers"  # in which code lies beside what was made with it
HASH = "sha256:"
LARGEST = 64 * 1024  # bytes of a checker's code
ARGUMENT = 128 * 1024  # bytes that Linux takes as one argument (MAX_ARG_STRLEN)
_ROOM = 16 * 1024  # of them, for what KFP writes around the texts: names, addresses of artifacts


def with_code(recipe: Recipe) -> Recipe:
    """The recipe with the code of every checker in it, by its file's name alone; what it has already stays.

    A relative path is meant from the working directory. `ValueError` as `read`, if two files have one name, and if it
    all is too much.
    """
    codes: dict[str, str] = {}

    def name(answers: str) -> str:
        text = recipe.checkers.get(answers) or packed(read(answers))
        file = Path(answers.removeprefix(CHECKER)).name
        if codes.setdefault(CHECKER + file, text) != text:
            raise ValueError(f"two different checkers are called {file}; rename one")
        return CHECKER + file

    recipe = replace(_renamed(recipe, name), checkers=codes)
    if codes:
        check_length(to_json(recipe))
    return recipe


def unfolded(recipe: Recipe, folder: Path) -> Recipe:
    """The recipe whose checkers are files again, below `folder`, to which its `answers` are relative."""

    def name(answers: str) -> str:
        if answers not in recipe.checkers:
            return answers
        file = f"{FOLDER}/{answers.removeprefix(CHECKER)}"
        write_text(folder / file, unpacked(recipe.checkers[answers]))
        return CHECKER + file

    return replace(_renamed(recipe, name), checkers={})


def _renamed(recipe: Recipe, name: Callable[[str], str]) -> Recipe:
    """The recipe with another name of each checker."""
    lists = {"sources": recipe.sources, "evaluation": recipe.evaluation}
    changed = {
        part: tuple(replace(s, answers=name(s.answers)) if s.answers.startswith(CHECKER) else s for s in sources)
        for part, sources in lists.items()
    }
    return replace(recipe, **changed)


def read(answers: str) -> str:
    """The code of `python:FILE.py`; `ValueError` names the file that is missing, too large or no such code."""
    path = expanded(answers.removeprefix(CHECKER))
    if path.suffix != ".py":
        raise ValueError(f"answers {answers!r} names no checker; write {CHECKER}FILE.py")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(f"checker {path} cannot be read ({error.strerror}); correct `answers` of its source") from None
    if len(data) > LARGEST:
        raise ValueError(
            f"checker {path} has {len(data):,} bytes; at most {LARGEST:,} travel with a recipe: shorten it"
        )
    try:
        code = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"checker {path} is not UTF-8 ({error.reason} at byte {error.start})") from None
    _check_code(code, path)
    return code


def _check_code(code: str, path: Path) -> None:
    """Refuse code that does not compile or has no function `check`; nothing of it is run."""
    try:
        with warnings.catch_warnings(action="ignore"):
            compile(code, str(path), "exec", dont_inherit=True)
            names = symtable.symtable(code, str(path), "exec")
    except SyntaxError as error:
        raise ValueError(f"checker {path}:{error.lineno or 1} does not compile: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"checker {path} does not compile: {error}") from None
    found = names.lookup("check") if "check" in names.get_identifiers() else None
    if not found or not (found.is_assigned() or found.is_imported()):
        raise ValueError(f"checker {path} has no function check(completion, row); define it")


def packed(code: str) -> str:
    """The code as the text that travels; equal code gives equal text."""
    return base64.b64encode(gzip.compress(code.encode(), mtime=0)).decode()


def unpacked(text: str) -> str:
    """The code from its text; `ValueError` if that is none."""
    try:
        return gzip.decompress(base64.b64decode(text, validate=True)).decode()
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise ValueError(f"checkers: {text[:40]!r} is not the base64 of a gzip ({error})") from None


def hash_of(text: str) -> str:
    """`sha256:` and the hash of packed code; such a hash is returned as it is."""
    return text if text.startswith(HASH) else f"{HASH}{hashlib.sha256(unpacked(text).encode()).hexdigest()}"


def short_hash(code: str) -> str:
    """The first 16 digits of the hash of code: by these rows and file names know it."""
    return hashlib.sha256(code.encode()).hexdigest()[:16]


def check_length(*texts: str) -> None:
    """Refuse what would be too long for one argument of a command line, as the inputs of a step are."""
    size, most = len(json.dumps(texts).encode()), ARGUMENT - _ROOM
    if size > most:
        raise ValueError(
            f"recipe, sources and checkers make {size:,} bytes and a step takes at most {most:,}; shorten the "
            "checkers, or have several sources share one"
        )
