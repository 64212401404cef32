"""The names of the terms, and what is read back from them."""

import pytest

from gatys_norm import terms


@pytest.mark.parametrize("style", ["", "waves", "waves#2", "x_y.z-1"])
@pytest.mark.parametrize("layer", ["conv1_2", "relu5_4"])
def test_a_style_term_names_its_style_and_its_layer(layer, style):
    term = terms.style_term(layer, style)
    assert terms.is_style(term)
    assert terms.style_of(term) == style
    assert terms.layer_of(term) == layer


def test_a_content_term_names_its_layer_and_no_style():
    term = terms.content_term("conv4_2")
    assert not terms.is_style(term)
    assert terms.style_of(term) == ""
    assert terms.layer_of(term) == "conv4_2"


@pytest.mark.parametrize(("layer", "block"), [("conv1_2", 1), ("relu5_4", 5)])
def test_a_layer_names_its_block(layer, block):
    assert terms.block_of(layer) == block


def test_terms_are_those_of_the_content_then_style_by_style():
    assert terms.term_names(("conv4_2",), ("conv1_1", "conv1_2"), ("a", "b")) == (
        "content/conv4_2",
        "style[a]/conv1_1",
        "style[a]/conv1_2",
        "style[b]/conv1_1",
        "style[b]/conv1_2",
    )
