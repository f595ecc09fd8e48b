"""Where a model's files lie: the embedded tiny model, a directory, or the Hub; no torch here."""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from components.lib.files import PACKAGE, dangling, expanded, read_object, sha256
from components.lib.model.architectures import check_architecture
from components.lib.model.names import EMBEDDED, no_hub_id
from components.lib.model.weights import check_sizes

TOKENIZER_FILES = ("*.json", "*.jinja", "*.txt", "*.model")
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")  # one of which transformers looks for
OTHER_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx")
_CONVERT = "python pipeline.py convert"
LFS_POINTER = b"version https://git-lfs"  # begins what git has in the place of a large file


def directory_of(model: str) -> Path | None:
    """The directory of a model that lies here, or is embedded, as `tiny`; None for any other name."""
    path = PACKAGE / "lib" / "tiny" / EMBEDDED[model] if model in EMBEDDED else expanded(model)
    return path if path.is_dir() else None


def model_directory(model: str, revision: str, *, tokenizer_only: bool = False) -> Path:
    """A local directory with the files of `model`.

    `model` is `tiny` (the embedded base), an existing directory, or a Hub id that is fetched at `revision` into
    the Hub cache. `ValueError` says what was looked for when it is neither.
    """
    if directory := directory_of(model):
        return directory
    check_hub_id(model)
    from components.lib import hub

    patterns = TOKENIZER_FILES if tokenizer_only else (*TOKENIZER_FILES, "*.safetensors")
    return hub.snapshot("model", model, revision, patterns)


def weights_bytes(model: str) -> int | None:
    """The size of a model's weights, None of a Hub model, which is not looked for here."""
    directory = directory_of(model)
    return sum(path.stat().st_size for path in directory.glob("*.safetensors")) if directory else None


def config_of(model: str, revision: str) -> dict[str, Any]:
    """The config.json of a model, without fetching its weights."""
    if directory := directory_of(model):
        path = directory / "config.json"
    else:
        check_hub_id(model)
        from components.lib import hub

        path = hub.file_of("model", model, "config.json", revision)
    return dict(read_object(path))


def check_model(model: str, commit: str) -> None:
    """Refuse a model that no stage could load, by the names of its files and its config.json; nothing else is fetched.

    Of a directory also by the sizes of its weights. `commit` is that of a Hub model. `ValueError` says what is there
    and what to do.
    """
    if directory := directory_of(model):
        names = {path.name for path in directory.iterdir() if path.is_file()}
    else:
        from components.lib import hub

        hub.check_readable("model", model)
        names = {name for name in hub.names_of(model, commit) if "/" not in name}
    _check_files(names, model)
    shards = _check_copy(directory, names) if directory else []
    config = config_of(model, commit)
    check_architecture(config, model)
    check_sizes(model, shards, config)


def _check_files(names: Collection[str], model: str) -> None:
    """Refuse a model without configuration, or without weights in safetensors."""
    if "adapter_config.json" in names and not set(WEIGHTS).intersection(names):
        raise ValueError(f"model {model!r} is an adapter; merge it into its base (PEFT's merge_and_unload), save that")
    other = sorted(name for name in names if name.endswith(OTHER_WEIGHTS))
    shown = ", ".join(other[:3]) + (f" and {len(other) - 3} more" if len(other) > 3 else "")
    if not set(WEIGHTS).intersection(names):
        raise ValueError(
            f"model {model!r} has no {WEIGHTS[0]}, "
            + (f"only {shown}; {_conversion(model, other)}" if other else "nor other weights; name one that has")
        )
    if "config.json" not in names:
        raise ValueError(f"model {model!r} has no config.json beside its weights; save it with save_pretrained")


def _conversion(model: str, files: Sequence[str]) -> str:
    """How to make a model directory of weights in `files`, which are not in safetensors."""
    if file := next((name for name in files if name.endswith(".gguf")), ""):
        fetch, place = ("", f"{model}/{file}") if directory_of(model) else (f"hf download {model} {file}", file)
        fetch = fetch and f"{fetch} --local-dir . and "
        return f"convert it once by {fetch}{_CONVERT} {place} DIRECTORY, and name that"
    call = f"AutoModelForCausalLM.from_pretrained({model!r}).save_pretrained(DIRECTORY), its tokenizer too"
    return f"convert it once: {call}, and name that"


def _check_copy(directory: Path, names: Collection[str]) -> list[Path]:
    """The files of the weights; refuses a copy that is not whole: some are not there, or pointers in their place."""
    index = directory / WEIGHTS[1]
    shards = {WEIGHTS[0]} if WEIGHTS[0] in names else set(read_object(index)["weight_map"].values())
    if missing := sorted(shards.difference(names)):
        raise ValueError(f"{directory} lacks {missing[0]} of the {len(shards)} files that {index.name} names; copy it")
    for name in sorted(shards):
        with (directory / name).open("rb") as file:
            if file.read(len(LFS_POINTER)) == LFS_POINTER:
                raise ValueError(f"{directory / name} is a pointer of Git LFS, not weights; run `git lfs pull` there")
    return [directory / name for name in sorted(shards)]


def check_hub_id(model: str) -> None:
    """Refuse what cannot be a Hub id with a `ValueError`; call it when `model` is no directory here."""
    if link := dangling(expanded(model)):
        raise ValueError(
            f"model {model!r}: {link} is a symbolic link that points nowhere; change it, or name the model"
        )
    if expanded(model).is_file() and model.endswith(".gguf"):
        raise ValueError(
            f"model {model!r} is a GGUF file; convert it once by {_CONVERT} {model} DIRECTORY, and name that"
        )
    if why := "it is a file" if expanded(model).is_file() else no_hub_id(model):
        raise ValueError(f"model {model!r} is neither a directory here nor a Hub id, nor 'tiny': {why}")


def model_sha256(directory: Path) -> str:
    """One hash over the names and contents of a model directory's files; `ValueError` without weights."""
    files = sorted({path for pattern in (*TOKENIZER_FILES, "*.safetensors") for path in directory.glob(pattern)})
    if not any(path.suffix == ".safetensors" for path in files):
        raise ValueError(f"{directory} holds no *.safetensors; save the model with save_pretrained")
    lines = "".join(f"{sha256(path)}  {path.name}\n" for path in files)
    return hashlib.sha256(lines.encode()).hexdigest()
