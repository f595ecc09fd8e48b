r"""The prompt format: one module that SFT, GRPO and evaluation all render with.

Thinking is on everywhere: the chat template is rendered with `enable_thinking=True`. Qwen3.5's template then
ends the generation prompt with `<think>\n`, so a completion starts inside the block and holds only the closing
tag; a template that knows nothing of thinking leaves the opening tag to the completion. `prefilled` tells the
two apart, and every judge of a completion asks it.

What is asked of the model follows from the form and the kind of its answers (lib/answers/kinds.py), unless the recipe
has a `system_prompt` of its own. It is the system turn, or stands before the question where the chat template knows no
system role.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from components.lib.answers.choice_answer import letters
from components.lib.answers.final import in_form
from components.lib.model.template import RENDER_ERRORS
from components.lib.recipe.schema import Form

OPEN, CLOSE = "<think>", "</think>"
TEMPLATE_ARGUMENTS = {"enable_thinking": True}
WANTED = {"number": "<number>", "choice": "<letter>"}  # of another kind: <answer>
_PROBE = "which system prompt"

Message = dict[str, str]


def system_prompt(form: Form, kind: str) -> str:
    """What a model is told before a question whose answer is of `kind`.

    >>> system_prompt("marker", "number")[-31:]
    'line of the form: #### <number>'
    """
    last = in_form(WANTED.get(kind, "<answer>"), form)
    return (
        "You are a careful problem solver. Reason step by step inside <think> and </think>, "
        f"then finish with one last line of the form: {last}"
    )


def system_prompts(form: Form) -> list[str]:
    """Those for answers of any kind."""
    return [system_prompt(form, kind) for kind in (*WANTED, "of another kind")]


def shown_question(question: str, options: Sequence[str]) -> str:
    """The question with its options below, each after its letter; the question alone where there are none."""
    if not options:
        return question
    listed = "\n".join(f"({letter}) {text.strip()}" for letter, text in letters(options).items())
    return f"{question}\n\n{listed}"


def question_messages(question: str, system: str | None = None) -> list[Message]:
    """The conversation that asks one question, without `system` for a number behind the marker."""
    told = system_prompt("marker", "number") if system is None else system
    return [{"role": "system", "content": told}, {"role": "user", "content": question}]


def asking(row: Mapping[str, Any], exemplars: Sequence[tuple[str, str]] = ()) -> list[Message]:
    """The conversation that asks the problem of a row, with solved exemplars `(question, answer)` before it.

    All is in one user turn, because chat templates strip `<think>` from earlier assistant turns.
    """
    shots = "".join(f"Question: {asked}\nAnswer: {answer}\n\n" for asked, answer in exemplars)
    question = f"{shots}Question: {row['question']}\nAnswer:" if exemplars else row["question"]
    return question_messages(question, row.get("system"))


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text of a prompt, up to where the model goes on."""
    return apply(tokenizer, fitted(tokenizer, messages))


def fitted(tokenizer: Any, messages: Sequence[Message]) -> list[Message]:
    """The messages as the chat template can take them: without a system role, its text begins the user turn."""
    if messages[0]["role"] != "system" or knows_system(tokenizer):
        return list(messages)
    system, user, *rest = messages
    return [in_user_turn(system, user), *rest]


def in_user_turn(system: Message, user: Message) -> Message:
    """The user turn with the text of the system turn before its own."""
    return {"role": "user", "content": f"{system['content']}\n\n{user['content']}"}


def knows_system(tokenizer: Any) -> bool:
    """Whether a chat template shows a system turn; some raise an error, some drop it silently."""
    return _knows_system(_Template(tokenizer))


class _Template:
    """A tokenizer, equal to any other with the same template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer, self.text = tokenizer, str(tokenizer.chat_template)

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Template) and self.text == other.text


@lru_cache(maxsize=8)
def _knows_system(template: _Template) -> bool:
    try:
        return _PROBE in apply(template.tokenizer, question_messages("?", _PROBE))
    except ValueError:
        return False


def apply(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text of messages as they are; `ValueError` with the chat template's own words if it refuses them."""
    try:
        return tokenizer.apply_chat_template(
            list(messages), tokenize=False, add_generation_prompt=True, **TEMPLATE_ARGUMENTS
        )
    except RENDER_ERRORS as error:
        roles = ", ".join(message["role"] for message in messages)
        raise ValueError(f"its chat template refuses a conversation of {roles}: {error}") from None


def prefilled(prompt: str) -> bool:
    """Whether a rendered prompt has already opened the think block."""
    return prompt.rstrip().endswith(OPEN)


def assistant_text(reasoning: str, answer: str) -> str:
    """The normal form of an assistant turn: one closed think block, then the answer."""
    return f"{OPEN}\n{reasoning.strip()}\n{CLOSE}\n\n{answer.strip()}"


def completion_text(prompt: str, assistant: str, end: str) -> str:
    """What the model must write after `prompt` for the turn `assistant` in normal form, `end` token included."""
    if prefilled(prompt):
        assistant = assistant.removeprefix(OPEN).removeprefix("\n")
    return assistant + end
