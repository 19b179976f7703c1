"""New plugin projects: one small, working template for each kind.

The files beside this one are `string.Template`s; `$$` is a dollar sign. Nothing here imports torch.
"""

import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import PurePosixPath
from string import Template

from attrs import frozen

from vidgen.errors import UserError, did_you_mean
from vidgen.hookspecs import KINDS

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


@frozen(kw_only=True)
class Kind:
    """What differs between kinds beside their own files: the module's name, what it imports, how a recipe uses it."""

    module: str
    dependencies: tuple[str, ...] = ("torch>=2.10",)
    recipe: str
    summary: str


DETAILS: Mapping[str, Kind] = {
    "model": Kind(
        module="model", recipe="model: {type: $name, width: 256, depth: 6}", summary="a small video transformer"
    ),
    "text_encoder": Kind(
        module="encoder", recipe="text_encoder: {type: $name, max_length: 16}", summary="the letters of each word"
    ),
    "prompt_refiner": Kind(
        module="refiner",
        dependencies=("numpy>=1.26",),
        recipe="sample: {prompt_refiner: {type: $name, phrases: 2}}",
        summary="prompts with a few words more about light and camera",
    ),
    "autoencoder": Kind(
        module="autoencoder", recipe="vae: {type: $name, stride: [1, 8, 8]}", summary="average pooling as latents"
    ),
    "scheduler": Kind(
        module="scheduler", recipe="scheduler: {type: $name, num_sampling_steps: 30}", summary="rectified flow"
    ),
    "step_cache": Kind(
        module="cache",
        recipe="sample: {step_cache: {type: $name, every: 2}}",
        summary="predictions that are used for several steps",
    ),
    "adapter": Kind(
        module="adapter", recipe="adapters: [{type: $name, pattern: 'blocks.*'}]", summary="training of biases alone"
    ),
    "dataset": Kind(
        module="dataset",
        dependencies=("numpy>=1.26", "pillow>=10.3", "pyarrow>=16", "torch>=2.10"),
        recipe="dataset: {type: $name, folder: pictures}",
        summary="a folder of pictures with captions",
    ),
    "bucketer": Kind(
        module="bucketer", dependencies=(), recipe="bucketer: {type: $name}", summary="rows in the order of the table"
    ),
    "parallel": Kind(module="engine", recipe="parallel: {type: $name, threads: 4}", summary="one process on the CPU"),
    "attention": Kind(
        module="attention",
        recipe='# vidgen.build("attention", "$name") gives the function',
        summary="attention in pieces that need less memory",
    ),
    "tracker": Kind(
        module="tracker",
        dependencies=(),
        recipe="trackers: [{type: csv}, {type: $name}]",
        summary="a JSON line per event",
    ),
    "metric": Kind(
        module="metric", recipe="sample: {metrics: [{type: $name}]}", summary="brightness and flicker of clips"
    ),
    "job": Kind(
        module="job",
        dependencies=("click>=8.1.7", "torch>=2.10"),
        recipe="job: $name\nmodel: {type: STDiT}",
        summary="a table of a model's parameters",
    ),
}


def project(name: str, kind: str) -> tuple[str, dict[PurePosixPath, str]]:
    """The distribution's name and its files, path -> text.

    name: of the component; `vidgen-` in front is left out. Raises: UserError, for a name or kind that cannot be.
    """
    if kind not in KINDS:
        raise UserError("\n    ".join([f"there is no kind {kind!r} of component", *did_you_mean(kind, KINDS)]))
    name = name.removeprefix("vidgen-")
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name!r} cannot be a plugin's name: use lower-case letters, digits and single hyphens, beginning with a "
            "letter, such as my-scheduler"
        )
    values = _values(name, kind)
    package = PurePosixPath("src", values["package"])
    places = {
        "common/pyproject.toml": PurePosixPath("pyproject.toml"),
        "common/README.md": PurePosixPath("README.md"),
        "common/gitignore": PurePosixPath(".gitignore"),
        f"{kind}/__init__.py": package / "__init__.py",
        f"{kind}/implementation.py": package / f"{values['module']}.py",
        f"{kind}/test.py": PurePosixPath("tests", f"test_{values['module']}.py"),
    }
    texts = {place: _template(source).substitute(values) for source, place in places.items()}
    return values["distribution"], {**texts, package / "py.typed": ""}


def _values(name: str, kind: str) -> dict[str, str]:
    details = DETAILS[kind]
    return {
        "name": name,
        "kind": kind,
        "words": kind.replace("_", " "),
        "distribution": f"vidgen-{name}",
        "package": f"vidgen_{name.replace('-', '_')}",
        "prefix": name.title().replace("-", ""),
        "module": details.module,
        "dependencies": "".join(f', "{one}"' for one in details.dependencies),
        "recipe": Template(details.recipe).substitute(name=name),
        "summary": details.summary,
    }


def _template(source: str) -> Template:
    return Template((files(__package__) / f"{source}.tmpl").read_text(encoding="utf-8"))
