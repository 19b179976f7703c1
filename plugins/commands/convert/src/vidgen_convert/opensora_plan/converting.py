"""A command that starts a program of Open-Sora-Plan 1.3 to a draft of a recipe."""

from collections.abc import Mapping

from vidgen.errors import UserError

from vidgen_convert.carry import carry_over
from vidgen_convert.draft import Draft
from vidgen_convert.launcher import launcher_settings, processes_of
from vidgen_convert.opensora_plan import sampling_flags, training_flags
from vidgen_convert.opensora_plan.sampling_steps import finish_sampling
from vidgen_convert.opensora_plan.training_steps import finish_training
from vidgen_convert.refused import Refused
from vidgen_convert.rule import Table
from vidgen_convert.script.flags import Flags, read_flags
from vidgen_convert.script.launch import Launch
from vidgen_convert.settings import Settings

TRAINS = ("train_t2v_diffusers.py", "train_inpaint.py")
SAMPLES = ("opensora.sample.sample", "sample.py")
OTHERS: Mapping[str, str] = {
    "train_causalvae.py": "write a recipe of `job: train-autoencoder`: docs/migration.md has its keys",
}
"""Programs that are known and not converted -> what to do."""
PROGRAMS = (*TRAINS, *SAMPLES, *OTHERS)


def convert_launch(launch: Launch) -> tuple[Draft, str]:
    """A draft of the recipe, and in words what the command is.

    Raises: Refused, with every flag that cannot be honoured; UserError, for a program whose flags make no recipe.
    """
    if launch.program in OTHERS:
        raise UserError(f"the flags of {launch.program} make no recipe: {OTHERS[launch.program]}")
    draft = Draft({"job": "train" if launch.program in TRAINS else "sample"})
    settings = _settings(launch)
    carry_over(settings, _rules(_flags(launch)), draft)
    _finish(launch, settings, draft)
    return draft, "Open-Sora-Plan 1.3"


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


def _finish(launch: Launch, settings: Settings, draft: Draft) -> None:
    launcher = launcher_settings(launch)
    processes = processes_of(launcher)
    if launch.program in TRAINS:
        inpaints = launch.program == "train_inpaint.py"
        finish_training(settings, launcher, draft, processes=processes, inpaints=inpaints)
    else:
        finish_sampling(settings, draft, processes)
