"""Reading of film files such as MP4, frame by frame.

Files are not trusted: everything that can be wrong with one ends in a `FilmError`. Formats that
name other files, such as playlists, are not read.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import Interpolation

from gatys_norm.files import StrPath
from gatys_norm.film.model import PIXEL_LIMIT, Color, FilmError, FilmFacts, Frame
from gatys_norm.images.sizes import MIN_SIDE
from gatys_norm.text import one_line

READ_FORMATS = ("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "ogg")  # FFmpeg's names

_MARGIN = Fraction(1, 2)  # seconds by which a header may promise too much
_EXPECTED = "expected a whole film (MP4, MOV, MKV, WebM, AVI, MPEG, Ogg)"
_HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}  # of ISO/IEC 23091-2: swscale's number
RGB_MATRIX = 0
_HD_HEIGHT = 720  # from which on films without a matrix have that of HD
EXACT = (
    Interpolation.BICUBIC
    | Interpolation.ACCURATE_RND
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
    | Interpolation.BITEXACT
)
# Since version 17 PyAV divides a picture among the cores; the bytes must not depend on these.
ONE_THREAD = {"threads": 1} if int(av.__version__.split(".")[0]) >= 17 else {}


def inspect(path: StrPath) -> FilmFacts:
    """Return the facts of a film, from its header and its first frame.

    Raises:
      FilmError: it cannot be read, has no pictures, or has ones that this program does not take.

    Warns:
      UserWarning: one line with the name of the file, for an interlaced film, and for more than 8
        bits per channel.
    """
    with refusing(path), opened(path) as container:
        stream = _pictures_of(path, container)
        frame = next(_decoded(path, container, stream), None)
        if frame is None:
            raise FilmError(f"{path}: has no frames; {_EXPECTED}")
        _check_color(path, frame)
        height, width = _upright(np.empty((frame.height, frame.width)), path, frame).shape
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        bit_depth = max(component.bits for component in frame.format.components)
        if bit_depth > 8:
            warnings.warn(
                f"{path}: its {bit_depth} bits per channel are rounded to 8", stacklevel=2
            )
        if frame.interlaced_frame:
            warnings.warn(f"{path}: is interlaced, so its lines will show", stacklevel=2)
        return FilmFacts(
            height=height,
            width=width,
            time_base=Fraction(stream.time_base),
            frame_rate=Fraction(stream.average_rate or stream.guessed_rate or 25),
            frame_count=stream.frames or None,
            color=Color(
                *map(int, (frame.colorspace, frame.color_primaries, frame.color_trc))
            )._replace(range=int(frame.color_range)),
            pixel_aspect=aspect if (height, width) == (frame.height, frame.width) else 1 / aspect,
            sounds=sounds_of(container),
            bit_depth=bit_depth,
        )


def read(path: StrPath) -> Iterator[Frame]:
    """Yield the frames of a film, one after another; only the present one is in memory.

    Rotations and mirrorings that the file asks for are applied. Frames with more than 8 bits per
    channel are rounded. Of frames with the same time the first is taken.

    Args:
      path: a film that `inspect` has accepted.

    Raises:
      FilmError: it is damaged or cut short, or a frame has another size than the first.
    """
    with refusing(path), opened(path) as container:
        stream = _pictures_of(path, container)
        size, time = None, None
        for index, frame in enumerate(_decoded(path, container, stream)):
            _check_color(path, frame)
            size = size or (frame.width, frame.height)
            if (frame.width, frame.height) != size:
                raise FilmError(
                    f"{path}: frame {index + 1} has {frame.width}×{frame.height} pixels; expected "
                    f"{size[0]}×{size[1]}, as the first"
                )
            present = _time_of(path, frame)
            if time is None or present > time:
                time = present
                duration = (frame.duration or 0) * Fraction(frame.time_base)
                yield Frame(_upright(_to_rgb(frame), path, frame), time, duration)


def _decoded(path: StrPath, container: Any, stream: Any) -> Iterator[Any]:
    """Yield PyAV's frames, and refuse a film that ends before its header says so."""
    packets, end, longest_gap = 0, Fraction(0), Fraction(0)
    for packet in container.demux():
        if packet.pts is not None:
            packet_end = (packet.pts + (packet.duration or 0)) * Fraction(packet.time_base)
            longest_gap = max(longest_gap, packet_end - end)
            end = max(end, packet_end)
        if packet.stream.index == stream.index:
            packets += packet.size > 0
            yield from packet.decode()
    duration = Fraction(container.duration or 0, av.time_base)
    name = container.format.name  # other headers give a number and a time that are rough
    has_fewer = "mp4" in name and packets < stream.frames
    is_shorter = "matroska" in name and end + longest_gap + _MARGIN < duration
    if has_fewer or is_shorter:
        raise FilmError(f"{path}: is cut short; {_EXPECTED}")


def sounds_of(container: Any) -> tuple[str, ...]:
    """Return the name of the codec of each track of sound."""
    codecs = (sound.codec_context for sound in container.streams.audio)
    return tuple(codec.name if codec else "an unknown codec" for codec in codecs)


@contextlib.contextmanager
def refusing(path: StrPath) -> Iterator[None]:
    """Convert every failure of reading a film to a FilmError."""
    try:
        yield
    except FilmError:
        raise
    except (av.error.FFmpegError, OSError, ValueError, ArithmeticError, LookupError) as error:
        raise FilmError(f"{path}: {_reason(error)}; {_EXPECTED}") from error


@contextlib.contextmanager
def opened(path: StrPath) -> Iterator[Any]:
    """Yield PyAV's container of a film to read; fails in many ways, see `refusing`."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FilmError(f"{path}: is no regular file; {_EXPECTED}")
    # As an open file, since FFmpeg takes a name like concat:a for an address.
    whitelist = {"format_whitelist": ",".join(READ_FORMATS)}
    with open(path, "rb") as file, av.open(file, container_options=whitelist) as container:
        yield container


def _reason(error: Exception) -> str:
    """Return why a film cannot be read: the system's reason, if the file could not be opened."""
    is_of_system = isinstance(error, OSError) and not isinstance(error, av.error.FFmpegError)
    if is_of_system and getattr(error, "filename", None):
        return getattr(error, "strerror", None) or one_line(error)
    return "its content is no film this program knows, or it is damaged"


def _pictures_of(path: StrPath, container: Any) -> Any:
    """Return the stream of pictures of a container, checked as far as its header goes."""
    stream = next(iter(container.streams.video), None)
    if stream is None:
        raise FilmError(f"{path}: has no pictures, only sound or data; {_EXPECTED}")
    codec = stream.codec_context
    if codec is None:
        raise FilmError(f"{path}: its pictures are stored in a way that cannot be decoded")
    _check_size(path, codec.width, codec.height)
    codec.options = {"max_pixels": str(PIXEL_LIMIT)}
    return stream


def _check_size(path: StrPath, width: int, height: int) -> None:
    size = f"{path}: frames of {width}×{height} pixels;"
    if width * height > PIXEL_LIMIT:
        raise FilmError(f"{size} expected at most {PIXEL_LIMIT:,} in all")
    if min(width, height) < MIN_SIDE:
        raise FilmError(f"{size} expected at least {MIN_SIDE} on each side")


def _check_color(path: StrPath, frame: Any) -> None:
    """Refuse what would come out in wrong colors."""
    _check_size(path, frame.width, frame.height)
    transfer, matrix = int(frame.color_trc), int(frame.colorspace)
    if transfer in _HDR_TRANSFERS:
        raise FilmError(
            f"{path}: is HDR ({_HDR_TRANSFERS[transfer]}); expected a film in the standard range, "
            "convert it first"
        )
    if matrix not in (RGB_MATRIX, Color().matrix, *_MATRICES):
        raise FilmError(f"{path}: its colors have an unknown matrix, number {matrix}")


def _time_of(path: StrPath, frame: Any) -> Fraction:
    if frame.pts is None:
        raise FilmError(f"{path}: its frames have no times; expected a film in a container")
    return Fraction(frame.pts * Fraction(frame.time_base))


def matrix_of(matrix: int, height: int) -> int:
    """Return swscale's number of a matrix; for none, that of HD or of standard definition."""
    return _MATRICES.get(matrix, 1 if height >= _HD_HEIGHT else 5)


def _to_rgb(frame: Any) -> np.ndarray:
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=matrix_of(int(frame.colorspace), frame.height),
        src_color_range=int(frame.color_range),
        dst_color_range=2,
        interpolation=EXACT,
        **ONE_THREAD,
    )
    pixels: np.ndarray = converted.to_ndarray()
    return pixels


def _upright(pixels: np.ndarray, path: StrPath, frame: Any) -> np.ndarray:
    """Turn and mirror a picture as the display matrix of its frame says.

    The matrix [[a, b], [c, d]] takes (x, y) of the stored picture to (a x + c y, b x + d y).
    """
    stored = next((bytes(data) for data in frame.side_data if _is_matrix(data)), None)
    if stored is None:
        return pixels
    a, b, _, c, d, *_ = np.sign(np.frombuffer(stored, np.int32).astype(np.int64))
    if np.linalg.matrix_rank([[a, b], [c, d]]) < 2 or np.abs([a, b, c, d]).sum() != 2:
        raise FilmError(f"{path}: is turned by an odd angle; expected a multiple of 90 degrees")
    if a == 0:
        pixels, a, d = pixels.swapaxes(0, 1), c, b
    return np.ascontiguousarray(pixels[:: int(d), :: int(a)])


def _is_matrix(data: Any) -> bool:
    return str(data.type).endswith("DISPLAYMATRIX")
