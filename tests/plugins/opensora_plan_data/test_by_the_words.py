"""Selection and order beside their specification written out, item by item, over lists and settings drawn at random."""

import json
import random
from collections import Counter

import numpy as np
import pytest
import torch
from vidgen_opensora_plan_data.annotations import read_items
from vidgen_opensora_plan_data.order import arrange
from vidgen_opensora_plan_data.rules import Rules
from vidgen_opensora_plan_data.selection import counts, select
from vidgen_opensora_plan_data.sources import Source


def drawn_item(draw, number):
    """An item that may lack anything, or lie just at a border."""
    video = draw.random() < 0.7
    item = {"path": f"{number}.{'mp4' if video else 'jpg'}", "cap": draw.choice([["a"], "b", [], None])}
    sides = [0, -3, 31, 32, 240, 480, 720, 1080, draw.randint(20, 1500)]
    item["resolution"] = {"height": draw.choice(sides), "width": draw.choice([*sides, 1280, 1920])}
    flaw = draw.random()
    if flaw < 0.03:
        item["resolution"] = None
    elif flaw < 0.06:
        del item["cap"]
    elif flaw < 0.09:
        item["resolution"]["width"] = None
    if video:
        item["num_frames"] = draw.choice([draw.randint(1, 500), draw.randint(25, 140), 0, 29, 93, 94])
        if draw.random() < 0.8:
            item["fps"] = draw.choice([24, 23.976, 25, 29.97, 30, 60, 12, 24.09, 24.1, 23.9, 15, 120, 1])
        if draw.random() < 0.3:
            item["cut"] = [draw.randint(0, 90), 3]
    return item


def drawn_rules(draw):
    return Rules(
        num_frames=draw.choice([1, 29, 30, 65, 93, 125]),
        train_fps=draw.choice([24, 16, 30, 12.5]),
        drop_short_ratio=draw.choice([1.0, 0.0, 0.5]),
        speed_factor=draw.choice([1.0, 1.5, 3.0]),
        max_height=draw.choice([320, 480]),
        max_width=draw.choice([240, 640]),
        hw_stride=draw.choice([32, 16, 64, 1]),
        force_resolution=draw.random() < 0.4,
        max_hxw=draw.choice([65536, 262144, 153600, 1000000]),
        min_hxw=draw.choice([None, 1, 65536]),
        sp_size=draw.choice([1, 2, 3, 8]),
        total_batch_size=draw.choice([0, 1, 2]),
        ae_stride_t=draw.choice([4, 8, 2]),
    )


def size_by_the_words(item, rules):
    """Rows and columns of the sample, or why it is left out."""
    kind = "vid" if item["path"].endswith("mp4") else "img"
    size = item["resolution"]
    if size is None or size["height"] is None or size["width"] is None:
        return "no_resolution"
    height, width = size["height"], size["width"]
    if rules.force_resolution:
        ratio = rules.max_height / rules.max_width
        fits = height > 0 and width > 0 and ratio / 2 <= height / width <= 2 * ratio
        return (rules.max_height, rules.max_width) if fits else f"cnt_{kind}_aspect_mismatch"
    if height <= 0 or width <= 0:
        return "no_resolution"
    if height * width > rules.max_hxw:
        factor = np.sqrt(rules.max_hxw / (height * width))
        height, width = int(height * factor), int(width * factor)
    height, width = (side - side % rules.hw_stride for side in (height, width))
    if not height or not width:
        return f"cnt_{kind}_res_mismatch_stride"
    if height * width < (rules.max_hxw // 4 if rules.min_hxw is None else rules.min_hxw):
        return f"cnt_{kind}_res_too_small"
    return (height, width) if 0.5 <= height / width <= 2 else f"cnt_{kind}_aspect_mismatch"


def frames_by_the_words(item, rules, generator):
    """Frames of the sample, or why it is left out."""
    if item["path"].endswith("jpg"):
        return 1
    fps, wanted = item.get("fps", 24), rules.num_frames
    if item["num_frames"] > 5 * (wanted * fps / rules.train_fps * rules.speed_factor):
        return "too_long"
    start = item["cut"][0] if "cut" in item else 0
    step = 1 if abs(fps - rules.train_fps) < 0.1 else fps / rules.train_fps
    there = len(np.arange(start, start + item["num_frames"], step))
    if there < wanted and torch.rand(1, generator=generator).item() < rules.drop_short_ratio:
        return "too_short"
    for count in range(min(there, wanted), 28, -1):
        latent, rest = divmod(count - 1, rules.ae_stride_t)
        if not rest and (latent + 1) % rules.sp_size == 0:
            return count
    return "too_short"


def by_the_words(items, rules):
    """Places and shapes of the samples; how many items are left out for each reason."""
    generator, kept, left_out = torch.Generator().manual_seed(42), {}, Counter()
    for place, item in enumerate(items):
        size = "no_cap" if item.get("cap") is None else size_by_the_words(item, rules)
        frames = size if isinstance(size, str) else frames_by_the_words(item, rules, generator)
        if isinstance(frames, str):
            left_out[frames] += 1
        else:
            kept[place] = (frames, *size)
    members = Counter(kept.values())
    common = {place: shape for place, shape in kept.items() if members[shape] >= 4 * rules.total_batch_size}
    left_out["cnt_filter_minority"] = len(kept) - len(common)
    return common, +left_out


@pytest.mark.parametrize("seed", range(40))
def test_items_are_chosen_as_the_specification_says(tmp_path, seed):
    draw = random.Random(seed)
    rules, items = drawn_rules(draw), [drawn_item(draw, number) for number in range(60)]
    (tmp_path / "items.json").write_text(json.dumps(items))
    sources = [Source(tmp_path, tmp_path / "items.json")]
    selection = select(read_items(sources), sources, rules)
    made = {
        int(row): (int(selection.num_frames[row]), int(selection.height[row]), int(selection.width[row]))
        for row in selection.kept
    }
    assert (made, {word: count for word, count in counts(selection).items() if count}) == by_the_words(items, rules)


def order_by_the_words(shapes, *, batch_size, ranks, group_data, permuted, choice):
    """The original's order, piece by piece and rank by rank. choice: of a list, one entry."""
    groups: dict[int, list[int]] = {}
    for place, shape in enumerate(shapes):
        groups.setdefault(shape if group_data else 0, []).append(place)
    places = []
    for group in sorted(groups.values(), key=len, reverse=True):
        places += [group[i] for i in permuted(len(group))]
    pieces = []
    for first in range(0, len(places), ranks * batch_size):
        piece, shares = places[first : first + ranks * batch_size], []
        for rank in range(ranks):
            share = piece[rank::ranks] or list(choice(shares))
            shares.append(share + [choice(share) for _ in range(batch_size - len(share))])
        pieces.append(shares)
    pieces = [pieces[i] for i in permuted(len(pieces))]
    if group_data:
        pieces = [[most_frequent(share, shapes, choice) for share in piece] for piece in pieces]
    return [place for piece in pieces for share in piece for place in share]


def most_frequent(share, shapes, choice):
    """Its entries of the most frequent shape, of which ties go to the one that appears last, filled up."""
    found = Counter(shapes[place] for place in share)  # in the order in which they first appear
    if len(found) == 1:
        return share
    shape = [one for one, count in found.items() if count == max(found.values())][-1]
    kept = list(dict.fromkeys(place for place in share if shapes[place] == shape))
    return kept + [choice(kept) for _ in range(len(share) - len(kept))]


@pytest.mark.parametrize("seed", range(60))
def test_samples_are_ordered_as_the_specification_says(seed):
    draw = random.Random(seed)
    shapes = [draw.randrange(draw.randint(1, 6)) for _ in range(draw.randint(1, 70))]
    named = {shape: number for number, shape in enumerate(dict.fromkeys(shapes))}
    numbers = [named[shape] for shape in shapes]
    batch_size, ranks, group_data = draw.randint(1, 6), draw.randint(1, 5), seed % 3 > 0
    ours, theirs = random.Random(seed), random.Random(seed)
    generators = [torch.Generator().manual_seed(42) for _ in range(2)]
    made = arrange(
        np.array(numbers),
        batch_size=batch_size,
        num_ranks=ranks,
        group_data=group_data,
        permute=lambda count: torch.randperm(count, generator=generators[0]).numpy(),
        choose=lambda count: ours.choice(range(count)),
    )
    wanted = order_by_the_words(
        numbers,
        batch_size=batch_size,
        ranks=ranks,
        group_data=group_data,
        permuted=lambda count: torch.randperm(count, generator=generators[1]).tolist(),
        choice=theirs.choice,
    )
    assert made.reshape(-1).tolist() == wanted
