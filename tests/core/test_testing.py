"""`vidgen.testing` finds what is wrong: for every check a component that breaks it, a healthy one with one change."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
import torch
import vidgen
from torch import nn
from vidgen import Component, option
from vidgen.hookspecs import KINDS
from vidgen.interfaces import Context
from vidgen.scaffold import project
from vidgen.testing import assert_conforms, tiny_context, tiny_model_inputs, write_clip

SMALL: dict[str, dict[str, Any]] = {
    "model": {"width": 8, "depth": 1, "heads": 2},
    "text_encoder": {"max_length": 5},
    "autoencoder": {"stride": [2, 4, 4]},
    "attention": {"queries": 2},
}
COUNTER = count()

Change = Callable[[Any], Any]


@attrs.frozen(kw_only=True)
class NoOptions:
    """None."""


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Path:
    """A healthy package for each kind, vidgen_ok_KIND, and an empty module to register broken ones from."""
    folder = tmp_path_factory.mktemp("sources")
    for kind in KINDS:
        for place, text in project(f"ok-{kind.replace('_', '-')}", kind)[1].items():
            if place.parts[0] == "src":
                path = folder.joinpath(*place.parts[1:])
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
    (folder / "broken.py").write_text("")
    return folder


@pytest.fixture
def complaint(sources, monkeypatch) -> Iterator[Callable[..., str]]:
    """What the kit says of a kind's healthy component after a change to each one built."""
    monkeypatch.syspath_prepend(str(sources))

    def of(kind: str, change: Change, **values: Any) -> str:
        [healthy] = getattr(__import__(f"vidgen_ok_{kind}"), KINDS[kind])()
        module, function = healthy.factory.split(":")

        def build(options: Any, context: Context) -> Any:
            made = getattr(__import__(module, fromlist=[function]), function)(options, context)
            return change(made)

        monkeypatch.setitem(sys.modules, "broken", SimpleNamespace(build=build))
        component = attrs.evolve(healthy, factory="broken:build")
        with pytest.raises(AssertionError) as caught:
            assert_conforms(component, kind, **SMALL.get(kind, {}), **values)
        return str(caught.value)

    yield of


@pytest.fixture
def options_complaint(sources, monkeypatch) -> Callable[..., str]:
    """What the kit says of a component with these options."""
    monkeypatch.syspath_prepend(str(sources))
    monkeypatch.setitem(sys.modules, "broken", SimpleNamespace(build=lambda options, context: None))

    def of(options: type = NoOptions, summary: str = "Broken.", factory: str = "broken:build") -> str:
        component = Component(name="broken", summary=summary, options=options, factory=factory)
        with pytest.raises(AssertionError) as caught:
            assert_conforms(component, "job")
        return str(caught.value)

    return of


def setting(**values: Any) -> Change:
    """Set attributes."""

    def change(thing: Any) -> Any:
        for name, value in values.items():
            setattr(thing, name, value)
        return thing

    return change


def after(method: str, then: Callable[..., Any]) -> Change:
    """Pass what a method returns through `then(result, *arguments)`."""

    def change(thing: Any) -> Any:
        before = getattr(thing, method)
        setattr(thing, method, lambda *a, **k: then(before(*a, **k), *a))
        return thing

    return change


def instead(method: str, of: Callable[..., Any]) -> Change:
    """Call `of(the method, *arguments)`."""

    def change(thing: Any) -> Any:
        before = getattr(thing, method)
        setattr(thing, method, lambda *a, **k: of(before, *a, **k))
        return thing

    return change


def with_buried_state(model: Any) -> Any:
    shift = torch.rand(()).item()
    return after("forward", lambda out, *_: out + shift)(model)


def with_random_start(model: Any) -> Any:
    model.null_caption.data = torch.full((7,), float(next(COUNTER)))
    return model


def with_idle_weight(model: Any) -> Any:
    model.idle = nn.Parameter(torch.ones(2))
    return model


def on_the_cpu(model: Any) -> Any:
    return model.to_empty(device="cpu") if next(model.parameters()).is_meta else model


MODELS: dict[str, tuple[Change, str]] = {
    "no module": (lambda model: SimpleNamespace(**vars(model)), "must return a torch.nn.Module, not SimpleNamespace"),
    "patch": (setting(patch_size=[1, 2, 2, 2]), "`patch_size` must be a tuple of three whole numbers"),
    "channels": (setting(latent_channels=None), "`latent_channels` must be a whole number above 0, not None"),
    "unknown key": (setting(conditioning=frozenset({"y", "prompt"})), "`conditioning` must be a frozenset out of ar,"),
    "share": (setting(caption_dropout=10), "`caption_dropout` must be a share from 0 to 1, not 10"),
    "shape": (after("forward", lambda out, *_: out[:, :, :1]), "it must predict (3, 4, 2, 4, 6) or (3, 8, 2, 4, 6)"),
    "dtype": (after("forward", lambda out, *_: out.double()), "in float32, not (3, 4, 2, 4, 6) in torch.float64"),
    "nan": (after("forward", lambda out, *_: out * float("nan")), "the prediction in eval(): not finite"),
    "random": (after("forward", lambda out, *_: out + torch.rand(())), "another one the second time"),
    "batch": (after("forward", lambda out, *_: out + out.mean()), "a sample's is another one alone than in a batch"),
    "unused": (
        lambda model: instead("forward", lambda run, *a, fps=None, **k: run(*a, **k))(
            setting(conditioning=model.conditioning | {"fps"})(model)
        ),
        "the prediction does not depend on `fps`",
    ),
    "padding": (
        lambda model: instead("forward", lambda run, *a, valid=None, **k: run(*a, **k))(
            setting(conditioning=model.conditioning | {"valid"})(model)
        ),
        "with `valid`, what lies behind a clip matters: row 1",
    ),
    "timestep": (
        instead("forward", lambda run, x, t, **k: run(x, torch.ones_like(t), **k)),
        "does not depend on `timestep`",
    ),
    "bf16": (
        after("forward", lambda out, x, *_: out + 0 * (x.flatten() @ torch.ones(x.numel()))),
        "runs in bf16: RuntimeError",
    ),
    "plain tensor": (setting(table=torch.zeros(3)), "`table` is a plain tensor, which .to() leaves behind"),
    "allocates": (on_the_cpu, "built under torch.device('meta'), as in a dry run, it allocates memory"),
    "start": (with_random_start, "`null_caption` starts otherwise with the same seed"),
    "state": (with_buried_state, "with the same state dict it predicts otherwise"),
    "null": (after("null_conditioning", lambda null, *_: {"y": null["y"]}), "null_conditioning must return the keys"),
    "foreign block": (setting(repeated_blocks=lambda: [nn.Linear(1, 1)]), "must return submodules of the model"),
    "block twice": (after("repeated_blocks", lambda blocks: blocks * 2), "lists a block twice"),
    "idle": (with_idle_weight, "no gradient reaches idle: use them"),
}


@pytest.mark.parametrize("fault", MODELS)
def test_a_broken_model_is_told_what_is_wrong(complaint, fault):
    change, said = MODELS[fault]
    assert said in complaint("model", change)


TEXT_ENCODERS: dict[str, tuple[Change, str]] = {
    "width": (after("encode", lambda out, _: {**out, "y": out["y"][..., :5]}), "`y` must be floating, (3, 5, 27), not"),
    "mask": (after("encode", lambda out, _: {**out, "mask": out["mask"].bool()}), "`mask` must be int64 of 0 and 1"),
    "empty": (
        after("encode", lambda out, texts: {**out, "mask": out["mask"] * torch.tensor([[t != ""] for t in texts])}),
        "`mask` must keep a token of every text, also of ''",
    ),
    "same": (
        after("encode", lambda out, _: {**out, "y": 0 * out["y"]}),
        "two texts have the same features",
    ),
    "random": (after("encode", lambda out, _: {**out, "y": out["y"] + torch.rand(())}), "`y`: another one the second"),
    "batch": (
        after("encode", lambda out, _: {**out, "y": out["y"] - out["y"].mean()}),
        "`y`: a sample's is",
    ),
    "stays": (
        after("to", lambda encoder, *_: setting(scale=None)(encoder)),
        "text moves: ",
    ),
}


REFINERS: dict[str, tuple[Change, str]] = {
    "empty": (after("refine", lambda out, _: ["" for _ in out]), "a text that is not empty for each of 3 prompts"),
    "fewer": (after("refine", lambda out, _: out[:1]), "a text that is not empty for each of 3 prompts"),
    "random": (after("refine", lambda out, _: [f"{one} {torch.rand(())}" for one in out]), "otherwise the second time"),
    "batch": (after("refine", lambda out, _: [f"{one} {len(out)}" for one in out]), "otherwise alone than among"),
    "nothing": (after("refine", lambda out, _: out or ["a lake"]), "of no prompts, refine must return []"),
    "released": (
        lambda refiner: setting(release=lambda: after("refine", lambda out, _: [f"{one}." for one in out])(refiner))(
            refiner
        ),
        "after release() prompts are refined otherwise",
    ),
}


@pytest.mark.parametrize("fault", REFINERS)
def test_a_broken_prompt_refiner_is_told_what_is_wrong(complaint, fault):
    change, said = REFINERS[fault]
    assert said in complaint("prompt_refiner", change)


def frozen(model: nn.Module) -> None:
    model.requires_grad_(False)


def with_more(model: nn.Module) -> None:
    model.register_parameter("more", nn.Parameter(torch.zeros(2)))


def drawn(model: nn.Module) -> None:
    with torch.no_grad():
        model.blocks[0].attn.mix.bias += float(next(COUNTER))


def on_the_cpu(model: nn.Module) -> None:
    model.blocks[0].attn.mix.bias = nn.Parameter(torch.zeros(32, device="cpu"))


def zeroed(model: nn.Module) -> None:
    for value in model.parameters():
        nn.init.zeros_(value)


ADAPTERS: dict[str, tuple[Change, str]] = {
    "declared": (setting(merges="yes"), "`merges` must be True or False"),
    "frozen": (after("apply", lambda _, model: frozen(model)), "nothing requires a gradient"),
    "idle": (after("apply", lambda _, model: with_more(model)), "three steps of training do not change more"),
    "unnamed": (after("own_names", lambda out, _: {"no.such": "entry", **out}), "names no.such, which is not in"),
    "twice": (after("own_names", lambda out, _: dict.fromkeys(out, "one")), "gives two entries one name"),
    "random": (after("apply", lambda _, model: drawn(model)), "the same seed gives another start"),
    "dry": (after("apply", lambda _, model: on_the_cpu(model)), "it makes tensors with memory"),
    "merge": (after("merge", lambda _, model: zeroed(model)), "merge changes predictions"),
    "names": (after("merge", lambda _, model: with_more(model)), "after merge the names in the state dict"),
}


@pytest.mark.parametrize("fault", ADAPTERS)
def test_a_broken_adapter_is_told_what_is_wrong(complaint, fault):
    change, said = ADAPTERS[fault]
    assert said in complaint("adapter", change)


@pytest.mark.parametrize("fault", TEXT_ENCODERS)
def test_a_broken_text_encoder_is_told_what_is_wrong(complaint, fault):
    change, said = TEXT_ENCODERS[fault]
    assert said in complaint("text_encoder", change)


AUTOENCODERS: dict[str, tuple[Change, str]] = {
    "stride": (setting(stride=8), "`stride` must be"),
    "latent size": (after("latent_size", lambda size, _: (size[0] + 1, *size[1:])), "promises latents (3, 3, 3, 2, 3)"),
    "frames": (after("decode", lambda video, *_: video[:, :, 1:]), "must return video of (4, 8, 12), not (3, 8, 12)"),
    "chunks": (
        after("encode", lambda out, *_: out + out.mean(dim=2, keepdim=True)),
        "encode of 2 chunks of 2 frames differs from each alone: set chunk to None",
    ),
    "no word on chunks": (setting(chunk=0), "`chunk` must be a whole number above 0, or None"),
    "noise": (after("encode", lambda out, *_: out + torch.randn(())), "latents without draws: another one"),
    "noise in decode": (after("decode", lambda out, *_: out + torch.randn(())), "decoded video: another one"),
    "one noise for all": (
        after("encode", lambda out, video, draws=None: out + (draws.normal("post", (1,)).sum() if draws else 0)),
        "latents with draws: a sample's is another one",
    ),
    "dtype": (after("decode", lambda video, *_: video.float()), "in torch.bfloat16, decoded video is torch.float32"),
}


@pytest.mark.parametrize("fault", AUTOENCODERS)
def test_a_broken_autoencoder_is_told_what_is_wrong(complaint, fault):
    change, said = AUTOENCODERS[fault]
    assert said in complaint("autoencoder", change)


def with_one_time_for_all(run: Any, model: Any, *a: Any, **k: Any) -> Any:
    return run(lambda x, t, **given: model(x, t[:1], **given), *a, **k)


def ignoring_its_mask(run: Any, *a: Any, mask: Any = None, **k: Any) -> Any:
    return run(*a, **k)


def without_masks(scheduler: Any) -> Any:
    for method in ("training_losses", "sample"):
        scheduler = instead(method, ignoring_its_mask)(scheduler)
    return scheduler


def with_padding_in_the_mean(run: Any, *a: Any, valid: Any = None, **k: Any) -> Any:
    losses = run(*a, valid=valid, **k)
    return losses if valid is None else {"loss": losses["loss"] * valid.float().mean(dim=(1, 2, 3))}


SCHEDULERS: dict[str, tuple[Change, str]] = {
    "word": (setting(prediction_type=""), "`prediction_type` must be a word, not ''"),
    "mean": (
        after("training_losses", lambda out, *_: {"loss": out["loss"].mean()}),
        "one number per sample, (3,)",
    ),
    "no gradient": (
        after("training_losses", lambda out, *_: {"loss": out["loss"].detach()}),
        "gives losses: Runtime",
    ),
    "random": (after("training_losses", lambda out, *_: {"loss": out["loss"] + torch.rand(())}), "`loss`: another one"),
    "batch": (
        after("training_losses", lambda out, *_: {"loss": out["loss"] / out["loss"].sum()}),
        "`loss`: a sample's is",
    ),
    "padding": (
        instead("training_losses", lambda run, *a, valid=None, **k: run(*a, **k)),
        "`loss` depends on what lies where `valid` is false",
    ),
    "padding averaged": (
        instead("training_losses", with_padding_in_the_mean),
        "with `valid`, `loss` must be that of each clip without its padding",
    ),
    "times": (instead("training_losses", with_one_time_for_all), "one timestep per sample, (3,), not (1,)"),
    "shape": (after("sample", lambda out, *_: out[:, :1]), "must return latents like z, (3, 4, 2, 4, 6)"),
    "random samples": (after("sample", lambda out, *_: out + torch.rand(())), "samples: another one the second time"),
    "no guidance": (
        instead("sample", lambda run, model, z, y, null, scale, **k: run(model, z, y, None, 1.0, **k)),
        "`guidance` changes nothing",
    ),
    "no progress": (
        instead("sample", lambda run, *a, progress=None, **k: run(*a, **k)),
        "progress must be called with (1, 3) to (3, 3), not []",
    ),
    "no steps": (
        instead("sample", lambda run, *a, steps=None, **k: run(*a, steps=max(steps, 1), **k)),
        "steps=0 must raise UserError",
    ),
    "mask in training": (without_masks, "must pass the mask on as `x_mask`"),
    "mask in sampling": (without_masks, "must return frames with mask 0 as they are in z"),
}


@pytest.mark.parametrize("fault", SCHEDULERS)
def test_a_broken_scheduler_is_told_what_is_wrong(complaint, fault):
    change, said = SCHEDULERS[fault]
    assert said in complaint("scheduler", change)


def with_a_counter(dataset: Any) -> Any:
    numbers = [0]

    def get(run: Any, *a: Any) -> Any:
        numbers[0] += 1
        return attrs.evolve(run(*a), text=f"call {numbers[0]}")

    return instead("get", get)(dataset)


DATASETS: dict[str, tuple[Change, str]] = {
    "no table": (setting(table=None), "`table` must be an Arrow table with rows, not None"),
    "no rows": (lambda data: setting(table=data.table.slice(0, 0))(data), "`table` must be an Arrow table with rows"),
    "column": (
        lambda data: setting(table=data.table.append_column("fps", data.table["text"]))(data),
        "column `fps` of the table must be int or uint or float or double, not string",
    ),
    "floats": (after("get", lambda one, *_: attrs.evolve(one, video=one.video / 255)), "must be uint8, (3, 2, 16, 24)"),
    "fps": (after("get", lambda one, *_: attrs.evolve(one, fps=None)), "fps float, not 'a red wall' and None"),
    "state": (with_a_counter, "the same rng gives another sample a second time"),
    "workers": (setting(open=lambda: None), "gives samples: PicklingError"),
}


@pytest.mark.parametrize("fault", DATASETS)
def test_a_broken_dataset_is_told_what_is_wrong(complaint, fault, tmp_path):
    write_clip(tmp_path / "a red wall", torch.full((3, 1, 20, 30), 200, dtype=torch.uint8))
    change, said = DATASETS[fault]
    assert said in complaint("dataset", change, folder=str(tmp_path))


def requests(**changes: Callable[[Any], Any]) -> Change:
    """Change every request of a plan."""

    def changed(plan: Any, *_: Any) -> Any:
        return [
            [attrs.evolve(one, **{name: of(getattr(one, name)) for name, of in changes.items()}) for one in batch]
            for batch in plan
        ]

    return after("plan", changed)


BUCKETERS: dict[str, tuple[Change, str]] = {
    "state": (requests(row=lambda row: (row + next(COUNTER)) % 23), "two bucketers plan one epoch differently"),
    "ranks": (after("plan", lambda plan, *_: plan[:4]), "plan gives 4 batches for 3 ranks"),
    "nothing": (after("plan", lambda plan, *_: []), "plan gives 0 batches for 1 ranks"),
    "rows": (requests(row=lambda row: row + 20), "rows that a table of 23 rows does not have"),
    "size": (requests(num_frames=lambda _: 0), "must hold plain ints"),
    "numpy": (requests(row=lambda row: torch.tensor(row).numpy()[()]), "must hold plain ints"),
    "empty batch": (after("plan", lambda plan, *_: [[] for _ in plan]), "a batch must hold Requests, at least one"),
}


@pytest.mark.parametrize("fault", BUCKETERS)
def test_a_broken_bucketer_is_told_what_is_wrong(complaint, fault):
    change, said = BUCKETERS[fault]
    assert said in complaint("bucketer", change)


PARALLEL: dict[str, tuple[Change, str]] = {
    "device": (setting(device="cpu"), "`device` must be a torch.device, not 'cpu'"),
    "ranks": (setting(num_ranks=0), "`num_ranks` must be a whole number above 0"),
    "never clips": (instead("step", lambda run, _: run(0.0)), "after step(0.01) the weights are not those"),
    "no update": (instead("step", lambda run, _: torch.zeros(())), "after step(0.0) the weights are not those"),
    "no norm": (after("step", lambda norm, _: None), "must return the norm before clipping"),
    "drops gradients": (
        instead("backward", lambda run, loss, last: run(loss * (0 if not last else 1), last=last)),
        "after step(0.0) the weights",
    ),
    "state": (setting(state_dict=lambda: {1: "one"}), "state_dict must be plain numbers"),
    "no return": (setting(load_state_dict=None), "keeps its state: TypeError"),
}


@pytest.mark.parametrize("fault", PARALLEL)
def test_a_broken_parallel_engine_is_told_what_is_wrong(complaint, fault):
    change, said = PARALLEL[fault]
    assert said in complaint("parallel", change)


def instead_of_the_context(of: Callable[..., Any]) -> Change:
    """Let `of(applied, model, steps)` be the context."""
    return instead("applied", contextmanager(of))


def that_begins_late(applied: Any, model: Any, steps: int) -> Iterator[Any]:
    with applied(model, steps) as step_done:
        model.forward = after("forward", lambda out, *_: out + 1)(model).forward
        yield step_done


def that_keeps_its_method(applied: Any, model: Any, steps: int) -> Iterator[Any]:
    before = model.forward
    with applied(model, steps) as step_done:
        yield step_done
    model.forward = before


def that_forgets_errors(applied: Any, model: Any, steps: int) -> Iterator[Any]:
    handle = model.register_forward_pre_hook(lambda *_: None)
    with applied(model, steps) as step_done:
        yield step_done
    handle.remove()


def that_moves_weights(applied: Any, model: Any, steps: int) -> Iterator[Any]:
    with applied(model, steps) as step_done:
        yield step_done
    next(model.parameters()).data += 1


def that_mixes_calls(applied: Any, model: Any, steps: int) -> Iterator[Any]:
    kept: list[Any] = []
    with applied(model, steps) as step_done:
        model.forward = instead(
            "forward", lambda run, *a, **k: kept[0] if kept else kept.append(run(*a, **k)) or kept[0]
        )(model).forward
        yield step_done


STEP_CACHES: dict[str, tuple[Change, str]] = {
    "first step": (instead_of_the_context(that_begins_late), "the first step must be exact"),
    "attributes": (instead_of_the_context(that_keeps_its_method), "after its end the model's attributes and hooks"),
    "hooks": (instead_of_the_context(that_forgets_errors), "after an error the model's attributes and hooks"),
    "weights": (instead_of_the_context(that_moves_weights), "it changes the model's weights"),
    "mixed": (instead_of_the_context(that_mixes_calls), "calls with and without the prompt, in turn, are mixed"),
    "batches": (instead_of_the_context(that_mixes_calls), "with another number of rows it gives 2 of them, not 3"),
}


@pytest.mark.parametrize("fault", STEP_CACHES)
def test_a_broken_step_cache_is_told_what_is_wrong(complaint, fault):
    change, said = STEP_CACHES[fault]
    assert said in complaint("step_cache", change)


def test_attention_without_its_scale_is_told(complaint):
    change = lambda run: lambda q, k, v, mask=None: run(2 * q, k, v, mask)  # noqa: E731
    said = complaint("attention", change)
    assert "without a mask, it must give softmax(q k^T / sqrt(E)) v" in said
    assert "with a mask, it must give softmax" in said


TRACKERS: dict[str, tuple[Change, str]] = {
    "removes": (after("media", lambda _, step, samples: [s.path.unlink(missing_ok=True) for s in samples]), "removed"),
    "fails": (setting(scores=None), "tracks: TypeError"),
}


@pytest.mark.parametrize("fault", TRACKERS)
def test_a_broken_tracker_is_told_what_is_wrong(complaint, fault):
    change, said = TRACKERS[fault]
    assert said in complaint("tracker", change)


def refuse(prompt: str) -> None:
    if not prompt:
        raise vidgen.UserError("no words")


METRICS: dict[str, tuple[Change, str]] = {
    "writes": (after("update", lambda found, video, *_: (found, video.zero_())[0]), "update changes the clip it is"),
    "whole numbers": (after("compute", lambda found: dict.fromkeys(found, 1)), "compute must return names and floats"),
    "nothing": (after("compute", lambda found: {}), "compute must return names and floats, not {}"),
    "says nothing of one clip": (after("update", lambda *_: None), "update must return names and floats, those of the"),
    "random": (
        after("compute", lambda found: {"number": float(next(COUNTER))}),
        "measured differently the second",
    ),
    "a third way": (setting(better={"flicker": "more"}), "`better` must be a mapping of names of values to 'higher'"),
    "undeclared": (setting(needs_reference=None), "`needs_reference` must be True or False, not None"),
    "tells too late": (
        instead("update", lambda run, video, prompt, *a: refuse(prompt) or run(video, prompt, *a)),
        "update refuses the prompt '': `check(prompt)` must do so, too",
    ),
    "tells too much": (
        lambda metric: setting(check=refuse)(metric),
        "check refuses the prompt '', and update takes it: they must agree",
    ),
    "compares with nothing": (setting(needs_reference=True), "update without one raises no UserError"),
}


@pytest.mark.parametrize("fault", METRICS)
def test_a_broken_metric_is_told_what_is_wrong(complaint, fault):
    change, said = METRICS[fault]
    assert said in complaint("metric", change)


JOBS: dict[str, tuple[Change, str]] = {
    "numbers": (after("dry_run", lambda told: {"parameters": 9}), "dry_run must return a mapping of label to text"),
    "no run": (setting(run=None), "a job must have `run()`"),
}


@pytest.mark.parametrize("fault", JOBS)
def test_a_broken_job_is_told_what_is_wrong(complaint, fault):
    change, said = JOBS[fault]
    job = instead("dry_run", lambda run: {"parameters": "9"})
    assert said in complaint("job", lambda made: change(job(made)), model={"type": "STDiT"})


@attrs.frozen(kw_only=True)
class Undocumented:
    """One option without a sentence."""

    width: int = 3


@attrs.frozen(kw_only=True)
class Unstructurable:
    """A type that YAML has not."""

    sizes: set[int] | None = option(None, "Sizes.")


@attrs.frozen(kw_only=True)
class RefusingItself:
    """A default that its own validator refuses."""

    width: int = option(3, "Width.", validator=attrs.validators.ge(4))


@attrs.frozen(kw_only=True)
class Untyped:
    """A type that says nothing."""

    width: int | Any = option(3, "Width.")


@attrs.define
class Changeable:
    """Not frozen."""


OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "undocumented": ({"options": Undocumented}, "option `width` has no description"),
    "type": ({"options": Unstructurable}, "option `sizes` has a type that recipes cannot hold"),
    "default": ({"options": RefusingItself}, "option `width` refuses its own default 3: 'width' must be >= 4"),
    "untyped": ({"options": Untyped}, "option `width` accepts values of another type"),
    "changeable": ({"options": Changeable}, "must be a class with @attrs.frozen(kw_only=True)"),
    "no attrs": ({"options": dict}, "must be a class with @attrs.frozen(kw_only=True)"),
    "summary": ({"summary": " "}, "`summary` must be one line"),
    "function": ({"factory": "broken:make"}, "broken must have a function make(options, context)"),
    "module": ({"factory": "broken.missing:build"}, "names its factory: ModuleNotFoundError"),
}


@pytest.mark.parametrize("fault", OPTIONS)
def test_a_broken_component_is_told_what_is_wrong(options_complaint, fault):
    given, said = OPTIONS[fault]
    assert said in options_complaint(**given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import torch", "registering it imports torch"),
        ("import numpy", "registering it imports numpy"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
        ("import vidgen\n@vidgen.hookimpl\ndef vidgen_modles(): ...", "unknown hook 'vidgen_modles'"),
    ],
)
def test_a_plugin_that_registers_badly_is_told(options_complaint, sources, text, said):
    name = f"registers_badly_{next(COUNTER)}"
    (sources / f"{name}.py").write_text(f"{text}\ndef build(options, context): ...\n")
    complaint = options_complaint(factory=f"{name}:build")
    assert said in complaint, complaint


def test_all_faults_are_told_at_once(complaint):
    said = complaint("model", lambda model: setting(caption_dropout=2, latent_channels=-1)(model))
    assert "model 'ok-model' does not conform:\n  - " in said
    assert "`caption_dropout`" in said and "`latent_channels`" in said


def test_options_of_the_trial_that_are_refused_are_named(complaint):
    said = complaint("tracker", lambda tracker: tracker, files=1)
    assert "the options given for the trial are refused: files: no such key" in said


def test_a_component_that_is_not_installed_needs_its_kind():
    component = Component(name="broken", summary="Broken.", options=NoOptions, factory="broken:build")
    with pytest.raises(ValueError, match="say which kind 'broken' is"):
        assert_conforms(component)


def test_an_unknown_name_is_told_with_what_is_installed():
    with pytest.raises(vidgen.UserError, match="no installed plugin offers the tracker 'nothing'"):
        assert_conforms("tracker", "nothing")


def test_the_kind_of_an_installed_component_is_found():
    from vidgen.builtin import vidgen_trackers

    [component] = vidgen_trackers()
    assert_conforms(component)


def test_a_row_of_inputs_depends_on_its_number_alone():
    model: Any = SimpleNamespace(
        latent_channels=4, conditioning=frozenset({"y", "mask", "x_mask", "drop_caption", "fps"})
    )
    x, t, conditioning = tiny_model_inputs(model)
    alone_x, alone_t, alone = tiny_model_inputs(model, tiny_context(), rows=(2,))
    torch.testing.assert_close((alone_x, alone_t), (x[2:], t[2:]))
    assert all(torch.equal(alone[key], conditioning[key][2:]) for key in model.conditioning)
    assert conditioning["mask"].sum(dim=1).tolist() == [1, 3, 5]
