"""The commands and the Python that the documentation shows run, on small pictures and weights."""

import glob
import re
import signal

import pytest
from helpers import pages
from helpers.programs import COMMAND, ROOT, end_of, run, start, wait_for
from helpers.project import settings
from helpers.weights_files import write_weights

from gatys_norm.survey import answers
from gatys_norm.survey import model as survey_model

# {how a command begins: why no test runs it as the page shows it}
NOT_RUN = {
    "pip install": "installs packages",
    "bash scripts/": "makes an environment and installs into it",
    "python data/draw/draw.py": "draws at full size; tests/data/test_draw.py draws",
    "python scripts/benchmarks/": "takes hours; tests/benchmarks runs the programs",
    "gatys-norm reproduce --executor=ray": "starts Ray; tests/experiments/test_ray.py does",
    "ray": "needs the machines of a cluster",
    "gatys-norm reproduce --preset=fast --size=128": "takes hours; tests/cli/test_reproduce.py",
    "gatys-norm film": "needs a film; tests/cli/test_film.py draws one",
    "gatys-norm --content=panorama.jpg": "needs a panorama; tests/test_sphere.py draws one",
    "scp": "needs a second machine",
    "export": "is for the commands of Ray",
    "kubectl": "needs Kubernetes",
    "head=": "is for Slurm",
    "srun": "needs Slurm",
}
TINY = {  # flags that are given a value that takes little, and added where they are missing
    "--size": "32",
    "--iterations": "2",
    "--optimizer": "adam",
    "--content_layers": "conv1_2",
    "--style_layers": "conv1_1",
    "--weights": "weights.h5",
}
FEW = {  # the same for the grids of `reproduce`
    "--lambdas_original": "1e-3",
    "--lambdas_normalized": "1e-2",
    "--sizes": "32,48",
}
REPLACED = {"--snapshot_every": "1"}  # only where a command has it
PYTHON = """
import sys
sys.path.insert(0, {tests!r})
import tensorflow as tf
from helpers import narrow_network
from gatys_norm.network import vgg, weights
tf.config.run_functions_eagerly(True)
vgg.load_model = narrow_network.load_model
weights.locate = lambda source: weights.WeightsFile(None, source, "0" * 64)
"""


def shell_blocks(page):
    """Return the blocks of a page that are commands; those of a summary are indented."""
    indented = [token.content for token in pages.tokens_of(page) if token.type == "code_block"]
    summaries = [text for text in indented if text.startswith("gatys-norm ")]
    return pages.fences_of(page, *pages.SHELLS) + summaries


def commands_of(page):
    """Return the words of the commands that a page shows, in their order."""
    return [words for block in shell_blocks(page) for words in pages.commands_in(block)]


def beginning_not_run(words):
    """Return the key of `NOT_RUN` that a command begins with; None if a test runs it."""
    line = " ".join(words)
    return next((begin for begin in NOT_RUN if line.startswith(begin)), None)


def runnable(page):
    """Return the commands of a page that a test runs, without the name of the program."""
    commands = [words for words in commands_of(page) if beginning_not_run(words) is None]
    assert {words[0] for words in commands} <= {"gatys-norm"}
    return [words[1:] for words in commands]


def tiny(words):
    """Return the words of a command with flags that make it small."""
    command = words[0] if words and not words[0].startswith("-") else ""
    if command in ("survey", "timelapse") or "--devices" in words:
        return words
    needed = TINY | (FEW if command == "reproduce" else {})
    replaced = needed | REPLACED
    kept = [word for word in words if word.partition("=")[0] not in replaced]
    given = {word.partition("=")[0] for word in words}
    values = needed | {flag: value for flag, value in REPLACED.items() if flag in given}
    return kept + [f"{flag}={value}" for flag, value in values.items()]


@pytest.fixture
def folder(tmp_path):
    """Give a folder like a clone: the sample pictures, folders for results, and small weights."""
    (tmp_path / "data").symlink_to(ROOT / "data")
    for name in ("docs", "results"):
        (tmp_path / name).mkdir()
    write_weights(tmp_path / "weights.h5", kernel=0.0007)
    return tmp_path


def run_shown(words, folder):
    """Run a command in a folder, small, and see that it succeeds."""
    words = tiny(words)
    if words[:2] == ["survey", "serve"]:
        served_until_interrupted(words, folder)
        return
    if words[:2] == ["survey", "table"]:
        add_answers(folder / "results" / "survey")
    finished = run(COMMAND, *expanded(words, folder), cwd=folder)
    assert finished.returncode == 0, f"{words}: {finished.stdout}{finished.stderr}"
    output = next((word for word in words if word.startswith("--output=")), None)
    assert output is None or (folder / output.partition("=")[2]).stat().st_size


def expanded(words, folder):
    """Return words with each pattern of files replaced by their paths, as a shell does."""
    return [path for word in words for path in sorted(glob.glob(word, root_dir=folder)) or [word]]


def served_until_interrupted(words, folder):
    """Serve a survey until it says so, then press Ctrl-C."""
    process = start(COMMAND, *words, "--port=0", cwd=folder)
    wait_for(lambda: "Ctrl-C ends" in process.output()[0] or process.poll() is not None)
    process.send_signal(signal.SIGINT)
    code, _, stderr = end_of(process)
    assert code == 0, stderr


def add_answers(survey_folder):
    """Let two viewers give every pair of a survey the scores 2 and 4."""
    survey = survey_model.load(survey_folder)
    for viewer in ("1" * 32, "2" * 32):
        for number, pair in enumerate(survey.pairs, start=1):
            answer = answers.Answer(viewer, number, pair.a, pair.b, 2, 4, 1)
            answers.append(survey_folder / "answers", answer, survey)


PAGES_RUN = [page for page in pages.PAGES if runnable(page)]


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES_RUN, ids=pages.name_of)
def test_the_commands_of_a_page_run_one_after_the_other(page, folder):
    for words in runnable(page):
        run_shown(words, folder)


def test_the_first_command_of_the_readme_runs(folder):
    run_shown(runnable(ROOT / "README.md")[0], folder)
    assert (folder / "out.json").exists()


def test_pages_with_commands_are_seen():
    names = {pages.name_of(page) for page in PAGES_RUN}
    assert {"README.md", "docs/usage.md", "docs/losses.md", "docs/reproduction/README.md"} <= names


def test_what_is_not_run_is_shown_somewhere():
    shown = {beginning_not_run(words) for page in pages.PAGES for words in commands_of(page)}
    assert shown - {None} == set(NOT_RUN)


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.name_of)
def test_every_block_with_a_command_is_read(page):
    """Whatever the language of a fenced block is said to be."""
    tokens = [token for token in pages.tokens_of(page) if token.type in ("fence", "code_block")]
    with_command = [
        token.content
        for token in tokens
        if re.search(r"^(?:gatys-norm|python|pip install|bash) ", token.content, re.MULTILINE)
    ]
    assert set(with_command) <= set(shell_blocks(page))


def test_extras_that_are_installed_exist():
    extras = set(settings()["options.extras_require"])
    installed = [
        word
        for page in pages.PAGES
        for words in commands_of(page)
        if words[:2] == ["pip", "install"]
        for word in words[2:]
    ]
    assert {"."} < set(installed)
    named = [re.fullmatch(r"\.(?:\[([a-z,]+)\])?", word).group(1) for word in installed]
    assert {extra for names in filter(None, named) for extra in names.split(",")} <= extras


@pytest.mark.parametrize("name", ["README.md", "docs/usage.md", "docs/coming-from.md"])
def test_the_python_of_a_page_runs(name, folder):
    (code,) = pages.fences_of(ROOT / name, "python")
    for old, new in (("size=(256,)", "size=(32,)"), ("iterations=(100,)", "iterations=(2,)")):
        code = code.replace(old, new)
    program = folder / "program.py"
    program.write_text(PYTHON.format(tests=str(ROOT / "tests")) + code)
    finished = run(program, cwd=folder)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize(
    ("line", "changed"),
    [
        ("survey build --run_dir=x", "survey build --run_dir=x"),
        ("timelapse --output=x.png", "timelapse --output=x.png"),
        ("--devices", "--devices"),
    ],
)
def test_commands_without_a_transfer_stay(line, changed):
    assert tiny(line.split()) == changed.split()


def test_transfers_are_made_small():
    words = tiny(["compare", "--size=512,1024", "--snapshot_every=10", "--output=x.png"])
    assert words[:2] == ["compare", "--output=x.png"]
    assert words[2:] == [f"{flag}={value}" for flag, value in (TINY | REPLACED).items()]
    assert "--sizes=32,48" in tiny(["reproduce", "--figures=all"])
    assert "--snapshot_every=1" not in tiny(["--output=x.png"])
