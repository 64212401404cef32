"""Writing film files."""

import errno
from fractions import Fraction

import numpy as np
import pytest
from helpers.disk import limited_file_size
from helpers.films import corners, quarters, sound_packets, write_film

pytest.importorskip("av")

from gatys_norm.film import decode, encode
from gatys_norm.film.model import Color, FilmError, FilmFacts, Frame

FACTS = FilmFacts(48, 64, Fraction(1, 1000), Fraction(25))
COUNT = 5


def frames(height=48, width=64, count=COUNT, times=None):
    """Yield frames that grow darker."""
    for index in range(count):
        time = Fraction(times[index] if times else 40 * index, 1000)
        yield Frame(quarters(height, width, shade=index), time, Fraction(1, 25))


@pytest.mark.parametrize("suffix", encode.ENCODINGS)
def test_what_is_written_is_read_again(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    encode.write(path, frames(), FACTS)
    facts = decode.inspect(path)
    assert facts[:2] == (48, 64)
    assert facts.frame_rate == 25
    for written, read in zip(frames(), decode.read(path), strict=True):
        assert read.time == written.time
        assert corners(read.pixels) == corners(written.pixels)
        middle = np.s_[6:18, 6:26]  # of a quarter: color is shared next to edges
        assert np.abs(read.pixels[middle].astype(int) - written.pixels[middle]).max() <= 4


@pytest.mark.parametrize("suffix", encode.ENCODINGS)
def test_bytes_depend_on_the_arguments_alone(tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    for path in (first, second):
        encode.write(path, frames(), FACTS)
    assert first.read_bytes() == second.read_bytes()


def test_variable_frame_rate_is_kept(tmp_path):
    times = [0, 40, 50, 500, 2000]
    encode.write(tmp_path / "a.mp4", frames(times=times), FACTS)
    assert [frame.time * 1000 for frame in decode.read(tmp_path / "a.mp4")] == times


def test_frame_rate_of_television_is_kept(tmp_path):
    facts = FACTS._replace(time_base=Fraction(1, 30000), frame_rate=Fraction(30000, 1001))
    shown = [frame._replace(time=Fraction(1001 * i, 30000)) for i, frame in enumerate(frames())]
    encode.write(tmp_path / "a.mp4", shown, facts)
    assert decode.inspect(tmp_path / "a.mp4").frame_rate == Fraction(30000, 1001)
    assert [frame.time for frame in decode.read(tmp_path / "a.mp4")] == [f.time for f in shown]


@pytest.mark.parametrize(
    "color", [Color(1, 1, 1, 1), Color(6, 6, 6, 1), Color(5, 5, 6, 1), Color(1, 1, 13, 2), Color()]
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_tags_of_color_are_kept_and_fit_the_pixels(tmp_path, color, suffix):
    pixels = np.full((48, 64, 3), (200, 60, 30), np.uint8)
    path = tmp_path / f"a{suffix}"
    encode.write(path, [Frame(pixels, Fraction(0))], FACTS._replace(color=color))
    written = decode.inspect(path).color
    assert written[:3] == color[:3]
    assert max(written.range, 1) == max(color.range, 1)
    read = next(decode.read(path)).pixels
    assert np.abs(read.astype(int) - pixels).max() <= 4


def test_colors_of_rgb_films_are_written_without_a_matrix(tmp_path):
    encode.write(tmp_path / "a.mp4", frames(), FACTS._replace(color=Color(0, 1, 13, 2)))
    assert decode.inspect(tmp_path / "a.mp4").color.matrix == 2


def test_shape_of_pixels_is_kept(tmp_path):
    encode.write(tmp_path / "a.mkv", frames(), FACTS._replace(pixel_aspect=Fraction(16, 15)))
    assert decode.inspect(tmp_path / "a.mkv").pixel_aspect == Fraction(16, 15)


def test_odd_sides_get_their_last_row_and_column_once_more(tmp_path):
    pixels = np.full((49, 65, 3), 40, np.uint8)
    pixels[-1] = pixels[:, -1] = 220
    encode.write(tmp_path / "a.mp4", [Frame(pixels, Fraction(0))], FACTS)
    read = next(decode.read(tmp_path / "a.mp4")).pixels
    assert read.shape == (50, 66, 3)
    assert read[-2:].min() > 190
    assert read[:, -2:].min() > 190
    assert read[:-3, :-3].max() < 70


@pytest.mark.parametrize(
    ("sound", "suffix", "output"),
    [
        ("aac", ".mp4", ".mp4"),
        ("aac", ".mp4", ".mkv"),
        ("aac", ".mkv", ".mov"),
        ("libopus", ".mkv", ".webm"),
        ("flac", ".mkv", ".mkv"),
    ],
)
def test_sound_is_copied_packet_by_packet(tmp_path, sound, suffix, output):
    shown = [frame.pixels for frame in frames()]
    path = write_film(tmp_path / f"a{suffix}", shown, sound=sound)
    facts = decode.inspect(path)
    copy = tmp_path / f"b{output}"
    encode.check_output(copy, path)
    encode.write(copy, decode.read(path), facts, sound_of=path)
    before, after = sound_packets(path), sound_packets(copy)
    assert len(before) > 1
    assert [data for _, data in after] == [data for _, data in before]
    # Matroska has no times before 0: it moves all of them, those of the pictures too.
    moved = next(decode.read(copy)).time - next(decode.read(path)).time
    assert [float(time) for time, _ in after] == pytest.approx(
        [float(time + moved) for time, _ in before], abs=2e-3
    )


def test_damaged_sound_is_an_error_and_leaves_no_film(tmp_path, monkeypatch):
    shown = [frame.pixels for frame in frames()]
    path = write_film(tmp_path / "a.ts", shown, sound="aac")
    data = bytearray(path.read_bytes())
    packets = sound_packets(path)
    at = data.find(packets[3][1][:6])  # the header of a frame of AAC
    data[at : at + 6] = bytes(6)
    path.write_bytes(data)
    with pytest.raises(FilmError, match=r"b\.mp4: cannot be written \(.*nvalid"):
        encode.write(tmp_path / "b.mp4", frames(), FACTS, sound_of=path)
    assert list(tmp_path.iterdir()) == [path]


def test_sound_ends_where_the_film_so_far_does(tmp_path):
    shown = [frame.pixels for frame in frames(count=20)]
    path = write_film(tmp_path / "a.mp4", shown, sound="aac")
    facts, copy = decode.inspect(path), tmp_path / "b.mp4"
    encode.write(copy, frames(count=10), facts, path, sound_until=Fraction(2, 5))
    before, after = sound_packets(path), sound_packets(copy)
    assert after == before[: len(after)]
    assert 0.37 < float(after[-1][0]) < 0.4


@pytest.mark.parametrize("name", ["b.avi", "b", "b.mp4.part"])
def test_output_of_unknown_suffix(name):
    with pytest.raises(FilmError) as caught:
        encode.check_output(name)
    assert (
        str(caught.value) == f"{name}: the name of a film to write ends in .mp4, .mov, .mkv, .webm"
    )


@pytest.mark.parametrize(
    ("sound", "name", "message"),
    [
        ("aac", "b.webm", "b.webm: cannot hold sound in aac; expected .mp4, .mov, .mkv"),
        ("libopus", "b.mov", "b.mov: cannot hold sound in opus; expected .mp4, .mkv, .webm"),
        ("flac", "b.webm", "b.webm: cannot hold sound in flac; leave the sound out"),
    ],
)
def test_output_that_cannot_hold_the_sound(tmp_path, monkeypatch, sound, name, message):
    if sound == "flac":  # as if no format took it
        monkeypatch.setattr(encode, "ENCODINGS", {".webm": encode.ENCODINGS[".webm"]})
    path = write_film(tmp_path / "a.mkv", [frame.pixels for frame in frames()], sound=sound)
    with pytest.raises(FilmError) as caught:
        encode.check_output(name, path)
    assert str(caught.value) == message


def test_no_frames(tmp_path):
    with pytest.raises(ValueError, match="a film needs at least one frame"):
        encode.write(tmp_path / "a.mp4", [], FACTS)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", encode.ENCODINGS)
def test_full_disk_leaves_the_older_film(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"older")
    noise = np.random.default_rng(0).integers(0, 255, (40, 48, 64, 3)).astype(np.uint8)
    shown = [Frame(pixels, Fraction(index, 25)) for index, pixels in enumerate(noise)]
    source = write_film(
        tmp_path / "b.mkv", list(noise), sound="libopus" if suffix == ".webm" else "aac"
    )
    with limited_file_size(20_000), pytest.raises(OSError) as caught:  # noqa: PT011
        encode.write(path, shown, FACTS, sound_of=source)
    assert caught.value.errno == errno.EFBIG
    assert path.read_bytes() == b"older"
    assert set(tmp_path.iterdir()) == {path, source}


def test_frames_are_not_held_in_memory(tmp_path):
    """No more are taken than the encoder looks ahead."""
    alive = []

    def counted():
        import weakref

        for frame in frames(count=150):
            pixels = frame.pixels.copy()
            alive.append(weakref.ref(pixels))
            assert sum(reference() is not None for reference in alive) <= 3
            yield frame._replace(pixels=pixels)

    encode.write(tmp_path / "a.mp4", counted(), FACTS)
    assert len(alive) == 150


def test_failure_of_the_frames_leaves_no_file(tmp_path):
    def failing():
        yield from frames()
        raise FilmError("a.mp4: is cut short")

    with pytest.raises(FilmError, match="is cut short"):
        encode.write(tmp_path / "b.mp4", failing(), FACTS)
    assert not list(tmp_path.iterdir())
