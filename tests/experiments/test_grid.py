"""The runs of a grid: done once, resumed, contained."""

import dataclasses

import numpy as np
import pytest

from gatys_norm import transfer
from gatys_norm.config import TransferConfig
from gatys_norm.experiments import grid as grid_runs
from gatys_norm.images import io as picture_io
from gatys_norm.runs import folder as run_folder

LAYERS = {"content_layers": ("conv2_2",), "style_layers": ("conv1_2", "conv2_1")}


@pytest.fixture
def configs(tmp_path, small_network, eagerly):
    """Settings of three short transfers on small pictures and a small network."""
    generator = np.random.default_rng(0)
    for name in ("content", "style"):
        picture = generator.uniform(0, 255, (24, 32, 3)).astype(np.float32)
        picture_io.save_picture(tmp_path / f"{name}.png", picture)
    base = TransferConfig(
        content=str(tmp_path / "content.png"),
        style=str(tmp_path / "style.png"),
        size=(32,),
        iterations=(6,),
        **LAYERS,
    ).resolved()
    return [dataclasses.replace(base, lambda_os=value) for value in (1.0, 0.1, 0.01)]


@pytest.fixture
def started(monkeypatch):
    """The settings of the transfers that were really started."""
    seen = []
    begin = transfer.Transfer

    def noting(config, *arguments):
        seen.append(config)
        return begin(config, *arguments)

    monkeypatch.setattr(transfer, "Transfer", noting)
    return seen


def test_each_run_gets_its_picture_and_record(configs, tmp_path, started):
    results = list(grid_runs.run_grid([*configs, configs[0]], tmp_path / "runs"))
    assert [result.config for result in results] == started == configs
    for result in results:
        assert result.error is None
        assert result.record["config"] == result.config.as_dict()
        assert result.record["status"] == "completed"
        assert run_folder.is_finished(result.output, result.config)
        assert {path.name for path in result.output.parent.iterdir()} == {
            "result.png",
            "result.json",
        }
    assert len({result.output for result in results}) == 3


def test_finished_runs_are_not_run_again(configs, tmp_path, started):
    first = list(grid_runs.run_grid(configs[:2], tmp_path))
    started.clear()
    changed = dataclasses.replace(configs[1], iterations=(7,))
    second = list(grid_runs.run_grid([configs[0], changed, configs[2]], tmp_path))
    assert started == [changed, configs[2]]
    assert second[0] == first[0]


def test_a_changed_picture_is_another_run(configs, tmp_path):
    before = grid_runs.output_path(tmp_path, configs[0])
    assert grid_runs.output_path(tmp_path, configs[0]) == before
    picture = picture_io.load_picture(configs[0].style[0])
    picture_io.save_picture(configs[0].style[0], 255 - picture)
    assert grid_runs.output_path(tmp_path, configs[0]) != before


def test_a_change_in_any_mask_or_style_is_another_run(configs, tmp_path):
    generator = np.random.default_rng(1)
    names = {name: str(tmp_path / f"{name}.png") for name in ("other", "l", "r", "m", "n")}
    for path in names.values():
        picture_io.save_picture(path, generator.uniform(0, 255, (24, 32, 3)))
    config = dataclasses.replace(
        configs[0],
        style=(configs[0].style[0], names["other"]),
        style_blend=(1.0, 1.0),
        content_masks=(names["l"], names["r"]),
        style_masks=(names["m"], names["n"]),
    )
    swapped = dataclasses.replace(
        config, content_masks=config.style_masks, style_masks=config.content_masks
    )
    seen = [grid_runs.output_path(tmp_path, one) for one in (config, swapped)]
    assert seen[0] == grid_runs.output_path(tmp_path, config)
    for path in (*config.style, *config.content_masks, *config.style_masks):
        picture = picture_io.load_picture(path)
        picture[3, 4] = 255 - picture[3, 4]
        picture_io.save_picture(path, picture)
        seen.append(grid_runs.output_path(tmp_path, config))
    assert len(set(seen)) == 2 + 6
    assert seen[0].parent.name.startswith("style_other_")


def test_a_run_of_several_styles_is_done_once(configs, tmp_path, started):
    mask = str(tmp_path / "mask.png")
    picture_io.save_picture(mask, np.full((24, 32, 3), 200))
    config = dataclasses.replace(
        configs[0],
        style=(*configs[0].style, configs[0].content),
        style_blend=(2.0, 1.0),
        content_masks=(mask, mask),
        optimizer="adam",
    )
    first, second = (list(grid_runs.run_grid([config], tmp_path / "runs")) for _ in range(2))
    assert first == second
    assert first[0].error is None
    assert started == [config]


def test_a_stopped_run_resumes_and_ends_in_the_same_picture(configs, tmp_path, started):
    def stop_in_second(progress):
        return progress.runs_done == 1 and progress.share > 1 / 3

    stopped = list(grid_runs.run_grid(configs, tmp_path / "a", stop_in_second, 2))
    assert [result.config for result in stopped] == configs[:1]
    second = grid_runs.output_path(tmp_path / "a", configs[1])
    assert run_folder.checkpoint_path(second).exists()
    assert not second.exists()
    started.clear()
    whole = list(grid_runs.run_grid(configs, tmp_path / "a"))
    assert started == configs[1:]
    assert not run_folder.checkpoint_path(second).exists()
    never_stopped = list(grid_runs.run_grid(configs, tmp_path / "b"))
    for one, other in zip(whole, never_stopped, strict=True):
        assert one.output.read_bytes() == other.output.read_bytes()


def test_a_damaged_checkpoint_starts_over(configs, tmp_path):
    output = grid_runs.output_path(tmp_path, configs[0])
    output.parent.mkdir(parents=True)
    run_folder.checkpoint_path(output).write_bytes(b"nothing")
    (result,) = grid_runs.run_grid(configs[:1], tmp_path)
    assert result.record["status"] == "completed"


def test_a_checkpoint_of_another_transfer_starts_over(configs, tmp_path):
    list(grid_runs.run_grid(configs[:1], tmp_path, lambda progress: True, 1))
    other = grid_runs.output_path(tmp_path, configs[1])
    other.parent.mkdir(parents=True)
    path = run_folder.checkpoint_path(grid_runs.output_path(tmp_path, configs[0]))
    path.rename(run_folder.checkpoint_path(other))
    (result,) = grid_runs.run_grid(configs[1:2], tmp_path)
    assert result.record["config"]["lambda_os"] == 0.1
    assert result.record["status"] == "completed"


def test_a_failing_run_is_contained(configs, tmp_path):
    missing = dataclasses.replace(configs[1], style=str(tmp_path / "none.png"))
    results = list(grid_runs.run_grid([configs[0], missing, configs[2]], tmp_path / "runs"))
    assert [result.error is None for result in results] == [True, False, True]
    assert "none.png" in results[1].error
    assert "\n" not in results[1].error
    assert results[1].record is None


def test_whatever_fails_is_contained(configs, tmp_path, monkeypatch):
    begin = transfer.Transfer

    def failing(config, *arguments):
        if config == configs[0]:
            raise MemoryError("no room\nat all")
        return begin(config, *arguments)

    monkeypatch.setattr(transfer, "Transfer", failing)
    results = list(grid_runs.run_grid(configs[:2], tmp_path))
    assert results[0].error == "MemoryError: no room at all"
    assert results[1].error is None


def test_progress_grows_to_the_whole(configs, tmp_path):
    seen = []
    costly = dataclasses.replace(configs[1], size=(24, 32), iterations=(2, 6))
    results = list(grid_runs.run_grid([configs[0], costly], tmp_path, seen.append))
    assert not any(result.error for result in results)
    shares = [progress.share for progress in seen]
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert all(progress.runs == 2 for progress in seen)
    assert {progress.runs_done for progress in seen} == {0, 1}
    assert seen[-1].seconds_left == pytest.approx(0)
