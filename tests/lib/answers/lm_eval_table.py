"""What lm-eval says of completions that are hard to read: `make lm-eval-table` runs this beside lm-eval.

Writes lm_eval_verdicts.jsonl: a row with the golds, then one for each completion, with what each filter of the task
`gsm8k` extracts and the golds for which the metric `exact_match` accepts that.
"""

import json
from importlib.metadata import version
from pathlib import Path

TABLE = Path(__file__).with_name("lm_eval_verdicts.jsonl")
GOLDS = ["42", "so 6 * 7\n#### 42", "1,234", "#### 1,234", "-5", "$5.", "5", "41", "0.5", "-.5", "10", "7"]
COMPLETIONS = [
    "#### 42", "#### 42.", "#### $42", "#### -42", "#### 1,234", "#### 1,234.50", "####42", "#### 41\n#### 42",
    "#### **42**", "no number", "", "...", "$", "- 5", "The answer is $1,234.", "between 41 and 42.", "a-5", "5-6",
    "10%", "3.14 is pi, 2", "#### ,", "#### .", "####  42", "<think>#### 41</think>#### 42", "1. 2. 3.", "4 2",
    "x" * 50 + "7", "-", "--5", "$-5", "-$5", "٤٢", "#### 42..", "\\boxed{42}", "#### 42\u00a0km", "1 234",
    "#### -.5", "5 - 3 = 2\n", "#### \n42", "#### 0x2A",
]  # fmt: skip


def main() -> None:
    """Write the table."""
    import yaml
    from lm_eval.api.metrics import exact_match_hf_evaluate
    from lm_eval.filters import extraction

    folder = Path(extraction.__file__).parents[1] / "tasks" / "gsm8k"
    task = yaml.safe_load((folder / "gsm8k.yaml").read_text("utf-8"))
    metric = task["metric_list"][0]
    options = {name: metric[name] for name in ("regexes_to_ignore", "ignore_case", "ignore_punctuation")}

    def accepted(extracted: str, gold: str) -> bool:
        return bool(exact_match_hf_evaluate(predictions=[extracted], references=[gold], **options)["exact_match"])

    rows = [{"completion": completion} for completion in COMPLETIONS]
    for filters in task["filter_list"]:
        arguments = {name: value for name, value in filters["filter"][0].items() if name != "function"}
        texts = extraction.RegexFilter(**arguments).apply([[completion] for completion in COMPLETIONS], [])
        for row, [text] in zip(rows, texts, strict=True):
            row[filters["name"]] = [text, [gold for gold in GOLDS if accepted(text, gold)]]
    about = {"made by": f"make lm-eval-table, lm-eval {version('lm-eval')}", "golds": GOLDS}
    TABLE.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in (about, *rows)), "utf-8")


if __name__ == "__main__":
    main()
