"""A configuration file of Open-Sora to a draft of a recipe."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from attrs import evolve
from vidgen.errors import UserError

from vidgen_convert.carry import carry_over
from vidgen_convert.config.placed import Placed
from vidgen_convert.config.reading import read_config
from vidgen_convert.draft import Draft
from vidgen_convert.opensora import autoencoder_steps
from vidgen_convert.opensora.autoencoder_keys import AUTOENCODER_TRAINING, RECONSTRUCTION
from vidgen_convert.opensora.flags import FLAGS
from vidgen_convert.opensora.recognise import Job, Release, job_of, release_of
from vidgen_convert.opensora.sampling_keys import SAMPLING
from vidgen_convert.opensora.sampling_steps import finish_sampling
from vidgen_convert.opensora.search_keys import SEARCH
from vidgen_convert.opensora.training_keys import TRAINING
from vidgen_convert.opensora.training_steps import DEFAULTS, finish_training
from vidgen_convert.refused import Refused
from vidgen_convert.rule import Table, none
from vidgen_convert.script.flags import read_flags
from vidgen_convert.script.launch import Launch
from vidgen_convert.settings import Setting, Settings

SECTIONS = ("model", "vae", "text_encoder", "scheduler", "dataset", "discriminator")
INNER_SECTIONS = ("model.vae_2d", "model.vae_temporal")
TABLES: Mapping[Job, Table] = {
    "train": TRAINING,
    "encode": TRAINING,
    "search-batch-size": SEARCH,
    "sample": SAMPLING,
    "train-autoencoder": AUTOENCODER_TRAINING,
    "reconstruct": RECONSTRUCTION,
}


def convert_config(path: Path) -> tuple[Draft, str]:
    """A draft of the recipe, and in words what the file is.

    Raises: Refused, with every line that cannot be honoured; UserError, when there is no such file or job.
    """
    config = read_config(path)
    settings = Settings({setting.key: setting for setting in _flat(config.values)})
    return drafted(settings, path, config.helpers)


def convert_launch(launch: Launch) -> tuple[Draft, str]:
    """The same of a command that starts a script of Open-Sora with a configuration and flags.

    Raises: as `convert_config`.
    """
    flags = next((i for i, word in enumerate(launch.arguments) if word.text.startswith("--")), len(launch.arguments))
    if flags != 1:
        raise UserError(f"{launch.program} is started without a configuration: it is the first word behind it")
    path = Path(launch.arguments[0].text)
    config = read_config(path)
    words = [evolve(word, text=_dashed(word.text)) for word in launch.arguments[1:]]
    said, faults = read_flags(words, FLAGS)
    if faults:
        raise Refused(faults)
    settings = Settings({setting.key: setting for setting in _flat(config.values)})
    unknown = [setting for setting in said.values() if not _set(settings, setting)]
    draft, project = drafted(settings, path, config.helpers)
    for setting in unknown:
        rule = FLAGS[setting.key].rule if setting.key in FLAGS else none("no flag that is known")
        draft.lose(setting, rule.note)
    return draft, project


def _dashed(word: str) -> str:
    """Flags are written with dashes; with underscores in some of the documentation."""
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if word.startswith("--") else word


def _set(settings: Settings, said: Setting) -> bool:
    """Lay a flag over the configuration, as the scripts do; false where it has no key."""
    target = FLAGS[said.key].rule.target if said.key in FLAGS else ""
    if target:
        settings.put(Setting(target, said.value, said.place))
    return bool(target)


def drafted(settings: Settings, path: Path, helpers: Collection[str]) -> tuple[Draft, str]:
    """A draft of all settings. path: of the configuration. helpers: names that only other lines use.

    Raises: UserError, when there is no such job.
    """
    job, release = job_of(settings, str(path)), release_of(settings)
    draft = Draft({"job": job})
    if job in ("train", "encode", "search-batch-size"):
        settings.add_missing(DEFAULTS[release])
    carry_over(settings, TABLES[job], draft, helpers)
    _finish(settings, draft, job, release, path.stem)
    return draft, f"Open-Sora {release}"


def _finish(settings: Settings, draft: Draft, job: Job, release: Release, stem: str) -> None:
    if job == "sample":
        finish_sampling(settings, draft, release=release)
    elif job == "train-autoencoder":
        autoencoder_steps.finish_training(settings, draft, stem)
    elif job == "reconstruct":
        autoencoder_steps.finish_reconstruction(settings, draft)
    else:
        finish_training(settings, draft, job=job, release=release, stem=stem)


def _flat(values: Placed, above: str = "") -> Iterator[Setting]:
    """Settings by key path; only known sections are opened, buckets and ratios are values."""
    for key, value in values.items():
        path = f"{above}{key}"
        if isinstance(value, Placed) and path in (*SECTIONS, *INNER_SECTIONS):
            yield from _flat(value, f"{path}.")
        elif not (path in SECTIONS and value is None):
            yield Setting(path, value, values.places.get(key, ""))
