"""Study files: YAML 1.2, read with the line of every mistake; some come with the package and go by their names.

name: sft-or-not              # default: the file's stem
recipe: tiny                  # a recipe's name or file
variants:
  base: {}                    # the model as it is, of which there is no run
  sft: {stages: [sft]}        # changes, as in a recipe file
seeds: [0, 1, 2]
compare: [[base, sft]]        # default: each against the first
across_protocols: [[base, sft]]   # pairs of which also: does their difference depend on the protocol? default: none
push_best: false              # run the best variant once more, with gate and push
parallel: 1                   # runs at once on a cluster
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from ruamel.yaml.comments import CommentedMap

from components.lib.files import expanded
from components.lib.recipe import checkers, files, recipes, selection
from components.lib.recipe.paths import absolute
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import MISSING, Settings, near, plain, problems, replace, validated

BASE = "base"
SHIPPED = Path(__file__).parent / "shipped"
OWN = ("name", "seed", "data_seed", "registry", "checkpoints", files.BASE)  # which a study sets itself
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
_HINT = "`recipe: tiny`, and below it `variants` and `seeds`"


class Study(Settings):
    """A study as its file has it."""

    name: str = Field(description="name of the study and of its folder in the registry")
    recipe: str = Field(description="what all variants begin with: a recipe's name or file")
    variants: dict[str, Any] = Field(description="name -> changes, as in a recipe file")
    seeds: tuple[int, ...] = Field(description="seeds with which every variant runs", min_length=1)
    compare: tuple[tuple[str, str], ...] = Field(default=(), description="pairs of variants, the reference first")
    across_protocols: tuple[tuple[str, str], ...] = Field(
        default=(), description="pairs whose difference is also compared between protocols"
    )
    push_best: bool = Field(default=False, description="run the best variant once more, with gate and push")
    parallel: int = Field(default=1, description="runs at once on a cluster", ge=1)


@dataclass(frozen=True)
class Declared:
    """A study that was read: its pairs filled in, and the recipe of each variant but the base."""

    name: str
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    compare: tuple[tuple[str, str], ...]
    across_protocols: tuple[tuple[str, str], ...]
    push_best: bool
    parallel: int
    recipes: dict[str, Recipe]

    @property
    def any_recipe(self) -> Recipe:
        """That of the first variant, for what all have in common."""
        return next(iter(self.recipes.values()))


def names() -> list[str]:
    """The studies that come with the package."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def load(name: str, recipe: str = "", changes: Sequence[str] = ()) -> Declared:
    """The study called `name`, or that of a file; `recipe` replaces its own, `changes` (NAME=VALUE) go on top of that.

    `ValueError` names the file, the line, what is wrong there and what is valid.
    """
    if name not in names() and not recipes.is_file(name):
        raise ValueError(f"no study {name!r}; valid: {', '.join(names())}, or the path of a YAML file")
    path = SHIPPED / f"{name}.yaml" if name in names() else expanded(name).absolute()
    given = files.parsed(path, "study", _HINT)
    study = _study(path, given)
    _check(path, given, study)
    own = str(path.parent / expanded(study.recipe)) if recipes.is_file(study.recipe) else study.recipe
    # A path of --set is meant from here, a variant's from the file.
    base = absolute(selection.chosen(recipe or own, changes))
    shared = {"data_seed": base.seed if base.data_seed < 0 else base.data_seed}
    made = {
        variant: checkers.with_code(files.over(path, plain(replace(base, **shared)), given["variants"][variant]))
        for variant in study.variants
        if variant != BASE
    }
    first, *others = study.variants
    pairs = study.compare or tuple((first, other) for other in others)
    return Declared(
        name=study.name, variants=tuple(study.variants), seeds=study.seeds, compare=pairs,
        across_protocols=study.across_protocols, push_best=study.push_best, parallel=study.parallel, recipes=made,
    )  # fmt: skip


def _study(path: Path, given: CommentedMap) -> Study:
    """The fields of a file; `ValueError` for the first that is unknown, missing or of the wrong type."""
    try:
        return validated(Study, {"name": path.stem, **given})
    except ValidationError as error:
        found = list(problems(Study, error))
        loc, what = next((one for one in found if one[1] != MISSING), found[0])
        raise ValueError(f"{_place(path, given, loc)}: {'.'.join(map(str, loc))}: {what}") from None


def _check(path: Path, given: CommentedMap, study: Study) -> None:
    """Refuse values that do not go together."""
    known = list(study.variants)
    for name in (study.name, *known):
        if not _NAME.fullmatch(name):
            raise ValueError(f"{path}: {name!r} names a folder; write letters, digits and . _ + - alone")
    if len(known) < 2:
        raise ValueError(
            f"{_place(path, given, ('variants',))}: variants has {len(known)}; a study compares two at least"
        )
    for name, changes in study.variants.items():
        _check_variant(_place(path, given, ("variants", name)), name, changes)
    if len(set(study.seeds)) < len(study.seeds) or min(study.seeds) < 0:
        raise ValueError(f"{_place(path, given, ('seeds',))}: seeds {list(study.seeds)}: give different ones from 0 on")
    for field in ("compare", "across_protocols"):
        _check_pairs(path, given, field, getattr(study, field), known)


def _check_pairs(
    path: Path, given: CommentedMap, field: str, pairs: Sequence[tuple[str, str]], known: list[str]
) -> None:
    """Refuse pairs that are none of the study's variants."""
    for number, pair in enumerate(pairs):
        where = f"{_place(path, given, (field, number))}: {field} {list(pair)}"
        if unknown := [name for name in pair if name not in known]:
            raise ValueError(f"{where}: there is no variant {unknown[0]!r}; valid: {near(unknown[0], known)}")
        if pair[0] == pair[1] or pair in pairs[:number]:
            raise ValueError(f"{where}: {'name two variants' if pair[0] == pair[1] else 'it is there twice'}")


def _check_variant(where: str, name: str, changes: Any) -> None:
    """Refuse the changes of a variant that are none, or not for it to make."""
    if not isinstance(changes, dict):
        raise ValueError(f"{where}: {name}: {changes!r} is not a mapping of fields, as {{stages: [sft]}}")
    if name == BASE and changes:
        raise ValueError(f"{where}: {BASE} is the model as it is, of which there is no run: write `{BASE}: {{}}`")
    if own := [field for field in changes if field in OWN]:
        raise ValueError(f"{where}: {name}: {own[0]} is the same for all variants; change it in the study's recipe")


def _place(path: Path, given: CommentedMap, loc: tuple[Any, ...]) -> str:
    return f"{path}:{files.line_of(given, loc)}"
