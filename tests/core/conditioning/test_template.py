"""Words around every prompt."""

import pytest
from vidgen.conditioning.template import check_template, with_template


def test_the_text_stands_in_its_place_and_other_braces_stay():
    assert with_template("a {lake}", "{x} {}, calm") == "{x} a {lake}, calm"
    assert with_template("{}", "fine, {}") == "fine, {}"
    assert with_template("a {lake}", None) == "a {lake}"


@pytest.mark.parametrize("template", ["", "fine", "{} and {}", "{0}", "{ }"])
def test_a_template_has_one_place(template):
    with pytest.raises(ValueError, match=r"expected words around one \{\}, .* such as 'high quality, \{\}', got '"):
        check_template(template)
