"""Drawings of given frames."""

import pytest
from vidgen.conditioning.long_video import continued
from vidgen.conditioning.strategy import parse_strategy
from vidgen.conditioning.timeline import Reference, timeline
from vidgen.errors import UserError


def test_each_loop_has_a_line_and_the_legend_names_the_references():
    given, references = continued(
        parse_strategy("0;0,1,-2,3,2,0.4;0,0,0,-1,1,1"),
        [Reference("a.png", 1), Reference("b.mp4", 5)],
        Reference("end of loop 0", 7),
        loop=1,
        length=3,
        edit=0.0,
    )
    assert timeline(given, references, 7, 2).split("\n") == [
        "loop 0  #..~~..",
        "loop 1  ###....",
        "        # kept  ~ edited  . generated; one character a latent frame",
        "        loop 0: frame 0 from a.png, its frame 0",
        "        loop 0: frames 3-4 from b.mp4, its frames 3-4, edited with ratio 0.4",
        "        loop 0: frame 6 from a.png, its frame 0, edited with ratio 1",
        "        loop 1: frames 0-2 from end of loop 0, its frames 4-6",
    ]


def test_long_clips_are_drawn_as_runs():
    drawn = timeline(parse_strategy("0,0,0,5,3"), [Reference("a.mp4", 9)], 120, 1).split("\n")[0]
    assert drawn == "loop 0  5. 3# 112."


def test_starts_are_drawn_where_they_are_moved_to():
    drawn = timeline(parse_strategy("0,0,0,-1"), [Reference("a.png", 1)], 15, 1, 5).split("\n")[0]
    assert drawn == "loop 0  ..........#...."


def test_what_is_not_there_is_refused():
    with pytest.raises(UserError, match="takes reference 1"):
        timeline(parse_strategy("0,1"), [Reference("a.png", 1)], 5, 1)
