"""What each kind of component promises: small protocols with shapes and value ranges.

Letters: B samples, C channels, T H W frames/rows/columns (of latents unless said otherwise), N text tokens, D text
width. Pixels are (B, 3, T, H, W). A component meets the others through the numbers declared here, never by reaching in.
Models, text encoders and autoencoders are `torch.nn.Module`s: the engine moves them to a device and dtype.

Every factory is called as `build(options, context)`.
"""

from vidgen.context import Components, Context, Size3
from vidgen.interfaces.data import Assignment, Bucket, Bucketer, Dataset, Request, Sample
from vidgen.interfaces.models import Adapter, Autoencoder, Model, PromptRefiner, Scheduler, StepCache, TextEncoder
from vidgen.interfaces.runs import Job, Media, Metric, Parallel, RunInfo, Tracker

__all__ = [
    "Adapter",
    "Assignment",
    "Autoencoder",
    "Bucket",
    "Bucketer",
    "Components",
    "Context",
    "Dataset",
    "Job",
    "Media",
    "Metric",
    "Model",
    "Parallel",
    "PromptRefiner",
    "Request",
    "RunInfo",
    "Sample",
    "Scheduler",
    "Size3",
    "StepCache",
    "TextEncoder",
    "Tracker",
]
