"""Every flag reaches its setting, and every mistake ends in one line and code 2."""

import dataclasses
import json
import shlex
from typing import Any

import pytest
from absl import flags
from helpers.commands import help_by_flag
from helpers.transfer_command import (
    DEFAULTS,
    GIVEN,
    PICTURE,
    TensorFlowStartedError,
    assert_refused,
    call,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatys_norm.cli import flags as cli_flags
from gatys_norm.cli import main as cli
from gatys_norm.config import PRESETS, TransferConfig
from gatys_norm.images import io as picture_io
from gatys_norm.runs import folder as run_folder

pytestmark = pytest.mark.usefixtures("folder")

FAST = {
    "iterations": (400,),
    "precision": "bfloat16",
    "parametrization": "fourier",
    "continuation": "rank",
    "history": 30,
}


# --- flags to settings ------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "content": ("täst λ.png", "täst λ.png"),
    "style": ('"dir/b=c,d.jpg"', ("dir/b=c,d.jpg",)),
    "style_blend": ("2", (2.0,)),
    "content_masks": ("masks/left.png", ("masks/left.png",)),
    "style_masks": ('"a,b.png"', ("a,b.png",)),
    "color": ("luminance", "luminance"),
    "loss": ("original", "original"),
    "lambda_os": ("2.5e-2", 0.025),
    "strength": ("0.7", 0.7),
    "content_layers": ("relu3_1,conv4_2", ("relu3_1", "conv4_2")),
    "content_weights": ("3", (3.0,)),
    "style_layers": ("conv1_1, relu2_1", ("conv1_1", "relu2_1")),
    "style_weights": ("1,0,.5,2e0,1", (1.0, 0.0, 0.5, 2.0, 1.0)),
    "size": ("256,512,1024", (256, 512, 1024)),
    "iterations": ("42", (42,)),
    "style_size": ("300", "300"),
    "stroke_size": ("1.5", 1.5),
    "init": ("start.png", "start.png"),
    "pooling": ("avg", "avg"),
    "border": ("wrap_x", "wrap_x"),
    "projection": ("flat", "flat"),
    "tv_weight": ("0.125", 0.125),
    "precision": ("bfloat16", "bfloat16"),
    "parametrization": ("fourier", "fourier"),
    "continuation": ("rank", "rank"),
    "optimizer": ("adam", "adam"),
    "learning_rate": ("0.5", 0.5),
    "line_search": ("hager_zhang", "hager_zhang"),
    "history": ("25", 25),
    "seed": ("9223372036854775807", 2**63 - 1),
    "weights": ("imagenet-8bit", "imagenet-8bit"),
    "memory_limit": ("800MB", "800MB"),
    "log_every": ("7", 7),
}


def test_defaults_are_those_of_the_settings(received):
    assert call(*GIVEN)[0] == 0
    [(config, output, values, resume)] = received
    assert config == DEFAULTS
    assert (output, resume) == ("out.png", False)
    assert (values.checkpoint_every, values.snapshot_every) == (50, 0)


def test_every_setting_has_a_flag_and_a_case_here():
    assert set(SETTINGS) == {field.name for field in dataclasses.fields(TransferConfig)}


@pytest.mark.parametrize("name", SETTINGS)
def test_each_flag_reaches_its_setting_and_no_other(received, name):
    text, value = SETTINGS[name]
    assert call(*GIVEN, f"--{name}={text}")[0] == 0
    [(config, *_)] = received
    assert config == dataclasses.replace(DEFAULTS, **{name: value})
    got = getattr(config, name)
    assert type(got) is type(value)
    if isinstance(value, tuple):
        assert [type(part) for part in got] == [type(part) for part in value]


@pytest.mark.parametrize(
    ("flag", "styles"),
    [
        ("--style=a.jpg", ("a.jpg",)),
        ("--style=a b.jpg", ("a b.jpg",)),
        ('--style="a, b.jpg"', ("a, b.jpg",)),
        ("--style=a.jpg,dir/b.png", ("a.jpg", "dir/b.png")),
        ("--style=a.jpg, b.png", ("a.jpg", "b.png")),
        ('--style="a, b.jpg","say ""hi"".png",c.png', ("a, b.jpg", 'say "hi".png', "c.png")),
        ("--style=a.jpg,a.jpg", ("a.jpg", "a.jpg")),
    ],
)
def test_styles_are_separated_by_commas_and_quoted_where_they_hold_some(received, flag, styles):
    assert call(*GIVEN, flag)[0] == 0
    [(config, *_)] = received
    assert config.style == styles
    assert config == dataclasses.replace(DEFAULTS, style=styles)


def test_several_styles_with_their_shares_and_masks(received):
    given = (
        "--style=b.png,c.png",
        "--style_blend=7,3",
        "--content_masks=l.png,r.png",
        "--style_masks=all.png,all.png",
    )
    assert call(*GIVEN, *given)[0] == 0
    [(config, *_)] = received
    assert config == dataclasses.replace(
        DEFAULTS,
        style=("b.png", "c.png"),
        style_blend=(7, 3),
        content_masks=("l.png", "r.png"),
        style_masks=("all.png", "all.png"),
    )


def test_flags_of_the_program_itself_reach_it(received):
    more = ("--checkpoint_every=7", "--snapshot_every=3", "--resume", "--verbosity=1")
    assert call(*GIVEN, *more)[0] == 0
    [(_, _, values, resume)] = received
    assert (values.checkpoint_every, values.snapshot_every, resume) == (7, 3, True)
    assert values.verbosity == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("-content=a.png", "-style=b.png", "-output=out.png"),
        ("--content", "a.png", "--style", "b.png", "--output", "out.png"),
        (*GIVEN, "--"),
        (*GIVEN, "--noresume", "--nohelp", "--help=false"),
        ("--content=x.png", *GIVEN, "--seed=5", "--seed=0"),
        ("--undefok=future", "--future=1", *GIVEN),
        ("--flagfile=flags.txt", "--output=out.png"),
        (*GIVEN, "--flagfile="),
    ],
)
def test_every_form_that_absl_reads_works(received, folder, arguments):
    (folder / "flags.txt").write_text("# a comment\n--content=a.png\n\n--style=b.png\n")
    assert call(*arguments)[0] == 0
    [(config, output, _, resume)] = received
    assert (config, output, resume) == (DEFAULTS, "out.png", False)


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        (["--preset=paper"], {}),
        (["--preset=fast"], FAST),
        (["--preset=fast", "--size=128,256"], FAST | {"size": (128, 256)}),
        (
            ["--preset=fast", "--iterations=7", "--precision=float32", "--seed=3"],
            FAST | {"iterations": (7,), "precision": "float32", "seed": 3},
        ),
        (
            ["--parametrization=pixel", "--history=7", "--preset=fast"],
            FAST | {"parametrization": "pixel", "history": 7},
        ),
    ],
)
def test_presets_expand_and_flags_win_over_them(received, arguments, settings):
    assert call(*GIVEN, *arguments)[0] == 0
    assert received[0][0] == dataclasses.replace(DEFAULTS, **settings)


@pytest.mark.parametrize("preset", ["paper", "fast"])
def test_a_preset_wins_over_an_earlier_run(received, folder, preset):
    config = dataclasses.replace(
        DEFAULTS, size=(64, 96), iterations=(3, 4), seed=5, history=7, precision="bfloat16"
    )
    (folder / "earlier.json").write_text(json.dumps({"config": config.as_dict()}))
    call("--config_from=earlier.json", f"--preset={preset}", "--output=out.png")
    expected = dataclasses.replace(config, **PRESETS[preset])
    assert received[0][0] == expected


def test_calls_do_not_influence_each_other(received):
    left_out = ("style_layers", "strength")  # instead of which lambda_os is given
    changed = [f"--{name}={text}" for name, (text, _) in SETTINGS.items() if name not in left_out]
    changed += ["--content_weights=1,2", "--snapshot_every=3", "--resume", "--output=other.png"]
    assert call(*changed)[0] == 0
    assert call(*GIVEN, "--seed=no")[0] == 2
    assert call("--help")[0] == 0
    assert call(*GIVEN)[0] == 0
    first, second = received
    assert first[0].size == (256, 512, 1024)
    assert second[0] == DEFAULTS
    assert (second[1], second[2].snapshot_every, second[3]) == ("out.png", 0, False)


def test_absls_global_flags_are_left_alone(received):
    call(*GIVEN)
    assert "content" not in flags.FLAGS
    assert "snapshot_every" not in flags.FLAGS


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"lambda_os": 1e-5, "loss": "original", "size": (96, 1024), "iterations": (30, 20)},
        {"content": "a 'b' $(c).png", "style": ('d, "e".png',), "init": "f;g.png"},
        {"style": ("a,b.png", "c.png"), "style_blend": (0.1, 2.5e-7), "content_masks": ("m", "n")},
        {"strength": 0.7, "loss": "original"},
        {"history": 7, "seed": 2**63 - 1, "tv_weight": 0.1 + 0.2, "memory_limit": "8GiB"},
    ],
    ids=repr,
)
@pytest.mark.parametrize("preset", [{}, PRESETS["fast"]], ids=["paper", "fast"])
def test_the_words_of_settings_give_them_back(changes, preset):
    config = TransferConfig(**{"content": "c.png", "style": ("s.png",)} | preset | changes)
    line = shlex.join(["gatys-norm", *cli_flags.words_of(config)])
    assert ("--preset=fast" in line) is bool(preset)
    assert preset == {} or "--precision" not in line
    values = cli_flags.make_flags()
    values(shlex.split(line))
    assert cli_flags.config_from_flags(values) == config


# --- settings of an earlier run ---------------------------------------------------------------


@pytest.fixture
def earlier(folder):
    """Leave the files of an earlier run with unusual settings; returns its resolved settings."""
    others = {
        name: value
        for name, (_, value) in SETTINGS.items()
        if not name.endswith("_weights") and name != "strength"
    }
    several = {
        "style": ("b=c,d.jpg", "e f.png"),
        "style_blend": (2.0, 0.5),
        "content_masks": ("left.png", "right.png"),
        "style_masks": ("all.png", "a,b.png"),
    }
    config = TransferConfig(**others | {"style_weights": (1.0, 0.5)} | several).resolved()
    run_folder.save_result(folder / "earlier.png", PICTURE, {"config": config.as_dict()})
    return config


@pytest.mark.parametrize("source", ["earlier.png", "earlier.json"])
def test_settings_come_from_an_earlier_run(received, earlier, source):
    assert call(f"--config_from={source}", "--output=out.png")[0] == 0
    [(config, output, *_)] = received
    assert (config, output) == (earlier, "out.png")


def test_flags_that_are_given_override_an_earlier_run(received, earlier):
    given = ("--seed=0", "--init=content", "--style_weights=1,1", "--content=other.png")
    assert call("--config_from=earlier.json", "--output=out.png", *given)[0] == 0
    [(config, *_)] = received
    assert config == dataclasses.replace(
        earlier, seed=0, init="content", style_weights=(1.0, 1.0), content="other.png"
    )


def test_a_strength_that_is_given_replaces_the_weight_of_an_earlier_run(received, earlier):
    assert call("--config_from=earlier.json", "--output=out.png", "--strength=0.3")[0] == 0
    assert received[0][0] == dataclasses.replace(earlier, strength=0.3, lambda_os=None)


def test_a_weight_that_is_given_replaces_the_strength_of_an_earlier_run(received, folder):
    config = dataclasses.replace(DEFAULTS, strength=0.3).resolved()
    run_folder.save_result(folder / "earlier.png", PICTURE, {"config": config.as_dict()})
    for words, wanted in (
        ((), {}),
        (("--lambda_os=2",), {"strength": None, "lambda_os": 2.0}),
        (("--strength=0.6",), {"strength": 0.6}),
    ):
        assert call("--config_from=earlier.json", "--output=out.png", *words)[0] == 0
        assert received.pop()[0] == dataclasses.replace(config, **wanted)


NO_RECORDS = {
    "empty.json": b"",
    "text.json": b"hello",
    "list.json": b"[1]",
    "other.json": b'{"settings": {}}',
    "deep.json": b"[" * 100_000,
    "latin1.json": b'{"config": "caf\xe9"}',
    "unknown.json": b'{"config": {"content": "a", "style": "b", "colour": 1}}',
    "wrong.json": b'{"config": {"content": "a", "style": "b", "seed": -1}}',
    "type.json": b'{"config": {"content": "a", "style": "b", "size": 512}}',
    "nested.json": b'{"config": {"content": "a", "style": "b", "size": [[512]]}}',
    "strings.json": b'{"config": "content"}',
    "null.json": b'{"config": null}',
    "text.png": b"hello",
}


@pytest.mark.parametrize("name", [*NO_RECORDS, "missing.json", "missing.png", "folder.json", ""])
def test_what_is_no_record_is_refused(received, folder, name):
    (folder / "folder.json").mkdir()
    for other, data in NO_RECORDS.items():
        (folder / other).write_bytes(data)
    named = "--config_from" if name else "--content"
    assert_refused(call(f"--config_from={name}", "--output=out.png"), named)
    assert received == []


def test_a_picture_of_another_program_holds_no_settings(folder):
    for name in ("plain.png", "plain.jpg"):
        picture_io.save_picture(name, PICTURE)
        assert_refused(call(f"--config_from={name}", "--output=out.png"), f"--config_from: {name}")


# --- help -------------------------------------------------------------------------------------

HELP = {  # as in the design's table; a default that depends on others is said in words
    "content": "",
    "style": "several are blended",
    "style_blend": "default equal shares",
    "content_masks": "default everywhere",
    "style_masks": "default all",
    "color": "(default: 'style')",
    "output": "",
    "config_from": "",
    "loss": "(default: 'normalized')",
    "lambda_os": "default 0.001 normalized, 0.0001 original",
    "strength": "instead of lambda_os",
    "content_layers": "(default: 'conv4_2')",
    "content_weights": "default 1 each",
    "style_layers": "(default: 'conv1_2,conv2_2,conv3_4,conv4_4,conv5_4')",
    "style_weights": "default 0.2 each",
    "size": "(default: '512')",
    "iterations": "(default: '600')",
    "style_size": "(default: 'match')",
    "stroke_size": "(default: '1.0')",
    "init": "(default: 'content')",
    "pooling": "(default: 'max')",
    "border": "(default: 'zero')",
    "projection": "(default: 'flat')",
    "tv_weight": "(default: '0.0')",
    "precision": "(default: 'float32')",
    "parametrization": "(default: 'pixel')",
    "continuation": "(default: 'none')",
    "optimizer": "(default: 'lbfgs')",
    "learning_rate": "default 1",
    "preset": "(default: 'paper')",
    "line_search": "(default: 'unit_step')",
    "history": "(default: '10')",
    "seed": "(default: '0')",
    "weights": "(default: 'auto')",
    "checkpoint_every": "(default: '50')",
    "snapshot_every": "(default: '0')",
    "verbosity": "(default: '0')",
    "bit_depth": "(default: '8')",
    "dpi": "default those of the content",
    "preview": "0 picks any free",
    "version": "(default: 'false')",
    "devices": "(default: 'false')",
    "viewer": "(default: 'false')",
    "resume": "(default: 'false')",
    "memory_limit": "default all that is free",
    "log_every": "(default: '10')",
}
HELPS = {"help", "helpshort", "helpfull"}
SELDOM_SET = {
    *("line_search", "log_every", "parametrization", "continuation", "history"),
    "checkpoint_every",
}


@pytest.mark.parametrize("flag", ["--helpfull", "-helpfull", "--helpfull=true"])
def test_full_help_lists_every_flag_with_its_default(flag):
    code, out, err = call(flag)
    assert (code, err) == (0, "")
    assert out.startswith("Restyle one picture")
    listed = help_by_flag(out)
    assert set(listed) == set(HELP) | HELPS
    for name, default in HELP.items():
        assert default in listed[name]
    for field in dataclasses.fields(TransferConfig):
        assert " ".join(field.metadata["explanation"].split()) in listed[field.name]
        for choice in field.metadata["choices"] or ():
            assert choice in listed[field.name]


@pytest.mark.parametrize("flag", ["--help", "--helpshort", "-help", "--help=true"])
def test_help_leaves_out_what_is_seldom_set_by_hand_and_says_the_same_of_the_rest(flag):
    code, out, err = call(flag)
    assert (code, err) == (0, "")
    listed, full = help_by_flag(out), help_by_flag(call("--helpfull")[1])
    assert set(full) - set(listed) == SELDOM_SET
    assert {name: full[name] for name in listed} == listed
    assert set(listed) >= HELPS


def test_help_wins_over_what_is_missing_but_not_over_what_is_wrong():
    assert call("--help", "--loss=original")[0] == 0
    assert_refused(call("--help", "--loss=neither"), "--loss")


# --- mistakes ---------------------------------------------------------------------------------

# Each kind of flag once with all that may be wrong with its text; what values a setting refuses is
# for test_config.py.
KINDS = ("lambda_os", "style_weights", "history", "size")
NUMBERS = ("tv_weight", "stroke_size", "content_weights", "style_blend", "learning_rate")
WHOLE_NUMBERS = ("seed", "log_every", "checkpoint_every", "snapshot_every", "preview", "dpi")
OF_THE_PROGRAM = ("checkpoint_every", "snapshot_every", "preview", "dpi")  # no settings
ENUMS = (
    *("loss", "color", "pooling", "border", "precision", "parametrization", "optimizer"),
    *("line_search", "continuation", "preset", "bit_depth", "projection"),
)
MISTAKES = [  # (arguments besides the three that are needed, what the line must name)
    *((f"--{name}=neither", f"--{name}") for name in ENUMS),
    *((f"--{name}=", f"--{name}") for name in ENUMS),
    *(
        (f"--{name}={value}", f"--{name}")
        for name in KINDS
        for value in ("", "x", "-1", "nan", "inf", "-inf", "1e999", "0x", "1 2", "٣,x")
    ),
    *((f"--{name}=x", f"--{name}") for name in (*NUMBERS, *WHOLE_NUMBERS, "iterations")),
    *((f"--{name}=1.5", f"--{name}") for name in (*WHOLE_NUMBERS, "history", "size", "iterations")),
    *((f"--{name}=-1", f"--{name}") for name in OF_THE_PROGRAM),
    *((f"--{name}={'9' * 5000}", f"--{name}") for name in ("seed", "preview")),
    ("--bogus", "bogus"),
    ("--bogus=1", "bogus"),
    ("-bogus", "bogus"),
    ("--nocontent", "nocontent"),
    ("--lambda-os=1", "lambda-os"),
    ("--cont=a.png", "cont"),
    ("---seed=1", "-seed"),
    ("--size=1,x", "--size"),
    ("--size=512,", "--size"),
    ('--size="512', "--size"),
    ("--size=512\n1024", "--size"),
    ("--style_weights=1,2,,4,5", "--style_weights"),
    ("--style=b.png,", "--style"),
    ("--style=,", "--style"),
    ('--style="b.png', "--style"),
    ("--content_masks=", "--content_masks"),
    ("--content_masks=a.png,b.png", "--content_masks: 1 picture is needed"),
    ("--style_masks=,", "--style_masks"),
    ("--content_layers=", "--content_layers"),
    ("--style_layers=", "--style_layers"),
    ("--style_layers=conv9_9", "--style_layers"),
    ("--content_layers=conv4_2,", "--content_layers"),
    ("--style_size=large", "--style_size"),
    ("--style_size=", "--style_size"),
    ("--stroke_size=0", "--stroke_size: must be a finite number from 0.1 to 10, not 0.0"),
    ("--stroke_size=", "--stroke_size"),
    ("--resume=maybe", "--resume"),
    ("--noresume=1", "--noresume"),
    ("--nohelp=x", "--nohelp"),
    ("--help=maybe", "--help"),
    ("--seed", "--seed"),
    ("--verbosity=-1", "--verbosity"),
    ("--verbosity=info", "--verbosity"),
    ("--flagfile", "--flagfile"),
    ("--flagfile=missing.txt", "missing.txt"),
    ("--flagfile=.", "flagfile"),
    ("--flagfile=latin1.txt", "--flagfile"),
    ("--flagfile=wrong.txt", "bogus"),
    ("--undefok", "--undefok"),
    ("extra.png", "'extra.png'"),
    ("-", "'-'"),
    ("--=x", "'--=x'"),
    ("--output=out.gif", "--output"),
    ("--output=missing/out.png", "--output"),
    ("--output=no\nfolder/out.png", "--output"),
    (f"--output={'n' * 300}.png", "--output"),
]


@pytest.mark.parametrize(("argument", "named"), MISTAKES, ids=lambda text: ascii(text)[:40])
def test_a_mistake_ends_in_one_line_that_names_it(received, folder, argument, named):
    (folder / "latin1.txt").write_bytes(b"--content=caf\xe9.png\n")
    (folder / "wrong.txt").write_text("--bogus=1\n")
    before = sorted(folder.rglob("*"))
    assert_refused(call(*GIVEN, argument), named)
    assert received == []
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("name", ["content", "style", "output"])
@pytest.mark.parametrize("argument", [(), ("--{}=",)])
def test_what_is_needed_is_asked_for(received, name, argument):
    others = [flag for flag in GIVEN if not flag.startswith(f"--{name}=")]
    assert_refused(call(*others, *(text.format(name) for text in argument)), f"--{name}: is needed")
    assert received == []


def test_no_arguments_at_all():
    assert_refused(call(), "--content: is needed")


def test_extra_picture_after_a_double_dash():
    assert_refused(call(*GIVEN, "--", "--seed=1"), "'--seed=1'")


@pytest.mark.parametrize("name", ["content", "style", "init", "content_masks", "style_masks"])
def test_an_input_is_never_the_output(received, folder, name):
    (folder / "picture.png").write_bytes(b"precious")
    (folder / "link.png").symlink_to("picture.png")
    for output in ("picture.png", "./picture.png", str(folder / "picture.png"), "link.png"):
        result = call(*GIVEN, f"--{name}=picture.png", f"--output={output}")
        assert_refused(result, "--output")
    assert received == []
    assert (folder / "picture.png").read_bytes() == b"precious"


@pytest.mark.parametrize("flag", ["style", "content_masks", "style_masks"])
def test_nor_is_the_second_of_several(received, folder, flag):
    (folder / "picture.png").write_bytes(b"precious")
    result = call(
        *GIVEN, "--style=b.png,c.png", f"--{flag}=b.png,picture.png", "--output=picture.png"
    )
    assert_refused(result, "--output: picture.png: is one of the inputs")
    assert received == []


FLAG_NAMES = (*sorted(set(HELP) - {"output"}), "flagfile", "undefok", "noresume", "help", "x")
ANY_VALUE = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), max_size=12
) | st.sampled_from(
    ["1,2", "1e-3", "-0", "true", "512,1024", "conv1_1", "match", "'", '"', '"a,b"', "1_0", "\r\n"]
)


@settings(
    max_examples=2 * settings.default.max_examples,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(name=st.sampled_from(FLAG_NAMES), value=ANY_VALUE)
def test_any_value_of_any_flag_works_or_is_refused_in_one_line(capsys, name, value):
    capsys.readouterr()
    try:
        code = cli.run(["gatys-norm", *GIVEN, f"--{name}={value}"])
    except TensorFlowStartedError:
        return
    out, err = capsys.readouterr()
    if code == 0:
        assert name in ("help", "version")
        assert out
    else:
        assert_refused((code, out, err), "")
