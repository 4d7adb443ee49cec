"""What is shown of an address: never a login, always the host and the harmless parts of the path.

The forms are those that makers of cameras, recorders and servers document.
"""

import itertools
import string
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streams.redaction import has_unescaped_login, looks_like_address, redact, redact_text

# Address with LOGIN (user:password@, escaped) and what of its path must be shown.
WITH_LOGIN = [
    ("rtsp://LOGINHOST:554/Streaming/Channels/101", "/Streaming/Channels/101"),  # Hikvision
    ("rtsp://LOGINHOST:554/ISAPI/Streaming/Channels/102", "/ISAPI/Streaming/Channels/102"),
    ("rtsp://LOGINHOST:554/Streaming/tracks/101", "/Streaming/tracks/101"),
    ("rtsp://LOGINHOST/h264/ch1/main/av_stream", "/h264/ch1/main/av_stream"),
    ("rtsp://LOGINHOST:554/cam/realmonitor?channel=1&subtype=0", "/cam/realmonitor"),  # Dahua
    ("rtsp://LOGINHOST/axis-media/media.amp?videocodec=h264", "/axis-media/media.amp"),  # Axis
    ("http://LOGINHOST/axis-cgi/mjpg/video.cgi?camera=1", "/axis-cgi/mjpg/video.cgi"),
    ("rtsp://LOGINHOST:88/videoMain", "/videoMain"),  # Foscam
    ("rtsp://LOGINHOST:554/h264Preview_01_main", "/h264Preview_01_main"),  # Reolink
    ("rtsp://LOGINHOST:554/stream1", "/stream1"),  # Tapo
    ("rtsp://LOGINHOST:8554/unicast", "/unicast"),  # Wyze
    ("rtsp://LOGINHOST/unicast/c1/s0/live", "/unicast/c1/s0/live"),  # Uniview
    ("rtsp://LOGINHOST:10554//tcp/av0_0", "//tcp/av0_0"),  # Zmodo
    ("rtsp://LOGINHOST/live/ch00_0", "/live/ch00_0"),
    ("rtsp://LOGINHOST/onvif/profile2/media.smp", "/onvif/profile2/media.smp"),  # Hanwha
    ("rtsp://LOGINHOST/onvif-media/media.amp?profile=profile_1_h264", "/onvif-media/media.amp"),
    ("rtsp://LOGINHOST/MediaInput/h264/stream_1", "/MediaInput/h264/stream_1"),  # Panasonic
    ("http://LOGINHOST/nphMotionJpeg?Resolution=640x480", "/nphMotionJpeg"),
    ("http://LOGINHOST/control/faststream.jpg?stream=full", "/control/faststream.jpg"),  # Mobotix
    ("rtsp://LOGINHOST/rtsp_tunnel?h26x=4&line=1", "/rtsp_tunnel"),  # Bosch
    ("http://LOGINHOST/cgi/mjpg/mjpeg.cgi", "/cgi/mjpg/mjpeg.cgi"),  # Trendnet
    ("http://LOGINHOST:8080/stream/video/mjpeg", "/stream/video/mjpeg"),  # TP-Link
    ("http://LOGINHOST/image/1.jpg", "/image/1.jpg"),
    ("rtsp://LOGINHOST/VideoInput/1/h264/1", "/VideoInput/1/h264/1"),
    ("rtsp://LOGINHOST/MediaProfile000_VideoStream", "/MediaProfile000_VideoStream"),
    ("rtsp://LOGIN[2001:db8::5]:554/11", "/11"),
]
# Address with SECRET in a query, a fragment or a path, and what must be shown.
WITH_SECRET = [
    ("http://HOST/cgi-bin/view.cgi?chn=1&u=admin&p=SECRET", "/cgi-bin/view.cgi"),
    ("http://HOST/cgi-bin/snapshot.cgi?loginuse=admin&loginpas=SECRET", "/cgi-bin/snapshot.cgi"),
    ("http://HOST/videostream.cgi?user=admin&pwd=SECRET", "/videostream.cgi"),
    ("http://HOST/videostream.asf?usr=admin&pwd=SECRET&resolution=32", "/videostream.asf"),
    ("http://HOST/cgi-bin/CGIProxy.fcgi?cmd=snapPicture2&usr=a&pwd=SECRET", "/CGIProxy.fcgi"),
    ("http://HOST/cgi-bin/api.cgi?cmd=Snap&user=a&password=SECRET", "/cgi-bin/api.cgi"),  # Reolink
    ("http://HOST/flv?port=1935&app=bcs&stream=s&user=a&password=SECRET", "/flv"),
    ("rtmp://HOST/bcs/channel0_main.bcs?channel=0&user=a&password=SECRET", "/channel0_main.bcs"),
    ("http://HOST/webcapture.jpg?command=snap&user=a&password=SECRET", "/webcapture.jpg"),
    ("http://HOST/tmpfs/auto.jpg?usr=a&psw=SECRET", "/tmpfs/auto.jpg"),
    ("http://HOST/snap.cgi?pw=SECRET", "/snap.cgi"),
    ("http://HOST/snap.cgi?p%77d=SECRET", "/snap.cgi"),
    ("http://HOST/snap.cgi?pass%2577ord=SECRET", "/snap.cgi"),
    ("http://HOST/v?account=a&code=SECRET", "/v"),
    ("http://HOST/snap?sid=SECRET", "/snap"),
    ("http://HOST/snap.cgi?session_id=SECRET", "/snap.cgi"),
    ("https://HOST/live.m3u8?jwt=SECRET", "/live.m3u8"),
    ("http://HOST/zm/cgi-bin/nph-zms?monitor=1&auth=SECRET", "/zm/cgi-bin/nph-zms"),
    ("http://HOST/mjpg/door/video.mjpg?user=a&pw=SECRET", "/mjpg/door/video.mjpg"),  # Blue Iris
    ("http://HOST/webapi/entry.cgi?api=SYNO.X&_sid=SECRET", "/webapi/entry.cgi"),  # Synology
    ("https://HOST/api/camera_proxy_stream/camera.door?token=SECRET", "/camera.door"),
    ("http://HOST/video?SECRET", "/video"),
    ("http://HOST/video?=SECRET&", "/video"),
    ("http://HOST/video?a;b;SECRET", "/video"),
    ("http://HOST/video#SECRET", "/video"),
    ("http://HOST/video?x=1#password=SECRET", "/video"),
    ("rtsp://HOST/cam/realmonitor?channel=1#SECRET", "/cam/realmonitor"),
    ("rtsp://HOST/user=admin&password=SECRET&channel=1&stream=0?.sdp", "/user=***"),
    ("rtsp://HOST/user=admin_password=SECRET_channel=1_stream=0.sdp?real_stream", "/user=***"),
    ("rtsp://HOST/0/admin:SECRET/main", "/0/***/main"),
    ("rtsp://HOST/0/bob:SECRET/main", "/0/***/main"),
    ("rtsp://HOST/live/admin/SECRET/ch0", "/live/***/***/ch0"),
    ("http://HOST/user/admin/password/SECRET/snap.jpg", "/snap.jpg"),
    ("http://HOST/username/bob/password/SECRET/snap.jpg", "/snap.jpg"),
    ("http://HOST/login/bob/SECRET/snap.jpg", "/login/***/***/snap.jpg"),
    ("http://HOST/token/SECRET/live.m3u8", "/token/***/live.m3u8"),
    ("http://HOST/auth=SECRET/live.m3u8", "/auth=***/live.m3u8"),
    ("http://HOST/p%61ssword/SECRET/live.m3u8", "/live.m3u8"),
    ("http://HOST/admin_SECRET/live.m3u8", "/"),
    ("http://HOST/live;jsessionid=SECRET", "/"),
    ("http://HOST/live/joe/SECRET/1.ts", "/live/***/***/1.ts"),  # IPTV
    ("http://HOST:8080/joe/SECRET/1234", "/***/***/1234"),
    ("http://HOST/proxy/rtsp:%2F%2Fadmin%3ASECRET%40cam/x", "/proxy/"),
]
TOKENS = [
    "q9LbXkD2Vtr3kYVZ",  # UniFi Protect
    "f4oWQa1xQ9o2vVqkLmPz8sTnYb",  # Shinobi
    "0123456789abcdef0123456789abcdef",
    "3F2504E0-4F89-11D3-9A0C-0305E82C3301",
    "abcd-1fgh-ijkl-mnop-q8rs",  # YouTube
    "live_123456789_AbCdEfGhIj1KlMn2oPq",  # Twitch
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N",
    "CiUA2vuxrwjZjb0daCbmE",  # Nest
]
HOSTS = ("10.0.0.5", "cam.example.org", "cam")
_PLAIN = string.ascii_letters + string.digits + "-_.~!$'(),"
secrets = st.text(_PLAIN, min_size=4, max_size=30).map(lambda text: f"Zq{text}9w")
passwords = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=3).map(
    lambda text: f"Zq{text}9w"
)


def assert_hidden(secret: str, shown: str) -> None:
    for form in (shown, unquote(shown), unquote(unquote(shown)), redact_text(f"x {shown} y")):
        assert secret not in form
        assert secret[2:-2] not in form or len(secret) < 9
    assert redact(shown) == shown


@given(password=passwords, place=st.sampled_from(WITH_LOGIN), host=st.sampled_from(HOSTS))
def test_a_login_is_hidden_and_the_path_shown(
    password: str, place: tuple[str, str], host: str
) -> None:
    form, path = place
    login = f"admin:{quote(password, safe='')}@"
    shown = redact(form.replace("LOGIN", login).replace("HOST", host))
    assert shown.startswith((f"{form.split(':')[0]}://***@{host}", "rtsp://***@[2001:db8::5]"))
    assert path in shown
    assert "admin" not in shown
    assert_hidden(password, shown)


@given(secret=secrets, place=st.sampled_from(WITH_SECRET), host=st.sampled_from(HOSTS))
def test_a_secret_in_a_query_or_a_path_is_hidden(
    secret: str, place: tuple[str, str], host: str
) -> None:
    form, path = place
    shown = redact(form.replace("SECRET", secret).replace("HOST", host))
    assert host in shown
    assert path in shown
    assert_hidden(secret, shown)


@pytest.mark.parametrize(("form", "path"), WITH_SECRET)
def test_every_form_is_tried(form: str, path: str) -> None:
    for host, secret in itertools.product(HOSTS, ("S3CRET", "hunter2", "Pa55word", "12345")):
        shown = redact(form.replace("SECRET", secret).replace("HOST", host))
        assert secret not in shown
        assert host in shown
        assert path in shown


@pytest.mark.parametrize("token", TOKENS)
@pytest.mark.parametrize(
    "form", ["rtsps://HOST:7441/{}", "http://HOST/{}/mjpeg/door", "rtmp://HOST/live2/{}"]
)
def test_a_token_in_the_path_is_hidden(form: str, token: str) -> None:
    shown = redact(form.format(token).replace("HOST", "10.0.0.5"))
    assert token not in shown
    assert shown == form.format("***").replace("HOST", "10.0.0.5")


@given(password=st.text(_PLAIN + "@/?#:&=\\", min_size=3, max_size=20).map(lambda x: f"Zq{x}9w"))
@example("p@ss/w#rd?")
@example("Zq12/x9w")
@example("Zq?x9w")
def test_a_login_that_is_not_escaped_is_hidden(password: str) -> None:
    for form in (
        "rtsp://admin:{}@10.0.0.5:554/live",
        "rtsp://admin:{}@cam/live",
        "http://me:{}@cam.example.org/x",
    ):
        shown = redact(form.format(password))
        assert password not in shown
        if len(password) > 6:
            assert password[2:-2] not in shown
        if any(mark in password for mark in "/?#"):
            assert has_unescaped_login(form.format(password).partition("://")[2])


@pytest.mark.slow
@given(secret=secrets)
def test_a_misspelt_address_is_shown_safely(secret: str) -> None:
    for form in (
        "user:{}@127.0.0.1/stream1",
        "{}@127.0.0.1/stream1",
        "127.0.0.1:1/cgi?user=admin&pwd={}",
        "127.0.0.1/live?pwd={}",
        "cam.local/video?pwd={}",
        "cam:554/live?pwd={}",
        "//user:{}@127.0.0.1/share/x.mp4",
        "srt:user:{}@127.0.0.1:9/x",
        "rtsp:user:{}@127.0.0.1:9/x",
        "rtsp:/user:{}@127.0.0.1/x",
        "rtsp//user:{}@127.0.0.1/x",
        "http:///user:{}@127.0.0.1/x",
        " rtsp://user:{}@127.0.0.1/x",
        '"rtsp://user:{}@127.0.0.1/x"',
        "<http://user:{}@127.0.0.1/x>",
        "webcam:user:{}@x",
        "webcam:0?pwd={}",
        "/etc/rtsp:/user:{}@h/x",
        "lavfi:movie=rtsp\\://user:{}@127.0.0.1/x",
        "lavfi:movie=rtsp://user:{}@127.0.0.1/x",
        "rtsp://user:{}@:port/x",
        "rtsp://host:{}/x",
    ):
        address = form.format(secret)
        assert secret not in redact(address)
        assert secret not in redact_text(f"cannot open {redact(address)}; check it")


@pytest.mark.parametrize(
    "path",
    [
        "clip.mp4",
        "rtsp/clip.mp4",
        "http/a/b.mp4",
        "http:clip.mp4",
        "talk about http: and more.mp4",
        "folder/a@b//clip@2.mp4",
        "/data/rtsp:/clip.mp4",
        "/data/a:b@c/clip.mp4",
        "./user:name@host/clip.mp4",
        "../127.0.0.1/clip.mp4",
        "frames/%05d.jpg",
        "what?.mp4",
        "C:\\videos\\a@b.mp4",
        "C:/videos/a@b.mp4",
        "a:b.mp4",
        "file:///data/a@b.mp4",
        "lavfi:testsrc2=size=640x480:rate=30",
        "webcam:0",
        "webcam:FaceTime HD Camera",
        "/dev/video0",
    ],
)
def test_a_path_is_shown_as_it_is(path: str) -> None:
    assert redact(path) == path
    assert not looks_like_address(path)


def test_the_addresses_that_makers_document(data_dir: Path) -> None:
    listed = data_dir.parent / "cases" / "hunt" / "camera-addresses-with-logins.txt"
    if not listed.is_file():
        pytest.skip("no list of addresses beside the checkout")
    addresses = [line for line in listed.read_text().splitlines() if "://" in line]
    assert addresses
    for address in addresses:
        assert "SECRET" not in redact(address)
        assert "10.0.0.5" in redact(address)
