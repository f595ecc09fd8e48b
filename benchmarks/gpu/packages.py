"""What `benchmarks.gpu` carries to a machine that has torch and little else, as one archive.

Run `python -m benchmarks.gpu.packages` (or `make gpu-packages`), with `--causal-conv1d` where a C++ compiler is at
hand. The packages are those of requirements.lock and images/gpu.lock, with their hashes, for Python 3.12 on x86-64.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "gpu"
ARCHIVE = "packages.zip"
LOCKS = ("requirements.lock", "images/gpu.lock", "images/builder.lock")
MIB = 2**20
MOST_MIB = 55  # what travels to such a machine is often limited to 64
CARRIED = (
    "annotated-types", "datasets", "dill", "fla-core", "flash-linear-attention", "httpcore2", "httpx2",
    "huggingface-hub", "idna", "multiprocess", "pydantic", "pydantic-core", "ruamel-yaml", "transformers", "trl",
    "truststore", "typing-extensions", "typing-inspection",
)  # fmt: skip
MACHINE = ("--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_28")
# causal-conv1d is built beside the torch of that machine; Hopper is 90.
CONV, TORCH, ARCHITECTURES = "causal-conv1d", "torch==2.11.0", "90"
CHECK = "if g is not None and IS_NVIDIA_HOPPER and TRITON_ABOVE_3_4_0 and not TRITON_ABOVE_3_7_1:"


def main() -> None:
    """Fetch the packages, build what was asked for, and print what there is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=FOLDER, help="folder (default: build/gpu)")
    parser.add_argument("--uv", default="uv", help="the program uv")
    parser.add_argument("--causal-conv1d", action="store_true", help="build it too, which takes many minutes")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    fetch(asked.uv, asked.output)
    if asked.causal_conv1d:
        build_conv(asked.uv, asked.output)
    print(f"{size_mib(asked.output):.1f} MiB in {asked.output}, of at most {MOST_MIB}")


def size_mib(folder: Path) -> float:
    """What the folder holds; `ValueError` if that is too much to carry."""
    files = [*folder.glob("*.zip"), *folder.glob("*.whl")]
    size = sum(path.stat().st_size for path in files) / MIB
    if size > MOST_MIB:
        listed = ", ".join(f"{path.name} {path.stat().st_size / MIB:.1f}" for path in files)
        raise ValueError(f"{folder} holds {size:.1f} MiB, more than {MOST_MIB}: {listed}; remove what is not needed")
    return size


def fetch(uv: str, folder: Path) -> None:
    """Write the archive of the packages CARRIED."""
    with TemporaryDirectory() as scratch:
        site, wanted = Path(scratch) / "site", Path(scratch) / "wanted.lock"
        wanted.write_text(locked(CARRIED), "utf-8")
        command = [uv, "pip", "install", "--quiet", "--target", str(site), *MACHINE, "--no-deps", "--no-build"]
        subprocess.run([*command, "--require-hashes", "--requirement", str(wanted)], check=True)
        shutil.rmtree(site / "bin", ignore_errors=True)
        with zipfile.ZipFile(folder / ARCHIVE, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in sorted(site.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(site))


def locked(names: tuple[str, ...]) -> str:
    """The lines of these packages in the lock files, each from the first one that has it."""
    found: dict[str, str] = {}
    for lock in LOCKS:
        text = (ROOT / lock).read_text("utf-8")
        for entry in re.findall(r"^[\w.-]+(?:\[[\w,-]+\])?==(?:.*\\\n)+.*\n", text, re.MULTILINE):
            found.setdefault(re.split(r"[\[=]", entry)[0], entry)
    if missing := sorted(set(names) - set(found)):
        raise ValueError(f"no lock file names {', '.join(missing)}; looked into {', '.join(LOCKS)}")
    return "".join(found[name] for name in names)


def build_conv(uv: str, folder: Path) -> None:
    """Build causal-conv1d for Hopper as images/trainer/Dockerfile does, the compiler being wheels."""
    with TemporaryDirectory() as scratch:
        env = Path(scratch) / "env"
        subprocess.run([uv, "venv", "--quiet", "--seed", "--python", "3.12", str(env)], check=True)
        python, source, tools = env / "bin" / "python", Path(scratch) / "source.lock", Path(scratch) / "tools.lock"
        names = [line for line in (ROOT / "images/trainer/builder.in").read_text("utf-8").split() if line]
        names = [name.partition("==")[0] for name in names]
        tools.write_text(locked(tuple(name for name in names if name != CONV)), "utf-8")
        source.write_text(locked((CONV,)), "utf-8")
        install = [uv, "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*install, TORCH], check=True)
        subprocess.run([*install, "--no-deps", "--require-hashes", "--requirement", str(tools)], check=True)
        cuda = env / "lib/python3.12/site-packages/nvidia/cu13"
        for link, target in ((cuda / "lib64", "lib"), (cuda / "lib/libcudart.so", "libcudart.so.13")):
            if not link.exists():
                link.symlink_to(target)
        told = {
            "CUDA_HOME": str(cuda), "CUDA_ARCHITECTURES": ARCHITECTURES, "CAUSAL_CONV1D_FORCE_BUILD": "TRUE",
            "PYTORCH_NVCC": str(ROOT / "images/trainer/nvcc"), "MAX_JOBS": "2",
            "PATH": f"{env / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }  # fmt: skip
        command = [str(python), "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--require-hashes"]
        command += ["--requirement", str(source), "--wheel-dir", str(folder)]
        subprocess.run(command, env=os.environ | told, check=True)


def unpack(folder: Path, site: Path) -> None:
    """Unpack what the folder holds into a directory for PYTHONPATH; nothing where there is no folder."""
    site.mkdir(parents=True, exist_ok=True)
    for path in (*folder.glob("*.zip"), *folder.glob("*.whl")):
        with zipfile.ZipFile(path) as archive:
            archive.extractall(site)


def without_check(site: Path, copy: Path) -> None:
    """A copy of fla that makes its backward pass where it is known to be wrong, for timing only.

    FLA 0.6.0 refuses it on Hopper with Triton from 3.4 to 3.7.0 (flash-linear-attention, issue 640).
    """
    shutil.copytree(site / "fla", copy / "fla")
    place = copy / "fla/ops/common/chunk_o.py"
    text = place.read_text("utf-8")
    if text.count(CHECK) != 1:
        raise ValueError(f"{place} does not hold the check that was to be taken out: {CHECK}")
    place.write_text(text.replace(CHECK, "if False:"), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
