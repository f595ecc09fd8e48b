"""What a recipe's paths are: on this disk, in a bucket, on the Hub or made by code; and where relative ones lie."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from components.lib.files import expanded
from components.lib.model.names import EMBEDDED, looks_local, no_hub_id
from components.lib.recipe.schema import CHECKER, Recipe, Source
from components.lib.recipe.settings import replace

FORMATS = (".jsonl", ".ndjson", ".json", ".csv", ".parquet")  # of a local source, plain or .gz
Kind = Literal["tiny", "s3", "file", "hub"]


def kind_of(path: str, folder: Path | None = None) -> Kind:
    """Where a source's `path` lies: made by code (tiny:), on S3, in a file (relative to `folder`), or on the Hub."""
    if path.startswith("tiny:"):
        return "tiny"
    if path.startswith("s3://"):
        return "s3"
    here = looks_local(path) or path.lower().removesuffix(".gz").endswith(FORMATS) or _in(folder, path).exists()
    return "file" if here or no_hub_id(path) else "hub"


def absolute(recipe: Recipe, folder: Path | None = None) -> Recipe:
    """The recipe with every path of this disk absolute; relative ones are meant from `folder`, or from here."""
    model = recipe.model
    if looks_local(model) or (model not in EMBEDDED and _in(folder, model).is_dir()):
        model = _text(folder, model)
    return replace(
        recipe,
        model=model,
        sources=tuple(_source(source, folder, recipe.checkers) for source in recipe.sources),
        evaluation=tuple(_source(source, folder, recipe.checkers) for source in recipe.evaluation),
        registry=_directory(folder, recipe.registry),
        checkpoints=_directory(folder, recipe.checkpoints),
    )


def _source(source: Source, folder: Path | None, read: Mapping[str, str]) -> Source:
    path = _text(folder, source.path) if kind_of(source.path, folder) == "file" else source.path
    answers = source.answers
    if answers.startswith(CHECKER) and answers not in read:
        answers = CHECKER + _text(folder, answers.removeprefix(CHECKER))
    return replace(source, path=path, answers=answers)


def _directory(folder: Path | None, text: str) -> str:
    return text if not text or "://" in text else _text(folder, text)


def _in(folder: Path | None, text: str) -> Path:
    return (folder or Path.cwd()) / expanded(text)


def _text(folder: Path | None, text: str) -> str:
    return str(_in(folder, text).absolute())
