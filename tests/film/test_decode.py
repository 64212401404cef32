"""Reading film files, whole and hostile ones."""

import contextlib
from fractions import Fraction

import numpy as np
import pytest
from helpers.films import corners, quarters, write_film

pytest.importorskip("av")

from gatys_norm.film import decode
from gatys_norm.film.model import Color, FilmError

FRAMES = [quarters(shade=20 * index) for index in range(5)]


def inspect_and_read(path):
    """Return the facts and the frames of a film."""
    return decode.inspect(path), list(decode.read(path))


def refusal(path):
    """Return the message with which a film is refused, by its header or by its frames."""
    with pytest.raises(FilmError) as caught:
        inspect_and_read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".ts", ".mpg"])
def test_frames_and_facts(tmp_path, suffix):
    codec = {".avi": "mpeg4", ".mpg": "mpeg2video"}.get(suffix, "libx264")
    base = {".avi": Fraction(1, 25), ".mpg": Fraction(1, 25)}.get(suffix, Fraction(1, 1000))
    path = write_film(tmp_path / f"a{suffix}", FRAMES, codec=codec, time_base=base)
    facts = decode.inspect(path)
    assert (facts.height, facts.width, facts.bit_depth, facts.sounds) == (48, 64, 8, ())
    assert float(facts.frame_rate) == pytest.approx(25, abs=0.01)
    frames = list(decode.read(path))
    assert len(frames) == len(FRAMES)
    assert {corners(frame.pixels) for frame in frames} == {"red green blue white"}
    assert [float(frame.time - frames[0].time) for frame in frames] == pytest.approx(
        [0, 0.04, 0.08, 0.12, 0.16], abs=1e-3
    )


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi", ".ts"])
def test_film_with_sound_is_whole(tmp_path, suffix):
    codec, base = ("mpeg4", Fraction(1, 25)) if suffix == ".avi" else ("libx264", Fraction(1, 1000))
    path = write_film(tmp_path / f"a{suffix}", FRAMES, codec=codec, time_base=base, sound="aac")
    assert decode.inspect(path).sounds == ("aac",)
    assert len(list(decode.read(path))) == len(FRAMES)


def test_times_of_a_variable_frame_rate_are_kept(tmp_path):
    times = [0, 40, 50, 500, 2000]
    path = write_film(tmp_path / "a.mkv", FRAMES, times=times)
    assert [frame.time * 1000 for frame in decode.read(path)] == times


@pytest.mark.parametrize(
    ("rotation", "flipped", "expected"),
    [
        (0, False, "red green blue white"),
        (90, False, "green white red blue"),
        (180, False, "white blue green red"),
        (270, False, "blue red white green"),
        (0, True, "green red white blue"),
    ],
)
def test_rotation_and_mirroring_are_applied(tmp_path, rotation, flipped, expected):
    path = write_film(tmp_path / "a.mp4", FRAMES[:2], rotation=rotation, flipped=flipped)
    facts, frame = decode.inspect(path), next(decode.read(path))
    assert corners(frame.pixels) == expected
    assert frame.pixels.shape == (facts.height, facts.width, 3)
    assert (facts.height, facts.width) == ((64, 48) if rotation in (90, 270) else (48, 64))


def test_odd_angle_is_refused(tmp_path):
    path = write_film(tmp_path / "a.mp4", FRAMES, rotation=30)
    assert "is turned by an odd angle; expected a multiple of 90 degrees" in refusal(path)


@pytest.mark.parametrize(
    ("color", "pixel_format"),
    [
        ((1, 1, 1, 1), "yuv420p"),
        ((6, 6, 6, 1), "yuv420p"),
        ((1, 1, 1, 2), "yuvj420p"),
        ((2, 2, 2, 0), "yuv444p"),
    ],
)
def test_colors_are_read_as_their_tags_say(tmp_path, color, pixel_format):
    pixels = np.full((48, 64, 3), (200, 60, 30), np.uint8)
    path = write_film(tmp_path / "a.mkv", [pixels], color=color, pixel_format=pixel_format)
    assert decode.inspect(path).color == Color(*color)
    read = next(decode.read(path)).pixels
    assert np.abs(read.astype(int) - pixels).max() <= 3


def test_colors_without_a_matrix_are_read_as_hd_from_720_rows_on():
    assert decode.matrix_of(2, 719) == 5
    assert decode.matrix_of(2, 720) == 1
    assert decode.matrix_of(1, 48) == 1


def test_10_bits_are_rounded(tmp_path):
    path = write_film(tmp_path / "a.mkv", FRAMES, pixel_format="yuv420p10le")
    with pytest.warns(UserWarning, match=r"a\.mkv: its 10 bits per channel are rounded to 8"):
        assert decode.inspect(path).bit_depth == 10
    pixels = next(decode.read(path)).pixels
    assert pixels.dtype == np.uint8
    assert corners(pixels) == "red green blue white"


def test_interlaced_film_is_warned_of(tmp_path):
    options = {"flags": "+ilme+ildct"}
    base = Fraction(1, 25)
    path = write_film(
        tmp_path / "a.mkv", FRAMES, codec="mpeg2video", options=options, time_base=base
    )
    with pytest.warns(UserWarning, match=r"a\.mkv: is interlaced, so its lines will show"):
        decode.inspect(path)


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_refused(tmp_path, transfer, name):
    path = write_film(
        tmp_path / "a.mkv", FRAMES, color=(9, 9, transfer, 1), pixel_format="yuv420p10le"
    )
    assert f"is HDR ({name}); expected a film in the standard range" in refusal(path)


def test_frames_with_the_same_time_are_taken_once(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mkv", FRAMES)
    monkeypatch.setattr(decode, "_time_of", lambda path, frame: Fraction(frame.pts // 80))
    assert [frame.time for frame in decode.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_film_that_is_cut_short(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3)).astype(np.uint8)
    path = write_film(tmp_path / f"a{suffix}", list(noise))
    data = path.read_bytes()
    assert len(list(decode.read(path))) == 60
    for share in (0.01, 0.4, 0.7):
        path.write_bytes(data[: int(share * len(data))])
        assert "expected a whole film" in refusal(path)


def test_mp4_whose_index_comes_first_is_seen_to_be_cut_short(tmp_path):
    import av

    noise = np.random.default_rng(0).integers(0, 255, (60, 48, 64, 3)).astype(np.uint8)
    write_film(tmp_path / "a.mp4", list(noise))
    path = tmp_path / "b.mp4"
    options = {"movflags": "+faststart"}
    with av.open(str(tmp_path / "a.mp4")) as film, av.open(str(path), "w", options=options) as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(video=0):
            if packet.size:
                packet.stream = stream
                copy.mux(packet)
    assert len(list(decode.read(path))) == 60
    path.write_bytes(path.read_bytes()[:-10_000])
    assert "expected a whole film" in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no film",
        b"\x00" * 4096,
        b"ffconcat version 1.0\nfile secret.mp4\n",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.mp4\n#EXT-X-ENDLIST\n",
        b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
        b"\x89PNG\r\n\x1a\n" + b"\x00" * 64,
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".m3u8"])
def test_what_is_no_film(tmp_path, content, suffix):
    write_film(tmp_path / "secret.mp4", FRAMES)
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    assert "its content is no film this program knows" in refusal(path)


def test_missing_file_and_folder(tmp_path):
    assert "No such file or directory" in refusal(tmp_path / "a.mp4")
    assert "is no regular file" in refusal(tmp_path)


def test_name_that_looks_like_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_film(tmp_path / "secret.mp4", FRAMES)
    for name in ("concat:secret.mp4", "http://127.0.0.1:9/a.mp4", "file:secret.mp4"):
        assert "No such file or directory" in refusal(name)


def test_sound_alone(tmp_path):
    import av
    from helpers.films import tone

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as film:
        track = film.add_stream("aac", rate=48000, layout="mono")
        for frame in tone(0.2):
            film.mux(track.encode(frame))
        film.mux(track.encode())
    assert "has no pictures, only sound or data" in refusal(path)


def test_no_frames(tmp_path):
    import av

    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as film:
        stream = film.add_stream("libx264", rate=25)
        stream.height, stream.width = 48, 64
        film.start_encoding()
    assert "expected a whole film" in refusal(path)


def test_too_large_and_too_small_frames(tmp_path, monkeypatch):
    path = write_film(tmp_path / "a.mkv", FRAMES)
    monkeypatch.setattr(decode, "PIXEL_LIMIT", 48 * 64 - 1)
    assert "frames of 64×48 pixels; expected at most 3,071 in all" in refusal(path)
    small = write_film(tmp_path / "b.mkv", [quarters(14, 64)])
    assert "frames of 64×14 pixels; expected at least 16 on each side" in refusal(small)


def test_frames_of_different_sizes(tmp_path):
    """Two raw streams of H.264, one after the other."""
    first = write_film(tmp_path / "a.h264", FRAMES, container="h264")
    second = write_film(tmp_path / "b.h264", [quarters(64, 80)] * 3, container="h264")
    raw = tmp_path / "c.h264"
    raw.write_bytes(first.read_bytes() + second.read_bytes())
    path = tmp_path / "c.ts"
    import av

    with av.open(str(raw)) as film, av.open(str(path), "w") as copy:
        stream = copy.add_stream_from_template(film.streams.video[0])
        for index, packet in enumerate(film.demux(video=0)):
            if packet.size:
                packet.pts = packet.dts = 3600 * index
                packet.time_base = Fraction(1, 90000)
                packet.stream = stream
                copy.mux(packet)
    assert "has 80×64 pixels; expected 64×48, as the first" in refusal(path)


def test_raw_stream_has_no_times_and_is_refused(tmp_path):
    path = write_film(tmp_path / "a.h264", FRAMES, container="h264")
    assert "its content is no film this program knows" in refusal(path)


@pytest.mark.parametrize("seed", range(12))
def test_damaged_bytes_end_in_an_error_or_in_frames(tmp_path, seed):
    path = write_film(tmp_path / "a.mp4", FRAMES, sound="aac")
    data = bytearray(path.read_bytes())
    random = np.random.default_rng(seed)
    for place in random.integers(0, len(data), 40):
        data[place] = random.integers(256)
    path.write_bytes(data)
    with contextlib.suppress(FilmError):
        _, frames = inspect_and_read(path)
        assert len(frames) <= len(FRAMES)
