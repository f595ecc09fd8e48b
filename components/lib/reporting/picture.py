"""One picture of a run: how many answers are right as it learns, for a README; `make picture` makes that of the demo.

Unlike the report's charts it stands alone: an SVG file with its own colours, for light and dark pages.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.lib.files import read_json, write_text
from components.lib.reporting import svg
from components.lib.reporting.wording import percent

WIDTH, HEIGHT = 760, 300
LEFT, RIGHT, TOP, BOTTOM = 56, 744, 34, 250  # of the plot
WINDOW = 5  # training steps that the line takes the mean of
STYLE = (
    "svg{background:#fff;font:13px system-ui,sans-serif}text{fill:#333}.grid{stroke:#ddd}.edge{stroke:#999}"
    ".line{fill:none;stroke:#2a78d6;stroke-width:2}.whisker{stroke:#c2410c;stroke-width:2}.dot{fill:#c2410c}"
    ".strong{font-weight:600}@media(prefers-color-scheme:dark){svg{background:#161616}text{fill:#ddd}"
    ".grid{stroke:#333}.edge{stroke:#777}.line{stroke:#6aa9f0}.whisker{stroke:#f0895b}.dot{fill:#f0895b}}"
)


def picture(results: dict[str, Any]) -> str:
    """The picture of a run's results.json as the text of an SVG file.

    Dots are the share of right answers on the evaluation problems, with intervals, under the first protocol; the line
    is the share among the completions that GRPO draws in training, a mean of WINDOW steps.
    """
    rows = [row for row in results["results"] if row["protocol"] == results["results"][0]["protocol"]]
    curves = results["curves"]
    lengths = {stage: curves[stage]["loss"][-1][0] for stage in ("sft", "grpo") if stage in curves}
    ends, total = {"base": 0}, 0
    for stage, steps in lengths.items():
        total += steps
        ends[stage] = total
    x, y = svg.scale((0, total), (LEFT + 12, RIGHT - 84)), svg.scale((0, 1), (BOTTOM, TOP))
    parts = [f"<style>{STYLE}</style>"]
    parts += svg.y_axis([(y(share), f"{share:.0%}") for share in (0, 0.25, 0.5, 0.75, 1)], LEFT, RIGHT)
    for stage, steps in lengths.items():
        start = ends[stage] - steps
        parts.append(svg.line("edge", x(start), TOP, x(start), BOTTOM))
        parts.append(svg.text("strong", x(start + steps / 2), TOP - 12, f"{stage.upper()}, {steps} steps", "middle"))
    if "correct" in curves.get("grpo", {}):
        start = ends["grpo"] - lengths["grpo"]
        points = " ".join(f"{x(start + s):.1f},{y(v):.1f}" for s, v in _smooth(curves["grpo"]["correct"]))
        parts.append(f'<polyline class="line" points="{points}"/>')
    for row in rows:
        parts += _result(row, x(ends[row["checkpoint"]]), y)
    told = (
        f"dots: {rows[0]['n']} problems never trained on ({rows[0]['protocol']}), line: in training, before the update"
    )
    parts.append(svg.text("soft", LEFT, HEIGHT - 14, told, "start"))
    drawn = str(svg.figure(WIDTH, HEIGHT, "share of right answers as the model learns", parts))
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1) + "\n"


def _result(row: dict[str, Any], x: float, y: svg.Scale) -> list[str]:
    """A dot with its interval and its share in words."""
    low, high = row["interval"]
    at = y(row["accuracy"])
    return [
        svg.line("whisker", x, y(low), x, y(high)),
        svg.dot("", x, at, 4.5),
        svg.text("strong", x - 9 if row["checkpoint"] == "sft" else x + 9, at - 8, f"{percent(row['accuracy'])} %",
                 "end" if row["checkpoint"] == "sft" else "start"),
    ]  # fmt: skip


def _smooth(curve: Sequence[Sequence[float]]) -> list[tuple[float, float]]:
    """(step, mean of the WINDOW steps up to it)."""
    values = [value for _, value in curve]
    windows = (values[max(0, n - WINDOW + 1) : n + 1] for n in range(len(values)))
    return [(step, sum(part) / len(part)) for (step, _), part in zip(curve, windows, strict=True)]


if __name__ == "__main__":
    write_text(Path(sys.argv[2]), picture(read_json(Path(sys.argv[1]))))
    print(f"picture: {sys.argv[2]}")
