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
    found = fit.fit(directory, plan.model, fit.instructions(recipe))
    for line in found.told():
        print(f"model: {line}", flush=True)
    if found.context:
        template = Template(directory)
        texts = [prompts.render(template, messages) for messages in _asked(recipe, plan)]
        fit.check_limits(recipe, plan.model, found.context, max(Counter(directory).count(texts)))


def _asked(recipe: Recipe, plan: Plan) -> Iterator[list[prompts.Message]]:
    """The conversations that ask the first questions of each source that lies here, and of each kind an empty one."""
    for told in fit.instructions(recipe):
        yield prompts.question_messages("", told)
    for source in (*plan.sources, *plan.evaluation):
        if kind_of(source.path) in ("file", "tiny") and source.purpose != "sft":
            told = fit.instruction(recipe, source.kind)
            yield from (prompts.question_messages(text, told) for text in questions(source, plan.seed))
