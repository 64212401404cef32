"""The factors of docs/coming-from.md turn each program's loss, as restated there, into ours."""

from pathlib import Path

import numpy as np
import pytest
import whole_program
from helpers.rounding import gamma

from gatys_norm.losses import functional
from gatys_norm.losses.coefficients import original_coefficients

PAGE = (Path(__file__).parents[1] / "docs" / "coming-from.md").read_text(encoding="utf-8")
H, W, N, M = 6, 10, 5, 60
X, CONTENT, STYLE = np.random.default_rng(0).normal(1, 5, (3, M, N))
CONTENT_DIFFERENCE, GRAM_DIFFERENCE = X - CONTENT, X.T @ X - STYLE.T @ STYLE
C, S, V = 5.0, 100.0, 0.3  # w_c, w_s, v_j
FACTORS = {  # w_c, w_s, what Gram matrices are divided by; λ_os · λ_o(j), λ_s(j)
    "neural-style": (C, S, N * M, 2 * C / (N * M), 4 * S / N**2),
    "-normalize_weights": (C / W, S / N, N * M, 2 * C / (N * M * W), 4 * S / N**3),
    "pastiche": (0.01 * C, 10 * S / N**2, M, 0.02 * C / (N * M), 40 * S / N**2),
    "pystiche": (C, S * V, M, 2 * C / (N * M), 4 * S * V),
    "pystiche, normalize=False": (C, S * V, 1, 2 * C / (N * M), 4 * S * V * M**2),
    "papers, impl_params=False": (C * N * M / 2, S * V / 4, M, C, S * V),
}


@pytest.mark.parametrize("program", FACTORS)
def test_factor(program):
    content_weight, style_weight, divisor, content, style = FACTORS[program]
    factor = original_coefficients(content, {"j": 1.0}, {"j": style}, {"j": (H, W, N)})
    ours = (
        factor["content/j"] * np.sum(CONTENT_DIFFERENCE**2),
        factor["style/j"] * np.sum(GRAM_DIFFERENCE**2),
    )
    theirs = (
        content_weight * np.mean(CONTENT_DIFFERENCE**2),
        style_weight * np.mean((GRAM_DIFFERENCE / divisor) ** 2),
    )
    # Sums of up to M · N squares of the same numbers, and some ten products and quotients each.
    np.testing.assert_allclose(ours, theirs, rtol=gamma(2 * (M * N + 10)))


def test_total_variation():
    image = np.random.default_rng(1).uniform(0, 255, (H, W, 3))
    image[-1], image[:, -1] = 100, 100  # what the others leave out is 0
    down, right = image[:-1, :-1] - image[1:, :-1], image[:-1, :-1] - image[:-1, 1:]
    half = np.sum((down * 256 / 255) ** 2 + (right * 256 / 255) ** 2) / 2  # neural-style
    mean = np.mean((down / 255) ** 2 + (right / 255) ** 2)  # pystiche
    factors = 0.5 * (256 / 255) ** 2, 1 / (3 * (H - 1) * (W - 1) * 255**2)
    ours = np.multiply(factors, functional.total_variation(image))
    # Sums of as many squares as there are values, twice, and ten products and quotients each.
    np.testing.assert_allclose(ours, (half, mean), rtol=gamma(2 * (2 * image.size + 10)))


def test_defaults_converted():
    n, m = np.array([64, 128, 256, 512, 512]), 64 * 48
    content = np.array([2 * 5, 2 * 5 / 512, 2 * 5**2, 0.02, 2]) / (512 * m)
    style = 400 / n**2, 400 / n**3, 4e4 / n**2, 40 / n**2, 800 + 0 * n
    for lambda_os, weights in zip(content, style, strict=True):
        assert f"`{lambda_os:.3e}` | `{','.join(f'{weight:.4g}' for weight in weights)}`" in PAGE


def test_the_benchmark_converts_pastiche_as_this_page_does():
    settings = whole_program.converted(384, 512)
    weights = ",".join(f"{weight:.4g}" for weight in settings["style_weights"])
    assert f"| pastiche | `{settings['lambda_os']:.3e}` | `{weights}` |" in PAGE
    layers = ",".join(settings["style_layers"])
    assert f"--content_layers={settings['content_layers'][0]}\n--style_layers={layers}`" in PAGE
