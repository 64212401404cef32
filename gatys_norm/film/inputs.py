"""The pictures that a film's transfer takes besides the film. No TensorFlow here."""

from __future__ import annotations

import numpy as np

from gatys_norm.film.settings import FilmConfig
from gatys_norm.images import inputs as picture_inputs
from gatys_norm.images import io as picture_io
from gatys_norm.images.inputs import Inputs, LoadedInputs


def load(config: FilmConfig, first_frame: np.ndarray) -> LoadedInputs:
    """Load the pictures that the settings name, the first frame of the film as the content.

    Args:
      config: `FilmConfig`.
      first_frame: uint8 H × W × 3, RGB.

    Raises:
      PictureError: see `images.inputs.load`.
    """
    paths = picture_inputs.paths(config.transfer)
    pictures = Inputs(
        first_frame.astype(np.float32),
        tuple(map(picture_io.load_picture, paths.styles)),
        None if paths.init is None else picture_io.load_picture(paths.init),
        tuple(map(picture_io.load_picture, paths.content_masks)),
        tuple(map(picture_io.load_picture, paths.style_masks)),
    )
    return picture_inputs.check(config.transfer, pictures)
