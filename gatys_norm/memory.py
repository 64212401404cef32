"""How much memory a transfer needs, estimated before it starts."""

import psutil

# Fitted to peaks measured with TensorFlow 2.21 on a CPU, 512 to 1024 pixels, 10 and 50 correction
# pairs; bfloat16 differs by 2 % because the taps are float32 either way.
BYTES_AT_REST = 1.1e9
BYTES_PER_PIXEL = 2400
BYTES_PER_PIXEL_AND_PAIR = 67


def estimated_bytes(pixel_count, history):
    """Return the bytes that a transfer of `pixel_count` pixels needs at its peak.

    Args:
      pixel_count: H · W of the larger of x and the style picture.
      history: L-BFGS correction pairs.
    """
    return BYTES_AT_REST + pixel_count * _bytes_per_pixel(history)


def largest_pixel_count(byte_count, history):
    """Return how many pixels a transfer may have that fits into `byte_count` bytes."""
    return max(0, (byte_count - BYTES_AT_REST) / _bytes_per_pixel(history))


def available_bytes():
    """Return the bytes of main memory that can be had without swapping."""
    return psutil.virtual_memory().available


def _bytes_per_pixel(history):
    return BYTES_PER_PIXEL + history * BYTES_PER_PIXEL_AND_PAIR
