"""Help, usage and errors: what people meet first, quickly and without a traceback."""

import subprocess
import sys

import pytest

import hilum as package

INPUTS = ("--images", "x", "--labels", "y", "--out", "z")
COMMANDS = (
    *("demo", "run", "ingest", "train", "evaluate", "compare", "leaderboard", "calibrate"),
    *("predict", "info"),
)


def test_help_lists_the_commands_and_the_exit_codes(hilum):
    answer = hilum("--help")
    assert answer.code == 0
    assert all(command in answer.out for command in COMMANDS)
    assert "Exit codes" in answer.out


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_explains_itself_and_has_examples(hilum, command):
    answer = hilum(command, "--help")
    assert answer.code == 0
    assert "Examples" in answer.out
    assert answer.out.count(f"hilum {command}") >= 3, "usage and two examples"


def test_help_answers_without_torch_spark_or_pydicom():
    program = (
        "import sys\n"
        "from hilum.cli.main import app\n"
        f"for command in {COMMANDS}:\n"
        "    app([command, '--help'], standalone_mode=False)\n"
        "heavy = {'torch', 'pyspark', 'pydicom', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_a_command_the_help_is_shown(hilum):
    answer = hilum()
    assert answer.code == 2
    assert "Usage" in answer.out + answer.err


def test_the_version_is_the_packages(hilum):
    answer = hilum("--version")
    assert (answer.code, answer.out) == (0, f"hilum {package.__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "--pictures", "x"), "--pictures"),
        (("run", "--images", "x"), "--labels"),
        (("run", "--images", "x", "--labels", "y", "--out", "z", "--epochs", "0"), "--epochs"),
        (("predict",), "BUNDLE"),
        (("train", "--data", "x"), "--labels"),
        (("calibrate", "b", *INPUTS, "--prevalence", "0.1"), "--miss-cost"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_wrong_usage_names_the_option_and_ends_with_2(hilum, arguments, said):
    answer = hilum(*arguments)
    assert answer.code == 2
    assert said in answer.err
    assert answer.out == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info", "/no/such/bundle"), "manifest.json"),
        (
            ("run", *("--images", "x", "--labels", "y", "--out", "z"), "--split-fractions", "1,2"),
            "split",
        ),
        (("run", *("--images", "x", "--labels", "y", "--out", "z"), "--split-by", "age"), "age"),
        (("train", "--resume", "run", "--data", "table"), "--resume"),
        (("train", "--resume", "run", "--epochs", "9"), "maxEpochs"),
        (("run", *INPUTS, "--loss", "focal", "--pos-weight", "balanced"), "posWeight"),
        (("run", *INPUTS, "--schedule", "saw"), "one_cycle"),
        (("train", "--data", "x", *INPUTS[2:], "--validate-every", "now"), "500 steps"),
    ],
)
def test_an_error_is_one_message_on_stderr_and_ends_with_1(hilum, arguments, said):
    answer = hilum(*arguments)
    assert answer.code == 1
    assert answer.err.startswith("hilum: ")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert answer.out == ""


def test_a_demo_never_overwrites_a_directory_it_did_not_make(hilum, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    answer = hilum("demo", "--out", tmp_path)
    assert answer.code == 1
    assert (tmp_path / "thesis.txt").read_text() == "years of work"
