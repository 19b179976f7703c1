"""Keys of `scheduler = dict(...)` in configurations of Open-Sora."""

from collections.abc import Mapping

from vidgen_convert.rule import Table, same, step

MISSPELT: Mapping[str, str] = {"dmp-solver": "dpm-solver"}
"""Types that Open-Sora's documentation names and does not have -> what is meant."""

SCHEDULER: Table = {
    "scheduler.type": step("scheduler.type", "the same names; `dmp-solver` of the documentation is dpm-solver"),
    **same("scheduler.num_sampling_steps", "scheduler.cfg_scale", "scheduler.cfg_channel"),
    **same("scheduler.timestep_respacing", "scheduler.noise_schedule", "scheduler.diffusion_steps"),
    **same("scheduler.learn_sigma", "scheduler.sigma_small", "scheduler.predict_xstart", "scheduler.use_kl"),
    **same("scheduler.rescale_learned_sigmas", "scheduler.num_timesteps", "scheduler.use_discrete_timesteps"),
    **same("scheduler.use_timestep_transform", "scheduler.sample_method", "scheduler.loc", "scheduler.scale"),
    **same("scheduler.transform_scale"),
}
