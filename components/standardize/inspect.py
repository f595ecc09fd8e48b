"""`python -m components.standardize inspect PATH`: what a source holds, before anyone writes a recipe for it."""

import argparse
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from components.lib import ending
from components.lib.data.adapters import ADAPTERS
from components.lib.data.detect import ROWS, Found, resolved
from components.lib.data.readers import Record
from components.lib.data.reasons import REASONS
from components.lib.data.rows import write_rows
from components.lib.data.sources import records
from components.lib.files import read_jsonl, write_jsonl
from components.lib.recipe import recipes
from components.lib.recipe.checkers import packed, read
from components.lib.recipe.schema import CHECKER, Source
from components.lib.recipe.settings import from_dict, plain, replace
from components.lib.registry.plan import Plan
from components.lib.streams import use_utf8

_SHOWN, _FIRST = 100, 3  # characters of a value, rows that are shown
_QUESTIONS = ("question", "problem", "prompt", "query", "instruction", "input", "text", "title")
_GOLDS = ("gold", "answer", "final_answer", "target", "label", "ground_truth", "expected", "output", "response")
_OPTIONS = ("name", "adapter", "use", "answers", "config", "split", "file", "revision")


def command(arguments: Sequence[str]) -> int:
    """Parse the command line and print what is found; returns the exit status."""
    use_utf8()
    parser = argparse.ArgumentParser(
        prog="python -m components.standardize inspect",
        description="Show a source's first rows and fields, the adapter that fits, what would be kept and refused "
        "and why, and the lines of a recipe file to copy.",
    )
    parser.add_argument("path", help=Source.model_fields["path"].description)
    for name in _OPTIONS:
        parser.add_argument(f"--{name}", metavar=name.upper(), help=Source.model_fields[name].description)
    parser.add_argument(
        "--field", action="append", default=[], metavar="NAME=PLACE", help=Source.model_fields["fields"].description
    )
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}

    def work() -> int:
        mapping = dict(_pair(text) for text in given.pop("field"))
        for line in told(from_dict(Source, given | {"fields": mapping})):
            print(line)
        return 0

    return ending.run_command("components.standardize inspect", work)


def told(source: Source) -> Iterator[str]:
    """What is to be said of a source, line by line; `ValueError` if it cannot be read."""
    first = list(islice(records(source, 0), ROWS))
    rows = [record.row for record in first if not record.refused]
    yield f"{source.path}: the first {len(first):,} rows"
    yield from ["", "Rows"]
    yield from (f"  {record.index}  {_short(record.row, 3 * _SHOWN)}" for record in first[:_FIRST])
    yield from ["", "Fields", *_fields(rows)]
    try:
        known, found = resolved(source, 0)
    except ValueError as error:
        yield from ["", str(error), "", "Recipe, to be completed", *_recipe(source, fields=_guess(rows))]
        return
    yield from ["", f"Adapter {known.adapter}{_schemas(found)}", *_schema(known.adapter)]
    yield from ["", f"Read for {known.use}, with answers of the kind {known.answers}", *_fate(known, first)]
    yield from ["", "Recipe", *_recipe(known)]


def _fate(source: Source, first: Sequence[Record]) -> Iterator[str]:
    """What standardize does with the rows, by the rules and in the settings of the recipe qwen."""
    refused = Counter((str(source.use), record.refused.reason) for record in first if record.refused)
    index = [record.index for record in first if not record.refused]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.jsonl")
        write_jsonl(path, (record.row for record in first if not record.refused))
        copy = replace(source, path=str(path), name=source.label, revision="main", optional=True)
        alone = Source(path=str(Path(folder, "none.jsonl")), adapter="gsm8k")  # there is nothing to be kept clear of
        write_jsonl(Path(alone.path), [{"question": "?", "answer": "#### 0"}])
        own = {source.answers: packed(read(source.answers))} if source.answers.startswith(CHECKER) else {}
        plan = Plan(model="", revision="", sources=(copy,), evaluation=(alone,), seed=0, checkers=own)
        with redirect_stdout(StringIO()):
            written = write_rows(plan=plan, settings=recipes.QWEN.standardize, out=Path(folder, "out"))
        tallies = [tally for tally in written.ledger.tallies if tally.source.name == source.label]
        examples: dict[str, Mapping[str, Any]] = {}
        for row in read_jsonl(Path(folder, "out", "rejects.jsonl")):
            examples.setdefault(row["reason"], row | {"index": index[row["index"]]})
    for tally in tallies:
        yield f"  kept for {tally.source.use}: {tally.kept:,}"
        refused.update({(str(tally.source.use), reason): count for reason, count in tally.rejected.items()})
    for (use, reason), count in refused.most_common():
        yield f"  refused for {use}: {count:,} {reason} ({REASONS[reason]}{_example(examples.get(reason))})"


def _example(row: Mapping[str, Any] | None) -> str:
    if not row:
        return ""
    detail = {key: value for key, value in row.items() if key not in ("source", "index", "reason", "row")}
    return f"; row {row['index']}" + (f": {_short(detail, _SHOWN)}" if detail else "")


def _fields(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Each place with the share of rows that have it, its types, and an example."""
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in _places(row):
            values.setdefault(name, []).append(value)
    width = max(map(len, values), default=0)
    return [
        f"  {name:{width}}  {len(found) / len(rows):4.0%}  {'/'.join(sorted({_type(one) for one in found}))}  "
        f"{_short(found[0], _SHOWN)}"
        for name, found in values.items()
    ]


def _places(value: Any, front: str = "") -> Iterator[tuple[str, Any]]:
    """The places of a row that a field map can name, of a list its first element alone."""
    inner = value.items() if isinstance(value, Mapping) else [("0", value[0])] if isinstance(value, list) else ()
    for name, one in inner:
        if one is not None:
            yield f"{front}{name}", one
            if isinstance(one, Mapping) or (isinstance(one, list) and one):
                yield from _places(one, f"{front}{name}.")


def _type(value: Any) -> str:
    names = {str: "text", bool: "truth", int: "number", float: "number", list: "list", dict: "fields"}
    return names.get(type(value), type(value).__name__)


def _schemas(found: Found) -> str:
    if not found.rows:
        return ""
    counts = ", ".join(f"{count:,} {name}" for name, count in found.schemas.most_common())
    return f", as most of the first {found.rows:,} rows want it ({counts})"


def _schema(adapter: str) -> list[str]:
    """The first paragraph of the adapter's docstring."""
    lines = (ADAPTERS[adapter].__doc__ or "").split("\n\n")[0].splitlines()
    return [f"  {line.strip()}" for line in lines]


def _recipe(source: Source, **changes: Any) -> list[str]:
    """The source as lines of a recipe file: what is not the default, in JSON's way of writing, which YAML reads."""
    values = plain(source) | changes
    kept = {name: value for name, value in values.items() if value != Source.model_fields[name].default}
    front = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in kept.items()]
    return ["sources:", *(f"{'  - ' if number == 0 else '    '}{line}" for number, line in enumerate(front))]


def _guess(rows: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """A field map by the names of the fields, with dots where no name looks like it."""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def like(wanted: Sequence[str]) -> str:
        ranked = [name for want in wanted for name in names if want in name.lower()]
        return ranked[0] if ranked else "..."

    return {"question": like(_QUESTIONS), "gold": like(_GOLDS)}


def _pair(text: str) -> tuple[str, str]:
    name, equals, place = text.partition("=")
    if not (name and equals and place):
        raise ValueError(f"--field {text}: write NAME=PLACE, as in gold=meta.answers.0")
    return name, place


def _short(value: Any, limit: int) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]} ..."
