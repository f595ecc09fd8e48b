"""Rows of twelve public formats, sound and unsound, and what is to become of each: written from the rules.

A case is (row, what): `what` is the reason for which the adapter refuses the row, or `Kept`.
"""

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Kept:
    """A row that is read: its gold, whether it has a trace (or why not), and the question where it is not `ASKED`."""

    gold: str | None
    trace: bool = True
    flaw: str = ""
    question: str = ""


ASKED, THOUGHT, SAID = "Tom has 3 cups and finds 4. How many?", "He counts 3 and 4.", "The answer is $\\boxed{7}$."
BLOCK = f"<think>\n{THOUGHT}\n</think>\n\n"
OPEN = "<|begin_of_thought|>\n\n{}\n\n<|end_of_thought|>\n\n<|begin_of_solution|>\n\n{}\n\n<|end_of_solution|>"
LONG = "An essay of many words about cups, and Tom, and what is found where, and when, and by whom, and why."
Case = tuple[dict[str, Any], Kept | str]


def _share(answer: str, *front: dict[str, Any], **more: Any) -> dict[str, Any]:
    turns = [*front, {"from": "human", "value": ASKED}, {"from": "gpt", "value": answer}]
    return {"id": "x1", "conversations": turns, **more}


def _messages(content: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": content, **more}]}


def _thoughts(thought: str, solution: str) -> dict[str, Any]:
    turns = [{"from": "user", "value": ASKED}, {"from": "assistant", "value": OPEN.format(thought, solution)}]
    return {"system": "Your role as an assistant ...", "conversations": turns}


def _openr1(*texts: Any, verdicts: Any = None, **more: Any) -> dict[str, Any]:
    row = {"problem": ASKED, "solution": "3+4=7, so \\boxed{7}.", "answer": "7", "problem_type": "Algebra",
           "generations": list(texts), "correctness_math_verify": verdicts, "correctness_llama": None,
           "is_reasoning_complete": [True] * len(texts), "messages": [{"role": "user", "content": ASKED}]}  # fmt: skip
    return row | more


def _dapo(asked: Any = ASKED, gold: Any = "7", **more: Any) -> dict[str, Any]:
    wrapped = (
        "Solve the following math problem step by step. The last line of your response should be of the form Answer: "
        "$Answer (without quotes) where $Answer is the answer to the problem.\n\n" + str(asked) + '\n\nRemember to put '
        'your answer on its own line after "Answer:".'
    )  # fmt: skip
    row = {"data_source": "math_dapo", "prompt": [{"role": "user", "content": wrapped}], "ability": "MATH",
           "reward_model": {"ground_truth": gold, "style": "rule"}, "extra_info": {"index": "1-2"}}  # fmt: skip
    return row | more


def _aqua(correct: Any = "B", rationale: Any = "3+4=7.\nAnswer: B", **more: Any) -> dict[str, Any]:
    row = {"question": ASKED, "options": ["A)6", "B)7", "C)8", "D)9", "E)10"], "rationale": rationale,
           "correct": correct}  # fmt: skip
    return row | more


RIGHT = BLOCK + SAID
WRONG = BLOCK + "It is \\boxed{8}."

SHAREGPT: list[Case] = [
    (_share(RIGHT), Kept(None)),
    (_share(RIGHT, {"from": "system", "value": "Think."}), Kept(None)),
    (_share(RIGHT, gold=7), Kept("7")),
    (_share(RIGHT, gold="8"), "contradicts-gold"),
    (_share(RIGHT) | {"answer": "7"}, Kept("7")),
    (_share(RIGHT) | {"answer": LONG}, Kept(None)),
    (_share(RIGHT) | {"conversations": json.dumps(_share(RIGHT)["conversations"])}, Kept(None)),
    ({"conversations": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": RIGHT}]}, Kept(None)),
    (_share("<think>\n" + THOUGHT), "unclosed-think"),
    (_share(THOUGHT), "no-think"),
    (_share(""), "empty-field"),
    (_share(BLOCK), "no-answer"),
    (_share(BLOCK + "Either \\boxed{7} or \\boxed{8}."), "several-answers"),
    (_share(BLOCK + "\\boxed{8}\n\n#### 7"), "several-answers"),
    (_share(BLOCK + "#### 1. Count\n3 and 4\n\n\\boxed{7}"), Kept(None)),
    (_share(RIGHT, {"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}), "wrong-roles"),
    ({"conversations": [{"from": "human", "value": ASKED}]}, "wrong-roles"),
    ({"conversations": []}, "wrong-roles"),
    ({"conversations": "no list"}, "wrong-type"),
    ({"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt", "value": 7}]}, "wrong-type"),
    ({"conversations": [{"from": "human", "value": ASKED}, {"from": "gpt"}]}, "missing-field"),
    ({"conversations": [ASKED, RIGHT]}, "wrong-type"),
    ({"id": "x"}, "missing-field"),
]
REASONING: list[Case] = [
    (_messages(SAID, reasoning_content=THOUGHT), Kept(None)),
    (_messages(SAID, reasoning=THOUGHT), Kept(None)),
    (_messages(SAID, reasoning=THOUGHT, reasoning_content=THOUGHT), Kept(None)),
    (_messages(SAID, reasoning="Other.", reasoning_content=THOUGHT), "several-thinks"),
    (_messages(RIGHT, reasoning_content=None), Kept(None)),
    (_messages(RIGHT, reasoning_content=THOUGHT), Kept(None)),
    (_messages(RIGHT, reasoning_content="Another thought."), "several-thinks"),
    (_messages([{"type": "text", "text": SAID}], reasoning_content=THOUGHT), Kept(None)),
    (_messages(SAID, reasoning_content=THOUGHT) | {"gold": 7}, Kept("7")),
    (_messages("It is 8.\n\n#### 8", reasoning_content=THOUGHT) | {"gold": "7"}, "contradicts-gold"),
    (_messages(SAID, reasoning_content=""), "no-think"),
    (_messages(SAID), "no-think"),
    (_messages("", reasoning_content=THOUGHT), "empty-field"),
    (_messages(None, reasoning_content=THOUGHT), "missing-field"),
    (_messages(SAID, reasoning_content=["a", "b"]), "wrong-type"),
    (_messages(SAID, reasoning_content=f"<think>{THOUGHT}</think>"), Kept(None)),
    (_messages(SAID, reasoning_content=f"<think>{THOUGHT}"), "unclosed-think"),
    ({"messages": [*_messages("Hi")["messages"], *_messages(SAID, reasoning=THOUGHT)["messages"]]}, "wrong-roles"),
    ({"messages": json.dumps(_messages(SAID, reasoning_content=THOUGHT)["messages"])}, Kept(None)),
    ({"messages": {"role": "user"}}, "wrong-type"),
]
OPENTHOUGHTS: list[Case] = [
    (_thoughts(THOUGHT, SAID), Kept(None)),
    ({"messages": [{"role": "user", "content": ASKED}, {"role": "assistant", "content": OPEN.format(THOUGHT, SAID)}]},
     Kept(None)),
    (_share(OPEN.format(THOUGHT, SAID), {"from": "system", "value": "Think."}), Kept(None)),
    (_share(RIGHT), Kept(None)),
    (_share(OPEN.format(THOUGHT, SAID), gold="7"), Kept("7")),
    (_share(OPEN.format(THOUGHT, SAID), gold="9"), "contradicts-gold"),
    (_thoughts("", SAID), "empty-think"),
    (_thoughts(THOUGHT, ""), "no-answer"),
    (_share(f"<|begin_of_thought|>{THOUGHT}"), "unclosed-think"),
    (_share(OPEN.format(THOUGHT, SAID).removesuffix("<|end_of_solution|>")), "broken-tag"),
    (_share(OPEN.format(THOUGHT, SAID).replace("<|end_of_thought|>", "")), "unclosed-think"),
    (_share("<|begin_of_solution|>" + SAID + "<|end_of_solution|>"), "no-think"),
    (_share(f"<|begin_of_thought|>{THOUGHT}<|end_of_thought|>\n{SAID}"), Kept(None)),
    (_thoughts(THOUGHT, "\\boxed{7} then \\boxed{8}"), "several-answers"),
    (_thoughts(f"<|begin_of_thought|>{THOUGHT}", SAID), "unclosed-think"),
    (_share("First. " + OPEN.format(THOUGHT, SAID)), "text-before-think"),
]  # fmt: skip
NUMINA: list[Case] = [
    ({"source": "cn_k12", "problem": ASKED, "solution": "3+4 = \\boxed{7}.", "messages": []}, Kept("7")),
    ({"problem": ASKED, "solution": "So \\boxed{\\frac{1}{2}}."}, Kept("\\frac{1}{2}")),
    ({"problem": ASKED, "solution": "\\boxed{7}. Again, it is \\boxed{7}."}, Kept("7")),
    ({"problem": ASKED, "solution": "\\boxed{15\\frac{39}{40}} or \\boxed{\\frac{639}{40}}"}, Kept("\\frac{639}{40}")),
    ({"problem": ASKED, "solution": "\\boxed{7}, no, \\boxed{8}."}, "several-answers"),
    ({"problem": ASKED, "solution": "#### 8\n\\boxed{7}"}, "several-answers"),
    ({"problem": ASKED, "solution": "It is 7."}, "no-answer"),
    ({"problem": ASKED, "solution": "It is \\boxed{}."}, "no-answer"),
    ({"problem": ASKED, "solution": "It is \\boxed{7"}, "no-answer"),
    ({"problem": ASKED, "solution": "So \\boxed{7}.", "answer": "7"}, Kept("7")),
    ({"problem": ASKED, "solution": "So \\boxed{7}.", "answer": "8"}, "wrong-gold"),
    ({"problem": ASKED, "solution": "Clear.", "answer": "proof"}, "no-answer"),
    ({"problem": ASKED, "solution": "So \\boxed{7}.", "answer": "notfound"}, Kept("7")),
    ({"problem": ASKED, "solution": "Thus \\boxed{\\textbf{(D)}\\ 5}.", "answer": "D"}, Kept("D")),
    ({"problem": ASKED, "solution": ""}, "empty-field"),
    ({"problem": "", "solution": "\\boxed{7}"}, "empty-field"),
    ({"problem": ["a", "b"], "solution": "\\boxed{7}"}, "wrong-type"),
    ({"problem": ASKED}, "missing-field"),
    ({"problem": "Où est l’été ? 3+4", "solution": "\\boxed{7\\text{ été}}"},
     Kept("7\\text{ été}", question="Où est l’été ? 3+4")),
]  # fmt: skip
MATH: list[Case] = [
    ({"problem": ASKED, "level": "Level 1", "type": "Algebra", "solution": "We get $\\boxed{7}$."}, Kept("7")),
    ({"problem": ASKED, "solution": "$\\boxed{7}$", "answer": "7", "level": 2, "unique_id": "t/1"}, Kept("7")),
    ({"problem": ASKED, "solution": "$\\boxed{(3, \\frac{\\pi}{2})}$", "answer": "(3,\\frac{\\pi}{2})"},
     Kept("(3,\\frac{\\pi}{2})")),
    ({"problem": ASKED, "solution": "$\\boxed{7}$", "answer": 7}, Kept("7")),
    ({"problem": ASKED, "solution": "$\\boxed{7\\text{ cups}}$", "answer": "7"}, Kept("7")),
    ({"problem": ASKED, "solution": "$\\fbox{7}$"}, Kept("7")),
    ({"problem": ASKED, "solution": "$\\boxed{\\text{even}}$"}, Kept("\\text{even}")),
    ({"problem": ASKED, "solution": "$\\boxed{7}$", "answer": "\\frac{7}{2}"}, "wrong-gold"),
    ({"problem": ASKED, "solution": "$\\boxed{7}$ and then $\\boxed{9}$", "answer": "9"}, Kept("9")),
    ({"problem": ASKED, "solution": "no box"}, "no-answer"),
    ({"problem": ASKED, "solution": "no box", "answer": "7"}, Kept("7")),
    ({"problem": ASKED, "solution": None, "answer": "7"}, Kept("7", trace=False)),
    ({"problem": ASKED, "solution": 7}, "wrong-type"),
    ({"problem": ASKED, "solution": "$\\boxed{7}$", "answer": ["7", "8"]}, "several-answers"),
    ({"problem": ASKED, "solution": "$\\boxed{7}$", "answer": True}, "wrong-type"),
    ({"solution": "$\\boxed{7}$"}, "missing-field"),
]  # fmt: skip
OPENR1: list[Case] = [
    (_openr1(RIGHT, verdicts=[True]), Kept("7")),
    (_openr1(WRONG, RIGHT, verdicts=[False, True]), Kept("7")),
    (_openr1(WRONG, RIGHT, verdicts=[False, False], correctness_llama=[False, True]), Kept("7")),
    (_openr1(WRONG, verdicts=[False]), Kept("7", trace=False, flaw="no-right-trace")),
    (_openr1(RIGHT, verdicts=None), Kept("7", trace=False, flaw="no-right-trace")),
    (_openr1(verdicts=[]), Kept("7", trace=False, flaw="no-right-trace")),
    (_openr1(WRONG, verdicts=[True]), "contradicts-gold"),
    (_openr1(RIGHT, WRONG, verdicts=[True]), "verdict-count"),
    (_openr1(RIGHT, verdicts=[True, False]), "verdict-count"),
    (_openr1(RIGHT, verdicts=[True], correctness_llama=[]), "verdict-count"),
    (_openr1(RIGHT, verdicts=["yes"]), "wrong-type"),
    (_openr1(RIGHT, verdicts=[True], is_reasoning_complete=[False]), Kept("7", trace=False, flaw="no-right-trace")),
    (_openr1("<think>\n" + THOUGHT, verdicts=[True]), Kept("7", trace=False, flaw="unclosed-think")),
    (_openr1("<think>\n" + THOUGHT, RIGHT, verdicts=[True, True]), Kept("7")),
    (_openr1(RIGHT, verdicts=[True], answer="8"), "wrong-gold"),
    (_openr1(RIGHT, verdicts=[True], answer=None), Kept("7")),
    (_openr1(RIGHT, verdicts=[True], answer="proof", solution="Clear."), "no-answer"),
    (_openr1(7, verdicts=[True]), "wrong-type"),
    (_openr1(RIGHT, verdicts="[true]", generations=json.dumps([RIGHT])), Kept("7")),
    (_openr1(RIGHT, verdicts=[True], problem=" "), "empty-field"),
]
METAMATH: list[Case] = [
    ({"type": "GSM_SV", "query": ASKED, "original_question": "?", "response": "3+4=7.\n#### 7\nThe answer is: 7"},
     Kept("7")),
    ({"query": ASKED, "response": "So $\\boxed{\\frac{1}{2}}$.\nThe answer is: \\frac{1}{2}"}, Kept("\\frac{1}{2}")),
    ({"query": ASKED, "response": "3+4=7. The answer is: 7."}, Kept("7")),
    ({"query": ASKED, "response": "3+4=7 cups.\nThe answer is: 7 cups"}, Kept("7 cups")),
    ({"query": ASKED, "response": "It has 1,234.\nThe answer is: 1,234"}, Kept("1,234")),
    ({"query": ASKED, "response": "3+4=7.\nthe answer is 7"}, Kept("7")),
    ({"query": ASKED, "response": "3+4=7.\n#### 8\nThe answer is: 7"}, "several-answers"),
    ({"query": ASKED, "response": "The answer is: 8. No.\nThe answer is: 7"}, "several-answers"),
    ({"query": ASKED, "response": "So $\\boxed{8}$.\nThe answer is: 7"}, "several-answers"),
    ({"query": ASKED, "response": "3+4=7."}, "no-answer"),
    ({"query": ASKED, "response": "3+4=7.\nThe answer is:"}, "no-answer"),
    ({"query": ASKED, "response": ""}, "empty-field"),
    ({"query": "", "response": "The answer is: 7"}, "empty-field"),
    ({"query": ASKED, "response": 7}, "wrong-type"),
    ({"response": "The answer is: 7"}, "missing-field"),
]  # fmt: skip
DEEPSCALER: list[Case] = [
    ({"problem": ASKED, "answer": "7", "solution": "3+4=7"}, Kept("7")),
    ({"problem": ASKED, "answer": "7", "solution": ""}, Kept("7", trace=False)),
    ({"problem": ASKED, "answer": 7, "source": "gsm8k", "domain": ["Math"], "llama8b_solve_rate": 0.5},
     Kept("7", trace=False)),
    ({"problem": ASKED, "answer": "\\frac{3}{4}"}, Kept("\\frac{3}{4}", trace=False)),
    ({"problem": ASKED, "answer": "7 cm"}, Kept("7 cm", trace=False)),
    ({"problem": ASKED, "answer": ["7"]}, Kept("7", trace=False)),
    ({"problem": ASKED, "answer": "\\boxed{7}"}, Kept("7", trace=False)),
    ({"problem": ASKED, "answer": 0.5}, Kept("0.5", trace=False)),
    ({"question": ASKED, "answer": "7"}, Kept("7", trace=False)),
    ({"problem": ASKED, "answer": "7", "solution": "So $\\boxed{8}$"}, "wrong-gold"),
    ({"problem": ASKED, "answer": "7", "solution": "$\\boxed{7}$ or $\\boxed{8}$"}, "wrong-gold"),
    ({"problem": ASKED, "answer": ["7", "8"]}, "several-answers"),
    ({"problem": ASKED, "answer": ""}, "empty-field"),
    ({"problem": ASKED, "answer": None}, "missing-field"),
    ({"problem": ASKED, "answer": True}, "wrong-type"),
    ({"problem": ASKED, "answer": {"a": 7}}, "wrong-type"),
    ({"problem": 3, "answer": "7"}, "wrong-type"),
]  # fmt: skip
_EXTRA = {"question": ASKED, "answer": "3+4=<<3+4=7>>7\n#### 7", "split": "train"}
DAPO: list[Case] = [
    (_dapo(), Kept("7", trace=False)),
    (_dapo(gold=7), Kept("7", trace=False)),
    (_dapo(gold=["7"]), Kept("7", trace=False)),
    (_dapo(gold='["7"]'), Kept("7", trace=False)),
    (_dapo(gold=["7", "8"]), "several-answers"),
    (_dapo(gold=""), "empty-field"),
    (_dapo(reward_model={"style": "rule"}), "missing-field"),
    (_dapo(reward_model="rule"), "wrong-type"),
    (_dapo(reward_model='{"ground_truth": "7"}'), Kept("7", trace=False)),
    (_dapo(prompt=ASKED), Kept("7", trace=False)),
    (_dapo(prompt=[{"role": "system", "content": "Think."}, {"role": "user", "content": ASKED}]),
     Kept("7", trace=False)),
    (_dapo(prompt=[{"role": "user", "content": ASKED}] * 2), "wrong-roles"),
    (_dapo(prompt=[]), "wrong-type"),
    (_dapo(prompt=f'{ASKED} Let\'s think step by step and output the final answer after "####".', extra_info=_EXTRA),
     Kept("7")),
    (_dapo(gold="8", prompt=ASKED, extra_info=_EXTRA), "wrong-gold"),
    (_dapo(prompt=f"{ASKED} Let's think step by step and output the final answer within \\boxed{{}}."),
     Kept("7", trace=False)),
    (_dapo(solution="7"), Kept("7", trace=False)),
    (_dapo(solution="8"), "wrong-gold"),
    (_dapo(gold="\\boxed{7}"), Kept("7", trace=False)),
]  # fmt: skip
AQUA: list[Case] = [
    (_aqua(), Kept("B")),
    (_aqua("b"), Kept("B")),
    (_aqua("(B)"), Kept("B")),
    (_aqua("7"), Kept("B")),
    (_aqua(options=["6", "7", "8"]), Kept("B")),
    (_aqua(options={"A": "6", "B": "7"}), Kept("B")),
    (_aqua(options='["A)6", "B)7"]'), Kept("B")),
    (_aqua(options={"label": ["A", "B"], "text": ["6", "7"]}), Kept("B")),
    (_aqua(rationale="3+4=7.\nAnswer: C"), Kept("B", trace=False, flaw="contradicts-gold")),
    (_aqua(rationale="3+4=7.\nSo D is the answer"), Kept("B", trace=False, flaw="contradicts-gold")),
    (_aqua(rationale="3+4=7.\nB"), Kept("B")),
    (_aqua(rationale=""), Kept("B", trace=False)),
    (_aqua("F"), "bad-gold"),
    (_aqua(""), "empty-field"),
    (_aqua(None), "missing-field"),
    (_aqua(1), "wrong-type"),
    (_aqua(options=[]), "bad-options"),
    (_aqua(options=["A)7"]), "bad-options"),
    (_aqua(options=["B)6", "A)7"]), "bad-options"),
    (_aqua(options=["A)6", "B)"]), "bad-options"),
    (_aqua(options="6 or 7"), "wrong-type"),
    (_aqua(question=""), "empty-field"),
    (_aqua(rationale=7), "wrong-type"),
]
ALPACA: list[Case] = [
    ({"instruction": ASKED, "input": "", "output": "7"}, Kept("7", trace=False)),
    ({"instruction": "How many?", "input": "3 cups", "output": "3"},
     Kept("3", trace=False, question="How many?\n\n3 cups")),
    ({"instruction": ASKED, "output": "7"}, Kept("7", trace=False)),
    ({"instruction": ASKED, "input": None, "output": 7}, Kept("7", trace=False)),
    ({"instruction": ASKED, "input": "", "output": "Paris"}, Kept("Paris", trace=False)),
    ({"instruction": ASKED, "input": "", "output": RIGHT}, Kept("7")),
    ({"instruction": ASKED, "input": "", "output": BLOCK + "7"}, Kept("7")),
    ({"instruction": ASKED, "input": "", "output": BLOCK + LONG}, Kept(None)),
    ({"instruction": ASKED, "input": "", "output": "3+4=7\n#### 7"}, Kept("7")),
    ({"instruction": ASKED, "input": "", "output": "#### 7\n\\boxed{8}"}, "several-answers"),
    ({"instruction": ASKED, "input": "", "output": "<think>" + THOUGHT}, "unclosed-think"),
    ({"instruction": ASKED, "input": "", "output": ""}, "empty-field"),
    ({"instruction": "", "input": "", "output": "7"}, "empty-field"),
    ({"instruction": ASKED, "input": ["a", "b"], "output": "7"}, "wrong-type"),
    ({"instruction": ASKED, "input": ""}, "missing-field"),
    ({"instruction": ASKED, "input": "", "output": "7", "history": [["Hi", "Hello"]]}, "wrong-roles"),
]  # fmt: skip
R1: list[Case] = [
    ({"instruction": ASKED, "reasoning": THOUGHT, "response": SAID}, Kept(None)),
    ({"input": ASKED, "reasoning_content": THOUGHT, "content": SAID, "score": 10}, Kept(None)),
    ({"problem": ASKED, "deepseek_reasoning": THOUGHT, "deepseek_solution": SAID}, Kept(None)),
    ({"instruction": ASKED, "reasoning": "", "response": RIGHT}, Kept(None)),
    ({"instruction": ASKED, "response": RIGHT}, Kept(None)),
    ({"instruction": ASKED, "reasoning": f"<think>{THOUGHT}</think>", "response": SAID}, Kept(None)),
    ({"instruction": ASKED, "reasoning": THOUGHT, "response": SAID, "gold": "7"}, Kept("7")),
    ({"instruction": ASKED, "reasoning": THOUGHT, "response": SAID, "gold": 8}, "contradicts-gold"),
    ({"question": ASKED, "reasoning": THOUGHT, "response": SAID, "answer": "8"}, "contradicts-gold"),
    ({"question": ASKED, "reasoning": THOUGHT, "answer": SAID}, Kept(None)),
    ({"instruction": ASKED, "reasoning": "Other.", "response": RIGHT}, "several-thinks"),
    ({"instruction": ASKED, "reasoning": f"<think>{THOUGHT}", "response": SAID}, "unclosed-think"),
    ({"instruction": ASKED, "reasoning": "", "response": SAID}, "empty-think"),
    ({"instruction": ASKED, "reasoning": THOUGHT, "response": ""}, "empty-field"),
    ({"instruction": "", "reasoning": THOUGHT, "response": SAID}, "empty-field"),
    ({"instruction": ASKED, "reasoning": 7, "response": SAID}, "wrong-type"),
    ({"instruction": ASKED, "reasoning": THOUGHT}, "missing-field"),
    ({"instruction": ASKED, "response": SAID}, "missing-field"),
    ({"instruction": ASKED, "reasoning": THOUGHT, "response": "\\boxed{7}\n\\boxed{8}"}, "several-answers"),
    ({"instruction": ASKED, "reasoning": THOUGHT, "response": "#### 7\n\\boxed{8}"}, "several-answers"),
]
PROBLEM: list[Case] = [
    ({"question": ASKED, "gold": "7"}, Kept("7", trace=False)),
    ({"question": ASKED, "gold": 7, "solution": "3+4=7"}, Kept("7")),
    ({"question": ASKED, "gold": [["7"]]}, Kept("7", trace=False)),
    ({"question": ASKED, "gold": "b", "options": ["6", "7"]}, Kept("B", trace=False)),
    ({"question": ASKED, "gold": "7", "options": ["6", "7"]}, Kept("B", trace=False)),
    ({"question": ASKED, "gold": "9", "options": ["6", "7"]}, "bad-gold"),
    ({"question": ASKED, "answer": 1, "choices": ["six", "seven"]}, Kept("B", trace=False)),
    ({"question": ASKED, "answer": 1, "choices": ["1", "7"]}, "bad-gold"),
    ({"question": ASKED, "answerKey": "B", "choices": {"text": ["6", "7"], "label": ["A", "B"]}},
     Kept("B", trace=False)),
    ({"question": ASKED, "answer": "7"}, Kept("7", trace=False)),
    ({"question": ASKED, "gold": "7", "solution": "So \\boxed{8}."}, "wrong-gold"),
    ({"question": ASKED, "gold": "7", "solution": "3+4=7\nThe answer is 8."}, "wrong-gold"),
    ({"question": ASKED, "gold": {"a": 7}}, "wrong-type"),
    ({"question": [{"role": "user", "content": ASKED}], "gold": "7"}, Kept("7", trace=False)),
    ({"question": ASKED}, Kept(None, trace=False)),
    ({"question": ASKED, "gold": None}, "missing-field"),
]  # fmt: skip
TRACE: list[Case] = [
    ({"question": ASKED, "reasoning": THOUGHT, "answer": SAID}, Kept(None)),
    ({"question": ASKED, "reasoning": THOUGHT, "answer": SAID, "gold": "7"}, Kept("7")),
    ({"question": ASKED, "reasoning": THOUGHT, "gold": "7"}, Kept("7")),
    ({"question": ASKED, "reasoning": "So it is \\boxed{8}.", "gold": "7"}, "contradicts-gold"),
    ({"question": ASKED, "reasoning": RIGHT, "gold": "7"}, Kept("7")),
    ({"question": ASKED, "reasoning": THOUGHT, "answer": 7, "gold": 7}, Kept("7")),
    ({"question": ASKED, "reasoning": "", "gold": "7"}, Kept("7", trace=False)),
    ({"question": ASKED, "reasoning": "", "answer": SAID}, "empty-field"),
    ({"question": ASKED, "reasoning": THOUGHT}, "no-answer"),
    ({"question": ASKED, "reasoning": THOUGHT, "answer": "#### A", "gold": "B", "options": ["6", "7"]},
     "contradicts-gold"),
    ({"question": ASKED, "reasoning": THOUGHT, "answer": "#### b", "gold": "B", "options": ["6", "7"]}, Kept("B")),
]  # fmt: skip

FORMATS: dict[str, tuple[str, list[Case]]] = {
    "ShareGPT": ("sharegpt", SHAREGPT), "reasoning_content": ("reasoning-content", REASONING),
    "OpenThoughts": ("openthoughts", OPENTHOUGHTS), "NuminaMath": ("math", NUMINA), "MATH": ("math", MATH),
    "OpenR1": ("openr1", OPENR1), "MetaMath": ("metamath", METAMATH), "DeepScaleR": ("deepscaler", DEEPSCALER),
    "DAPO": ("dapo", DAPO), "AQuA": ("aqua", AQUA), "Alpaca": ("alpaca", ALPACA), "R1": ("r1", R1),
    "problem": ("problem", PROBLEM), "trace": ("trace", TRACE),
}  # fmt: skip
"""Format -> (adapter, cases)."""
