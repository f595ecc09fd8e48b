"""Pages without scripts or links to anything outside them: one template, page.html, that all extend."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from components.lib.reporting import wording

_FILTERS = ("clip", "interval", "label", "model_name", "moment", "p_text", "percent", "points", "points_interval",
            "thousands")  # fmt: skip


def render(template: Path, **values: Any) -> str:
    """Fill a template, which may extend page.html, with `values`; into .html they go escaped unless they are Markup."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]), autoescape=select_autoescape(),
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {name: getattr(wording, name) for name in _FILTERS}
    return environment.get_template(template.name).render(values)
