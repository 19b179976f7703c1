"""The command line as its user meets it: exit status, what is on which stream, and what is not imported on the way."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from attrs import fields_dict
from vidgen.cli.run import FLAGS
from vidgen.cli.show import rows, type_name
from vidgen.component import InputPath
from vidgen.recipe.schema import SampleRecipe, TrainRecipe
from vidgen.registry import Registry

Command = Callable[..., subprocess.CompletedProcess[str]]
Install = Callable[[str, str], Path]

TRAIN = """\
job: train
max_steps: 3
batch_size: 3
num_frames: 2
image_size: [8, 16]
model: {type: STDiT, depth: 1, hidden_size: 32, num_heads: 2}
vae: {type: pixel}
text_encoder: {type: hashed-words}
scheduler: {type: rflow}
dataset: {type: moving-shapes}
"""
SAMPLE = TRAIN.partition("dataset:")[0].replace("job: train\nmax_steps: 3\n", "job: sample\n") + "prompts: [a circle]\n"


@pytest.fixture
def recipe(tmp_path: Path) -> str:
    """A recipe in the folder where commands run."""
    (tmp_path / "r.yaml").write_text(TRAIN)
    (tmp_path / "sample.yaml").write_text(SAMPLE)
    (tmp_path / "typo.yaml").write_text(TRAIN + "optimizer: {grad_cilp: 1.0}\n")
    return "r.yaml"


PLUGIN = """
from attrs import frozen
import click
from vidgen import Component, hookimpl, option

@frozen(kw_only=True)
class Options:
    how: str = option("fine", "How it [red]ends[/red] :smile:.")

@hookimpl
def vidgen_jobs():
    yield Component(
        name="made-up", summary="Ends as it is told, [bold]always[/bold].", options=Options, factory="made_up_jobs:Job"
    )

@hookimpl
def vidgen_commands():
    @click.command("greet")
    @click.argument("name")
    def greet(name):
        "Greet someone."
        click.echo(f"hello {name}")
    return [greet]

class Job:
    def __init__(self, options, context):
        self.how = options.how

    def dry_run(self):
        return {"how [it] ends": f"[{self.how}]"}

    def run(self):
        from vidgen import RunError, UserError
        errors = {
            "fail": RunError("the disk is full"),
            "mistake": UserError("no such folder"),
            "crash": ZeroDivisionError("division by zero"),
            "silent": KeyError(),
            "interrupt": KeyboardInterrupt(),
        }
        if self.how in errors:
            raise errors[self.how]
        print("done")
"""


# nothing heavy on the way


@pytest.mark.parametrize(
    "arguments",
    [
        ("vidgen-run", "--help"),
        ("vidgen-run", "typo.yaml"),
        ("vidgen-run", "r.yaml", "--print-recipe"),
        ("vidgen", "--help"),
        ("vidgen", "plugins"),
        ("vidgen", "show", "rflow"),
    ],
    ids=" ".join,
)
def test_torch_is_not_imported_to_answer(command: Command, recipe: str, arguments: tuple[str, ...]):
    done = command(*arguments, flags=["-X", "importtime"])
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert {"vidgen", "click"} <= imported
    assert not imported & {"torch", "numpy", "av", "PIL", "pyarrow", "safetensors", "transformers", "einops", "wandb"}


# how it ends


def test_a_mistake_in_a_recipe_ends_with_status_2_and_is_told_on_stderr(command: Command, recipe: str):
    done = command("vidgen-run", "typo.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "typo.yaml:11:13: optimizer.grad_cilp: no such key\n"
        "    did you mean grad_clip?\n"
        "1 problem; nothing was started.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["q.yaml"], "q.yaml: no such file\n    did you mean r.yaml"),
        (["r.yaml", "seed"], "command line: 'seed' is not an override\n    write key.path=value"),
        (["r.yaml", "--lr", "-1"], "command line: optimizer.lr=-1.0: optimizer.lr: 'lr' must be > 0: -1.0\n"),
        (["r.yaml", "--dtype", "fp8"], "expected one of fp32, fp16, bf16, got 'fp8' (text)\n"),
        (["r.yaml", "--prompt", "x"], 'command line: prompts=["x"]: prompts: no such key\n'),
        (["r.yaml", "--seed", "x"], "Usage: vidgen-run"),
        (["r.yaml", "--sed", "1"], "Usage: vidgen-run"),
        ([], "Usage: vidgen-run"),
    ],
)
def test_mistakes_on_the_command_line_end_with_status_2(
    command: Command, recipe: str, arguments: list[str], message: str
):
    done = command("vidgen-run", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("how", "status", "message"),
    [
        ("fine", 0, ""),
        ("fail", 1, "the disk is full\n"),
        ("mistake", 2, "no such folder\n"),
        ("interrupt", 130, "\ninterrupted\n"),  # after the ^C of the terminal
        (
            "crash",
            1,
            "ZeroDivisionError: division by zero\n"
            "    --traceback shows where; please report it if it looks like our mistake\n",
        ),
        ("silent", 1, "KeyError\n    --traceback shows where; please report it if it looks like our mistake\n"),
    ],
)
def test_a_run_ends_with_the_status_of_its_error(
    command: Command, install: Install, tmp_path: Path, how: str, status: int, message: str
):
    (tmp_path / "j.yaml").write_text("job: made-up\n")
    done = command("vidgen-run", "j.yaml", f"how={how}", path=[install("jobs", PLUGIN)])
    assert (done.returncode, done.stderr) == (status, message)


@pytest.mark.parametrize(("how", "status"), [("fail", 1), ("mistake", 2), ("crash", 1)])
def test_a_traceback_is_shown_when_asked_for(command: Command, install: Install, tmp_path: Path, how: str, status: int):
    """The status and the last line stay the same."""
    (tmp_path / "j.yaml").write_text("job: made-up\n")
    site = install("jobs", PLUGIN)
    plain = command("vidgen-run", "j.yaml", f"how={how}", path=[site])
    shown = command("vidgen-run", "j.yaml", f"how={how}", "--traceback", path=[site])
    assert (plain.returncode, shown.returncode) == (status, status)
    assert shown.stderr.startswith("Traceback (most recent call last):\n")
    assert "made_up_jobs.py" in shown.stderr
    assert shown.stderr.endswith(plain.stderr)


def test_a_traceback_of_a_recipe_error_is_shown_when_asked_for(command: Command, recipe: str):
    done = command("vidgen-run", "typo.yaml", "--traceback")
    assert done.returncode == 2
    assert done.stderr.startswith("Traceback")
    assert "typo.yaml:11:13: optimizer.grad_cilp: no such key" in done.stderr


# flags and overrides


def test_every_flag_sets_a_key_that_some_job_has():
    known = {name for cls in (TrainRecipe, SampleRecipe) for name, *_ in rows(cls)}
    of_components = {
        "dataset.data_path",
        "model.from_pretrained",
        "scheduler.num_sampling_steps",
        "scheduler.cfg_scale",
    }
    assert {key for key, _, _ in FLAGS.values()} <= known | of_components


def test_flags_set_the_keys_they_name(command: Command, recipe: str):
    done = command(
        *("vidgen-run", recipe, "--print-recipe", "--outputs", "a b/7", "--seed", "7", "--dtype", "bf16"),
        *("--num-frames", "4", "--image-size", "16", "24", "--batch-size", "5", "--max-steps", "9", "--lr", "3e-5"),
        *("--ckpt-path", "weights: of=mine.pt", "--resume", "latest", "--num-sampling-steps", "6", "--cfg-scale", "2"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    plain = yaml.safe_load(done.stdout)
    assert {key: plain[key] for key in ("outputs", "seed", "dtype", "num_frames", "image_size", "batch_size")} == {
        "outputs": "a b/7",
        "seed": 7,
        "dtype": "bf16",
        "num_frames": 4,
        "image_size": [16, 24],
        "batch_size": 5,
    }
    assert (plain["max_steps"], plain["optimizer"]["lr"], plain["resume"]) == (9, 3e-5, "latest")
    assert plain["model"]["from_pretrained"] == "weights: of=mine.pt"
    assert (plain["scheduler"]["num_sampling_steps"], plain["scheduler"]["cfg_scale"]) == (6, 2.0)


PROMPTS = [
    "a 'quoted' \"cat\": 16:9",
    "two\nlines\tand # no comment",
    "1e-4",
    "🐱 ж é \u2028 \x7f",
    "",
    "[x], {y}",
    "-x",
]


def test_a_prompt_on_the_command_line_is_instead_of_the_recipes(command: Command, recipe: str, tmp_path: Path):
    (tmp_path / "many.txt").write_text("a\nb\n")
    (tmp_path / "many.yaml").write_text((tmp_path / "sample.yaml").read_text() + "prompt_path: many.txt\n")
    for flags, expected in ((["--prompt", "c"], (["c"], None)), ([], (["a circle"], "many.txt"))):
        plain = yaml.safe_load(command("vidgen-run", "many.yaml", "--print-recipe", *flags).stdout)
        found = plain["prompt_path"]
        assert (plain["prompts"], found and Path(found).name) == expected


def test_prompts_survive_whatever_is_in_them(command: Command, recipe: str):
    arguments = [argument for prompt in PROMPTS for argument in ("--prompt", prompt)]
    done = command("vidgen-run", "sample.yaml", "--print-recipe", *arguments, "--negative-prompt", "null", "--fps", "8")
    assert (done.returncode, done.stderr) == (0, "")
    plain = yaml.safe_load(done.stdout)
    assert plain["prompts"] == PROMPTS
    assert (plain["negative_prompt"], plain["fps"], plain["num_frames"]) == ("null", 8.0, 2)


def test_an_override_comes_after_a_flag(command: Command, recipe: str):
    done = command("vidgen-run", recipe, "--print-recipe", "--seed", "7", "seed=8")
    assert "\nseed: 8\n" in done.stdout


def test_vidgen_run_is_a_command_of_vidgen_too(command: Command, recipe: str):
    done = command("vidgen", "run", recipe, "--print-recipe")
    assert (done.returncode, done.stdout) == (0, command("vidgen-run", recipe, "--print-recipe").stdout)


# dry run


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(command: Command, recipe: str, tmp_path: Path):
    before = sorted(tmp_path.rglob("*"))
    done = command("vidgen-run", recipe, "--dry-run")
    assert (done.returncode, done.stderr) == (0, "")
    told = {
        label.strip(): value.strip() for label, _, value in (line.partition("  ") for line in done.stdout.splitlines())
    }
    assert {"parameters", "latent size", "tokens per sample", "steps", "outputs", "Nothing was started."} <= set(told)
    assert (told["steps"], told["outputs"]) == ("3", "outputs/r")
    assert told["latent size"].split(" x ")[1:] == ["2", "2", "4"]
    assert told["tokens per sample"].startswith("4 ")
    assert sorted(tmp_path.rglob("*")) == before


def test_a_dry_run_shows_what_a_job_says_letter_by_letter(command: Command, install: Install, tmp_path: Path):
    (tmp_path / "j.yaml").write_text("job: made-up\n")
    done = command("vidgen-run", "j.yaml", "--dry-run", path=[install("jobs", PLUGIN)])
    assert done.stdout == "how [it] ends  [fine]\nNothing was started.\n"


# vidgen plugins, show, doctor


def test_plugins_lists_each_component_on_one_line(command: Command):
    """Also when piped, where there is no width to fit: `vidgen plugins | grep tracker`."""
    done = command("vidgen", "plugins")
    assert (done.returncode, done.stderr) == (0, "")
    header, *lines = done.stdout.splitlines()
    assert header.split() == ["kind", "name", "distribution", "version", "summary"]
    listed = [line.split(maxsplit=4) for line in lines]
    assert [[*row[:4], row[4].strip()] for row in listed] == [
        [o.kind, o.component.name, o.distribution, o.version, o.component.summary] for o in Registry.discover().offers()
    ]


@pytest.fixture
def broken(install: Install) -> Path:
    install("jobs", PLUGIN)
    install("bad", "raise RuntimeError('no GPU:\\n[red] none :smile:')")
    return install("spelt", "from vidgen import hookimpl\n@hookimpl\ndef vidgen_modles(): return []\n")


def test_a_broken_plugin_is_shown_and_stops_nothing(command: Command, broken: Path):
    done = command("vidgen", "plugins", path=[broken])
    assert (done.returncode, done.stderr) == (0, "")
    *table, bad, spelt = done.stdout.splitlines()
    assert bad == "could not be loaded: bad of vidgen-bad: RuntimeError: no GPU: [red] none :smile:"
    assert spelt.startswith(
        "could not be loaded: spelt of vidgen-spelt: PluginValidationError: unknown hook 'vidgen_modles'"
    )
    made_up = next(line for line in table if " made-up " in line)
    assert made_up.split(maxsplit=4)[4].strip() == "Ends as it is told, [bold]always[/bold]."


def test_a_broken_plugin_is_told_of_only_when_a_recipe_asks_for_what_it_might_offer(
    command: Command, recipe: str, broken: Path
):
    quiet = command("vidgen-run", recipe, "--print-recipe", path=[broken])
    assert (quiet.returncode, quiet.stderr) == (0, "")
    told = command("vidgen-run", recipe, "--print-recipe", "model.type=Mine", path=[broken])
    assert "\n    vidgen-bad could not be loaded: RuntimeError: no GPU: [red] none :smile:\n" in told.stderr


def test_a_name_offered_twice_stops_every_command(command: Command, recipe: str, install: Install):
    site = install("jobs", PLUGIN)
    install("more", PLUGIN)
    for arguments in (("vidgen", "plugins"), ("vidgen-run", recipe)):
        done = command(*arguments, path=[site])
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            "two plugins offer the job 'made-up': vidgen-jobs and vidgen-more. Uninstall one of them.\n"
        )


def test_show_prints_every_option_as_a_recipe_would_write_it(command: Command, install: Install):
    site = install("jobs", PLUGIN)
    done = command("vidgen", "show", "made-up", path=[site])
    assert [line.rstrip() for line in done.stdout.splitlines()] == [
        "made-up, job of vidgen-jobs 2.5",
        "Ends as it is told, [bold]always[/bold].",
        "key  type  default  meaning",
        "how  text  fine     How it [red]ends[/red] :smile:.",
    ]
    done = command("vidgen", "show", "STDiT", path=[site])
    patch = next(line for line in done.stdout.splitlines() if line.startswith("patch_size "))
    assert "  [int, int, int]  " in patch and "  [1, 2, 2]  " in patch


def test_show_lists_the_keys_of_sections_within_a_job(command: Command):
    shown = {line.split()[0]: line for line in command("vidgen", "show", "train").stdout.splitlines()[3:]}
    assert {"model", "optimizer.lr", "ema.decay", "sample", "sample.prompts", "checkpoint.keep"} <= set(shown)
    assert "required" in shown["model"]
    assert '[{"type": "csv"}]' in shown["trackers"]


def test_show_shows_a_name_of_two_kinds_for_both_or_for_the_one_meant(command: Command):
    both = command("vidgen", "show", "moving-shapes").stdout
    assert "moving-shapes, dataset of" in both and "moving-shapes, metric of" in both
    one = command("vidgen", "show", "moving-shapes", "--kind", "metric").stdout
    assert "moving-shapes, dataset of" not in one and "moving-shapes, metric of" in one


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["hashed-word"], "no installed plugin offers 'hashed-word'\n    did you mean hashed-words?\n"),
        (["rflow", "--kind", "metric"], "no installed plugin offers 'rflow'\n"),
        (["rflow", "--kind", "modle"], "Invalid value for '--kind': 'modle' is not one of 'model', 'text_encoder'"),
    ],
)
def test_show_tells_of_names_nobody_offers(command: Command, arguments: list[str], message: str):
    done = command("vidgen", "show", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr


def test_a_default_reads_as_a_recipe_would_say_it():
    shown = {name: (kind, default) for name, kind, default, _ in rows(TrainRecipe)}
    assert shown["image_size"] == ("[int, int] | null", "null")
    assert shown["optimizer.betas"] == ("[float, float]", "[0.9, 0.999]")
    assert shown["compile"] == ("bool", "false")
    assert shown["grad_checkpoint"] == ("bool | none | full | selective", "none")
    assert shown["outputs"] == ("path", "outputs/run")
    assert shown["dtype"] == ("fp32 | fp16 | bf16", "fp32")
    assert shown["trackers"] == ("[tracker, ...]", '[{"type": "csv"}]')
    assert shown["dataset"] == ("dataset", "required")
    assert {name.partition(".")[0] for name in shown} == set(fields_dict(TrainRecipe))


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (int | None, "int | null"),
        (list[str], "[text, ...]"),
        (tuple[int, ...], "[int, ...]"),
        (tuple[int, float], "[int, float]"),
        (dict[str, list[int]], "{text: [int, ...]}"),
        (InputPath | None, "path | null"),
        (Path, "path"),
    ],
)
def test_a_type_reads_as_a_recipe_would_write_it(kind: Any, text: str):
    assert type_name(kind) == text


def test_doctor_tells_versions_devices_kernels_and_broken_plugins(command: Command, broken: Path):
    done = command("vidgen", "doctor", path=[broken])
    assert (done.returncode, done.stderr) == (0, "")
    told = {line.split()[0] for line in done.stdout.splitlines() if line.split()}
    assert {"python", "vidgen", "torch", "av", "cpu", "cuda", "flash_attn", "components"} <= told
    assert "could not be loaded: bad of vidgen-bad" in " ".join(done.stdout.split())


# vidgen itself


def test_help_lists_the_commands_of_core_and_of_plugins(command: Command, install: Install):
    site = install("jobs", PLUGIN)
    done = command("vidgen", "--help", path=[site])
    assert done.returncode == 0
    commands = done.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in commands.splitlines() if line.startswith("  ")] == [
        *("run", "plugins", "show", "export", "new-plugin", "doctor"),
        *("bench", "convert", "convert-weights", "data", "greet", "ui"),
    ]
    assert "Greet someone." in commands
    assert command("vidgen", "greet", "world", path=[site]).stdout == "hello world\n"


def test_an_unknown_command_is_a_mistake_of_the_user(command: Command):
    done = command("vidgen", "plugin")
    assert (done.returncode, done.stdout) == (2, "")
    assert "No such command 'plugin'" in done.stderr


def test_the_version_is_told(command: Command):
    import vidgen

    assert vidgen.__version__ in command("vidgen", "--version").stdout


@pytest.mark.parametrize("arguments", [["vidgen.cli", "plugins"], ["vidgen.cli.run", "r.yaml", "--print-recipe"]])
def test_a_closed_pipe_is_no_failure_worth_a_traceback(recipe: str, tmp_path: Path, arguments: list[str]):
    """`vidgen plugins | head -0`."""
    module, *rest = arguments
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", f"from {module} import main; main()", *rest],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    os.close(writing)
    assert done.stderr == ""
