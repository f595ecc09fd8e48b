"""The report in Markdown, for a model card or a pull request: the same numbers without the pictures."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from components.compare import story
from components.lib.reporting.wording import clip, interval, label, model_name, p_text, percent, points, points_interval


def markdown(results: Mapping[str, Any]) -> str:
    """Render what results.json holds."""
    blocks = [f"# {story.headline(results)}"]
    if results["alarms"]:
        blocks += ["**Before you trust these numbers**", _bullets(results["alarms"])]
    blocks += [_bullets(story.findings(results)), *_accuracy(results), *_sampled(results), *_form(results)]
    blocks += [*_flips(results), *_samples(results), *_measured(results)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: int = 2) -> str:
    """A table whose first `words` columns are aligned left and the others right."""
    marks = ["---" if k < words else "---:" for k in range(len(head))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [head, marks, *rows])


def _accuracy(results: Mapping[str, Any]) -> list[str]:
    head = ("checkpoint", "protocol", "right", "accuracy, %", "interval", "change, points", "interval of the change",
            "won / lost", "p", "p adjusted")  # fmt: skip
    rows = [
        (label(row["checkpoint"]), f"{row['protocol']}{' (gate)' if row['split'] == 'gate' else ''}",
         f"{row['correct']:,g} of {row['n']:,}", percent(row["accuracy"]), interval(row["interval"]), *_change(row))
        for row in [*results["results"], *results["gate"]]
    ]  # fmt: skip
    rows += [
        (f"{label(r['before'])} → {label(r['checkpoint'])}", r["protocol"], "", "", "", *_change(r))
        for r in results["overall"]
    ]
    note = (
        f"{100 * results['confidence']:g} % Wilson intervals. A change is to the checkpoint before, over the same "
        f"problems: paired bootstrap interval, exact McNemar test on the problems won and lost, adjusted for "
        f"{results['tests']} tests by Holm's method."
    )
    return ["## Accuracy", table(head, rows), note]


def _change(row: Mapping[str, Any]) -> tuple[str, ...]:
    if not row["before"]:
        return ("",) * 5
    won, lost = row["discordant"]
    return (points(row["difference"]), points_interval(row["difference_interval"]), f"{won:,} / {lost:,}",
            p_text(row["p_value"]), p_text(row["p_adjusted"]))  # fmt: skip


def _sampled(results: Mapping[str, Any]) -> list[str]:
    names = list(results["results"][0]["sampled"])
    if not names:
        return []
    rows = [
        (label(row["checkpoint"]), row["protocol"], *(percent(row["sampled"][name]) for name in names))
        for row in results["results"]
    ]
    return ["## Several samples a problem", table(("checkpoint", "protocol", *(f"{n}, %" for n in names)), rows)]


_FORM = {
    "accuracy": "strict",
    "right_anywhere": "anywhere",
    "lenient_accuracy": "lenient",
    "lm_eval_strict": "lm-eval strict",
    "lm_eval_flexible": "lm-eval flexible",
    "well_formed": "well formed",
    "unparsed": "no answer",
    "truncated": "cut off",
    "stopped_at_answer": "went on",
}


def _form(results: Mapping[str, Any]) -> list[str]:
    head = ("checkpoint", "protocol", *(f"{words}, %" for words in _FORM.values()), "mean tokens")
    rows = [
        (label(r["checkpoint"]), r["protocol"], *(percent(r[name]) for name in _FORM), f"{r['mean_tokens']:,.0f}")
        for r in results["results"]
    ]
    changes = [
        (
            f"{label(row['before'])} → {label(row['checkpoint'])}",
            row["protocol"],
            *(points(row[k]) for k in ("total", "maths", "form")),
        )
        for row in story.decomposition(results)
    ]
    blocks = ["## Maths or form?", table(head, rows)]
    if changes:
        blocks.append(table(("change, points", "protocol", "strict", "from right numbers", "from form"), changes))
    return blocks


def _flips(results: Mapping[str, Any]) -> list[str]:
    blocks = ["## What moved"] if results["flips"] else []
    for flip in results["flips"]:
        name = f"{label(flip['before'])} → {label(flip['after'])}, {flip['protocol']}"
        blocks.append(f"**{name}**: {flip['won']:,} from wrong to right, {flip['lost']:,} from right to wrong.")
        for kind in ("won", "lost"):
            for case in flip[f"{kind}_examples"][:1]:  # the HTML has them all
                texts = [_quoted(flip["before"], case["before"]), _quoted(flip["after"], case["after"])]
                blocks += [f"{kind}: {_one_line(case['question'])} (right: {case['gold']})", *texts]
    return blocks


def _samples(results: Mapping[str, Any]) -> list[str]:
    last = results["checkpoints"][-1]
    blocks = [f"## Sample completions of {label(last)}"]
    for sample in results["samples"]:
        if sample["checkpoint"] == last:
            blocks.append(f"**{sample['kind']}**: {sample['count']:,} completions, {sample['protocol']}")
            for case in sample["examples"][:1]:
                blocks += [f"{_one_line(case['question'])} (right: {case['gold']})", _quoted(last, case["after"])]
    return blocks


def _measured(results: Mapping[str, Any]) -> list[str]:
    rows = []
    for name, about in results["measured"].items():
        hashes = (about[key][:12] for key in ("revision", "model_sha256", "template_sha256"))
        rows.append((label(name), model_name(about["model"]), *hashes, str(about["seed"])))
    return [
        "## How it was measured",
        table(("checkpoint", "model", "revision", "weights", "template", "seed"), rows, 5),
    ]


def _quoted(name: str, text: Mapping[str, Any]) -> str:
    """A completion in a fence that nothing in it can close."""
    body = clip(text["completion"].strip(), 800)
    fence = "`" * (3 + body.count("```") * 3)
    return f"{label(name)}, {text['outcome']}:\n\n{fence}text\n{body}\n{fence}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
