"""Small film files, written with PyAV directly, and what is in a film file."""

from fractions import Fraction

import numpy as np

RATE = 25


def quarters(height=48, width=64, shade=0):
    """Return a frame whose quarters are red, green, blue and white, `shade` levels darker."""
    pixels = np.zeros((height, width, 3), np.uint8)
    down, right = height // 2, width // 2
    pixels[:down, :right] = 255, 0, 0
    pixels[:down, right:] = 0, 255, 0
    pixels[down:, :right] = 0, 0, 255
    pixels[down:, right:] = 255
    return pixels - np.minimum(pixels, np.uint8(shade))


def corners(pixels):
    """Return the names of the colors in the corners: upper left, upper right, lower two."""
    names = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (1, 1, 1): "white"}
    points = pixels[[4, 4, -5, -5], [4, -5, 4, -5]].astype(int)
    return " ".join(names.get(tuple((point > 128).astype(int)), "other") for point in points)


def write_film(
    path,
    frames,
    *,
    times=None,
    codec="libx264",
    pixel_format="yuv420p",
    sound=None,
    rotation=0,
    flipped=False,
    color=(2, 2, 2, 0),
    time_base=Fraction(1, 1000),
    container=None,
    options=None,
):
    """Write a film.

    Args:
      path: its suffix names the container, unless `container` does.
      frames: arrays of uint8 H × W × 3.
      times: of each frame, in units of `time_base`; 25 per second if None.
      codec, pixel_format: of the pictures.
      sound: codec of a tone, or None.
      rotation, flipped: what players are asked to do.
      color: matrix, primaries, transfer, range.
      time_base: of the pictures.
      container: FFmpeg's name of it.
      options: of the codec of the pictures.
    """
    import av

    with av.open(str(path), "w", container) as film:
        stream = film.add_stream(codec, rate=RATE, options=options or {"crf": "4"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixel_format
        context = stream.codec_context
        context.time_base = stream.time_base = time_base
        context.colorspace, context.color_primaries, context.color_trc = color[:3]
        context.color_range = color[3]
        if rotation or flipped:
            stream.set_display_rotation(rotation, hflip=flipped)
        track = film.add_stream(sound, rate=48000, layout="mono") if sound else None
        film.start_encoding()
        for index, pixels in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(pixels, "rgb24").reformat(
                format=pixel_format,
                dst_colorspace=1 if color[0] == 1 else 5,
                dst_color_range=color[3] or 1,
            )
            step = 1 / time_base / RATE
            picture.pts = times[index] if times else int(index * step)
            picture.time_base = time_base
            film.mux(stream.encode(picture))
        if track:
            for frame in tone(len(frames) / RATE):
                film.mux(track.encode(frame))
            film.mux(track.encode())
        film.mux(stream.encode())
    return path


def tone(seconds):
    """Yield frames of a tone of 440 Hz."""
    import av

    samples = np.arange(int(48000 * seconds))
    wave = np.sin(samples * 2 * np.pi * 440 / 48000).astype(np.float32)
    for start in range(0, len(samples) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(wave[np.newaxis, start : start + 1024], "fltp", "mono")
        frame.rate, frame.pts, frame.time_base = 48000, start, Fraction(1, 48000)
        yield frame


def sound_packets(path):
    """Return (time in seconds, bytes) of each packet of sound."""
    import av

    with av.open(str(path)) as film:
        return [
            (packet.pts * packet.time_base, bytes(packet))
            for packet in film.demux(film.streams.audio)
            if packet.size
        ]
