"""Writing of film files: the pictures are encoded, the sound of another film is copied as it is."""

from __future__ import annotations

import contextlib
import heapq
import io
import itertools
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import av.error
import numpy as np

from gatys_norm import files
from gatys_norm.files import StrPath
from gatys_norm.film import decode
from gatys_norm.film.model import Color, FilmError, FilmFacts, Frame
from gatys_norm.text import one_line


class Encoding(NamedTuple):
    """How a film is written: names and options of FFmpeg."""

    container: str
    codec: str
    options: dict[str, str]


# The number of threads is fixed, because the bytes depend on it.
_H264 = {"crf": "16", "preset": "medium", "threads": "4"}
_VP9 = {"crf": "18", "b": "0", "cpu-used": "2", "threads": "1"}
ENCODINGS = {
    ".mp4": Encoding("mp4", "libx264", _H264),
    ".mov": Encoding("mov", "libx264", _H264),
    ".mkv": Encoding("matroska", "libx264", _H264),
    ".webm": Encoding("webm", "libvpx-vp9", _VP9),
}


def check_output(path: StrPath, sound_of: StrPath | None = None) -> None:
    """Check that a film can be written, and that it can hold the sound of another.

    Args:
      path: path of the film to write.
      sound_of: film whose sound is to be copied; None for no sound.

    Raises:
      FilmError: the suffix is unknown, its format cannot hold the sound, or that cannot be read.
    """
    encoding = ENCODINGS.get(Path(path).suffix.lower())
    if encoding is None:
        raise FilmError(f"{path}: the name of a film to write ends in {', '.join(ENCODINGS)}")
    if sound_of is None:
        return
    with decode.refusing(sound_of), decode.opened(sound_of) as source:
        if not _holds_sound(encoding, source):
            suffixes = [name for name, other in ENCODINGS.items() if _holds_sound(other, source)]
            remedy = f"expected {', '.join(suffixes)}" if suffixes else "leave the sound out"
            codecs = " and ".join(decode.sounds_of(source))
            raise FilmError(f"{path}: cannot hold sound in {codecs}; {remedy}")


def _holds_sound(encoding: Encoding, source: Any) -> bool:
    """Tell whether a format takes the tracks of sound of a container, by trying it."""
    with contextlib.suppress(av.error.FFmpegError, ValueError, AttributeError):
        with av.open(io.BytesIO(), "w", encoding.container) as container:
            for sound in source.streams.audio:
                container.add_stream_from_template(sound)
            container.start_encoding()
        return True
    return not source.streams.audio


def write(
    path: StrPath,
    frames: Iterable[Frame],
    facts: FilmFacts,
    sound_of: StrPath | None = None,
    sound_until: Fraction | None = None,
) -> None:
    """Encode a film as H.264 or VP9, in one step (see `files.open_atomically`).

    A side of odd length gets its last row or column once
    more, because the pixels of these codecs share their color in fours.

    Args:
      path: ends in one of `ENCODINGS`.
      frames: `Frame`s of one size, which may differ from that of `facts`, in the order of times.
      facts: of the film that these frames replace: color, times, aspect of pixels.
      sound_of: film whose sound is copied, packet by packet; None for no sound.
      sound_until: end of the sound in seconds; None for all of it.

    Raises:
      FilmError: `path` cannot be such a film, or the sound cannot be read.
      ValueError: there are no frames.
      OSError: the disk is full, the folder is missing, and so on; an older file is unchanged.
    """
    check_output(path)
    encoding = ENCODINGS[Path(path).suffix.lower()]
    remaining = iter(frames)
    first = next(remaining, None)
    if first is None:
        raise ValueError("a film needs at least one frame")
    with files.open_atomically(path) as file, contextlib.ExitStack() as stack:
        container = stack.enter_context(
            av.open(file, "w", encoding.container, container_options={"fflags": "+bitexact"})
        )
        stream = _stream_to_write(container, encoding, first.pixels, facts)
        packets = [_encoded(stream, itertools.chain([first], remaining), facts)]
        if sound_of is not None:
            with decode.refusing(sound_of):
                source = stack.enter_context(decode.opened(sound_of))
            sound = _copied_sound(container, source, sound_until)
            packets.append(_refusing(sound_of, sound))
        try:
            container.start_encoding()
            for packet in heapq.merge(*packets, key=_decoding_time):
                container.mux(packet)
        except av.error.FFmpegError as error:  # what the disk says is an OSError of Python
            raise FilmError(f"{path}: cannot be written ({one_line(error)})") from error


def _stream_to_write(
    container: Any, encoding: Encoding, pixels: np.ndarray, facts: FilmFacts
) -> Any:
    stream = container.add_stream(encoding.codec, facts.frame_rate, options=encoding.options)
    height, width = (side + side % 2 for side in pixels.shape[:2])
    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
    codec, color = stream.codec_context, facts.color
    codec.thread_count = int(encoding.options["threads"])
    codec.time_base = stream.time_base = facts.time_base
    codec.sample_aspect_ratio = facts.pixel_aspect
    codec.colorspace = _written_matrix(color)
    codec.color_range, codec.color_primaries = color.range, color.primaries
    codec.color_trc = color.transfer
    return stream


def _written_matrix(color: Color) -> int:
    return Color().matrix if color.matrix == decode.RGB_MATRIX else color.matrix


def _encoded(stream: Any, frames: Iterable[Frame], facts: FilmFacts) -> Iterator[Any]:
    """Yield the packets of the pictures."""
    for frame in frames:
        height, width, _ = frame.pixels.shape
        even = np.pad(frame.pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        picture = av.VideoFrame.from_ndarray(even, "rgb24").reformat(
            format="yuv420p",
            src_color_range=2,
            dst_colorspace=decode.matrix_of(_written_matrix(facts.color), facts.height),
            dst_color_range=max(facts.color.range, 1),
            interpolation=decode.EXACT,
            **decode.ONE_THREAD,
        )
        picture.time_base = facts.time_base
        picture.pts = round(frame.time / facts.time_base)
        picture.duration = round(frame.duration / facts.time_base)
        yield from stream.encode(picture)
    yield from stream.encode()


def _copied_sound(container: Any, source: Any, until: Fraction | None) -> Iterator[Any]:
    """Give a container the tracks of sound of another; return an iterator over their packets."""
    tracks = {
        sound.index: container.add_stream_from_template(sound) for sound in source.streams.audio
    }

    def packets() -> Iterator[Any]:
        for packet in source.demux(source.streams.audio) if tracks else ():
            if not packet.size:
                continue
            if until is not None and packet.pts * Fraction(packet.time_base) >= until:
                return
            packet.stream = tracks[packet.stream.index]
            yield packet

    return packets()


def _refusing(path: StrPath, packets: Iterator[Any]) -> Iterator[Any]:
    """Yield packets; every failure of reading them is a FilmError."""
    with decode.refusing(path):
        yield from packets


def _decoding_time(packet: Any) -> Fraction:
    return Fraction(packet.dts * Fraction(packet.time_base))
