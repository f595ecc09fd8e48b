"""Reads saved evaluations and training curves, and refuses those that cannot be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from components.lib.answers.judging import Item, item_rows
from components.lib.answers.kinds import answers_of, form_of
from components.lib.files import read_jsonl, read_object
from components.lib.recipe.schema import PROTOCOLS, Form
from components.lib.reporting import measures
from components.lib.training.handed_on import PLATEAU

Group = tuple[str, str]  # split, protocol


@dataclass(frozen=True)
class Evaluation:
    """One checkpoint's items by split and protocol, each list ordered by problem and sample."""

    checkpoint: str
    groups: dict[Group, list[Item]]
    summary: dict[str, Any]  # summary.json as evaluate wrote it


def read_evaluations(directories: Mapping[str, Path]) -> list[Evaluation]:
    """Read `DIR/items.jsonl` and `DIR/summary.json` of each checkpoint, in the order given.

    `ValueError` if there is nothing to compare, if an item is there twice, or if two checkpoints were not asked
    the same problems: a paired test would then pair strangers.
    """
    if not directories:
        raise ValueError("no evaluations to compare; give at least one checkpoint=directory")
    found = [_read(checkpoint, path) for checkpoint, path in directories.items()]
    for other in found[1:]:
        _check_pair(found[0], other)
    return found


def form(evaluations: Sequence[Evaluation]) -> Form:
    """The form in which a run's answers were asked for; an older one knew the marker alone."""
    return form_of(next(iter(evaluations[0].groups.values()))[0])


def kinds(evaluations: list[Evaluation]) -> list[str]:
    """The kinds of the answers that were asked for, those of the evaluation split first."""
    items = (item for group in evaluations[0].groups.values() for item in group)
    return list(dict.fromkeys(map(answers_of, items)))


def by_source(evaluations: Sequence[Evaluation], split: str) -> dict[str, list[Evaluation]]:
    """The evaluations of a split restricted to the problems of each source in turn; empty where there is but one."""
    groups = [group for group in evaluations[0].groups if group[0] == split]
    asked = [item for group in groups for item in evaluations[0].groups[group]]
    return {name: [_of_source(each, groups, name) for each in evaluations] for name in measures.by_source(asked)}


def read_curves(directories: Mapping[str, Path]) -> dict[str, list[dict[str, Any]]]:
    """The rows of `DIR/curves.jsonl` of each training stage, then those of its plateau.jsonl with `plateau` set."""
    found = {}
    for stage, path in directories.items():
        evaluated = [{"step": row["step"], "plateau": row["accuracy"]} for row in _rows(path / PLATEAU)]
        found[stage] = [*read_jsonl(path / "curves.jsonl"), *evaluated]
    return found


def read_training_samples(directories: Mapping[str, Path], count: int) -> dict[str, list[dict[str, Any]]]:
    """At most `count` rows of `DIR/samples.jsonl` of each stage that has one, from the first step to the last."""
    found = {}
    for stage, path in directories.items():
        rows = _rows(path / "samples.jsonl")
        if rows and count:
            places = {round(k * (len(rows) - 1) / max(1, count - 1)) for k in range(count)}
            found[stage] = [rows[place] for place in sorted(places)]
    return found


def read_alarms(directories: Mapping[str, Path]) -> list[str]:
    """What training raised alarm about: the rows {"step", "message"} of `DIR/alarms.jsonl` where there is one."""
    return [
        f"{stage}, step {row['step']}: {row['message']}"
        for stage, path in directories.items()
        for row in _rows(path / "alarms.jsonl")
    ]


def read_warnings(data: Path | None) -> list[str]:
    """What standardize warns of in the directory that it wrote, if that is known: sources of which it kept little."""
    path = data / "summary.json" if data else None
    found = read_object(path).get("warnings", []) if path and path.exists() else []
    return [f"data: {warning}; see summary.html of standardize" for warning in found]


def differing_prompts(evaluations: list[Evaluation]) -> list[str]:
    """A sentence for each checkpoint and group whose prompts are not those of the first checkpoint."""
    found = []
    for other in evaluations[1:]:
        for group, items in other.groups.items():
            pairs = zip(evaluations[0].groups[group], items, strict=True)
            differing = sum(a["prompt_sha256"] != b["prompt_sha256"] for a, b in pairs)
            if differing:
                found.append(
                    f"{other.checkpoint} saw other prompts than {evaluations[0].checkpoint} in {differing:,} of "
                    f"{len(items):,} cases ({' '.join(group)}): their chat templates or exemplars differ"
                )
    return found


def _of_source(evaluation: Evaluation, groups: Sequence[Group], name: str) -> Evaluation:
    chosen = {
        group: items
        for group in groups
        if (items := [item for item in evaluation.groups[group] if measures.source_of(item) == name])
    }
    return replace(evaluation, groups=chosen)


def _rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, none if it is not there."""
    return list(read_jsonl(path)) if path.exists() else []


def _read(checkpoint: str, path: Path) -> Evaluation:
    groups: dict[Group, list[Item]] = {}
    seen: dict[tuple[str, str, str, int], int] = {}
    for number, item in enumerate(item_rows(path / "items.jsonl"), 1):
        key = (item["split"], item["protocol"], item["id"], item["sample"])
        if key in seen:
            raise ValueError(
                f"{path}/items.jsonl:{number} repeats line {seen[key]} (problem {item['id']!r}, sample "
                f"{item['sample']}); evaluate {checkpoint} anew"
            )
        seen[key] = number
        groups.setdefault(key[:2], []).append(item)
    if not groups:
        raise ValueError(f"{path}/items.jsonl has no rows; evaluate {checkpoint} anew")
    for items in groups.values():
        items.sort(key=lambda item: (item["id"], item["sample"]))
    order = sorted(groups, key=lambda group: (group[0], PROTOCOLS.index(group[1])))
    return Evaluation(checkpoint, {group: groups[group] for group in order}, read_object(path / "summary.json"))


def _check_pair(first: Evaluation, other: Evaluation) -> None:
    if list(first.groups) != list(other.groups):
        raise ValueError(
            f"{first.checkpoint} was evaluated on {_names(first)}, {other.checkpoint} on {_names(other)}; "
            "evaluate both with the same protocols"
        )
    for group, items in first.groups.items():
        ours = {(item["id"], item["sample"], item["gold"]) for item in items}
        theirs = {(item["id"], item["sample"], item["gold"]) for item in other.groups[group]}
        if ours != theirs:
            strange = sorted(ours ^ theirs)[0][0]
            raise ValueError(
                f"{first.checkpoint} and {other.checkpoint} were not asked the same problems ({' '.join(group)}, "
                f"{len(ours ^ theirs)} differ, {strange!r} is one); evaluate both on the same data"
            )


def _names(evaluation: Evaluation) -> str:
    return ", ".join(" ".join(group) for group in evaluation.groups)
