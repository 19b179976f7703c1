"""Prompts refined by a language model: what it is asked, how it goes on, what is kept of its answer."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import vidgen
from attrs import evolve
from transformers import AutoModelForCausalLM
from vidgen import RecipeError, RunError, UserError
from vidgen.testing import assert_conforms, tiny_context
from vidgen_causal_lm import CausalLmOptions, refiner
from vidgen_causal_lm.answer import tidied
from vidgen_causal_lm.writer import Writer

Write = Callable[..., Path]
QUIET = {"dtype": "fp32", "max_new_tokens": 7, "template": "Rewrite {prompt} ."}


def build(folder: Path, **options: Any) -> Any:
    return vidgen.build("prompt_refiner", "causal-lm", from_pretrained=str(folder), **{**QUIET, **options})


def writer(folder: Path) -> Writer:
    return Writer.load(CausalLmOptions(from_pretrained=str(folder), dtype="fp32"))


@pytest.mark.parametrize("options", [{}, {"temperature": 0.8}], ids=str)
def test_it_keeps_what_every_prompt_refiner_promises(write_model: Write, options: dict[str, Any]) -> None:
    assert_conforms("prompt_refiner", "causal-lm", from_pretrained=str(write_model()), **QUIET, **options)


def test_the_likeliest_tokens_are_those_of_transformers(write_model: Write) -> None:
    folder = write_model()
    ours = writer(folder)
    question = ours.question("You are a caption refiner .", "Rewrite a dog .")
    network = AutoModelForCausalLM.from_pretrained(folder)
    theirs = network.generate(torch.tensor([question]), do_sample=False, max_new_tokens=9)[0, len(question) :]
    expected = ours.tokenizer.decode(theirs, skip_special_tokens=True)
    assert expected and ours.answer(question, 9, 0.0, torch.Generator()) == expected


def test_tokens_are_drawn_at_an_address(write_model: Write) -> None:
    folder = write_model()
    options = CausalLmOptions(from_pretrained=str(folder), temperature=1.5, **QUIET)
    first, again, other = (
        refiner.build(options, evolve(tiny_context(), seed=seed)).refine(["a dog", "a beach"]) for seed in (3, 3, 4)
    )
    assert first == again != other


def test_a_chat_model_is_asked_in_its_own_form(write_model: Write) -> None:
    ours = writer(write_model())
    asked = ours.tokenizer.decode(ours.question("You are a refiner", "Rewrite a dog"))
    assert asked == "<system> You are a refiner <user> Rewrite a dog <answer>"
    assert ours.tokenizer.decode(ours.question("", "a dog")) == "<user> a dog <answer>"


def test_another_model_is_given_both_texts(write_model: Write) -> None:
    ours = writer(write_model(chat=False))
    assert ours.tokenizer.decode(ours.question("You are a refiner", "Rewrite a dog")) == (
        "You are a refiner Rewrite a dog"
    )


def test_an_answer_ends_at_any_of_the_end_marks(write_model: Write) -> None:
    """Llama 3.1 names several in generation_config.json."""
    folder = write_model()
    ours = writer(folder)
    question = ours.question("", "a dog")
    whole = ours.answer(question, 9, 0.0, torch.Generator()).split()
    file = folder / "generation_config.json"
    end = ours.tokenizer.convert_tokens_to_ids(whole[2])
    file.write_text(json.dumps({**json.loads(file.read_text()), "eos_token_id": [1, end]}))
    first = whole.index(whole[2])
    assert writer(folder).answer(question, 9, 0.0, torch.Generator()).split() == whole[:first]


def test_a_prompt_without_an_answer_stays(write_model: Write, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    monkeypatch.setattr(Writer, "answer", lambda self, *_: ' "" ')
    assert build(write_model()).refine(["a dog"]) == ["a dog"]
    assert "has no answer to 'a dog', which stays as it is" in caplog.text


@pytest.mark.parametrize(
    ("answer", "kept"),
    [
        (' "A dog runs.\n It is warm." ', "A dog runs. It is warm."),
        ("“A dog runs.”", "A dog runs."),
        ('"A dog" and "a cat"', '"A dog" and "a cat"'),
        ('"A dog', '"A dog'),
        ('refined PROMPT:  "A dog"', "A dog"),
        ('"', '"'),
        ("", ""),
    ],
)
def test_what_is_kept_of_an_answer(answer: str, kept: str) -> None:
    assert tidied(answer, quotes=True, beginnings=["Refined prompt:", ""]) == kept


def test_marks_and_beginnings_may_stay() -> None:
    assert tidied('Refined prompt: "A dog"', quotes=False, beginnings=[]) == 'Refined prompt: "A dog"'


def test_braces_in_prompt_and_template_mean_nothing_else(write_model: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(Writer, "question", lambda self, system, text: seen.append(text) or [6])
    build(write_model(), template='{"ask": "{prompt}"}').refine(["a {dog} {prompt}"])
    assert seen == ['{"ask": "a {dog} {prompt}"}']


def test_nothing_is_loaded_before_it_is_needed_and_memory_is_given_up(write_model: Write) -> None:
    folder = write_model()
    one = build(folder)
    (folder / "model.safetensors").rename(folder / "away")
    with pytest.raises(RunError, match=r"prompt_refiner: the model in .* cannot be read"):
        one.refine(["a dog"])
    (folder / "away").rename(folder / "model.safetensors")
    assert one.refine(["a dog"])
    one.release()
    assert one._writer is None


def test_pickled_weights_are_not_read(write_model: Write) -> None:
    folder = write_model()
    (folder / "model.safetensors").unlink()
    torch.save({}, folder / "pytorch_model.bin")
    with pytest.raises(RunError, match="cannot be read"):
        build(folder).refine(["a dog"])


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"prompt_refiner: no language model in .*: looked for config\.json"):
        build(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        build(tmp_path / "gone")
    with pytest.raises(RecipeError, match=r"'template' must say with \{prompt\} where the prompt goes"):
        build(tmp_path, template="Rewrite it")
