"""What a model makes of this project's prompts, found from its configuration and its tokenizer's files alone.

Everything that could only be seen in a trained model otherwise: whether the instruction reaches it, where its thinking
begins, what ends its turn, and whether prompt and completion have room in its context.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from components.lib.files import read_json
from components.lib.generation import prompts
from components.lib.model.config import context_of, text_config
from components.lib.model.ends import Ends, ends_of
from components.lib.model.template import Template
from components.lib.model.tokens import Counter, added_ids
from components.lib.recipe.schema import Recipe

_QUESTION = "How many cards has Tom now?"
_DATED = re.compile(r"strftime_now|date_string")


@dataclass(frozen=True)
class Fit:
    """What was found of a model."""

    directory: Path
    model_type: str
    context: int | None  # tokens of prompt and completion together, None: no limit is known
    ends: Ends
    system: str  # why the instruction begins the user turn, "" where the template shows a system turn
    prefilled: bool  # whether the prompt has opened the think block
    strips: bool  # whether reasoning is taken out of earlier turns
    tags: Mapping[str, int]  # think tag -> tokens that it takes
    dated: bool  # whether a prompt holds the day's date

    def told(self) -> Iterator[str]:
        """What was found, line by line."""
        names = {number: token for token, number in added_ids(self.directory).items()}
        yield f"model type {self.model_type}, context {self.context or 'without a limit in its config'}"
        yield f"a completion ends with {', '.join(names[number] for number in self.ends.ids)}"
        yield f"SFT teaches {self.ends.taught} at the end of a turn"
        if self.ends.ignored:
            yield f"no ends, although its config says so, since they are ordinary text: {list(self.ends.ignored)}"
        where = f"begins the user turn: {self.system}" if self.system else "is the system turn"
        yield f"the instruction {where}"
        opened = "the prompt has opened it" if self.prefilled else "the model opens it"
        tokens = ", ".join(f"{tag} {count} token{'s' if count > 1 else ''}" for tag, count in self.tags.items())
        yield f"the think block: {opened}; {tokens}"
        if self.strips:
            yield "its template takes reasoning out of earlier turns, of which this project never has any"
        if self.dated:
            yield "its template writes today's date into each prompt: answers of another day are not used again"


def fit(directory: Path, name: str, systems: Sequence[str]) -> Fit:
    """What a model makes of a question below each of the instructions `systems`; `name` is what errors call it.

    `ValueError` says what cannot be mended: no chat template, one that refuses a question, loses the instruction or
    the question, or has closed the think block; no token that ends a completion; a token that the weights lack.
    """
    template = Template(directory)
    if not template.chat_template:
        raise ValueError(
            f"model {name!r} has no chat template; choose an instruction-tuned model, or save one as "
            "chat_template.jinja beside its tokenizer"
        )
    config, ends, counter = read_json(directory / "config.json"), ends_of(directory), Counter(directory)
    asked = [_asked(template, name, system) for system in systems]
    _check_ids(counter, name, asked, ends, text_config(config).get("vocab_size"))
    return Fit(
        directory=directory,
        model_type=str(config.get("model_type", "unknown")),
        context=context_of(config),
        ends=ends,
        system=_why_no_system(template),
        prefilled=prompts.prefilled(asked[0]),
        strips=_strips(template),
        tags={tag: counter.count([tag])[0] for tag in (prompts.OPEN, prompts.CLOSE)},
        dated=bool(_DATED.search(template.chat_template)),
    )


def _asked(template: Template, name: str, system: str) -> str:
    """The prompt of one question, in which both it and the instruction must be."""
    prompt = prompts.render(template, prompts.question_messages(_QUESTION, system))
    for what, text in (("instruction", system), ("question", _QUESTION)):
        if _plain(text) not in _plain(prompt):
            raise ValueError(
                f"model {name!r}: its chat template loses the {what} {text[:60]!r}: the prompt is {prompt[-200:]!r}; "
                "correct its chat_template.jinja"
            )
    if prompt.rstrip().endswith(prompts.CLOSE):
        raise ValueError(
            f"model {name!r}: its chat template closes the think block before the model can think, also with "
            f"enable_thinking=True: the prompt ends with {prompt[-40:]!r}; correct its chat_template.jinja"
        )
    return prompt


def _check_ids(counter: Counter, name: str, texts: Sequence[str], ends: Ends, rows: int | None) -> None:
    """Refuse a tokenizer whose ids lead beyond the embeddings, of which there are `rows`."""
    highest = max(*ends.ids, *(max(ids, default=0) for ids in counter.ids(texts)))
    if rows is not None and highest >= rows:
        raise ValueError(
            f"model {name!r}: its prompts need the token {highest}, but its config has vocab_size {rows}; resize the "
            "embeddings to the tokenizer (resize_token_embeddings) and save the model again"
        )


def _why_no_system(template: Template) -> str:
    """Why the template cannot take a system turn, "" if it can."""
    if prompts.knows_system(template):
        return ""
    try:
        prompts.apply(template, prompts.question_messages(_QUESTION, "?"))
    except ValueError as error:
        return str(error)
    return "its chat template drops the system turn without a word"


def _strips(template: Template) -> bool:
    turn = prompts.assistant_text("It was said before.", "#### 1")
    turns = [*({"role": role, "content": text} for role, text in (("user", "?"), ("assistant", turn), ("user", "!")))]
    try:
        return prompts.CLOSE not in prompts.apply(template, turns).removesuffix(f"{prompts.OPEN}\n")
    except ValueError:
        return False


def _plain(text: str) -> str:
    return " ".join(text.split())


def instructions(recipe: Recipe) -> list[str]:
    """Every instruction that a run of the recipe may give: of which kind its answers are, the rows may decide."""
    return [recipe.system_prompt] if recipe.system_prompt else prompts.system_prompts(recipe.form)


def limits(recipe: Recipe) -> dict[str, int]:
    """How many new tokens each use of the model may write, by the setting that says so."""
    found = {"evaluate_max_new_tokens": recipe.evaluate.max_new_tokens}
    if "grpo" in recipe.stages:
        found["grpo_max_new_tokens"] = recipe.grpo.max_new_tokens
    if recipe.sample.problems:
        found["sample_max_new_tokens"] = recipe.sample.max_new_tokens
    return found


def fitting_limits(recipe: Recipe, context: int | None, prompt: int) -> dict[str, int]:
    """The limits of a recipe that are too long for a context, with values that fit; `prompt` is the longest prompt."""
    if context is None:
        return {}
    room = context - prompt
    found = {name: room for name, value in limits(recipe).items() if value > room}
    if "sft" in recipe.stages and recipe.sft.max_tokens > context:
        found |= {"sft_max_tokens": context}
    return found


def check_limits(recipe: Recipe, name: str, context: int | None, prompt: int) -> None:
    """Refuse a recipe whose limits exceed a model's context; `prompt` is the longest prompt in tokens.

    `ValueError` names every such setting, and a value that fits.
    """
    wrong = fitting_limits(recipe, context, prompt)
    if not wrong:
        return
    if min(wrong.values()) < 1:
        raise ValueError(
            f"model {name!r} has a context of {context} tokens, which a prompt of {prompt} fills; leave out that "
            "problem, or take a model with a longer context"
        )
    now = {**limits(recipe), "sft_max_tokens": recipe.sft.max_tokens}
    told = ", ".join(f"{setting}={now[setting]}" for setting in wrong)
    fits = " ".join(f"--set {setting}={value}" for setting, value in wrong.items())
    raise ValueError(
        f"model {name!r} has a context of {context} tokens, prompts take up to {prompt}: {told} cannot fit; use {fits}"
    )
