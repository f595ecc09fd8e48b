"""Recipes as files: YAML 1.2 (or JSON, which is YAML), read with the line of every mistake, and written with help.

    base: qwen3.5-0.8b          # a recipe's name or another file; without it every field is needed
    grpo: {learning_rate: 2e-6}
    sources:
      - {path: rows.jsonl, adapter: gsm8k}
    evaluation: [gsm8k, math-500]  # ready-made, or sources like the others

Relative paths are meant from the file's own folder. `name` is the file's stem unless given.
"""

from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from components.lib.files import expanded
from components.lib.recipe import paths, recipes
from components.lib.recipe.schema import Recipe
from components.lib.recipe.settings import MISSING, Loc, Settings, bounds, choices, near, plain, problems, validated

BASE = "base"
_HINT = f"`{BASE}: tiny` and below it what differs, as `seed: 1`"
_WIDTH = 116  # of a line that holds no comment


def read(path: Path, inside: tuple[Path, ...] = ()) -> Recipe:
    """The recipe of a file on top of its `base`; `inside` are the files whose base it is.

    `ValueError` names file, line, key and the valid ones in one line.
    """
    path = expanded(path).absolute()
    given = parsed(path)
    below = _base(path, given, inside) if given.get(BASE) else None
    values = plain(below) if below else {}
    return over(path, values | {"checkers": {}, "name": path.stem, BASE: _standing_on(below)}, given)


def over(path: Path, values: dict[str, Any], given: CommentedMap) -> Recipe:
    """The recipe of `values` with the fields on top that a mapping in the file `path` has; errors as of `read`."""
    fields, values = {name: value for name, value in given.items() if name != BASE}, dict(values)
    if isinstance(given.get("evaluation"), list):
        fields["evaluation"] = [_evaluation(path, given, place) for place in range(len(given["evaluation"]))]
    for name, value in fields.items():
        merged = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = {**values[name], **value} if merged else value
    try:
        recipe = paths.absolute(validated(Recipe, values), path.parent)
        recipes.check_recipe(recipe)
    except ValidationError as error:
        _refuse(path, given, error)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return recipe


def write(recipe: Recipe) -> str:
    """The recipe as the text of such a file, every field with its help above it; `read` gives it back."""
    commented = CommentedMap()
    _fill(commented, recipe, indent=0)
    yaml, out = YAML(), StringIO()
    yaml.width, yaml.default_flow_style = _WIDTH, False
    yaml.dump(commented, out)
    return out.getvalue()


def parsed(path: Path, kind: str = "recipe", hint: str = _HINT) -> CommentedMap:
    """The mapping in a YAML file of a `kind`; `ValueError` has the line of a mistake, and the hint for an empty one."""
    yaml = YAML(typ="rt", pure=True)
    yaml.version = (1, 2)
    try:
        given = yaml.load(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ValueError(f"there is no {kind} file {path}") from None
    except OSError as error:
        raise ValueError(f"{kind} file {path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{kind} file {path} is not UTF-8 ({error.reason} at byte {error.start})") from None
    except MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line}: {' '.join(str(error.problem or error.context).split())}") from None
    except YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(given, CommentedMap) or not given:
        raise ValueError(f"{path} holds no fields; write {hint}")
    return given


def _base(path: Path, given: CommentedMap, inside: tuple[Path, ...]) -> Recipe:
    """The recipe that a file's `base` names."""
    base, where = given[BASE], f"{path}:{line_of(given, (BASE,))}"
    if not isinstance(base, str):
        raise ValueError(f"{where}: base {base!r} is not the name of a recipe or a file")
    if not recipes.is_file(base):
        if base not in recipes.RECIPES:
            raise ValueError(f"{where}: base {base!r} is no recipe; valid: {', '.join(recipes.RECIPES)}, or a file")
        return recipes.RECIPES[base]
    below = (path.parent / expanded(base)).absolute()
    if below in (*inside, path):
        raise ValueError(f"{where}: base {base!r} leads back to a file that has this one as its base")
    try:
        return read(below, (*inside, path))
    except ValueError as error:
        raise ValueError(f"{error}, the base of {where}" if "the base of" not in str(error) else str(error)) from None


def _standing_on(below: Recipe | None) -> str:
    """The built-in recipe at the bottom of a base, "" if that is a file that has every field itself."""
    if below is None:
        return ""
    return below.base or (below.name if below.name in recipes.RECIPES else "")


def _evaluation(path: Path, given: CommentedMap, place: int) -> Any:
    """An item of a file's `evaluation`, its fields where it is a name."""
    try:
        return recipes.evaluation_named(given["evaluation"][place])
    except ValueError as error:
        raise ValueError(f"{path}:{line_of(given, ('evaluation', place))}: evaluation.{place}: {error}") from None


def _refuse(path: Path, given: CommentedMap, error: ValidationError) -> NoReturn:
    """Raise the first mistake of a file with its line."""
    found = list(problems(Recipe, error))
    missing = [".".join(map(str, loc)) for loc, what in found if what == MISSING]
    if missing and len(missing) == len(found) and BASE not in given:
        raise ValueError(
            f"{path} lacks {len(missing)} fields, such as {missing[0]}; write `{BASE}: tiny` to take from that recipe "
            "what is not given"
        )
    loc, what = next((one for one in found if one[1] != MISSING), found[0])
    if loc[0] in recipes.flat_fields() and loc[0] not in Recipe.model_fields:
        stage, _, name = recipes.flat_fields()[str(loc[0])]
        what = f"write it as `{stage}: {{{name}: ...}}`"
    elif len(loc) == 1 and loc[0] not in Recipe.model_fields:
        what = f"there is no such field; valid: {near(str(loc[0]), list(Recipe.model_fields))}"
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise ValueError(f"{path}:{line_of(given, loc)}: {'.'.join(map(str, loc))}: {what}{more}")


def line_of(given: CommentedMap, loc: Loc) -> int:
    """The line of the deepest part of `loc` that the file holds, counted from 1."""
    line, node = 1, given
    for part in loc:
        if isinstance(node, CommentedMap) and part in node:
            line = node.lc.key(part)[0] + 1
        elif isinstance(node, CommentedSeq) and isinstance(part, int):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line


def _fill(target: CommentedMap, values: Settings, indent: int) -> None:
    """Put the fields of `values` into `target`, each below a comment with its help."""
    for name, field in type(values).model_fields.items():
        value = getattr(values, name)
        if name == "checkers" or (name == BASE and not value):  # their code is read anew from its files
            continue
        if isinstance(value, Settings):
            target[name] = CommentedMap()
            _fill(target[name], value, indent + 2)
            told = f"\n{' '.join((type(value).__doc__ or '').split())}"
        else:
            target[name] = _listed(value) if isinstance(value, tuple) else value
            told = "; ".join(part for part in (field.description, ", ".join(choices(field)), bounds(field)) if part)
        target.yaml_set_comment_before_after_key(name, before=told, indent=indent)


def _listed(value: tuple[Any, ...]) -> CommentedSeq:
    """A list; of settings only what is not the default."""
    rows = [
        {k: v for k, v in plain(item).items() if v != type(item).model_fields[k].default}
        if isinstance(item, Settings) else item
        for item in value
    ]  # fmt: skip
    made = CommentedSeq(rows)
    if not any(isinstance(row, dict) for row in rows):
        made.fa.set_flow_style()
    return made
