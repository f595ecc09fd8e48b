"""The prompt format is one, whoever renders it."""

import pytest

from components.lib.generation.prompts import (
    asking,
    assistant_text,
    completion_text,
    fitted,
    knows_system,
    prefilled,
    question_messages,
    render,
    shown_question,
    system_prompt,
)


def test_the_completion_continues_a_prompt_that_opened_the_block():
    assistant = assistant_text("Two and two is four.", "#### 4")
    assert assistant == "<think>\nTwo and two is four.\n</think>\n\n#### 4"
    opened, bare = "...<|im_start|>assistant\n<think>\n", "...<|im_start|>assistant\n"
    assert prefilled(opened) and not prefilled(bare)
    assert opened + completion_text(opened, assistant, "<|im_end|>") == bare + assistant + "<|im_end|>"
    assert completion_text(bare, assistant, "") == assistant


def test_exemplars_keep_their_reasoning_in_one_user_turn():
    messages = asking({"question": "How many?"}, [("1+1?", assistant_text("One more.", "#### 2"))])
    assert [m["role"] for m in messages] == ["system", "user"]
    assert "<think>\nOne more.\n</think>" in messages[1]["content"]
    assert messages[1]["content"].endswith("Question: How many?\nAnswer:")


def test_no_exemplars_is_the_plain_question():
    assert asking({"question": "How many?"}) == question_messages("How many?")


@pytest.mark.parametrize(
    ("form", "kind", "last"),
    [
        ("marker", "number", "#### <number>"),
        ("marker", "choice", "#### <letter>"),
        ("boxed", "math", "\\boxed{<answer>}"),
        ("boxed", "text", "\\boxed{<answer>}"),
        ("marker", "python:check.py", "#### <answer>"),
    ],
)
def test_the_system_prompt_says_what_form_and_kind_want(form, kind, last):
    assert system_prompt(form, kind).endswith(f"finish with one last line of the form: {last}")


def test_options_are_shown_in_one_form():
    shown = "How far?\n\n(A) 5 km\n(B) 6 km"
    assert shown_question("How far?", ["A)5 km", "B)6 km"]) == shown
    assert shown_question("How far?", ["5 km", "6 km"]) == shown
    assert shown_question("How far?", []) == "How far?"


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
RAISES = "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}" + CHATML
DROPS = CHATML.replace("{% for m in messages %}", "{% for m in messages if m.role != 'system' %}")


@pytest.mark.parametrize(("template", "known"), [(CHATML, True), (RAISES, False), (DROPS, False)])
def test_a_template_without_a_system_role_gets_the_instruction_in_the_user_turn(template, known):
    """As Gemma 2's, which raises, and those that drop the turn without a word."""
    pytest.importorskip("transformers", reason="needs transformers: no template is rendered")
    from tests.conftest import make_tokenizer

    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    messages = question_messages("How many?", "Count, then write #### <number>")
    assert knows_system(tokenizer) is known
    assert render(tokenizer, messages) == (
        "<|im_start|>system\nCount, then write #### <number><|im_end|>\n<|im_start|>user\nHow many?<|im_end|>\n"
        "<|im_start|>assistant\n"
        if known
        else "<|im_start|>user\nCount, then write #### <number>\n\nHow many?<|im_end|>\n<|im_start|>assistant\n"
    )
    taught = [*messages, {"role": "assistant", "content": "#### 4"}]
    assert [m["role"] for m in fitted(tokenizer, taught)] == ["system"] * known + ["user", "assistant"]
