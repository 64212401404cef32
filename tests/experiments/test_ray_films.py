"""Films whose shots are computed on a cluster of two machines, both of them this one."""

import types

import clips
import numpy as np
import pytest
from helpers import ray_clusters
from helpers.ray_clusters import workers
from helpers.weights_files import write_weights

pytest.importorskip("av")
pytest.importorskip("cv2")

from gatys_norm import transfer
from gatys_norm.config import TransferConfig
from gatys_norm.experiments import ray_films
from gatys_norm.film import run, store
from gatys_norm.film.frame import Sources
from gatys_norm.film.plan import Shot
from gatys_norm.film.settings import FilmConfig
from gatys_norm.film.work import ShotError, Work
from gatys_norm.images import io as picture_io
from gatys_norm.losses.coefficients import ZeroEnergyError
from gatys_norm.network import weights

SIDE, COUNT = 32, 6  # two shots of three frames
pytestmark = [pytest.mark.slow, ray_clusters.needs_ray, pytest.mark.usefixtures("cluster")]


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Settings of a film of two shots in two passes, over a network of two layers."""
    folder = tmp_path_factory.mktemp("inputs")
    write_weights(folder / "weights.h5", kernel=0.02)
    (folder / "film").mkdir()
    for index in range(COUNT):
        frame = clips.cut(SIDE, COUNT).frame(index)
        picture_io.save_picture(folder / "film" / f"{index}.png", frame)
    style = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE, 3))
    picture_io.save_picture(folder / "style.png", style)
    base = TransferConfig(
        content=str(folder / "film"),
        style=str(folder / "style.png"),
        size=(SIDE,),
        iterations=(60,),
        weights=str(folder / "weights.h5"),
        content_layers=("conv1_2",),
        style_layers=("conv1_1",),
    )
    return FilmConfig(base, temporal_frames=(1, 2), later_iterations=30, passes=2)


@pytest.fixture(scope="module")
def local(config, tmp_path_factory):
    """The film, made in this process: its record, and the bytes of its frames."""
    transfer.tf.config.experimental.enable_op_determinism()
    output = tmp_path_factory.mktemp("local") / "film"
    record = run.FilmRun(config).run(output)
    return types.SimpleNamespace(record=record, frames=frames_of(output))


def frames_of(output):
    """Return the bytes of the frames that are stored."""
    return [path.read_bytes() for path in sorted(output.glob("*.png"))]


def measured(record):
    """Return what the record of a film has of its frames, without times."""
    names = ("frame", "shot", "pass", "status", "iterations", "metrics", "warping_error")
    return [{name: row[name] for name in names} for row in record["frames"]]


def assert_same(output, record, local):
    """Assert that a film is the one that was made in this process."""
    assert record["status"] == "completed"
    assert frames_of(output) == local.frames
    assert measured(record) == measured(local.record)
    assert not store.run_folder.checkpoint_path(output).exists()


def test_film_equals_the_local_one_to_the_byte(config, local, tmp_path):
    seen = []
    output = tmp_path / "film"
    film = run.FilmRun(config)
    record = film.run(output, None, seen.append, execute=ray_films.executor())
    assert_same(output, record, local)
    assert max(progress.running for progress in seen) == 2
    assert all(progress.transfer is None for progress in seen)
    assert all(0 <= progress.share <= 1 for progress in seen)
    assert {progress.shots for progress in seen} == {2}


def test_stopped_film_keeps_the_frames_of_all_shots_and_is_resumed_anywhere(
    config, local, tmp_path
):
    """Stopped on the cluster when both shots have frames, then here, finished on the cluster."""
    output = tmp_path / "film"
    film = run.FilmRun(config)

    def has_both(progress):
        return len({int(path.stem) > COUNT / 2 for path in output.glob("*.png")}) == 2

    record = film.run(output, None, has_both, execute=ray_films.executor())
    assert record["status"] == "interrupted"
    rows = record["frames"]
    assert {row["shot"] for row in rows} == {0, 1}
    assert [f"{row['frame'] + 1:06d}" for row in rows] == [
        path.stem for path in sorted(output.glob("*.png"))
    ]
    count = sum(row["pass"] for row in rows)
    film = run.FilmRun(config)
    state = film.resume(output)
    assert sum(row["pass"] for row in state.rows.values()) == count
    stops = iter([False] * 3 + [True] * COUNT * 100)
    here = film.run(output, state, lambda progress: next(stops))
    if here["status"] == "interrupted":
        film = run.FilmRun(config)
        here = film.run(output, film.resume(output), execute=ray_films.executor())
    assert_same(output, here, local)


def test_a_killed_worker_costs_one_frame(config, local, tmp_path):
    output, killed = tmp_path / "film", []

    def kill(progress):
        if not killed and list(output.glob("*.png")):
            for worker in workers()[:1]:
                worker.kill()
                killed.append(worker.pid)

    film = run.FilmRun(config)
    record = film.run(output, None, kill, execute=ray_films.executor())
    assert killed
    assert_same(output, record, local)


def test_input_that_cannot_be_used_ends_the_film(config, tmp_path):
    film = run.FilmRun(config)
    state = film.begin()
    dark = [shot._replace(energies=dict.fromkeys(shot.energies, 0.0)) for shot in state.shots]
    with pytest.raises(ZeroEnergyError):
        film.run(tmp_path / "film", state._replace(shots=tuple(dark)), execute=ray_films.executor())


def test_a_shot_that_fails_three_times_is_named(config):
    sources = Sources(lambda number: np.zeros((2, 2, 3), np.uint8), None)
    weights_file = weights.locate(config.transfer.weights)
    no_film = types.SimpleNamespace(config=config, weights_file=weights_file)
    work = Work(no_film, {1: Shot(4, 2, {})}, {}, {}, sources)
    execute = ray_films.executor()
    with pytest.raises(ShotError, match=r"shot 2 failed 3 times, the last time with TypeError"):
        list(execute(work, lambda running, progress: False))
