"""`doctor --model`: what a model makes of this project, by its configuration and its tokenizer's files alone."""

import json

from components.lib.generation import fit, prompts
from components.lib.hub import commit_of
from components.lib.model.files import check_model, directory_of, model_directory
from components.lib.model.template import Template
from components.lib.model.tokens import Counter
from components.lib.recipe.schema import Recipe


def examine_model(recipe: Recipe, model: str, revision: str) -> int:
    """Print what is found of a model and the lines of a recipe file that it needs; returns the exit status.

    Weights are not fetched. `ValueError` says what keeps the model from being used, and how that is mended.
    """
    check_model(model, "" if directory_of(model) else commit_of("model", model, revision))
    directory = model_directory(model, revision, tokenizer_only=True)
    told, template = fit.instructions(recipe), Template(directory)
    found = fit.fit(directory, model, told)
    for line in found.told():
        print(line)
    [prompt] = Counter(directory).count([prompts.render(template, prompts.question_messages("", max(told, key=len)))])
    wrong = fit.fitting_limits(recipe, found.context, prompt)
    if min(wrong.values(), default=1) < 1:
        fit.check_limits(recipe, model, found.context, prompt)
    print("\nRecipe")
    for line in _recipe(recipe.name, model, revision, wrong):
        print(f"  {line}")
    return 0


def _recipe(base: str, model: str, revision: str, limits: dict[str, int]) -> list[str]:
    """The lines of a recipe file: the model, and the limits that fit it."""
    lines = [f"base: {base}", f"model: {json.dumps(model, ensure_ascii=False)}"]
    lines += [f"revision: {revision}"] if revision != "main" else []
    for name, value in limits.items():
        stage, _, field = name.partition("_")
        lines.append(f"{stage}: {{{field}: {value}}}")
    return lines
