"""Sources: from a recipe's `Source` to the records of its files, wherever they lie."""

import dataclasses
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from components.lib.data.readers import Record, read_records
from components.lib.files import expanded, sha256
from components.lib.recipe.paths import kind_of
from components.lib.recipe.schema import SAMPLED, Source
from components.lib.recipe.settings import replace
from components.lib.registry.plan import Plan

_DESCRIBING = ("README.md", ".huggingface.yaml", "dataset_infos.json")  # a repository of the Hub to `datasets`


def named(sources: tuple[Source, ...], taken: set[str]) -> tuple[Source, ...]:
    """The sources with `name` filled in; `ValueError` for a name that is taken.

    A name that comes from the path gets a number where the path is listed twice.
    """
    result = []
    for source in sources:
        if source.name and source.name in taken:
            raise ValueError(f"two sources are called {source.name!r}; give each its own name")
        name, number = source.label, 2
        while name in taken:
            name, number = f"{source.label} ({number})", number + 1
        taken.add(name)
        result.append(replace(source, name=name))
    return tuple(result)


def with_sampled(plan: Plan, samples: Path) -> Plan:
    """The plan with the directory that the step `sample` wrote as its last source.

    The source is optional: a base model that never writes what can be kept does not end the run.
    """
    source = Source(
        name=SAMPLED, path=str(samples / "samples.jsonl"), adapter="prompt-completion", use="sft", licence="unknown",
        optional=True,
    )  # fmt: skip
    return replace(plan, sources=(*plan.sources, source))


def pinned(source: Source) -> Source:
    """The source with the hash of its local file as `revision`; `ValueError` if the file is not there or changed."""
    if kind_of(source.path) != "file":
        return source
    try:
        return replace(source, revision=f"sha256:{sha256(_local(source))[:16]}")
    except ValueError as error:
        raise ValueError(f"source {source.told}: {error}") from None


def records(source: Source, seed: int) -> Iterator[Record]:
    """The records of a source, counted on through its files; `seed` makes the rows of a `tiny:` one.

    `ValueError` says what is missing or has changed since the plan was made, and where.
    """
    if kind_of(source.path) == "tiny":
        from components.lib.tiny import problems

        for index, row in enumerate(problems.rows(source.path.removeprefix("tiny:"), seed)):
            yield Record(index, row, None)
        return
    offset = 0
    with files(source) as found:
        for name, path in found:
            last = -1
            for record in read_records(path, name):
                last = record.index
                yield dataclasses.replace(record, index=offset + last)
            offset += last + 1


@contextmanager
def files(source: Source) -> Iterator[list[tuple[str, Path]]]:
    """The files of a source on this disk, as (name, path); what came from S3 is gone afterwards."""
    try:
        kind = kind_of(source.path)
        if kind == "file":
            yield [(source.path, _local(source))]
        elif kind == "s3":
            with tempfile.TemporaryDirectory() as folder:
                yield [(source.path, _from_s3(source, Path(folder)))]
        else:
            yield _from_hub(source)
    except ValueError as error:
        raise ValueError(f"source {source.told}: {error}") from error


def _local(source: Source) -> Path:
    path = expanded(source.path)
    if not path.is_file():
        what = "is a directory, name one file in it" if path.is_dir() else "does not exist, correct its path"
        raise ValueError(f"{path.absolute()} {what}")
    planned = source.revision.removeprefix("sha256:")
    if planned != source.revision and not sha256(path).startswith(planned):
        raise ValueError(f"{path} is not what the plan saw ({source.revision}); run again from preflight")
    return path


def _from_s3(source: Source, folder: Path) -> Path:
    from components.lib.registry.s3 import fetch_object, object_etag

    if source.revision.startswith("etag:") and source.revision.removeprefix("etag:") != object_etag(source.path):
        raise ValueError(f"{source.path} is not what the plan saw ({source.revision}); run again from preflight")
    target = folder / PurePosixPath(source.path).name
    fetch_object(source.path, target)
    return target


def _from_hub(source: Source) -> list[tuple[str, Path]]:
    """The files of a Hub dataset's split, or its one `file`, fetched into the Hub's cache at the revision."""
    from components.lib import hub

    names = [source.file] if source.file else _split_files(source)
    return [(name, hub.file_of("dataset", source.path, name, source.revision)) for name in names]


def _split_files(source: Source) -> list[str]:
    """The names of the files that make a split, found as the `datasets` library finds them.

    It is shown a directory with the repository's files, all empty but those that describe it: what it asks the Hub
    itself it does not ask again, and offline it asks for rows that it has prepared, not for files.
    """
    from datasets import load_dataset_builder

    from components.lib import hub

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, source.path).resolve()
        hub.outline("dataset", source.path, source.revision, _DESCRIBING, root)
        try:
            builder = load_dataset_builder(str(root), source.config or None)
        except (FileNotFoundError, ValueError) as error:
            told = " ".join(str(error).split()).replace(str(root), source.path)
            raise ValueError(f"dataset {source.path}: {told}; correct its config") from None
        splits = builder.config.data_files or {}
        if source.split not in splits:
            raise ValueError(f"dataset {source.path} has no split {source.split!r}; it has {', '.join(splits)}")
        return [Path(str(path)).relative_to(root).as_posix() for path in splits[source.split]]
