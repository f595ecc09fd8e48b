"""What preflight finds of the base model, before its weights are fetched: see lib/generation/fit.py."""

from collections.abc import Iterator

from components.lib.data.detect import questions
from components.lib.generation import fit, prompts
from components.lib.model.files import model_directory
from components.lib.model.template import Template
from components.lib.model.tokens import Counter
from components.lib.recipe.paths import kind_of
from components.lib.recipe.schema import Recipe
from components.lib.registry.plan import Plan


def check_fit(recipe: Recipe, plan: Plan) -> None:
    """Print what was found of the plan's model; `ValueError` if it cannot be asked, or the limits exceed its context.

    Prompts are measured with the first questions of the sources that lie here; of others only the instruction is known.
    """
    directory = model_directory(plan.model, plan.revision, tokenizer_only=True)
    told = fit.instructions(recipe)
    found = fit.fit(directory, plan.model, told)
    for line in found.told():
        print(f"model: {line}", flush=True)
    if found.context:
        template, longest = Template(directory), max(told, key=len)
        texts = [prompts.render(template, prompts.question_messages(text, longest)) for text in _asked(plan)]
        fit.check_limits(recipe, plan.model, found.context, max(Counter(directory).count(texts)))


def _asked(plan: Plan) -> Iterator[str]:
    """The first questions of each source of problems that lies here, and an empty one."""
    yield ""
    for source in (*plan.sources, *plan.evaluation):
        if kind_of(source.path) in ("file", "tiny") and source.purpose != "sft":
            yield from questions(source, plan.rows_seed)
