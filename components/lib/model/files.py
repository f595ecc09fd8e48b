"""Where a model's files lie: the embedded tiny model, a directory, or the Hub; no torch here."""

import hashlib
from pathlib import Path
from typing import Any

from components.lib.files import PACKAGE, dangling, read_json, sha256

TOKENIZER_FILES = ("*.json", "*.jinja", "*.txt", "*.model")


def model_directory(model: str, revision: str, *, tokenizer_only: bool = False) -> Path:
    """A local directory with the files of `model`.

    `model` is `tiny` (the embedded base), an existing directory, or a Hub id that is fetched at `revision` into
    the Hub cache. `ValueError` says what was looked for when it is neither.
    """
    if model == "tiny":
        return PACKAGE / "lib" / "tiny" / "base"
    path = Path(model).expanduser()
    if path.is_dir():
        return path
    check_hub_id(model)
    from components.lib import hub

    patterns = TOKENIZER_FILES if tokenizer_only else (*TOKENIZER_FILES, "*.safetensors")
    return hub.snapshot("model", model, revision, patterns)


def weights_bytes(model: str) -> int | None:
    """The size of a model's weights, None of a Hub model, which is not looked for here."""
    directory = PACKAGE / "lib" / "tiny" / "base" if model == "tiny" else Path(model).expanduser()
    return sum(path.stat().st_size for path in directory.glob("*.safetensors")) if directory.is_dir() else None


def config_of(model: str, revision: str) -> dict[str, Any]:
    """The config.json of a model, without fetching its weights."""
    if model == "tiny" or Path(model).expanduser().is_dir():
        return read_json(model_directory(model, revision) / "config.json")
    check_hub_id(model)
    from components.lib import hub

    return read_json(hub.file_of("model", model, "config.json", revision))


def check_hub_id(model: str) -> None:
    """Refuse what cannot be a Hub id with a `ValueError`; call it when `model` is no directory here."""
    if link := dangling(Path(model).expanduser()):
        raise ValueError(
            f"model {model!r}: {link} is a symbolic link that points nowhere; change it, or name the model"
        )
    if model.startswith((".", "/", "~")) or model.count("/") != 1:
        raise ValueError(f"model {model!r} is neither a directory here nor a Hub id owner/name, nor 'tiny'")


def model_sha256(directory: Path) -> str:
    """One hash over the names and contents of a model directory's files; `ValueError` without weights."""
    files = sorted({path for pattern in (*TOKENIZER_FILES, "*.safetensors") for path in directory.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{directory} holds no *.safetensors; save the model with save_pretrained")
    lines = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
