"""Prompt refiners: a text for every prompt, the same whatever else is refined."""

from collections.abc import Iterator

from vidgen.testing.subject import Subject

PROMPTS = ("a lake", 'a "red" circle {moving} left', "Größe 2: " + "ein sehr langer Satz " * 20)


def _refines(subject: Subject) -> Iterator[str]:
    refiner = subject.one
    made = refiner.refine(PROMPTS)
    if len(made) != len(PROMPTS) or not all(isinstance(text, str) and text.strip() for text in made):
        yield f"refine must return a text that is not empty for each of {len(PROMPTS)} prompts, not {made!r}"
        return
    if refiner.refine([]) != []:
        yield "of no prompts, refine must return []"
    if refiner.refine(PROMPTS) != made:
        yield "a prompt is refined otherwise the second time: take random numbers from addresses (vidgen.rng)"
    elif [refiner.refine([prompt])[0] for prompt in reversed(PROMPTS)] != list(reversed(made)):
        yield "a prompt is refined otherwise alone than among others"
    refiner.release()
    if refiner.refine(PROMPTS) != made:
        yield "after release() prompts are refined otherwise"


PROMPT_REFINER = (_refines,)
