"""`trackd doctor`: what it finds on this machine, and what it says to fix it."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import zmq
from PIL import Image

from streams import errors
from tests.support.fake_daemon import daemon
from tracker.cli import check_daemon, check_machine
from tracker.cli.check import Check, Status, examine, fail, ok
from tracker.cli.main import main
from tracker.daemon.config.schema import DaemonConfig
from tracker.errors import UsageError
from tracker.models.optim.plan import PLAN
from tracker.models.registry import REGISTRY

PORTS = ("control.bind", "data.bind", "data.latest_bind")


def only(checks: Iterator[Check]) -> Check:
    (check,) = checks
    return check


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A configuration whose ports are free."""
    path = tmp_path / "daemon.yaml"
    path.write_text(
        f"control: {{bind: 'tcp://127.0.0.1:{free_port()}'}}\n"
        f"data: {{bind: 'tcp://127.0.0.1:{free_port()}', latest_bind: null}}\n"
        f"http: {{port: {free_port()}}}\n"
        "state: {dir: state}\n"
    )
    return path


# --- the command


@pytest.mark.slow
def test_a_machine_that_can_track_is_told_so(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--config", str(config_file), "--source", "lavfi:testsrc2"]) == 0
    *lines, counts = capsys.readouterr().out.splitlines()
    assert all(text.startswith(("ok    ", "warn  ")) for text in lines)
    assert counts.endswith(", 0 fail")
    said = "\n".join(lines)
    for fact in (
        "Python 3.",
        "decodes h264, hevc",
        "opens rtsp://",
        "the clock says 20",
        "model pico: ",
        ", LicenseRef-trackd-pico-weights",
        "optimization mask_decoder: on, with modules of the sam2 package",
        "control.bind tcp://127.0.0.1:",
        "http.port tcp://127.0.0.1:",
        f"state.dir {config_file.parent / 'state'}: ",
        "lavfi:testsrc2: 320x240, claimed 25 fps, can be decoded at ",
    ):
        assert fact in said


@pytest.mark.slow
def test_what_fails_is_the_exit_code_and_holds_no_credentials(
    config_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"rtsp://user:secret@127.0.0.1:{free_port()}/main"
    assert main(["doctor", "--config", str(config_file), "--source", url, "--json"]) == 1
    printed = capsys.readouterr().out
    assert "secret" not in printed
    found = json.loads(printed)
    assert found["ok"] is False
    (failed,) = [check for check in found["checks"] if check["status"] == "fail"]
    assert failed["what"].startswith("source: connection refused: rtsp://***@127.0.0.1")
    assert "check the host, the port" in failed["fix"]


@pytest.mark.slow
def test_a_wrong_configuration_is_a_finding(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "daemon.yaml"
    path.write_text("modell: {name: pico}\n")
    assert main(["doctor", "--config", str(path)]) == 1
    (failed,) = [text for text in capsys.readouterr().out.splitlines() if text.startswith("fail")]
    assert f"{path}: modell: unknown key" in failed
    assert failed.endswith("did you mean model?")


def test_a_look_that_breaks_is_a_finding_and_keeps_what_it_found() -> None:
    def look(error: Exception) -> Iterator[Check]:
        yield ok("so far")
        raise error

    def found(error: Exception) -> Check:
        first, second = examine("video", lambda: look(error))
        assert first == ok("so far")
        return second

    assert found(UsageError("no device", "use cpu")) == fail("video: no device", "use cpu")
    assert found(errors.SourceTimeout("silent")) == fail("video: silent", "")
    broken = found(ImportError("libav\nis gone"))
    assert broken.what == "video cannot be checked: ImportError: libav is gone"
    assert broken.status is Status.FAIL


# --- packages, codecs, devices


@pytest.mark.slow
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_machine, "_MODULES", ("numpy", "no_such_module"))
    missing, found = check_machine.packages()
    assert missing.status is Status.FAIL
    assert missing.what.endswith("not installed: no_such_module")
    assert found.what.endswith(f"numpy {__import__('numpy').__version__}")


def test_what_ffmpeg_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_machine, "_NEEDED_DECODERS", ("h264", "no_such_codec"))
    monkeypatch.setattr(check_machine, "_PROTOCOLS", ("http", "nosuch"))
    decoders, protocols = check_machine.video()
    assert (decoders.status, protocols.status) == (Status.FAIL, Status.FAIL)
    assert decoders.what.endswith("cannot decode no_such_codec")
    assert protocols.what.endswith("cannot open nosuch://")


def test_a_device_that_is_not_there_fails() -> None:
    found = only(
        examine("model.device", lambda: check_machine.device("cuda:99", "auto", "pico", None))
    )
    assert found.status is Status.FAIL
    assert "'cuda:99' is not available here" in found.what
    assert "cpu" in found.fix


def test_each_optimization_is_told_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKD_WITHOUT", "mask_decoder")
    found = {
        check.what.removeprefix("optimization ").partition(":")[0]: check
        for check in check_machine.optimizations("cpu", "fp32", "pico", None, ["channel_norm"])
    }
    assert list(found) == [row.name for row in PLAN]
    assert found["narrow_neck"] == ok(
        "optimization narrow_neck: on, with modules of the sam2 package"
        " and features at strides 4 and 8"
    )
    assert found["int8"].what.startswith("optimization int8: off, only on a CPU in int8")
    for name in ("mask_decoder", "channel_norm"):
        assert found[name].what == f"optimization {name}: off, switched off"
        assert found[name].status is Status.WARN


@pytest.mark.slow
def test_an_unknown_optimization_in_the_configuration_fails(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "daemon.yaml"
    path.write_text(
        "model: {without: [in8]}\n"
        "control: {bind: 'tcp://127.0.0.1:*'}\n"
        "data: {bind: 'tcp://127.0.0.1:*', latest_bind: null}\n"
        "http: {port: 0}\n"
    )
    assert main(["doctor", "--config", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    (failed,) = [text for text in lines if text.startswith("fail  ")]
    assert "model.without: unknown optimization 'in8'" in failed and "mask_decoder" in failed


def test_weights_that_are_not_there_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKD_MODELS_DIR", str(tmp_path))
    missing, others = check_machine.weights("sam2.1-tiny", None)
    assert (missing.status, missing.fix) == (Status.FAIL, "trackd checkpoints get sam2.1-tiny")
    assert others.what == (
        f"other models here: pico; {len(REGISTRY) - 2} more can be had with "
        "`trackd checkpoints get`"
    )
    named, _ = check_machine.weights("pico", tmp_path / "mine.safetensors")
    assert named.what == f"model pico: no file {tmp_path / 'mine.safetensors'}"


def test_a_small_share_of_the_processors_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(check_machine, "_CPU_QUOTA", quota)
    monkeypatch.setattr(check_machine.os, "sched_getaffinity", lambda pid: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_WAIT_POLICY", "passive")

    quota.write_text("250000 100000\n")
    limited, waiting = check_machine.processors()
    assert limited.what == "8 processors, but this container may use 2.5"
    assert limited.fix == "export OMP_NUM_THREADS=2"
    assert waiting.status is Status.OK

    quota.write_text("max 100000\n")
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setenv("GOMP_SPINCOUNT", "10000")
    _, bounded = check_machine.processors()
    assert bounded.status is Status.OK
    monkeypatch.delenv("GOMP_SPINCOUNT")
    unlimited, spinning = check_machine.processors()
    assert unlimited == ok("8 processors")
    assert (spinning.status, spinning.fix) == (Status.WARN, "unset OMP_WAIT_POLICY")


@pytest.mark.parametrize(("synchronised", "status"), [(True, "ok"), (False, "warn"), (None, "ok")])
def test_a_clock_that_drifts_is_told(
    monkeypatch: pytest.MonkeyPatch, synchronised: bool | None, status: str
) -> None:
    monkeypatch.setattr(check_machine, "_clock_synchronised", lambda: synchronised)
    assert only(check_machine.clock()).status.value == status


def test_a_clock_that_was_never_set_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_machine.time, "time", lambda: 0.0)
    found = only(check_machine.clock())
    assert (found.status, "set it" in found.fix) == (Status.FAIL, True)


# --- ports


def listening_at(control: str, data: str, **security: object) -> DaemonConfig:
    return DaemonConfig.model_validate(
        {
            "control": {"bind": control},
            "data": {"bind": data, "latest_bind": "tcp://127.0.0.1:*"},
            "http": {"port": 0},
            "security": security,
        }
    )


def found_at(config: DaemonConfig) -> dict[str, Check]:
    return dict(zip(PORTS, check_daemon.ports(config), strict=True))


@contextmanager
def taken() -> Iterator[str]:
    """A port where a program listens that is no daemon."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def test_a_daemon_that_runs_is_no_failure() -> None:
    with daemon() as fake:
        found = found_at(listening_at(fake.control, fake.data))
    assert found["control.bind"] == ok(
        f"control.bind {fake.control}: in use; trackd 0.1.0 answers, ready"
    )
    assert found["data.bind"].status is Status.OK
    assert found["data.latest_bind"].what.endswith("free")


def test_another_program_on_a_port_fails() -> None:
    free = f"tcp://127.0.0.1:{free_port()}"
    with taken() as control:
        found = found_at(listening_at(free, control))
    assert found["control.bind"] == ok(f"control.bind {free}: free")
    assert found["data.bind"] == fail(
        f"data.bind {control}: in use by another program", "stop it, or choose another port"
    )


def test_a_silent_program_on_the_control_port_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_daemon, "_PING_TIMEOUT_S", 0.1)
    with taken() as control:
        config = listening_at(control, "tcp://127.0.0.1:*")
        assert found_at(config)["control.bind"].status is Status.FAIL
        with_keys = listening_at(control, "tcp://127.0.0.1:*", server_key="server.key_secret")
        unknown = found_at(with_keys)["control.bind"]
    assert unknown.status is Status.WARN
    assert "without a client's key" in unknown.what


def test_an_address_of_another_machine_fails() -> None:
    found = found_at(listening_at("tcp://192.0.2.1:5570", "tcp://no-such-interface:5571"))
    for key in ("control.bind", "data.bind"):
        assert found[key].status is Status.FAIL
        assert found[key].fix == "give an address of this machine"


def test_to_look_at_a_unix_socket_leaves_it_to_its_owner(tmp_path: Path) -> None:
    """To bind there would take it away from a daemon that runs."""
    address = f"ipc://{tmp_path}/control"
    with zmq.Context() as context, context.socket(zmq.ROUTER) as owner:
        owner.linger = 0
        config = listening_at("tcp://127.0.0.1:*", address)
        assert found_at(config)["data.bind"] == ok(f"data.bind {address}: free")
        owner.bind(address)
        assert found_at(config)["data.bind"].status is Status.FAIL
        with context.socket(zmq.DEALER) as friend:
            friend.linger = 0
            friend.connect(address)
            friend.send(b"hello")
            assert owner.poll(20_000)


# --- the state folder and sources


def keeping(folder: Path | None) -> DaemonConfig:
    return DaemonConfig.model_validate({"state": {"dir": folder}})


def test_the_state_folder_must_be_writable_and_have_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(free: int) -> Check:
        monkeypatch.setattr(
            check_daemon.shutil, "disk_usage", lambda place: SimpleNamespace(free=free)
        )
        return only(check_daemon.state_folder(keeping(tmp_path / "not" / "yet" / "there")))

    assert found(5 * 2**30).status is Status.OK
    assert "5.0 GiB free" in found(5 * 2**30).what
    assert found(2**29).status is Status.WARN
    assert found(2**20).status is Status.FAIL
    assert not (tmp_path / "not").exists()
    assert "nothing is kept" in only(check_daemon.state_folder(keeping(None))).what

    blocked = tmp_path / "file"
    blocked.write_text("")
    found_blocked = only(check_daemon.state_folder(keeping(blocked / "state")))
    assert (found_blocked.status, "cannot be written" in found_blocked.what) == (
        Status.FAIL,
        True,
    )


def test_a_source_with_damage_is_a_warning(tmp_path: Path) -> None:
    for number in range(3):
        Image.new("RGB", (64, 48)).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    found = only(check_daemon.source(str(tmp_path)))
    assert found.status is Status.WARN
    assert found.what.startswith(f"{tmp_path}: 64x48, can be decoded at ")
    assert found.what.endswith("1 damaged packets or files skipped")


def test_a_video_is_described(bunny_clip: Path) -> None:
    found = only(check_daemon.source(str(bunny_clip)))
    assert found.status is Status.OK
    assert found.what.startswith(f"{bunny_clip}: 1280x720, claimed 25 fps, can be decoded at ")
