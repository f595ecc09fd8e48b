"""What a release will need, checked with the recipe: names of Hub repositories, licences, the Model Registry."""

import re
from difflib import get_close_matches
from urllib.parse import urlsplit

from components.lib.model.names import no_hub_id
from components.lib.recipe.schema import Recipe

LICENCES_PAGE = "https://huggingface.co/docs/hub/repositories-licenses"
# The identifiers of that page as of 2026-08-22 (huggingface/hub-docs 242f4a1, docs/hub/repositories-licenses.md).
LICENCES = tuple(
    """
    apache-2.0 mit openrail bigscience-openrail-m creativeml-openrail-m bigscience-bloom-rail-1.0 bigcode-openrail-m
    afl-3.0 artistic-2.0 bsl-1.0 bsd bsd-2-clause bsd-3-clause bsd-3-clause-clear c-uda cc cc0-1.0 cc-by-2.0 cc-by-2.5
    cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0 cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nd-4.0 cc-by-nc-nd-3.0
    cc-by-nc-nd-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0 cdla-sharing-1.0 cdla-permissive-1.0
    cdla-permissive-2.0 wtfpl ecl-2.0 epl-1.0 epl-2.0 etalab-2.0 eupl-1.1 eupl-1.2 agpl-3.0 gfdl gpl gpl-2.0 gpl-3.0
    lgpl lgpl-2.1 lgpl-3.0 isc h-research intel-research lppl-1.3c ms-pl apple-ascl apple-amlr mpl-2.0 odc-by odbl
    openmdw-1.0 openmdw-1.1 openrail++ osl-3.0 postgresql ofl-1.1 ncsa unlicense zlib pddl lgpl-lr deepfloyd-if-license
    fair-noncommercial-research-license llama2 llama3 llama3.1 llama3.2 llama3.3 llama4 grok2-community gemma unknown
    other
    """.split()
)
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def check_release(recipe: Recipe) -> None:
    """Refuse names and licences that the Hub would refuse, with a `ValueError` that names one and what to do."""
    for kind, name in recipe.hub_repos.items():
        if why := no_hub_id(name):
            shorter = ", or set push_data=false" if kind == "dataset" else ", or empty it"
            raise ValueError(f"push_hub_repo: {name!r} cannot be a {kind} on the Hub: {why}; change it{shorter}")
    if address := recipe.push.model_registry:
        _check_address(address)
    for source in (*recipe.sources, *recipe.evaluation):
        _check_licence(f"source {source.label!r}: licence", source.licence, "other, or unknown")
    licence, name = recipe.push.licence, recipe.push.licence_name
    _check_licence("push_licence", licence, "other with push_licence_name")
    if licence == "other" and not _ID.fullmatch(name):
        raise ValueError(f"push_licence is other and push_licence_name {name!r}; write an id, as my-licence-1.0")
    if licence != "other" and name:
        raise ValueError(f"push_licence_name is {name!r} and push_licence {licence!r}; set that to other, or empty one")


def _check_licence(setting: str, licence: str, otherwise: str) -> None:
    if licence not in LICENCES:
        close = ", ".join(get_close_matches(licence.lower(), LICENCES, n=3, cutoff=0.5))
        listed = f"{close}, or another of {LICENCES_PAGE}" if close else LICENCES_PAGE
        raise ValueError(f"{setting} {licence!r} is not one that the Hub lists; write {listed}, else {otherwise}")


def _check_address(address: str) -> None:
    """Refuse what is no plain address of a Model Registry; the address is in the compiled pipeline, for all to read."""
    try:
        parts = urlsplit(address)
        parts.port  # noqa: B018, raises if it is no number
    except ValueError:
        parts = urlsplit("")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("push_model_registry holds more than an address; its token goes into MODEL_REGISTRY_TOKEN")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"push_model_registry {address!r} is no address; write http://HOST:PORT or https://HOST")
