"""Routes of annotation over a real socket: what is served, what is refused."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.support.annotating import IdleWorker
from tests.support.studio import Served, serving_studio
from tests.support.three_discs import HEIGHT, WIDTH, box, picture, write_clip
from tools.serving import free_ports
from tracker.client import AsyncClient
from tracker.project.library import Library
from tracker.project.uploads import Uploads
from tracker.studio import open_project
from tracker.studio.projects import ProjectPages

websockets = pytest.importorskip("websockets.sync.client")

FRAMES = 6


def nobody() -> AsyncClient:
    return AsyncClient(f"tcp://127.0.0.1:{free_ports(1)[0]}")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(open_project, "ProjectWorker", IdleWorker)  # these tests are of the routes
    (tmp_path / "videos").mkdir()
    write_clip(tmp_path / "videos" / "discs.mp4", FRAMES)
    library = Library(tmp_path / "projects", [tmp_path / "videos"])
    with (
        library.lock(),
        serving_studio(nobody, projects=ProjectPages(library, Uploads(library, 2**20))) as served,
    ):
        yield served


def ask(
    studio: Served, path: str, method: str = "GET", body: Any = None, **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", studio.port, timeout=60)
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    sent = {"Cookie": f"trackd_studio={studio.access.cookie()}", "Origin": studio.origin} | headers
    connection.request(method, path, data, sent)
    response = connection.getresponse()
    answer = response.status, response.read()
    connection.close()
    return answer


def created(studio: Served) -> str:
    status, body = ask(studio, "/projects", "POST", {"folder": 0, "path": "discs.mp4"})
    assert status == 200, body
    return json.loads(body)["project"]


def test_frames_are_those_of_the_source_in_any_order(studio: Served) -> None:
    project = created(studio)
    for number in (3, 0, 5, 4, 1):
        status, body = ask(studio, f"/projects/{project}/frames/{number}.jpg")
        assert status == 200
        shown = cv2.cvtColor(
            cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        )
        assert shown.shape == (HEIGHT, WIDTH, 3)
        errors = [
            np.abs(shown.astype(int) - picture(other).astype(int)).mean() for other in range(FRAMES)
        ]
        assert int(np.argmin(errors)) == number
    status, body = ask(studio, f"/projects/{project}/frames/{FRAMES}.jpg")
    assert (status, json.loads(body)["error"]) == (400, f"there is no frame {FRAMES}")
    small = ask(studio, f"/projects/{project}/frames/2.jpg?side=64")[1]
    assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape[1] == 64


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/browse.json?folder=0&path=..", 400),
        ("/browse.json?folder=0&path=%2Fetc", 400),
        ("/browse.json?folder=7&path=", 400),
        ("/browse.json?folder=-1", 400),
        ("/projects/..%2F..%2Fetc/timeline.json", 404),
        ("/projects/%2e%2e/timeline.json", 400),
        ("/projects/nothing/timeline.json", 400),
        ("/projects/nothing/frames/0.jpg", 400),
        ("/projects/nothing/frames/..%2F0.jpg", 404),
        ("/projects/nothing/exports/project.json", 400),
        ("/uploads/..%2F..%2Fx", 404),
        ("/uploads/AAAAAAAAAAAAAAAAAAAAAA", 400),
    ],
)
def test_wrong_names_are_refused_in_one_line(studio: Served, path: str, status: int) -> None:
    found, body = ask(studio, path)
    assert found == status
    assert b"Traceback" not in body and b"\n" not in body


def test_an_export_is_found_by_its_name_alone(studio: Served) -> None:
    project = created(studio)
    for name in ("project.json", "..%2Fproject.json", "%2e%2e/project.json"):
        assert ask(studio, f"/projects/{project}/exports/{name}")[0] == 404
    status, body = ask(studio, f"/projects/{project}/exports", "POST", {"format": "no"})
    assert (status, json.loads(body)["error"]) == (400, "there is no such format")


def test_an_upload_of_ten_gigabytes_is_refused_unread(studio: Served, tmp_path: Path) -> None:
    huge = 10 * 2**30
    status, body = ask(studio, "/uploads", "POST", {"name": "huge.mp4", "size": huge})
    assert status == 413 and b"the limit is" in body
    upload = json.loads(ask(studio, "/uploads", "POST", {"name": "x.mp4", "size": 1000})[1])
    path = f"/uploads/{upload['upload']}?offset=0"
    with socket.create_connection(("127.0.0.1", studio.port), timeout=60) as raw:
        head = (
            f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1:{studio.port}\r\nOrigin: {studio.origin}\r\n"
            f"Cookie: trackd_studio={studio.access.cookie()}\r\nContent-Length: {huge}\r\n\r\n"
        )
        raw.sendall(head.encode() + b"\0" * 4096)
        assert b" 413 " in raw.recv(4096)
    assert ask(studio, path, "PUT", b"\0" * 2000)[0] == 413  # more than announced
    kept = sum(p.stat().st_size for p in (tmp_path / "projects").rglob("*.part"))
    assert kept <= 1000


def test_an_upload_goes_on_where_it_stopped_and_no_video_is_refused(
    studio: Served, tmp_path: Path
) -> None:
    data = (tmp_path / "videos" / "discs.mp4").read_bytes()
    begun = json.loads(ask(studio, "/uploads", "POST", {"name": "c.mp4", "size": len(data)})[1])
    path = f"/uploads/{begun['upload']}"
    assert ask(studio, f"{path}?offset=0", "PUT", data[:700])[0] == 200
    assert json.loads(ask(studio, path)[1])["received"] == 700
    assert ask(studio, f"{path}?offset=700", "PUT", data[700:])[0] == 200
    status, body = ask(studio, f"{path}/finish", "POST", {})
    assert (status, json.loads(body)) == (200, {"project": "c"})
    text = json.loads(ask(studio, "/uploads", "POST", {"name": "t.mp4", "size": 4})[1])["upload"]
    assert ask(studio, f"/uploads/{text}?offset=0", "PUT", b"text")[0] == 200
    status, body = ask(studio, f"/uploads/{text}/finish", "POST", {})
    assert status == 400 and json.loads(body)["error"]


def test_other_sites_change_nothing(studio: Served) -> None:
    for path in ("/projects", "/uploads"):
        assert ask(studio, path, "POST", {}, Origin="http://evil.example")[0] == 403
    assert ask(studio, "/projects.json", Cookie="")[0] == 401


def test_edits_are_on_the_disk_before_they_are_answered(studio: Served, tmp_path: Path) -> None:
    project = created(studio)
    address = f"ws://127.0.0.1:{studio.port}/projects/{project}/socket"
    cookie = {"Cookie": f"trackd_studio={studio.access.cookie()}"}
    prompts = tmp_path / "projects" / project / "prompts.json"

    def kept() -> Any:
        return json.loads(prompts.read_text())["objects"] if prompts.exists() else []

    with websockets.connect(address, origin=studio.origin, additional_headers=cookie) as socket_:
        numbers = iter(range(100))

        def call(**request: Any) -> Any:
            number = next(numbers)
            socket_.send(json.dumps({"type": "call", "id": number, "request": request}))
            while (said := json.loads(socket_.recv(60))).get("id") != number:
                pass
            return said

        drawn = {"frame": 0, "box": box(0, 0)}
        assert call(op="prompt", prompt=drawn)["result"] == {"object": 1}
        assert [item["id"] for item in kept()] == [1]
        assert call(op="relabel", object=1, label="red")["result"] is None
        assert kept()[0]["label"] == "red"
        click = {"frame": 4, "points": [[80, 34]], "labels": [1]}
        call(op="prompt", object=1, prompt=click)
        call(op="end_object", object=1, frame=5)
        assert [entry["frame"] for entry in kept()[0]["prompts"]] == [0, 4]
        assert kept()[0]["removed_at"] == [5]
        assert call(op="undo")["result"] is True
        call(op="remove_prompt", object=1, frame=4)
        assert [entry["frame"] for entry in kept()[0]["prompts"]] == [0]
        call(op="remove_object", object=1)
        assert kept() == []
        call(op="undo")
        assert kept()[0]["label"] == "red"
        wrong = call(op="prompt", prompt={"frame": 0, "box": [9, 9, 3, 3]})
        assert "reversed or empty" in wrong["error"]
        assert "error" in call(op="remove_object", object=9)
        socket_.send(json.dumps({"type": "call", "id": 1, "request": {"op": "export"}}))
        with pytest.raises(Exception, match="no message of the page"):
            while True:
                socket_.recv(60)
    masks = {"op": "draft", "prompt": {"frame": 0, "mask": "/etc/passwd"}}
    with websockets.connect(address, origin=studio.origin, additional_headers=cookie) as socket_:
        socket_.send(json.dumps({"type": "call", "id": 0, "request": masks}))
        with pytest.raises(Exception, match="no message of the page"):
            while True:
                socket_.recv(60)
