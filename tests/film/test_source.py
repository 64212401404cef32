"""The frames of a film by number."""

import numpy as np
import pytest

pytest.importorskip("av")

from gatys_norm.film.model import FilmError
from gatys_norm.film.source import Frames

COUNT = 9


@pytest.fixture
def film():
    """A film, and the numbers of the frames that were read of it."""
    read = []

    def frames():
        for number in range(COUNT):
            read.append(number)
            yield np.full((2, 2, 3), number, np.uint8)

    return frames, read


def numbers(frames, order):
    """Return the numbers in the pixels of frames."""
    return [int(frames[number][0, 0, 0]) for number in order]


def test_forward_each_frame_is_read_once(film):
    read, seen = film
    order = [0, 1, 0, 2, 1, 3, 2, 5, 4]
    assert numbers(Frames(read, COUNT, 2), order) == order
    assert seen == list(range(6))


def test_frames_in_memory_are_not_read_again(film):
    read, seen = film
    order = [*range(COUNT), *reversed(range(COUNT))]
    assert numbers(Frames(read, COUNT, COUNT), order) == order
    assert seen == list(range(COUNT))


def test_backward_the_film_is_begun_anew_for_what_is_not_in_memory(film):
    read, seen = film
    order = []
    for number in reversed(range(COUNT)):
        order += [number, *range(number + 1, min(number + 3, COUNT))]  # as for a frame's neighbors
    frames = Frames(read, COUNT, 4)
    assert numbers(frames, order) == order
    assert seen.count(0) < COUNT / 2
    assert len(frames._frames) <= 4


@pytest.mark.parametrize(
    ("length", "message"),
    [
        (COUNT + 1, "the film has no frame 10, which it had before"),
        (COUNT - 1, "the film has a frame 9 that it did not have before"),
    ],
)
def test_film_that_shrank_or_grew(film, length, message):
    read, _ = film
    with pytest.raises(FilmError, match=message):
        numbers(Frames(read, length, 2), range(length))
