"""Prompts from files."""

import pytest
from vidgen.conditioning.prompt_files import read_prompts
from vidgen.conditioning.prompts import Prompt
from vidgen.errors import UserError


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def test_lines_are_stripped_and_empty_ones_kept(written):
    path = written("p.txt", "\ufeff one \r\n\r\ntwo\u2028still two\nünf")
    assert [prompt.text for prompt in read_prompts(path)] == ["one", "", "two\u2028still two", "ünf"]


def test_a_part_of_the_prompts_is_taken_as_lists_are_sliced(written):
    path = written("p.txt", "a\nb\nc\nd\n")
    assert [prompt.text for prompt in read_prompts(path, 1, -1)] == ["b", "c"]
    assert read_prompts(path, 9) == []


def test_a_table_says_more_of_each_prompt(written):
    path = written(
        "p.CSV",
        "prompt,seed,size,num_frames,fps,references,mask_strategy,resolution\n"
        '"a lake, at night",3,480x854,4s,12.5,a.png;b.png,"0;0,1",\n'
        "plain,,,17,,,,256\n",
    )
    assert read_prompts(path) == [
        Prompt(
            text="a lake, at night",
            seed=3,
            image_size=(480, 854),
            num_frames="4s",
            fps=12.5,
            reference_path="a.png;b.png",
            mask_strategy="0;0,1",
        ),
        Prompt(text="plain", num_frames=17, resolution="256"),
    ]


def test_lines_of_json_say_the_same(written):
    path = written(
        "p.jsonl",
        '{"text": "a", "seed": 0, "size": [64, 32], "references": ["a.png", "b.mp4"], "negative_prompt": "blurred"}\n'
        '\n{"prompt": "b", "num_frames": 5, "fps": 8, "aspect_ratio": "9:16", "resolution": 256, "name": null}\n',
    )
    assert read_prompts(path) == [
        Prompt(text="a", seed=0, image_size=(64, 32), reference_path="a.png;b.mp4", negative_prompt="blurred"),
        Prompt(text="b", num_frames=5, fps=8.0, aspect_ratio="9:16", resolution="256"),
    ]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("p.txt", "", "p.txt holds no prompt"),
        ("p.csv", "text\n", "p.csv holds no prompt"),
        ("p.csv", "", "p.csv:1: there is no column text or prompt"),
        ("p.txt", b"good\n\xff\xfe\n", "p.txt:2: this is no UTF-8 text; save the file as UTF-8"),
        ("p.csv", "text,sede\na,1\n", "p.csv:1: there is no column 'sede'; did you mean"),
        (
            "p.csv",
            "text,size,resolution,aspect_ratio\na,64x32,256,\n",
            "p.csv:2: image_size stands beside resolution, and a sample has one size; leave one of them empty",
        ),
        (
            "p.jsonl",
            '{"text": "a", "image_size": [64, 32], "resolution": "240p", "aspect_ratio": "9:16"}\n',
            "p.jsonl:1: image_size stands beside resolution and aspect_ratio",
        ),
        ("p.csv", "seed\n1\n", "p.csv:1: there is no column text or prompt"),
        ("p.csv", "text,prompt\na,b\n", "p.csv:1: two columns are the text; keep one"),
        ("p.csv", "text,seed\na,1\nb,x\n", "p.csv:3: seed is 'x'; a whole number, 0 or more is wanted"),
        ("p.csv", "text,seed\na lake, at night,1\n", "p.csv:2: more values than columns; put values with a comma in"),
        ("p.csv", 'text\n"a\n', "this is no CSV"),
        ("p.csv", "text,size\na,480\n", "p.csv:2: size is '480'; rows and columns in pixels"),
        ("p.csv", "text,fps\na,0\n", "p.csv:2: fps is '0'; a number above 0 is wanted"),
        ("p.csv", "text,fps\na,nan\n", "p.csv:2: fps is 'nan'; a number above 0 is wanted"),
        ("p.csv", "text,num_frames\na,0\n", "p.csv:2: num_frames is '0'; a number of frames"),
        (
            "p.jsonl",
            '{"text": "a"}\n{"text": "b", "seeds": 1}\n',
            "p.jsonl:2: there is no column 'seeds'; did you mean",
        ),
        ("p.jsonl", '{"text": "a"}\n{bad}\n', "p.jsonl:2: this is no JSON"),
        ("p.jsonl", "[1]\n", "p.jsonl:1: a mapping is wanted"),
        ("p.jsonl", '{"text": 3}\n', "p.jsonl:1: text is 3; a text is wanted"),
        ("p.jsonl", '{"text": "a", "seed": 1.5}\n', "p.jsonl:1: seed is 1.5; a whole number"),
        ("p.jsonl", '{"text": "a", "seed": true}\n', "p.jsonl:1: seed is True; a whole number"),
        ("p.jsonl", '{"text": "a", "num_frames": 4.0}\n', "p.jsonl:1: num_frames is 4.0; a number of frames"),
        ("p.jsonl", '{"text": "a", "image_size": [64]}\n', "p.jsonl:1: image_size is [64]; rows and columns"),
        ("p.jsonl", '{"text": "a", "references": [1]}\n', "p.jsonl:1: references is [1]; a text is wanted"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_the_line(written, name, content, told):
    with pytest.raises(UserError) as error:
        read_prompts(written(name, content))
    assert told in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_prompts(tmp_path / "none.txt")
