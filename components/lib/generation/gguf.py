"""A model directory from a GGUF file, which transformers can read but not train from."""

import importlib.util
import shutil
import struct
import sys
from pathlib import Path
from typing import Any

from components.lib.generation.loading import load_tokenizer
from components.lib.model.architectures import check_architecture

MAGIC = b"GGUF"  # begins every such file
SCALING = "rope_freqs.weight"  # a tensor of Llama 3.1 and later
_OTHER = "take the model as safetensors"
PACKAGE = "gguf"  # by which transformers reads it
# What reading a file that is cut off, or was written by hand, may raise.
_DAMAGED = (ValueError, KeyError, IndexError, OverflowError, struct.error)


def convert(file: Path, out: Path) -> str:
    """Make a model directory of a GGUF file: safetensors, plain config, tokenizer, chat template, generation settings.

    Returns what was made, in one line. The weights are saved in fp32: what a quantized block stands for, a float of 16
    bits times a small number plus another, fits no type of 16 bits, and training holds its weights in fp32 anyway.
    `out` appears whole or not at all. `ValueError` for a file that is none, is cut off, or holds something else than a
    chat model, and where the package gguf is missing.
    """
    check_out(out)
    _check_file(file)
    part = out.absolute().with_name(f".{out.absolute().name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _check_header(file)
        told = _save(file, part)
        load_tokenizer(part)  # knows which token ends a completion, or says that none does
        part.replace(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return f"convert: {told} -> {out}"


def check_out(out: Path) -> None:
    """Refuse a place where something lies already."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ValueError(f"{out} is not empty; name a directory that is not there yet, or delete it")


def _check_file(file: Path) -> None:
    if not file.is_file():
        raise ValueError(f"{file} is no file; name a GGUF file")
    with file.open("rb") as opened:
        if opened.read(len(MAGIC)) != MAGIC:
            raise ValueError(f"{file} is no GGUF file: it does not begin with {MAGIC.decode()}; name one that is")
    if importlib.util.find_spec(PACKAGE) is None:
        raise ValueError(f"the package {PACKAGE} is not installed, by which such a file is read; pip install {PACKAGE}")


def _check_header(file: Path) -> None:
    """Refuse, by the file's metadata, what the loader would not notice or would tell in words of its own."""
    from transformers.integrations.gguf import read_gguf_metadata

    try:
        metadata, tensors = read_gguf_metadata(str(file))
    except _DAMAGED as error:
        raise ValueError(f"{file} is cut off or damaged ({error}); fetch it again") from None
    print(f"convert: {file}, {len(tensors)} tensors, {file.stat().st_size / 1e6:,.0f} MB", flush=True)
    if (parts := metadata.get("split.count", 1)) > 1:
        raise ValueError(f"{file} is one of {parts} parts; join them with llama-gguf-split --merge")
    if SCALING in tensors:
        raise ValueError(f"{file} scales positions by {SCALING}, which transformers would drop; {_OTHER}")
    if not metadata.get("tokenizer.chat_template"):
        raise ValueError(f"{file} has no chat template; take the file of an instruction-tuned model")


def _save(file: Path, out: Path) -> str:
    """Load the file and save the model and its tokenizer; what it is in a few words."""
    from transformers import GenerationConfig

    tokenizer, read = _read(file)
    model = _plain(read)
    model.generation_config = GenerationConfig(
        do_sample=False, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id
    )
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    size = sum(path.stat().st_size for path in out.glob("*.safetensors"))
    return f"{type(model).__name__}, {model.num_parameters() / 1e6:,.1f} M weights in fp32, {size / 1e6:,.0f} MB"


def _read(file: Path) -> tuple[Any, Any]:
    """The tokenizer of a file and its model in fp32; `ValueError` if transformers cannot make them of it."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    if not sys.stderr.isatty():
        disable_progress_bar()
    place: dict[str, Any] = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    try:
        config, tokenizer = AutoConfig.from_pretrained(**place), AutoTokenizer.from_pretrained(**place)
        check_architecture(config.to_dict(), file.name)
        print(f"convert: {config.model_type}, {len(tokenizer):,} tokens; the weights follow", flush=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(**place, dtype=torch.float32, output_loading_info=True)
    except _DAMAGED as error:
        raise ValueError(
            f"{file} cannot be made a model by the installed transformers: {str(error).rstrip('.')}; {_OTHER}"
        ) from None
    model, found = loaded
    if missing := sorted(found["missing_keys"]):
        raise ValueError(f"{file} lacks {len(missing)} weights of its architecture, as {missing[0]}; {_OTHER}")
    return tokenizer, model


def _plain(read: Any) -> Any:
    """A model with the weights of `read` that knows nothing of a GGUF file, without a second copy of them."""
    import torch
    from transformers import AutoModelForCausalLM

    config = read.config
    for name in ("quantization_config", "_model_name_or_path"):  # the second is the file's name of itself
        config.__dict__.pop(name, None)
    config.name_or_path = ""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict(), assign=True)
    model.tie_weights()
    return model
