"""The files around the package agree with each other and with what is there."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import pytest
import yaml
from helpers import project
from helpers.programs import ROOT

from gatys_norm.cli import about

PYTHONS = project.supported_pythons()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").iterdir())
KINDS_OF_CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def parsed(path):
    """Return what a YAML file holds."""
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def readme():
    """Return the text of README.md."""
    return (ROOT / "README.md").read_text(encoding="utf-8")


# setup.cfg


def test_the_version_is_the_same_everywhere():
    version = project.settings()["metadata"]["version"]
    assert importlib.metadata.version("gatys-norm") == version
    assert about.version().startswith(f"gatys-norm {version}, ")
    sources = (ROOT / "gatys_norm").rglob("*.py")
    assert [path for path in sources if f'"{version}"' in path.read_text(encoding="utf-8")] == []


def test_the_supported_pythons_are_the_same_everywhere():
    assert PYTHONS == ["3.10", "3.11", "3.12", "3.13"]
    prefix = "Programming Language :: Python :: "
    classifiers = project.lines_of("metadata", "classifiers")
    named = [line.removeprefix(prefix) for line in classifiers if line.startswith(f"{prefix}3.")]
    assert named == PYTHONS
    job = parsed(ROOT / ".github" / "workflows" / "quick.yml")["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == PYTHONS
    target = f'\ntarget-version = "py{PYTHONS[0].replace(".", "")}"\n'
    assert target in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_tensorflow_has_the_extra_that_cuda_takes():
    requirement, _ = project.lines_of("options.extras_require", "cuda")
    package, extra = re.fullmatch(r"([a-z]+)\[([a-z-]+)\]", requirement).groups()
    assert extra in importlib.metadata.metadata(package).get_all("Provides-Extra")


# scripts/environment.sh


def imitate(path, version):
    """Write a program that answers as Python of a version, or None: as Python without venv.

    With `-m venv FOLDER` it makes an environment in which pip does nothing.
    """
    changes = f"sys.version_info = {version}" if version else "sys.modules['ensurepip'] = None"
    path.write_text(
        "#!/bin/bash\n"
        f'if [ "$1" = -c ]; then exec {sys.executable} -c "import sys; {changes}; $2"; fi\n'
        '/bin/mkdir -p "$3/bin"\n'
        'for name in python pip; do echo "#!/bin/bash" > "$3/bin/$name"; done\n'
        '/bin/chmod +x "$3/bin/python" "$3/bin/pip"\n'
    )
    path.chmod(0o755)


def environment_in(folder, **versions):
    """Source a copy of environment.sh where the PATH has only imitations of Python.

    Args:
      folder: an empty folder.
      versions: {name: version}; "python3_11" is python3.11. See `imitate`.

    Returns:
      `subprocess.CompletedProcess`.
    """
    programs = folder / "programs"
    programs.mkdir()
    (folder / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment.sh", folder / "scripts")
    bash, dirname = (shutil.which(name) for name in ("bash", "dirname"))
    assert bash
    assert dirname
    (programs / "dirname").symlink_to(dirname)
    for name, version in versions.items():
        imitate(programs / name.replace("_", "."), version)
    return subprocess.run(
        [bash, "-c", 'source scripts/environment.sh test; echo "then $python"'],
        cwd=folder,
        env={"PATH": str(programs)},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize(
    ("versions", "chosen"),
    [
        ({"python3": (3, 10, 0)}, "python3"),
        ({"python3": (3, 13, 9), "python3_11": (3, 11, 0)}, "python3"),
        ({"python3": (3, 14, 0), "python3_12": (3, 12, 1)}, "python3.12"),
        ({"python3": (3, 9, 18), "python3_10": (3, 10, 1), "python3_13": (3, 13, 0)}, "python3.13"),
        ({"python3": None, "python3_10": (3, 10, 1)}, "python3.10"),
    ],
)
def test_the_environment_is_made_with_a_python_that_fits(tmp_path, versions, chosen):
    finished = environment_in(tmp_path, **versions)
    assert (finished.returncode, finished.stderr) == (0, "")
    assert finished.stdout.splitlines() == [
        f"making .venv with {chosen}",
        "installing into .venv",
        "then .venv/bin/python",
    ]


@pytest.mark.parametrize(
    "versions",
    [{}, {"python3": None}, {"python3": (3, 9, 18), "python3_9": (3, 9, 18)}, {"python3": (4, 0)}],
)
def test_without_a_python_that_fits_one_line_says_what_is_needed(tmp_path, versions):
    finished = environment_in(tmp_path, **versions)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == (
        f"needed on the PATH: Python {PYTHONS[0]} to {PYTHONS[-1]} with venv "
        "(Debian: apt-get install python3-venv)\n"
    )
    assert not (tmp_path / ".venv").exists()


def test_a_whole_environment_is_kept_and_half_of_one_is_made_anew(tmp_path):
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").touch(mode=0o755)  # where venv was stopped
    assert "making" in environment_in(tmp_path, python3=(3, 11)).stdout
    shutil.rmtree(tmp_path / "programs")
    shutil.rmtree(tmp_path / "scripts")
    assert "making" not in environment_in(tmp_path).stdout


# Dockerfile


def installed_by_readme():
    """Return what README.md installs from the clone, such as ".[survey]"."""
    shown = re.findall(r"^ *pip install (?:--editable )?(\S+)", readme(), re.MULTILINE)
    return {path for path in (word.strip("\"'") for word in shown) if path.startswith(".")}


def test_readme_installs_extras_that_are_there():
    extras = set(project.settings()["options.extras_require"])
    paths = installed_by_readme()
    assert "." in paths
    for path in paths - {"."}:
        assert set(re.fullmatch(r"\.\[([a-z,]+)\]", path).group(1).split(",")) <= extras


@pytest.mark.parametrize(("extras", "path"), [("", "."), ("cuda", ".[cuda]")])
def test_the_image_installs_the_extras_that_are_asked_for(extras, path):
    commands = [command for name, command in project.dockerfile() if name == "RUN"]
    (install,) = (command for command in commands if command.startswith("pip install "))
    finished = subprocess.run(
        ["sh", "-c", f"set -u; printf '%s\n' {install}"],
        env=os.environ | {"EXTRAS": extras},
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout.splitlines() == ["pip", "install", "--no-cache-dir", path]


def test_the_image_runs_the_program_as_another_user_than_root():
    steps = project.dockerfile()
    names = [name for name, _ in steps]
    last = dict(steps)  # of each kind, the last one counts
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="gatys-norm")
    assert last["ENTRYPOINT"] == f'["{command.name}"]'
    assert last["USER"] not in ("root", "0")
    assert f" {last['USER']} " in last["RUN"]  # which makes this user
    assert names.index("USER") > max(number for number, name in enumerate(names) if name == "RUN")
    arguments = [arguments for name, arguments in steps if name == "ARG"]
    python, extras = arguments
    assert python in {f"PYTHON={version}" for version in PYTHONS}
    assert extras == 'EXTRAS=""'
    assert last["FROM"] == "python:${PYTHON}-slim"


def test_the_image_has_folders_for_pictures_and_weights_that_anyone_may_write():
    last = dict(project.dockerfile())
    assert last["VOLUME"] == '["/pictures", "/cache"]'
    assert last["RUN"].endswith("mkdir --mode=1777 /pictures /cache")
    assert last["ENV"] == "HOME=/cache"  # weights go below the home folder
    assert last["WORKDIR"] == "/pictures"


def is_sent_to_docker(path):
    """Tell whether .dockerignore lets a path at the top of the project through."""
    sent = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fnmatch(path, line.removeprefix("!")):
            sent = line.startswith("!")
    return sent


def test_docker_gets_what_is_copied_and_nothing_else():
    names = {path.name for path in ROOT.iterdir()}
    assert {name for name in names if is_sent_to_docker(name)} == set(
        project.copied_by_dockerfile()
    )
    assert is_sent_to_docker(".venv") is is_sent_to_docker(".git") is False


# CITATION.cff, CHANGELOG.md


def test_the_citation_names_the_program_and_the_paper():
    citation = parsed(ROOT / "CITATION.cff")
    metadata = project.settings()["metadata"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] == "software"
    assert citation["message"]
    assert citation["title"].startswith("gatys_norm: ")
    assert citation["authors"] == [{"name": metadata["author"]}]
    assert citation["license"] == metadata["license"]
    paper = citation["preferred-citation"]
    assert paper["type"] == "article"
    assert [person["family-names"] for person in paper["authors"]] == ["Choi", "Kim"]
    assert [paper[name] for name in ("volume", "issue", "year")] == [25, 6, 2020]
    assert paper["doi"] == "10.5909/JBE.2020.25.6.980"
    text = " ".join(readme().replace(">", "").split())
    assert paper["title"] in text
    assert paper["doi"] in text


def test_the_changelog_keeps_to_its_form():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    for release in releases[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", release)
    assert set(re.findall(r"^### (.*)$", text, re.MULTILINE)) <= KINDS_OF_CHANGES


# What runs the checks


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_may_only_read_and_run_what_is_there(path):
    workflow = parsed(path)
    assert workflow["permissions"] == {"contents": "read"}
    (job,) = workflow["jobs"].values()
    uses = [step["uses"] for step in job["steps"] if "uses" in step]
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in uses)
    runs = [step["run"] for step in job["steps"] if "run" in step]
    assert any("chromium-driver" in command for command in runs)  # or the tests of pages would fail
    script, *options = runs[-1].removeprefix("bash ").split()
    assert (ROOT / script).is_file()
    assert options == (["--all"] if path.name == "weekly.yml" else [])


def test_workflows_start_on_changes_and_weekly():
    starts = {path.stem: parsed(path)[True] for path in WORKFLOWS}  # YAML 1.1 reads "on" as true
    assert set(starts) == {"quick", "weekly"}
    assert set(starts["quick"]) == {"push", "pull_request"}
    (time,) = starts["weekly"]["schedule"]
    assert re.fullmatch(r"[0-9]{1,2} [0-9]{1,2} \* \* [0-6]", time["cron"])


def test_hooks_run_the_tools_of_the_test_script():
    script = (ROOT / "scripts" / "test.sh").read_text()
    (repository,) = parsed(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        python, option, *tool = hook["entry"].split()
        assert (python, option, hook["language"]) == (".venv/bin/python", "-m", "system")
        assert importlib.util.find_spec(tool[0])
        assert f"$python -m {' '.join(tool)}" in script
