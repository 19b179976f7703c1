"""What is offered: all that fits out of what the installed library has."""

import inspect
import subprocess
import sys

import diffusers
import pytest
import vidgen
from diffusers import SchedulerMixin
from vidgen.errors import RecipeError
from vidgen_diffusers import NAMES, factories
from vidgen_diffusers.catalogue import MAKERS, NOISY

LEFT_OUT = {
    "tokens instead of latents": [
        "AmusedScheduler",
        "BlockRefinementScheduler",
        "DiscreteDDIMScheduler",
        "EntropyBoundScheduler",
        "VQDiffusionScheduler",
    ],
    "from data to noise": ["DDIMInverseScheduler", "DPMSolverMultistepInverseScheduler"],
    "the same for several states at once": ["DDIMParallelScheduler", "DDPMParallelScheduler"],
    "more than a prediction in each step": [
        "CogVideoXDPMScheduler",
        "HeliosDMDScheduler",
        "RePaintScheduler",
        "RFD4ProteinaScheduler",
        "UnCLIPScheduler",
    ],
    "several predictions in one": ["PiflowScheduler"],
    "one run for each of several sizes": ["HeliosScheduler"],
    "no loss of its own to train by": ["CMStochasticIterativeScheduler", "SCMScheduler"],
    "predictor and corrector steps": ["ScoreSdeVeScheduler"],
    "scipy or torchsde": [
        "CosineDPMSolverMultistepScheduler",
        "DPMSolverSDEScheduler",
        "LMSDiscreteScheduler",
    ],
    "deprecated": ["KarrasVeScheduler", "ScoreSdeVpScheduler"],
}
"""Why a class is not offered."""


def test_every_scheduler_of_the_library_is_offered_or_left_out_for_a_reason():
    left_out = [name for names in LEFT_OUT.values() for name in names]
    theirs = {name for name in dir(diffusers) if name.endswith("Scheduler")}
    assert len(left_out) == len(set(left_out))
    assert not set(NAMES) & set(left_out)
    assert theirs - set(NAMES) - set(left_out) == set()
    assert set(NAMES) <= theirs
    assert sorted(NAMES) == list(NAMES) == list(MAKERS)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_offered_has_the_interface_of_a_loop_over_timesteps(name):
    offered = getattr(diffusers, name)
    assert issubclass(offered, SchedulerMixin)
    assert "num_inference_steps" in inspect.signature(offered.set_timesteps).parameters
    step = list(inspect.signature(offered.step).parameters)
    assert step[:4] == ["self", "model_output", "timestep", "sample"]
    assert ("generator" in step) or name not in NOISY


def test_every_name_has_a_factory_and_no_other_has():
    for name in NAMES:
        assert list(inspect.signature(getattr(factories, name)).parameters) == ["options", "context"]
    with pytest.raises(AttributeError, match="NoSuchScheduler"):
        factories.NoSuchScheduler  # noqa: B018


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(RecipeError, match="did you mean diffusers/DDIMScheduler"):
        vidgen.build("scheduler", "diffusers/DDIMSchedular")


def test_registration_imports_neither_torch_nor_the_library():
    program = (
        "import sys, vidgen_diffusers as v; list(v.vidgen_schedulers()); print({'torch', 'diffusers'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
