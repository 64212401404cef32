"""The frames that a film's transfer has stored."""

import numpy as np
import pytest

pytest.importorskip("av")
pytest.importorskip("cv2")

from gatys_norm.film import store
from gatys_norm.film.model import FilmError
from gatys_norm.images import io as picture_io

SHAPE = (16, 20)


def test_stored_frame_of_another_size_is_refused(tmp_path):
    output = tmp_path / "out.mp4"
    store.frames_folder(output).mkdir()
    frame = np.full((*SHAPE, 3), 7, np.uint8)
    picture_io.save_picture(store.frame_path(output, 1), frame)
    np.testing.assert_array_equal(store.stored_frame(output, 1, SHAPE), frame)
    with pytest.raises(FilmError, match=r"000002\.png: is not the frame that was stored"):
        store.stored_frame(output, 1, (20, 16))
    store.frame_path(output, 1).write_bytes(b"")
    with pytest.raises(FilmError, match=r"000002\.png"):
        store.stored_frame(output, 1, SHAPE)
