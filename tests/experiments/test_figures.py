"""The settings in every cell of every figure."""

import dataclasses

import pytest

from gatys_norm.config import ConfigError, TransferConfig
from gatys_norm.experiments import figures as paper_figures
from gatys_norm.experiments.figures import Study, grid, grids

STYLES = ("a/starry.jpg", "b/face.jpg", "c/nude.jpg")
LAYERS = ("conv1_2", "conv2_2", "conv3_4", "conv4_4", "conv5_4")


@pytest.fixture
def study():
    """The paper's study on made-up picture names."""
    return Study(TransferConfig(content="town.jpg"), STYLES)


def varied(study, config):
    """The settings of a cell that are not the base's."""
    base = study.base.resolved().as_dict()
    return {name: value for name, value in config.as_dict().items() if value != base[name]}


@pytest.mark.parametrize(
    ("name", "loss", "lambdas"),
    [
        ("2a", "original", (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)),
        ("6a", "normalized", (1, 1e-1, 1e-2, 1e-3, 1e-4)),
        ("style_aware", "style_aware", (1, 1e-1, 1e-2, 1e-3, 1e-4)),
    ],
)
def test_sweeps_vary_style_and_lambda_alone(study, name, loss, lambdas):
    sweep = grid(study, name)
    assert sweep.rows == ("starry", "face", "nude")
    assert sweep.columns == tuple(f"λ_os = {value:g}" for value in lambdas)
    for style, row in zip(STYLES, sweep.cells, strict=True):
        assert [(*c.style, c.loss, c.lambda_os) for c in row] == [(style, loss, v) for v in lambdas]
        for config in row:
            assert set(varied(study, config)) <= {"style", "loss", "lambda_os"}
            assert config.size == (512,)
            assert config.iterations == (600,)
            assert config.style_weights == (0.2,) * 5


@pytest.mark.parametrize(
    ("name", "loss", "lambdas"),
    [("2b", "original", (1e-5, 1e-3, 1e-4)), ("6b", "normalized", (1e-3, 1e-3, 1e-3))],
)
def test_raised_weights_are_a_hundred_times_the_others(study, name, loss, lambdas):
    raised = grid(study, name)
    assert raised.columns == LAYERS
    for style, lambda_os, row, reference in zip(
        STYLES, lambdas, raised.cells, raised.references, strict=True
    ):
        for column, config in enumerate(row):
            weights = [0.2] * 5
            weights[column] = 20
            assert config.style_weights == pytest.approx(weights)
            assert (*config.style, config.loss, config.lambda_os) == (style, loss, lambda_os)
            assert dataclasses.replace(config, style_weights=reference.style_weights) == reference
        assert reference.style_weights == (0.2,) * 5


@pytest.mark.parametrize(
    ("name", "loss", "lambdas"),
    [("2c", "original", (1e-5, 1e-3, 1e-4)), ("6c", "normalized", (1e-3, 1e-3, 1e-3))],
)
def test_sizes_vary_alone_and_recursive_transfers_grow(study, name, loss, lambdas):
    plain, recursive = grid(study, name), grid(study, f"{name} recursive")
    assert plain.columns == recursive.columns == ("256 pixels", "512 pixels", "1024 pixels")
    for row, (style, lambda_os) in enumerate(zip(STYLES, lambdas, strict=True)):
        cells = plain.cells[row]
        assert [config.size for config in cells] == [(256,), (512,), (1024,)]
        assert {(*c.style, c.loss, c.lambda_os) for c in cells} == {(style, loss, lambda_os)}
        grown = recursive.cells[row]
        assert [config.size for config in grown] == [(256,), (256, 512), (256, 512, 1024)]
        assert grown[2].iterations == (600, 600, 600)
        assert grown[0] == cells[0]
        assert {(*c.style, c.loss, c.lambda_os) for c in grown} == {(style, loss, lambda_os)}


def test_curves_follow_row_1_column_4(study):
    followed = paper_figures.curves_configs(study)
    assert followed == {
        "original": grid(study, "2a").cells[0][3],
        "normalized": grid(study, "6a").cells[0][3],
    }
    assert followed["original"].lambda_os == 1e-5
    assert followed["normalized"].lambda_os == 1e-3


def test_curves_of_short_sweeps_follow_the_last_column(study):
    short = dataclasses.replace(study, lambdas_original=(1, 2), lambdas_normalized=(3, 4))
    followed = paper_figures.curves_configs(short)
    assert [config.lambda_os for config in followed.values()] == [2, 4]


def test_cells_are_shared_between_figures(study):
    chosen = grids(study, paper_figures.FIGURES)
    assert list(chosen) == [name for name in paper_figures.GRIDS if name != "style_aware"]
    cells = [config for figure in chosen.values() for config in figure.configs]
    sweeps, raised, other_sizes, recursive = 2 * 15, 2 * 15, 2 * 3 * 2, 2 * 3 * 2
    starts = 2 * 3 * 3
    assert len(set(cells)) == sweeps + raised + other_sizes + recursive + starts
    assert set(chosen["2b"].references) <= set(chosen["2a"].configs)


def test_only_the_named_figures(study):
    assert list(grids(study, ("2a", "4"))) == ["2a"]
    assert list(grids(study, ("6c",))) == ["6c", "6c recursive"]
    assert list(grids(study, ("instability",))) == [
        *("instability original", "instability normalized"),
    ]
    assert grids(study, ("3", "4", "gradients")) == {}


@pytest.mark.parametrize(
    ("loss", "lambdas"), [("original", (1e-5, 1e-3, 1e-4)), ("normalized", (1e-3, 1e-3, 1e-3))]
)
def test_starts_vary_the_noise_alone(study, loss, lambdas):
    base = dataclasses.replace(study.base, seed=4)
    starts = grid(dataclasses.replace(study, base=base, starts=2), f"instability {loss}")
    assert starts.columns == ("seed 4", "seed 5")
    for style, lambda_os, row in zip(STYLES, lambdas, starts.cells, strict=True):
        assert [config.seed for config in row] == [4, 5]
        assert {(*c.style, c.loss, c.lambda_os, c.init) for c in row} == {
            (style, loss, lambda_os, "noise")
        }
        assert dataclasses.replace(row[1], seed=4) == row[0]


def test_every_style_is_transferred_to_every_content(study):
    study = dataclasses.replace(study, more_contents=("d/sea.png",))
    assert [row.name for row in study.rows] == [
        *("starry on town", "face on town", "nude on town"),
        *("starry on sea", "face on sea", "nude on sea"),
    ]
    for figure in grids(study, paper_figures.FIGURES).values():
        assert len(figure.rows) == 6
        for row, cells in zip(study.rows, figure.cells, strict=True):
            assert {(c.content, *c.style) for c in cells} == {(row.content, row.style)}
    raised = grid(study, "2b")
    assert [config.lambda_os for config in raised.references] == [1e-5, 1e-3, 1e-4] * 2
    assert raised.rows[4] == "face on sea, λ_os = 0.001"


def test_settings_of_the_base_reach_every_cell():
    base = TransferConfig(
        content="town.jpg", precision="bfloat16", iterations=(7,), size=(96,), pooling="avg"
    )
    study = Study(base, STYLES, sizes=(64, 96))
    for figure in grids(study, paper_figures.FIGURES).values():
        for config in figure.configs:
            assert (config.precision, config.pooling) == ("bfloat16", "avg")
            assert set(config.iterations) == {7}


def test_boost_and_layers_of_the_base():
    base = TransferConfig(
        content="town.jpg", style_layers=("relu1_1", "relu5_1"), style_weights=(1, 2)
    )
    study = Study(base, STYLES, boost=10)
    raised = grid(study, "6b")
    assert raised.columns == ("relu1_1", "relu5_1")
    assert [config.style_weights for config in raised.cells[0]] == [(10, 2), (1, 20)]
    assert raised.references[0].style_weights == (1, 2)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"styles": ()}, "styles"),
        ({"styles": ("a/x.jpg", "b/x.png", "y.jpg")}, "styles"),
        ({"lambdas_original": ()}, "lambdas_original"),
        ({"lambdas_original": (1e-2, 1e-2, 1, 2, 3)}, "lambdas_original"),
        ({"lambdas_normalized": (1e-2, 1e-3)}, "lambdas_normalized"),
        ({"lambdas_by_style": (1e-2, 1e-3)}, "lambdas_by_style"),
        ({"sizes": ()}, "sizes"),
        ({"boost": 0.0}, "boost"),
        ({"boost": float("nan")}, "boost"),
        ({"boost": 1e300}, "boost"),
        ({"starts": 1}, "starts"),
        ({"more_contents": ("b/town.png",)}, "more_contents"),
        ({"more_contents": ("sea.png", "b/sea.jpg")}, "more_contents"),
        ({"base": TransferConfig(size=(256, 512))}, "size"),
        ({"base": TransferConfig(iterations=(1, 2), size=(256, 512))}, "size"),
    ],
)
def test_what_makes_no_figure_is_refused(study, changes, named):
    with pytest.raises(ConfigError, match=f"^{named}: "):
        dataclasses.replace(study, **changes)


def test_the_third_loss_is_run_only_if_it_is_named(study):
    def losses(figures):
        return {config.loss for each in grids(study, figures).values() for config in each.configs}

    assert losses(paper_figures.FIGURES) == {"original", "normalized"}
    assert losses(("style_aware",)) == {"style_aware"}
    assert grid(study, "style_aware").title == "Style-aware loss, λ_os falling to the right"
    assert list(paper_figures.curves_configs(study)) == ["original", "normalized"]
