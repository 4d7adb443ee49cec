"""The daemon's configuration: what is taken, and what is said of the rest."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tracker.cli.main import main
from tracker.daemon.access.curve import write_keys
from tracker.daemon.config.load import MAX_CONFIG_BYTES, load_config
from tracker.daemon.config.reload import compare
from tracker.daemon.config.schema import DaemonConfig
from tracker.errors import UsageError

_PRESETS = Path(__file__).parents[2] / "configs"
_CAMERA = "streams: {cam1: {url: 'rtsp://viewer:hunter2@10.0.0.9/live?token=hunter3'}}\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "camera.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def refusal(path: Path, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(UsageError) as refused:
        load_config(path, environ or {})
    text = str(refused.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert "hunter" not in text
    return text.removeprefix(str(path))


def test_an_empty_file_is_all_defaults(write):
    assert load_config(write("")) == DaemonConfig()


def test_a_file_says_what_differs_from_the_defaults(write):
    config = load_config(write("model: {name: sam2.1-tiny}\nlog: {format: json}\n" + _CAMERA))
    assert config.model.name == "sam2.1-tiny"
    assert config.model.device == "auto"
    assert config.log.format == "json"
    assert config.streams["cam1"].url.startswith("rtsp://viewer:hunter2@")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("streams: {cam1: {ulr: x}}", r": streams.cam1.ulr: unknown key.*; did you mean url\?"),
        ("modle: {}", r": modle: unknown key; did you mean model\?"),
        ("state: {path: x}", r": state.path: unknown key; use dir, every_s, max_age_s"),
        ("streams: {cam1: {url: x, preview: {fsp: 1}}}", r"preview.fsp: .* did you mean fps\?"),
        ("streams: {a: {url: x, deadline: {fsp: 1}}}", r"deadline.fsp: .* did you mean fps\?"),
        ("streams: {a: {url: x, deadline: {}}}", "deadline: give one of fps, latency_ms"),
        ("streams: {a: {url: x, deadline: {fps: 0}}}", "deadline.fps: should be greater than 0"),
        ("streams: {a: {url: x, deadline: {fps: 9}}}", "a.deadline: .* files in real time; set"),
        (
            "streams: {a: {url: x, policy: every, deadline: {fps: 9}}}",
            "streams.a: a deadline drops frames, policy every keeps them",
        ),
        ("streams: {cam1: {}}", ": streams.cam1: give one of url, url_file"),
        ("streams: {cam1: {url: x, url_file: y}}", ": streams.cam1: give one of url, url_file"),
        ("streams: {'cam 1': {url: x}}", ": streams.cam 1: not a stream name; use letters"),
        ("log: {format: xml}", ": log.format: should be 'plain' or 'json'"),
        ("log:", ": log: expected keys and values below it"),
        ("http: {port: 99999}", ": http.port: should be less than or equal to 65535"),
        ("http: {port: many}", ": http.port: should be a valid integer"),
        ("http: {host: 0.0.0.0}", ": http.host: should be '127.0.0.1', '::1' or 'localhost'"),
        ("data: {send_hwm: 0}\nlog: {level: loud}", r": data.send_hwm: .*\(and 1 more\)"),
        ("model: {name: sam2.1-tny}", ": model.name: unknown model .*did you mean sam2.1-tiny"),
        ("model: {without: [in8]}", ": model.without: unknown optimization 'in8'; known: narrow_n"),
        ("model: {without: int8}", ": model.without: should be a valid tuple"),
        ("model: {device: gpu}", ": model.device: no such kind of device; use auto, cpu, cuda"),
        ("- a\n- b\n", ": expected keys and values"),
        ("control: {bind: 'tcp://127.0.0.1'}", ": control.bind: cannot listen on"),
        ("data: {bind: 'tcp://127.0.0.1:5570'}", ": data.bind: port 5570 is taken by control.bind"),
        ("http: {port: 5571}", ": data.bind: port 5571 is taken by http.port"),
        ("data: {latest_bind: 'ipc:///a', bind: 'ipc:///a'}", "ipc:///a is taken by data.bind"),
        (_CAMERA + "limits: {streams: 1}\nlog: {x: 1}", ": log.x: unknown key"),
        ("streams: {a: {url: x}, b: {url: y}}\nlimits: {streams: 1}", ": streams: 2 of them, but"),
        ("streams: {a: {url: 'ftp://u:hunter2@h/x'}}", r"unknown kind of source ftp://: .*\*\*\*@"),
        ("streams: {a: {url: 'rtsp//u:hunter2@h/x'}}", "neither an address nor a path; write rtsp"),
        ("streams: {a: {url: 'rtsp:/u:hunter2@h/x'}}", "neither an address nor a path"),
        ("streams: {a: {url: ' rtsp://u:hunter2@h/x'}}", "neither an address nor a path"),
        ("""streams: {a: {url: '"rtsp://u:hunter2@h/x"'}}""", "neither an address nor a path"),
        ("streams: {a: {url: '/etc/rtsp:/u:hunter2@h/x'}}", "neither an address nor a path"),
    ],
)
def test_a_mistake_is_one_line_that_says_where_and_what_instead(write, text, says):
    assert re.search(says, refusal(write(text)))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("model:\n  name: pico\n  name: tiny\n", ":3: the key name appears twice"),
        ("model:\n  name: 'pico\n", ":3: found unexpected end of stream"),
        ("model:\n\tname: pico\n", r":2: found character '\\t'"),
        ("streams:\n  1: {url: x}\n", ":2: the key '1' is not text; put quotes around it"),
        ("streams:\n  on: {url: x}\n", ":2: the key 'on' is not text"),
        ("a: 1\n---\nb: 2\n", "expected a single document|but found another document"),
        ("model: *m\n", ":1: found undefined alias"),
        ("model: !!python/object/apply:os.system [ls]\n", ":1: could not determine a constructor"),
        (b"model: \xff\n", ": not UTF-8 text"),
        (b"model: \x00\n", ": not YAML: unacceptable character"),
        pytest.param("a: " + "[" * 5000, ": nested too deeply", marks=pytest.mark.slow),
        ("a: &a [*a]", ": (nested too deeply|more than)"),
        ("#" * (MAX_CONFIG_BYTES + 1), ": larger than 1 MiB"),
    ],
)
def test_what_is_no_yaml_is_one_line_that_names_the_place(write, text, says):
    assert re.search(says, refusal(write(text)))


def test_aliases_in_aliases_do_not_make_a_short_file_endless(write):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than 10000 values" in refusal(write("\n".join(lines)))


def test_settings_can_be_shared_by_aliases(write):
    text = """
streams:
  door: &camera
    url: rtsp://10.0.0.1/live
    encoding: bits
  yard:
    <<: *camera
    url: rtsp://10.0.0.2/live
"""
    streams = load_config(write(text)).streams
    assert streams["yard"].url == "rtsp://10.0.0.2/live"
    assert streams["yard"].encoding == "bits"


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    assert "No such file" in refusal(tmp_path / "absent.yaml")
    assert "directory" in refusal(tmp_path)


def test_secrets_come_from_the_environment(write):
    text = "streams: {cam1: {url: 'rtsp://${USER_1}:${PASS}@h/$$x$y'}}\nhttp: {port: '${PORT}'}"
    config = load_config(write(text), {"USER_1": "me", "PASS": "hunter2${PORT}", "PORT": "9000"})
    assert config.streams["cam1"].url == "rtsp://me:hunter2${PORT}@h/$x$y"
    assert config.http.port == 9000


def test_a_secret_that_is_not_set_is_named_by_its_name(write):
    path = write("streams: {cam1: {url: 'rtsp://me:${PASS}@h/'}}")
    assert refusal(path).startswith(": streams.cam1.url: PASS is not set in the environment")
    assert "${ without NAME}" in refusal(write("log: {level: '${info'}"))


def test_a_secret_at_the_wrong_place_is_not_shown(write):
    environ = {"PASS": "hunter2"}
    for text in ("log: {level: '${PASS}'}", "http: {port: '${PASS}'}", "model: '${PASS}'"):
        assert "not set" not in refusal(write(text), environ)


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path, monkeypatch):
    folder = tmp_path / "etc"
    folder.mkdir()
    (folder / "trackd.yaml").write_text(
        "model: {checkpoint: w.pt}\n"
        "state: {dir: state}\n"
        "security: {server_key: k/s.key_secret, client_keys: /abs/clients}\n"
        "streams: {a: {url: clip.mp4}, b: {url: /abs/x.mp4}, c: {url: 'webcam:0'}}\n"
    )
    monkeypatch.chdir(tmp_path)
    config = load_config(Path("etc/trackd.yaml"))
    assert config.model.checkpoint == folder / "w.pt"
    assert config.state.dir == folder / "state"
    assert config.security.server_key == folder / "k" / "s.key_secret"
    assert config.security.client_keys == Path("/abs/clients")
    assert [stream.url for stream in config.streams.values()] == [
        str(folder / "clip.mp4"),
        "/abs/x.mp4",
        "webcam:0",
    ]


def test_check_says_what_a_file_means_without_its_secrets(write, capsys):
    assert main(["config", "check", str(write(_CAMERA))]) == 0
    printed = capsys.readouterr().out
    assert "camera.yaml: valid" in printed
    assert "cam1: rtsp://***@10.0.0.9/live?***" in printed
    assert "only programs on this machine" in printed
    assert "hunter" not in printed


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("control: {bind: 'tcp://0.0.0.0:5570'}", "refusing to listen on tcp://0.0.0.0:5570"),
        ("data: {latest_bind: 'tcp://*:5572'}", r"refusing to listen on tcp://*:5572"),
        ("security: {server_key: s.key_secret, client_keys: .}", "No such file"),
        ("model: {checkpoint: absent.pt}", "model.checkpoint: no such file"),
        ("nonsense: 1", "nonsense: unknown key"),
    ],
)
def test_check_refuses_what_serve_would_refuse(write, capsys, text, says):
    path = write(text)
    assert main(["config", "check", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(path) in line
    assert says in line


@pytest.mark.slow
def test_checking_loads_no_network(write):
    script = (
        "import sys\n"
        "from tracker.cli.main import main\n"
        "code = main(['config', 'check', sys.argv[1]])\n"
        "heavy = {'torch', 'sam2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)\n"
    )
    command = [sys.executable, "-c", script, str(write(_CAMERA))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["camera.yaml", "several.yaml", "events.yaml"])
def test_the_presets_are_valid_as_they_are(name, capsys):
    assert main(["config", "check", str(_PRESETS / name)]) == 0
    assert capsys.readouterr().err == ""


def test_the_preset_for_other_machines_is_valid_once_it_has_keys(tmp_path, capsys):
    preset = tmp_path / "remote.yaml"
    shutil.copy(_PRESETS / "remote.yaml", preset)
    assert main(["config", "check", str(preset)]) == 2
    capsys.readouterr()

    write_keys(tmp_path / "keys", "server")
    write_keys(tmp_path / "viewer", "viewer")
    (tmp_path / "keys" / "clients").mkdir()
    shutil.copy(tmp_path / "viewer" / "viewer.key", tmp_path / "keys" / "clients")
    assert main(["config", "check", str(preset)]) == 0
    printed = capsys.readouterr()
    assert "1 client keys in" in printed.out
    assert printed.err == ""


def test_every_preset_is_tried_here():
    names = {path.name for path in _PRESETS.glob("*.yaml")}
    assert names == {"camera.yaml", "several.yaml", "remote.yaml", "events.yaml"}


def test_the_schema_of_the_configuration_is_json(capsys):
    assert main(["schema", "config"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["properties"]) == set(DaemonConfig.model_fields)
    assert schema["additionalProperties"] is False


def test_the_schema_of_the_protocol_has_every_message_and_no_loose_ends(capsys):
    assert main(["schema", "protocol"]) == 0
    text = capsys.readouterr().out
    schema = json.loads(text)
    ops = schema["control"]["request"]["discriminator"]["mapping"]
    assert {"ping", "stream.add", "prompt", "object.list", "snapshot.save", "shutdown"} <= set(ops)
    assert set(schema["data"]) == {"masks", "events", "frames"}
    referred = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text))
    assert {"Ping", "Reply", "PromptResult", "MasksMessage", "EventMessage"} <= referred
    assert referred <= set(schema["$defs"])


def test_a_mistake_in_a_zone_says_where_it_is(write):
    zones = "streams: {cam: {url: a.mp4, zones: {%s}}}"
    assert "cam.zones.a.lin: unknown key" in refusal(write(zones % "a: {lin: [[0, 0], [1, 1]]}"))
    assert "not a zone name" in refusal(write(zones % "'a b': {line: [[0, 0], [1, 1]]}"))
    assert "give one of polygon, line" in refusal(write(zones % "a: {}"))


def test_a_stream_of_which_only_the_zones_change_goes_on() -> None:
    def config(**settings: Any) -> DaemonConfig:
        return DaemonConfig.model_validate({"streams": {"cam": {"url": "a.mp4", **settings}}})

    zones = {"gate": {"line": [[0, 0], [9, 9]]}}
    changes = compare(config(), config(zones=zones))
    assert (list(changes.rezoned), changes.changed) == (["cam"], {})
    assert str(changes) == "zones of cam"
    both = compare(config(), config(zones=zones, loop=True))
    assert (both.rezoned, list(both.changed)) == ({}, ["cam"])
