"""Pages without scripts or links to anything outside them: one template, page.html, that all extend; and Markdown."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from components.lib.reporting import escape, wording

_FILTERS = ("clip", "interval", "label", "model_name", "moment", "p_text", "percent", "points", "points_interval",
            "thousands")  # fmt: skip


def render(template: Path, **values: Any) -> str:
    """Fill a template, which may extend page.html, with `values`: escaped for HTML, or Markdown, unless Markup."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]), undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True, autoescape=True, finalize=escape.markdown if template.suffix == ".md" else None,
    )  # fmt: skip
    environment.filters |= {name: getattr(wording, name) for name in _FILTERS}
    return environment.get_template(template.name).render(values)


def warned(page: str, warnings: Sequence[str]) -> str:
    """A page with what went wrong after it was made below its headline."""
    if not warnings:
        return page
    listed = Markup("").join(Markup("<li>{}</li>").format(warning) for warning in warnings)
    block = Markup('<div class="alarms" role="alert"><b>What went wrong</b><ul>{}</ul></div>').format(listed)
    return page.replace("</h1>", f"</h1>\n{block}", 1)
