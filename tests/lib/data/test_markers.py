"""End tokens and turn markers: cut at the very end of the last turn, refused anywhere else, and no false alarm."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.lib.data.adapters import ADAPTERS
from components.lib.data.markers import KNOWN, Markers
from components.lib.model.files import model_directory
from components.lib.model.tokens import special_tokens
from components.lib.recipe.schema import Source
from components.lib.registry.plan import Plan
from components.standardize.standardize import standardize
from tests.conftest import TEMPLATE
from tests.fixtures.gsm8k import GSM8K, needs_gsm8k
from tests.fixtures.rows import SETTINGS, evaluation, good, read, reasons, run, write
from tests.fixtures.tasks import TASKS, needs_tasks

MARKERS = [
    "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|eot_id|>", "<|end|>", "<|assistant|>", "<|END_OF_TURN_TOKEN|>",
    "<|begin▁of▁sentence|>", "<|reserved_special_token_5|>", "<｜end▁of▁sentence｜>", "<｜User｜>",
    "</s>", "<bos>", "<eos>", "<pad>", "<end_of_turn>", "<start_of_turn>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]",
    "<<SYS>>", "<</SYS>>", "[|endofturn|]", "[|user|]", "\n\nHuman:", "\n\nAssistant:", "\n \r\nHuman:",
]  # fmt: skip
ORDINARY = [
    "It was <s>5</s> 7.", "Not <s>five cups</s>, but seven", "**#### 7** <s>8</s>", "$0<|y+2|<5$, which in turn",
    "if 1<|x|>0 then", "f <| x |> g", "[1, 2, 3]", "a[INS]", "x < s > y", "<sub>2</sub>",
    "the tag `</s>`", "['<bos>', \"<|im_end|>\"]",
    "### Instruction: read\n### Response: done", "Human: yes", "the Human: a story", "[[INS]]", "std::cout << SYS >> 2",
    "<step>", "<s", "<|>", "<||>", "<| |>", "[|1; 2|]", "<<3+4=7>>", "<padding>", "<start>", "Tom says:\n\nHumans: 3",
]  # fmt: skip
ENDS = st.lists(st.sampled_from(MARKERS), min_size=1, max_size=4).flatmap(
    lambda found: st.sampled_from(["", " ", "\n"]).map(lambda space: space.join(found) + space)
)


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_is_found_and_cut_at_the_end_alone(marker: str) -> None:
    assert KNOWN.first(f"It is {marker} 7") == marker.strip()
    for text in (f"#### 7{marker}", f"#### 7 {marker}\n", f"#### 7{marker}{marker}\n{marker}"):
        assert KNOWN.cut(text) == ("#### 7", marker.strip())
    assert KNOWN.cut(f"{marker} 7") == (f"{marker} 7", "")


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_none(text: str) -> None:
    assert KNOWN.first(text) == "" and KNOWN.cut(text) == (text, "")


@given(st.text("ab 7.\n#<é", max_size=30), ENDS)
def test_what_is_cut_is_all_of_the_end_and_nothing_else(text: str, end: str) -> None:
    cut, marker = KNOWN.cut(text + end)
    assert cut == text.rstrip() and marker in end
    assert KNOWN.cut(cut) == (cut, "") and KNOWN.first(f"{text}{end}x") != ""


def test_a_token_of_the_model_is_a_marker_wherever_it_stands() -> None:
    never = ["<think>", "</think>", "<|begin_of_thought|>", "  ", "!", "\n\n\n"]
    own = Markers(["<s>", "</s>", "[PAD]", "[[stop]]", *never])
    assert own.first("Not <s>five</s> cups") == "<s>" and own.cut("It was <s>5</s>") == ("It was <s>5", "</s>")
    assert own.first("the token `</s>`") == "</s>" and own.first("the token '<eos>'") == ""
    assert own.first("a[PAD]b") == "[PAD]" and own.cut("7 [[stop]]") == ("7", "[[stop]]")
    assert own.first("<think>wow!\n\n\n<|begin_of_thought|></think>") == ""
    assert KNOWN.first("[PAD] and [[stop]]") == ""


TRACE = "<think>3+4</think>#### 7{}"
THOUGHT = "<|begin_of_thought|>3+4<|end_of_thought|><|begin_of_solution|>#### 7<|end_of_solution|>{}"
TURNS = [{"role": "user", "content": "3 and 4?"}, {"role": "assistant", "content": TRACE}]
SHARED = [{"from": "human", "value": "3 and 4?"}, {"from": "gpt", "value": TRACE}]
PARTS = [TURNS[0], {"role": "assistant", "content": [{"type": "text", "text": "#### 7{}"}], "reasoning": "3+4"}]
LAST = [
    ("chat", {"messages": TURNS}), ("chat", {"messages": json.dumps(TURNS)}),
    ("chat", {"messages": [TURNS[0], {"role": "assistant", "content": THOUGHT}]}),
    ("reasoning-content", {"messages": PARTS}), ("sharegpt", {"conversations": SHARED}),
    ("openthoughts", {"conversations": [SHARED[0], {"from": "gpt", "value": THOUGHT}]}),
    ("prompt-completion", {"prompt": "3 and 4?", "completion": TRACE}),
    ("prompt-completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}),
    ("thinking-solution", {"problem": "3 and 4?", "thinking": "3+4", "solution": "#### 7{}"}),
    ("r1", {"instruction": "3 and 4?", "reasoning": "3+4", "response": "#### 7{}"}),
    ("trace", {"question": "3 and 4?", "reasoning": "3+4", "answer": "#### 7{}", "gold": "7"}),
    ("trace", {"question": "3 and 4?", "reasoning": TRACE, "gold": "7"}),
    ("alpaca", {"instruction": "3 and 4?", "output": TRACE}),
    ("gsm8k", {"question": "3 and 4?", "answer": "3+4=7\n#### 7{}"}),
    ("gsm8k", {"question": "3 and 4?", "gold": "7", "solution": "3+4=7{}"}),
    ("problem", {"question": "3 and 4?", "gold": "7", "solution": "3+4=7.\n\\boxed{{7}}{}"}),
    ("math", {"problem": "3 and 4?", "solution": "So \\boxed{{7}}.{}"}),
    ("metamath", {"query": "3 and 4?", "response": "3+4.\nThe answer is: 7{}"}),
    ("deepscaler", {"problem": "3 and 4?", "answer": "7", "solution": "3+4=7{}"}),
    ("dapo", {"prompt": "3 and 4?", "reward_model": {"ground_truth": "7"}, "extra_info": {"answer": "3+4\n#### 7{}"}}),
    ("aqua", {"question": "3 and 4?", "options": ["A)6", "B)7"], "rationale": "3+4.\nAnswer: B{}", "correct": "B"}),
    ("openr1", {"problem": "3 and 4?", "answer": "7", "solution": "\\boxed{{7}}{}", "generations": [TRACE],
                "correctness_math_verify": [True]}),
]  # fmt: skip


def filled(value, end: str):
    """The value with `end` in the place of each {}."""
    if isinstance(value, str):
        return value.replace("{}", end).replace("{{", "{").replace("}}", "}") if not value.startswith("[{") else (
            json.dumps(filled(json.loads(value), end)))  # fmt: skip
    if isinstance(value, dict):
        return {name: filled(one, end) for name, one in value.items()}
    return [filled(one, end) for one in value] if isinstance(value, list) else value


def test_every_adapter_has_its_last_text() -> None:
    assert {adapter for adapter, _ in LAST} == set(ADAPTERS)


@pytest.mark.parametrize(("adapter", "row"), LAST, ids=[f"{adapter}-{n}" for n, (adapter, _) in enumerate(LAST)])
def test_the_last_turn_or_solution_of_each_schema_is_cut(adapter: str, row: dict) -> None:
    plain = ADAPTERS[adapter](filled(row, ""))
    for end in ("</s>", " <|im_end|>\n", "\n\nHuman:"):
        damaged = filled(row, end)
        before = json.dumps(damaged)
        cut, marker = KNOWN.without_end(damaged)
        assert (ADAPTERS[adapter](cut), marker) == (plain, end.strip())
        assert json.dumps(damaged) == before


def test_the_end_is_cut_and_counted_and_any_other_place_refused(tmp_path: Path) -> None:
    rows = good("chat", 9)
    ends = ["</s>", "", "<|im_end|>\n<|im_end|>", "", "", "", "</s> "]
    for row, end in zip(rows, ends, strict=False):
        row["messages"][-1]["content"] += end
    rows[1]["messages"][1]["content"] += "</s>"
    rows[3]["messages"][2]["content"] = rows[3]["messages"][2]["content"].replace("</", "[/INST]</", 1)
    rows[4]["messages"][2]["content"] += "\n\nHuman: And now?"
    rows[5]["gold"] = "7<eos>"
    found = run(tmp_path, Source(path=write(tmp_path / "rows.jsonl", rows), name="rows", adapter="chat"))

    refused = {row["index"]: (row["reason"], row["field"], row["token"]) for row in found["rejects"]}
    assert refused == {
        1: ("special-token", "question", "</s>"), 3: ("special-token", "reasoning", "[/INST]"),
        4: ("special-token", "answer", "Human:"), 5: ("special-token", "gold", "<eos>"),
    }  # fmt: skip
    assert not any(KNOWN.first(message["content"]) for row in found["sft"] for message in row["messages"])
    notes = json.loads((tmp_path / "out" / "summary.json").read_text())["sources"][-1]["notes"]
    assert notes["</s> cut off at the end"] == 2 and notes["<|im_end|> cut off at the end"] == 1
    for page in ("summary.md", "summary.html"):
        assert "cut off at the end" in (tmp_path / "out" / page).read_text()


def test_the_tokens_of_the_runs_own_model_count(tmp_path: Path) -> None:
    """Of a tokenizer with an end token that nobody else has."""
    model = tmp_path / "model"
    model.mkdir()
    tokenizer = json.loads((model_directory("tiny", "") / "tokenizer.json").read_text())
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][0] | {"id": 10_000, "content": "~END~"})
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    (model / "tokenizer_config.json").write_text(json.dumps({"eos_token": "~END~", "chat_template": TEMPLATE}))
    assert "~END~" in special_tokens(model)
    rows = good("chat", 4)
    rows[0]["messages"][-1]["content"] += "~END~"
    rows[1]["messages"][1]["content"] += " ~END~"
    path, test = write(tmp_path / "rows.jsonl", rows), write(tmp_path / "test.jsonl", evaluation())
    for name, refused in ((str(model), {1: "special-token"}), ("", {})):
        plan = Plan(model=name, revision="main", seed=0, sources=(Source(path=path, name="rows", adapter="chat"),),
                    evaluation=(Source(path=test, name="test", adapter="gsm8k"),))  # fmt: skip
        standardize(plan=plan, settings=SETTINGS, out=tmp_path / "out")
        found = read(tmp_path / "out")
        assert reasons(found, "rows") == refused
        assert found["sft"][0]["messages"][2]["content"].endswith("~END~") == (not name)


@needs_tasks
@needs_gsm8k
@pytest.mark.parametrize("name", ["gsm8k/train", "gsm8k/test", "tasks/math500", "tasks/aqua_dev", "tasks/aqua_test"])
def test_no_row_of_the_real_files_holds_a_marker(name: str) -> None:
    folder, _, file = name.partition("/")
    path = {"gsm8k": GSM8K, "tasks": TASKS}[folder] / f"{file}.jsonl"
    for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
        texts = [text for value in row.values() for text in (value if isinstance(value, list) else [str(value)])]
        assert not any(map(KNOWN.first, texts)) and KNOWN.without_end(row)[1] == ""
