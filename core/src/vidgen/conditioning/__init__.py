"""What a sample is made of besides noise: texts, given frames, and what a model is told.

    arguments       of everything known, what a model takes
    mask_ratios, masks    training: which latent frames of a clip are given
    frame_mask_options, frame_masks    the same for models that are shown frames beside the noise
    strategy, placement   sampling: which latent frames of references go where, and the mask that says so
    latent_time, named, timeline   the same in video frames, as people write it, and drawn
    long_video      clips that go on where the last one ended
    prompts, prompt_files, suffix, schedule, scores   texts and what comes with them
    names           of the files

Only `masks`, `frame_masks` and `placement` import torch; a recipe is checked without it.
"""

from vidgen.conditioning.arguments import conditioning_for, null_conditioning_for, without_padding

__all__ = ["conditioning_for", "null_conditioning_for", "without_padding"]
