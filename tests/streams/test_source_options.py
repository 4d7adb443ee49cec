"""Options of a source: from the command line, a configuration or a request to what FFmpeg gets."""

import json
from pathlib import Path

import pytest

from streams import SourceOptions, SourceUsageError
from streams.address import SourceKind, kind_of, local_path, parse_address
from tests.support.fake_daemon import daemon
from tests.support.streams_clips import write_pattern
from tracker.cli.main import main
from tracker.daemon.config.load import load_config
from tracker.daemon.control.parse import Rejected, parse
from tracker.daemon.state.state_file import SavedState, SavedStream, read_state, write_state
from tracker.errors import UsageError
from tracker.protocol.fields import StreamSettings
from tracker.protocol.requests import StreamAdd

UNKNOWN = r"unknown option transport; there are rtsp_transport, live, poll_s, tls_verify"


@pytest.mark.parametrize(
    ("url", "options", "given"),
    [
        ("rtsp://h/x", {}, {"rtsp_transport": "tcp"}),
        ("rtsp://h/x", {"rtsp_transport": "auto"}, {"rtsp_transport": "tcp"}),
        ("RTSPS://h/x", {"rtsp_transport": "udp"}, {"rtsp_transport": "udp"}),
        (
            "rtsp://h/x",
            {"user_agent": "me/1", "analyzeduration": "500000", "probesize": "5000"},
            {
                "rtsp_transport": "tcp",
                "user_agent": "me/1",
                "analyzeduration": "500000",
                "probesize": "5000",
            },
        ),
        ("https://h/x", {"tls_verify": "false"}, {}),
        ("rtmp://h/x", {"analyzeduration": "9"}, {"analyzeduration": "9"}),
        ("clip.mp4", {"probesize": "32"}, {"probesize": "32"}),
        (
            "webcam:0",
            {"video_size": "1280x720", "framerate": "15", "input_format": "mjpeg"},
            {
                "fflags": "+4",
                "video_size": "1280x720",
                "framerate": "15.0",
                "input_format": "mjpeg",
            },
        ),
    ],
)
def test_ffmpeg_gets_what_was_asked_for(
    url: str, options: dict[str, str], given: dict[str, str]
) -> None:
    address = parse_address(url, SourceOptions.from_texts(options), platform="linux")
    assert address.options == given
    assert address.location.split("://")[0] in (url.split("://")[0].lower(), "/dev/video0")


@pytest.mark.parametrize(
    ("platform", "options", "given"),
    [
        ("darwin", {"framerate": 60}, {"framerate": "60.0"}),
        ("darwin", {"pixel_format": "uyvy422"}, {"pixel_format": "uyvy422", "framerate": "30"}),
        ("win32", {"input_format": "mjpeg"}, {"vcodec": "mjpeg"}),
    ],
)
def test_webcams_have_other_names_for_them_elsewhere(
    platform: str, options: dict[str, object], given: dict[str, str]
) -> None:
    asked = SourceOptions.model_validate(options)
    address = parse_address("webcam:Camera", asked, platform=platform)
    assert address.options == {"fflags": "+4"} | given


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("rtsp://h/x", {"poll_s": 1}, "poll_s is not for rtsp://; it takes analyzeduration, live"),
        ("http://h/x", {"rtsp_transport": "udp"}, "rtsp_transport is not for http://"),
        ("udp://:5000", {"tls_verify": True}, "tls_verify is not for udp://"),
        ("clip.mp4", {"live": True}, "live is not for a file; it takes analyzeduration, probesize"),
        ("lavfi:testsrc2", {"live": True}, "live is not for lavfi:; it takes none"),
        ("webcam:0", {"live": True}, r"live is not for a webcam \(v4l2\); it takes framerate"),
    ],
)
def test_an_option_that_means_nothing_for_a_source_is_refused(
    url: str, options: dict[str, object], says: str
) -> None:
    with pytest.raises(SourceUsageError, match=f"source option {says}"):
        parse_address(url, SourceOptions.model_validate(options), platform="linux")


@pytest.mark.parametrize(
    ("pair", "says"),
    [
        ("transport=udp", UNKNOWN),
        ("rtsp_transport=http", "source options: rtsp_transport: should be 'auto', 'tcp' or 'udp'"),
        ("poll_s=0", "poll_s: should be greater than or equal to 0.02"),
        ("poll_s=nan", "poll_s: should be"),
        ("live=perhaps", "live: should be a valid boolean"),
        ("video_size=large", "video_size: String should match pattern"),
        ("user_agent=a\nb", "user_agent: String should match pattern"),
        ("user_agent=a\n", "user_agent: String should match pattern"),
        ("probesize=31", "probesize: should be greater than or equal to 32"),
        ("input_format=../x", "input_format: String should match pattern"),
        ("poll_s", "--source-option takes KEY=VALUE"),
        ("=1", "--source-option takes KEY=VALUE"),
    ],
)
@pytest.mark.parametrize(
    "command", [["track", "http://h/x"], ["streams", "add", "a", "http://h/x"]]
)
def test_a_wrong_option_is_one_line(
    command: list[str], pair: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--source-option", pair]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line


def test_an_option_given_twice_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    twice = ["--source-option", "poll_s=1", "--source-option", "poll_s=2"]
    assert main(["track", "http://h/x", *twice]) == 2
    assert "--source-option poll_s is given twice" in capsys.readouterr().err


def test_streams_add_sends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        options = ["--source-option", "rtsp_transport=udp", "--source-option", "live=true"]
        assert main(["streams", "add", "door", "rtsp://h/x", *options]) == 0
        assert main(["streams", "add", "yard", "rtsp://h/y"]) == 0
    added, _, plain, _ = fake.requests
    assert added.options.given == {"rtsp_transport": "udp", "live": True}
    assert "options" not in plain.model_fields_set


def request(**fields: object) -> bytes:
    return json.dumps({"id": "1", "op": "stream.add", "stream": "a", **fields}).encode()


def test_a_request_takes_them() -> None:
    added = parse(request(url="http://h/x", options={"poll_s": 0.5}), 10_000)
    assert isinstance(added, StreamAdd)
    assert added.options.poll_s == 0.5


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"transport": "hunter2"}, UNKNOWN),
        ({"rtsp://u:hunter2@h": 1}, r"unknown option; there are rtsp_transport"),
        ({"rtsp_transport": "hunter2"}, r"options\.rtsp_transport: Input should be 'auto'"),
        ([["poll_s", 1]], r"options: Input should be"),
        ({"poll_s": "x" * 100}, r"options\.poll_s: Input should be a valid number"),
    ],
)
def test_a_request_with_a_wrong_one_is_told_which_there_are(options: object, says: str) -> None:
    refused = parse(request(url="http://h/x", options=options), 10_000)
    assert isinstance(refused, Rejected)
    with pytest.raises(AssertionError, match=says):
        raise AssertionError(refused.error.message)
    assert "hunter2" not in refused.error.message


def test_a_configuration_takes_them(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("streams: {a: {url: 'rtsp://h/x', options: {rtsp_transport: udp}}}\n")
    assert load_config(path).streams["a"].options.rtsp_transport == "udp"
    for options, says in (
        ("{transport: udp}", f"streams.a.options: {UNKNOWN}"),
        ("{poll_s: 1}", "streams.a.url: source option poll_s is not for rtsp://"),
        ("{probesize: 1}", "streams.a.options.probesize: should be greater than or equal to 32"),
    ):
        path.write_text(f"streams: {{a: {{url: 'rtsp://h/x', options: {options}}}}}\n")
        with pytest.raises(UsageError, match=says):
            load_config(path)


def test_they_are_kept_over_a_restart(tmp_path: Path) -> None:
    settings = StreamSettings(url="http://h/x", options=SourceOptions(poll_s=2, live=True))
    saved = SavedStream(settings=settings, paused=False, next_seq=1, next_object_id=1, objects=())
    path = tmp_path / "streams.json"
    write_state(path, SavedState(saved_at_s=1.0, streams={"a": saved}))
    state = read_state(path)
    assert state is not None
    assert state.streams["a"].settings == settings
    # A file of before there were options is still understood.
    old = json.loads(path.read_text())
    del old["streams"]["a"]["settings"]["options"]
    path.write_text(json.dumps(old))
    state = read_state(path)
    assert state is not None
    assert state.streams["a"].settings.options == SourceOptions()


def test_the_schemas_tell_them(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("protocol", "config"):
        assert main(["schema", name]) == 0
        options = json.loads(capsys.readouterr().out)["$defs"]["SourceOptions"]
        assert options["additionalProperties"] is False
        assert set(options["properties"]) == set(SourceOptions.model_fields)
        assert options["properties"]["poll_s"]["anyOf"][0]["minimum"] == 0.02


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("rtsp/clip.mp4", "rtsp/clip.mp4"),
        ("http/clip.mp4", "http/clip.mp4"),
        ("http:clip.mp4", "http:clip.mp4"),
        ("https: a talk.mp4", "https: a talk.mp4"),
        ("file:///data/a%20b%23.mp4", "/data/a b#.mp4"),
        ("FILE:///data/a.mp4", "/data/a.mp4"),
        ("file://localhost/data/a.mp4", "/data/a.mp4"),
        ("file:/data/a.mp4", "/data/a.mp4"),
        ("file:clips/a%252.mp4", "clips/a%2.mp4"),
        ("file:///data/%C3%A4.mp4", "/data/ä.mp4"),
        ("./rtsp:/x", "./rtsp:/x"),
    ],
)
def test_a_path_is_found_in_what_was_typed(url: str, path: str) -> None:
    assert kind_of(url) is SourceKind.PATH
    assert parse_address(url).location == path
    assert local_path(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("file://nas/share/a.mp4", "a file: address names another host: nas"),
        ("file://me:hunter2@nas/a.mp4", "a file: address names another host"),
        ("file:", "a file: address names no file"),
        ("file:///a%00b", "a file: address names no file"),
        ("rtsp:/cam/live", "neither an address nor a path"),
        ("rtsp//cam/live", "neither an address nor a path"),
        ("user:hunter2@cam/live", "neither an address nor a path"),
        ("10.0.0.5/live", "neither an address nor a path"),
        ("rtsp://user:p@hunter2/w#rd?@host/live", "where the login ends and the host begins"),
        ("http://user:hun/ter2@host/", "where the login ends and the host begins"),
        ("http://user:hunter2@host:port/", "not a host and a port"),
        ("rtsp://host:99999/", "not a host and a port"),
    ],
)
def test_what_leads_to_another_place_is_refused(url: str, says: str) -> None:
    with pytest.raises(SourceUsageError, match=says) as caught:
        parse_address(url)
    assert caught.value.hint
    assert "hunter2" not in str(caught.value)
    assert "hun/ter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://user:p%40ss%2Fw%23rd%3F@host/live",
        "rtsp://user:p@ss@host/live",  # the last @ counts
        "http://10.0.0.5/cam@1",
        "http://10.0.0.5/x?mail=a@b",
        "http://[::1]:8080/x",
        "http://cam./",
    ],
)
def test_an_address_that_is_clear_is_taken(url: str) -> None:
    assert parse_address(url).location == url


@pytest.mark.slow
def test_a_file_that_is_there_is_a_path_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("user:me@host.mp4", "http:/a.mp4", "file:b.mp4"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        write_pattern(path, frames=2, size="64x48")
        assert kind_of(name) is SourceKind.PATH
        assert parse_address(name).location == name
    out = ["--box", "1:5,5,30,30", "--coco", "out.json", "--quiet"]
    assert main(["track", "file:user%3Ame@host.mp4", *out]) == 0
    assert "user:me@host.mp4" in capsys.readouterr().out


def test_an_address_of_a_file_is_placed_as_a_path_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("streams: {a: {url: 'file:clips/a%20b.mp4'}, b: {url: 'RTSP://h/x'}}\n")
    streams = load_config(config).streams
    assert streams["a"].url == str(tmp_path / "clips/a b.mp4")
    assert streams["b"].url == "RTSP://h/x"
    monkeypatch.chdir(tmp_path)
    with daemon() as fake:
        monkeypatch.setenv("TRACKD_CONTROL", fake.control)
        monkeypatch.setenv("TRACKD_DATA", fake.data)
        assert main(["streams", "add", "a", "file:clips/a%20b.mp4"]) == 0
    assert fake.requests[0].url == str(tmp_path / "clips/a b.mp4")
