"""A launch script of Open-Sora-Plan 1.3 to a draft of a recipe."""

from collections.abc import Mapping
from pathlib import Path

from vidgen.errors import UserError

from vidgen_convert.carry import carry_over
from vidgen_convert.draft import Draft
from vidgen_convert.opensora_plan import sampling_flags, training_flags
from vidgen_convert.opensora_plan.common_steps import note_environment, note_launch, processes_of
from vidgen_convert.opensora_plan.launcher_flags import LAUNCHER, NODES
from vidgen_convert.opensora_plan.sampling_steps import finish_sampling
from vidgen_convert.opensora_plan.training_steps import finish_training
from vidgen_convert.refused import Refused
from vidgen_convert.rule import Table
from vidgen_convert.script.flags import Flags, read_flags
from vidgen_convert.script.launch import Launch, read_launch
from vidgen_convert.settings import Setting, Settings

TRAINS = ("train_t2v_diffusers.py", "train_inpaint.py")
SAMPLES = ("opensora.sample.sample", "sample.py")
OTHERS: Mapping[str, str] = {
    "train_causalvae.py": "write a recipe of `job: train-autoencoder`: docs/migration.md has its keys",
    "train.py": "give the configuration, the .py file behind it",
    "inference.py": "give the configuration, the .py file behind it",
    "inference-long.py": "give the configuration, the .py file behind it",
}
"""Programs that are known and not converted -> what to do."""


def convert_script(path: Path) -> tuple[Draft, str]:
    """A draft of the recipe, and in words what the file is.

    Raises: Refused, with every line that cannot be honoured; UserError, when no program is started that is known.
    """
    launch = read_launch(path, (*TRAINS, *SAMPLES, *OTHERS))
    if launch.program in OTHERS:
        raise UserError(f"{path} starts {launch.program}, whose flags make no recipe: {OTHERS[launch.program]}")
    draft = Draft({"job": "train" if launch.program in TRAINS else "sample"})
    launcher = _launcher(launch, draft)
    settings = _settings(launch)
    carry_over(settings, _rules(_flags(launch)), draft)
    _finish(launch, settings, launcher, draft)
    return draft, "Open-Sora-Plan 1.3"


def _launcher(launch: Launch, draft: Draft) -> Settings:
    """What is said to the launcher; where a value is not known, only that it was said."""
    found, faults = read_flags(launch.launcher, LAUNCHER)
    for fault in faults:
        draft.lose(Setting("launcher", fault.text, fault.place), NODES)
    return Settings(found)


def _flags(launch: Launch) -> Flags:
    return training_flags.TRAINING if launch.program in TRAINS else sampling_flags.SAMPLING


def _rules(flags: Flags) -> Table:
    return {name: flag.rule for name, flag in flags.items()}


def _settings(launch: Launch) -> Settings:
    found, faults = read_flags(launch.arguments, _flags(launch))
    if faults:
        raise Refused(faults)
    settings = Settings(found)
    settings.add_missing(training_flags.DEFAULTS if launch.program in TRAINS else sampling_flags.DEFAULTS)
    return settings


def _finish(launch: Launch, settings: Settings, launcher: Settings, draft: Draft) -> None:
    processes = processes_of(launcher)
    if launch.program in TRAINS:
        inpaints = launch.program == "train_inpaint.py"
        finish_training(settings, launcher, draft, processes=processes, inpaints=inpaints)
    else:
        finish_sampling(settings, draft, processes)
    note_launch(draft, processes)
    note_environment(launch.environment, draft)
    carry_over(launcher, _rules(LAUNCHER), draft)
