"""Panoramas are turned until their brightest quarter comes first, and turned back."""

import numpy as np
import pytest

from gatys_norm.images import panoramas
from gatys_norm.images.inputs import Inputs, LoadedInputs


def panorama(width, bright=None):
    """A dark panorama; one quarter is bright."""
    picture = np.random.default_rng(width).uniform(0, 9, (width // 2, width, 3)).astype(np.float32)
    if bright is not None:
        picture[:, bright * width // 4 : (bright + 1) * width // 4] += 100
    return picture


@pytest.mark.parametrize("bright", range(4))
def test_the_brightest_quarter_comes_first(bright):
    pictures = Inputs(panorama(16, bright), (panorama(10),))
    turns = panoramas.quarter_turns(pictures)
    assert turns == bright
    content = panoramas.turned(LoadedInputs(pictures, {}), turns).pictures.content
    assert content[:, :4].mean() > 100 > 9 > content[:, 4:].mean()
    np.testing.assert_array_equal(panoramas.turned_back(content, turns), pictures.content)


def test_what_lies_on_the_content_is_turned_with_it_and_styles_are_not():
    picture = panorama(16, 1)
    pictures = Inputs(picture, (picture,), panorama(32, 1), (picture, picture), (picture,))
    turned = panoramas.turned(LoadedInputs(pictures, {}), 1).pictures
    for each in (turned.content, turned.init, *turned.content_masks):
        assert each[:, : each.shape[1] // 4].min() >= 100
    for each in (*turned.styles, *turned.style_masks):
        np.testing.assert_array_equal(each, picture)


@pytest.mark.parametrize(
    "changes",
    [
        {"content": panorama(18, 2)},
        {"init": panorama(18, 2)},
        {"content_masks": (panorama(18, 2),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_picture_that_has_no_quarters_is_not_turned(changes):
    pictures = {"content": panorama(16, 2), "styles": (panorama(18),)}
    assert panoramas.quarter_turns(Inputs(**pictures)) == 2
    assert panoramas.quarter_turns(Inputs(**pictures | changes)) == 0
