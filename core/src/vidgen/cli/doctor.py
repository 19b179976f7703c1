"""`vidgen doctor`: what this machine and installation can do, and why not."""

import platform
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import click

from vidgen.cli.table import console, table
from vidgen.registry import Registry

LIBRARIES = ("torch", "av", "numpy", "pillow", "safetensors", "pyarrow", "transformers", "diffusers", "decord")
KERNELS = {
    "flash_attn": "faster attention on NVIDIA GPUs",
    "triton": "compiled blocks on GPUs",
    "torchao": "fp8 layers",
}


@click.command()
def command() -> None:
    """Print versions, devices, optional kernels, and plugins that could not be loaded."""
    rows = table("what", "found")
    rows.add_row("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    for name in ("vidgen", *LIBRARIES):
        rows.add_row(name, _version(name))
    for label, found in (*_devices(), *((name, _kernel(name, use)) for name, use in KERNELS.items())):
        rows.add_row(label, found)
    registry = Registry.discover()
    rows.add_row("components", f"{len(registry.offers())} from {len(registry.versions())} distributions")
    out = console()
    out.print(rows)
    for broken in registry.broken:
        out.print(f"could not be loaded: {broken.plugin} of {broken.distribution}: {broken.error}", style="red")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _devices() -> list[tuple[str, str]]:
    import torch

    found = [("cpu", f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}")]
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        return [*found, ("cuda", ", ".join(names))]
    return [*found, ("cuda", f"none (torch {torch.__version__} sees no CUDA device)")]


def _kernel(module: str, use: str) -> str:
    try:
        return f"{getattr(import_module(module), '__version__', 'found')} ({use})"
    except ImportError as error:
        return f"not used: {error} ({use})"
    except Exception as error:
        return f"broken: {type(error).__name__}: {error}"
