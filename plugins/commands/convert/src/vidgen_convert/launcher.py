"""What is said to the program that starts another one: torchrun, accelerate, deepspeed; and its environment."""

from vidgen_convert.carry import carry_over
from vidgen_convert.draft import Draft
from vidgen_convert.script.flags import read_flags
from vidgen_convert.script.launch import Launch
from vidgen_convert.script.launcher_flags import LAUNCHER, NODES
from vidgen_convert.settings import Setting, Settings

PROCESSES = ("--nproc_per_node", "--nproc-per-node", "--num_processes", "--num_gpus")


def launcher_settings(launch: Launch) -> Settings:
    """What is said to the launcher, as far as it is known."""
    return Settings(read_flags(launch.launcher, LAUNCHER)[0])


def processes_of(launcher: Settings) -> int:
    """How many processes the launcher starts on a node; 1 when it does not say."""
    given = [launcher.value(flag) for flag in PROCESSES]
    return next((int(one) for one in given if str(one).isdecimal()), 1)


def tell_launch(launch: Launch, draft: Draft) -> None:
    """Remarks on how to start the recipe, and what of the launcher has no counterpart.

    Variables of the environment stay where they are. Their values may be secrets, and are not written anywhere.
    """
    launcher, faults = launcher_settings(launch), read_flags(launch.launcher, LAUNCHER)[1]
    carry_over(launcher, {name: flag.rule for name, flag in LAUNCHER.items()}, draft)
    for fault in faults:
        draft.lose(Setting("launcher", fault.text, fault.place), NODES)
    processes = processes_of(launcher)
    if processes > 1:
        draft.remark(f"the script starts {processes} processes: vidgen-run RECIPE --nproc {processes}")
    if launch.environment:
        names = ", ".join(dict.fromkeys(word.text.partition("=")[0] for word in launch.environment))
        draft.remark(f"set in the environment, as before: {names}")
