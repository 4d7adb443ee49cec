"""Text files in the encodings that editors and shells write, wherever people hand one over."""

import codecs
import json
from pathlib import Path

import pytest
import zmq.auth

from tracker.annotate.prompts_file import load_prompts
from tracker.cli.main import main
from tracker.client import Client
from tracker.daemon.access.curve import read_keys, write_keys
from tracker.daemon.config.load import load_config
from tracker.errors import UsageError
from tracker.text_file import decode_text

LABEL = "Käfer 🐞"
PROMPTS = json.dumps(
    {
        "version": 1,
        "objects": [{"id": 1, "label": LABEL, "prompts": [{"frame": 0, "box": [1, 2, 30, 40]}]}],
    },
    ensure_ascii=False,
)
READ = {
    "UTF-8": ("utf-8", b""),
    "UTF-8 with a mark": ("utf-8", codecs.BOM_UTF8),
    "UTF-16, as PowerShell writes it": ("utf-16-le", codecs.BOM_UTF16_LE),
    "UTF-16, big end first": ("utf-16-be", codecs.BOM_UTF16_BE),
}
REFUSED = {
    "UTF-32": ("".encode("utf-32") + PROMPTS.encode("utf-32-le"), "UTF-32 text; save it as UTF-8"),
    "Latin-1": (b'{"version": 1,\n"label": "K\xe4fer"}', r"not UTF-8 text \(line 2\)"),
    "UTF-16 without a mark": (PROMPTS.encode("utf-16-le"), "UTF-16 without its mark"),
    "UTF-16 cut short": (codecs.BOM_UTF16_LE + b"{\0\x22", "not UTF-16 text"),
    "a picture": (b"\x89PNG\r\n\x1a\n\0\0", "not UTF-8 text"),
}


@pytest.mark.parametrize("name", list(READ))
def test_prompts_and_configurations_are_read(tmp_path: Path, name: str) -> None:
    encoding, mark = READ[name]
    prompts, config = tmp_path / "prompts.json", tmp_path / "trackd.yaml"
    prompts.write_bytes(mark + PROMPTS.encode(encoding))
    assert load_prompts(prompts).placed[0].prompt.label == LABEL
    config.write_bytes(mark + "# Käfer\nlimits:\n  streams: 3\n".encode(encoding))
    assert load_config(config).limits.streams == 3


@pytest.mark.parametrize("name", list(REFUSED))
def test_other_encodings_are_named_in_one_line(tmp_path: Path, name: str, capsys) -> None:
    data, says = REFUSED[name]
    with pytest.raises(ValueError, match=says):
        decode_text(data)
    path = tmp_path / "file"
    path.write_bytes(data)
    for read in (load_prompts, load_config):
        with pytest.raises(UsageError, match=says) as caught:
            read(path)
        assert "\n" not in str(caught.value)
    assert main(["config", "check", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "save it as UTF-8" in line


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-32"])
def test_a_key_file_says_in_which_encoding_it_has_to_be(tmp_path: Path, encoding: str) -> None:
    files = write_keys(tmp_path, "alice")
    for path in files:
        path.write_bytes(path.read_text().encode(encoding))
        with pytest.raises(ValueError, match=f"{encoding} text; save it as UTF-8"):
            read_keys(path)
    with pytest.raises(UsageError, match=f"is {encoding} text; save it as UTF-8"):
        Client(client_key=files.secret, server_key=files.public)


def test_a_key_file_with_a_mark_is_read(tmp_path: Path) -> None:
    files = write_keys(tmp_path, "alice")
    expected = zmq.auth.load_certificate(files.secret)
    files.secret.write_bytes(codecs.BOM_UTF8 + files.secret.read_bytes())
    assert read_keys(files.secret) == expected
