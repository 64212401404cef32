"""Labelled pictures."""

import numpy as np

from gatys_norm import plots


def test_labelled_row_holds_every_picture_at_one_height():
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    pictures = [
        (f"picture {index}\nλ_os", np.full((40, 40 * (index + 1), 3), colour, np.float32))
        for index, colour in enumerate(colours)
    ]
    sheet = plots.labelled_row(pictures, 80)
    for index, colour in enumerate(colours):
        assert (sheet == np.float32(colour)).all(axis=2).sum() == 80 * 80 * (index + 1)
    below = sheet[80 + plots.MARGIN :]
    assert (below.max(axis=2) < 100).any()


def test_every_caption_character_has_a_glyph():
    def drawn(caption):
        return plots.labelled_row([(caption, np.full((64, 64, 3), 255, np.float32))], 64)

    assert not np.array_equal(drawn("λ"), drawn("\uffff"))
