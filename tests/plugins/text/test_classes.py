"""Class labels by number or by name."""

import pytest
import torch
from vidgen.errors import UserError
from vidgen.interfaces import Context
from vidgen_text import ClassesOptions
from vidgen_text.classes import build

NAMES = ["Apply Eye Makeup", "archery", "Baby Crawling"]


def make(**options):
    return build(ClassesOptions(**options), Context())


def test_numbers_are_labels_and_blanks_do_not_count():
    made = make(num_classes=11).encode(["0", " 7\n", 10])
    assert made.keys() == {"y"}
    assert made["y"].tolist() == [0, 7, 10]
    assert made["y"].dtype == torch.int64


def test_names_are_labels_and_case_does_not_count():
    encoder = make(num_classes=3, names=NAMES)
    assert encoder.encode([" ARCHERY ", "apply eye makeup", "2"])["y"].tolist() == [1, 0, 2]


def test_names_come_from_a_file_as_well(tmp_path):
    (tmp_path / "names.txt").write_text("\n".join(NAMES) + "\n\n")
    encoder = make(num_classes=3, names=tmp_path / "names.txt")
    assert encoder.encode(["baby crawling"])["y"].tolist() == [2]


def test_no_class_is_the_number_after_the_last():
    assert make(num_classes=11).null(2).tolist() == [11, 11]


def test_it_declares_class_numbers():
    encoder = make(num_classes=11)
    assert (encoder.width, encoder.max_length) == (0, 1)
    assert not encoder.state_dict()
    assert encoder.to(torch.bfloat16).encode(["3"])["y"].dtype == torch.int64
    with torch.device("meta"):
        assert make(num_classes=11).null(1).is_meta


@pytest.mark.parametrize("label", ["11", "-1", "1.0", ""])
def test_a_label_out_of_range_is_told_with_the_range(label):
    with pytest.raises(
        UserError, match=rf"^'{label}' \(label 1 of those given\) is no class: give a number from 0 to 10$"
    ):
        make(num_classes=11).encode(["0", label])


def test_a_misspelt_name_is_told_with_the_nearest():
    with pytest.raises(UserError, match=r"give a number from 0 to 2, or a name; did you mean archery\?"):
        make(num_classes=3, names=NAMES).encode(["archrey"])


def test_a_caption_in_place_of_a_label_is_not_told_in_full():
    with pytest.raises(UserError) as caught:
        make(num_classes=3).encode(["9" * 100_000])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["a", "b"], "2 names, but num_classes is 3"),
        (["a", "b", "A "], "'A ' is class 0 and class 2"),
        (["a", " ", "c"], "that of class 1 is empty"),
        (["1", "b", "c"], "class 0 is called '1', which as a label is a class number"),
    ],
)
def test_names_that_do_not_tell_classes_apart_are_refused(names, told):
    with pytest.raises(UserError, match=f"names: {told}"):
        make(num_classes=3, names=names)


def test_numbers_in_their_own_places_are_names_as_well():
    assert make(num_classes=2, names=["0", "1"]).encode(["1"])["y"].tolist() == [1]


def test_a_file_of_names_that_is_not_utf_8_is_told(tmp_path):
    (tmp_path / "names.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(UserError, match=r"names: .*names\.txt cannot be read as text in UTF-8"):
        make(num_classes=1, names=tmp_path / "names.txt")
