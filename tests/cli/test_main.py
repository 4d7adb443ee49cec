"""The command line itself: help, version, schema, and what it imports."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracker.cli import failures
from tracker.cli.main import main


def test_no_arguments_print_help(capsys):
    assert main([]) == 2
    assert "usage: trackd" in capsys.readouterr().err


@pytest.mark.parametrize("argv", [["--help"], ["track", "--help"], ["checkpoints", "--help"]])
def test_help_comes_with_exit_code_0(argv, capsys):
    with pytest.raises(SystemExit) as left:
        main(argv)
    assert left.value.code == 0
    assert "usage: trackd" in capsys.readouterr().out


def test_version(capsys):
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0
    assert re.match(r"trackd \S+", capsys.readouterr().out)


def test_the_schema_of_the_prompts_file_is_json(capsys):
    assert main(["schema", "prompts"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["title"] == "PromptsFile"
    assert schema["properties"]["version"]["const"] == 1


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["schema"], "the following arguments are required: name"),
        (["track"], "the following arguments are required: SOURCE"),
        (["track", "a.mp4", "--start", "x"], "argument --start: invalid int value"),
        (["track", "a.mp4", "--dtype", "fp8"], "argument --dtype: invalid choice"),
        (["track", "a.mp4", "--colour"], "unrecognized arguments: --colour"),
    ],
)
def test_a_wrong_command_line_is_one_line(argv, says, capsys):
    assert main(argv) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("trackd: error: ")
    assert says in line
    assert "--help" in line


def test_a_bug_is_one_line_that_says_so(capsys, monkeypatch):
    monkeypatch.delenv("TRACKD_DEBUG", raising=False)
    assert failures.report(ValueError("shapes\ndiffer")) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "trackd: error: ValueError: shapes differ; this is a bug; "
        "run with TRACKD_DEBUG=1 for the traceback"
    )


def test_debugging_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("TRACKD_DEBUG", "1")
    assert main(["track", "absent.mp4", "--box", "1:0,0,5,5"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "trackd: error: no such file: absent.mp4" in shown.splitlines()[-1]


@pytest.mark.slow
def test_help_is_quick_because_it_imports_no_network():
    script = (
        "import sys\n"
        "from tracker.cli.main import main\n"
        "try:\n    main(['track', '--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'sam2', 'supervision', 'av', 'cv2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is full, of Linux")
def test_an_output_that_cannot_be_written_is_one_line_and_no_bug() -> None:
    command = [sys.executable, "-m", "tracker.cli.main", "schema", "prompts"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "trackd: error: cannot write the output: No space left on device\n"
