r"""The prompt format: one module that SFT, GRPO and evaluation all render with.

Thinking is on everywhere: the chat template is rendered with `enable_thinking=True`. Qwen3.5's template then
ends the generation prompt with `<think>\n`, so a completion starts inside the block and holds only the closing
tag; a template that knows nothing of thinking leaves the opening tag to the completion. `prefilled` tells the
two apart, and every judge of a completion asks it.
"""

from collections.abc import Sequence
from typing import Any

OPEN, CLOSE, MARKER = "<think>", "</think>", "####"
SYSTEM_PROMPT = (
    "You are a careful problem solver. Reason step by step inside <think> and </think>, "
    "then finish with one last line of the form: #### <number>"
)
TEMPLATE_ARGUMENTS = {"enable_thinking": True}

Message = dict[str, str]


def question_messages(question: str) -> list[Message]:
    """The conversation that asks one question."""
    return [{"role": "system", "content": SYSTEM_PROMPT}, {"role": "user", "content": question}]


def few_shot_messages(question: str, exemplars: Sequence[tuple[str, str]]) -> list[Message]:
    """The question with solved exemplars `(question, answer)` before it, all in one user turn.

    One turn, because chat templates strip `<think>` from earlier assistant turns.
    """
    shots = "".join(f"Question: {asked}\nAnswer: {answer}\n\n" for asked, answer in exemplars)
    return question_messages(f"{shots}Question: {question}\nAnswer:" if exemplars else question)


def render(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The text of a prompt, up to where the model goes on."""
    return tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=True, **TEMPLATE_ARGUMENTS
    )


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
