"""The prompt format is one, whoever renders it."""

from components.lib.generation.prompts import (
    assistant_text,
    completion_text,
    few_shot_messages,
    prefilled,
    question_messages,
)


def test_the_completion_continues_a_prompt_that_opened_the_block():
    assistant = assistant_text("Two and two is four.", "#### 4")
    assert assistant == "<think>\nTwo and two is four.\n</think>\n\n#### 4"
    opened, bare = "...<|im_start|>assistant\n<think>\n", "...<|im_start|>assistant\n"
    assert prefilled(opened) and not prefilled(bare)
    assert opened + completion_text(opened, assistant, "<|im_end|>") == bare + assistant + "<|im_end|>"
    assert completion_text(bare, assistant, "") == assistant


def test_exemplars_keep_their_reasoning_in_one_user_turn():
    messages = few_shot_messages("How many?", [("1+1?", assistant_text("One more.", "#### 2"))])
    assert [m["role"] for m in messages] == ["system", "user"]
    assert "<think>\nOne more.\n</think>" in messages[1]["content"]
    assert messages[1]["content"].endswith("Question: How many?\nAnswer:")


def test_no_exemplars_is_the_plain_question():
    assert few_shot_messages("How many?", []) == question_messages("How many?")
