"""Where bfloat16 can be computed."""

import os
from pathlib import Path

import pytest


def _crashes():
    """Whether oneDNN is kept from what the processor has and TensorFlow counts on.

    With ONEDNN_MAX_CPU_ISA=AVX2 on a processor with AVX512, TensorFlow asks oneDNN for bfloat16
    all the same, which raises for convolutions and crashes for matrix products. A processor with
    AVX2 alone takes another way.
    """
    on = os.environ.get("TF_ENABLE_ONEDNN_OPTS", "1") != "0"
    is_limited = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in (
        "SSE41",
        "AVX",
        "AVX2",
        "AVX2_VNNI",
    )
    description = Path("/proc/cpuinfo")
    has_more = description.exists() and "avx512f" in description.read_text()
    return on and is_limited and has_more


needs_bfloat16 = pytest.mark.skipif(
    _crashes(), reason="oneDNN is kept to AVX2 on a processor with AVX512: no bfloat16"
)
