"""The library and uploads: nothing outside of the allowed folders, nothing too large."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streams.errors import StreamError
from tests.support.three_discs import picture, write_clip
from tracker.errors import TrackdError, UsageError
from tracker.project import uploads as uploads_module
from tracker.project.folder import Project, ProjectSettings
from tracker.project.library import Library
from tracker.project.uploads import TooLargeError, Upload, Uploads


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip") / "Two Dogs.mp4", 2)


@pytest.fixture
def library(clip: Path, tmp_path: Path) -> Library:
    videos = tmp_path / "videos"
    (videos / "inside").mkdir(parents=True)
    shutil.copy(clip, videos)
    (tmp_path / "secret").mkdir()
    shutil.copy(clip, tmp_path / "secret" / "private.mp4")
    (videos / "out").symlink_to(tmp_path / "secret")
    (videos / "link.mp4").symlink_to(tmp_path / "secret" / "private.mp4")
    (videos / "notes.txt").write_text("no video")
    os.mkfifo(videos / "pipe.mp4")
    return Library(tmp_path / "projects", [videos])


def test_a_listing_has_what_can_be_opened_and_no_way_out(library: Library) -> None:
    listing = library.browse(0, "")
    assert [(entry.kind, entry.name) for entry in listing.entries] == [
        ("folder", "inside"),
        ("video", "Two Dogs.mp4"),
    ]
    assert (listing.pictures, listing.left_out) == (0, 0)


@pytest.mark.parametrize(
    "path", ["..", "../secret", "out", "inside/../..", "/etc", "link.mp4/..", "out/private.mp4"]
)
def test_no_path_leads_out(library: Library, path: str) -> None:
    with pytest.raises(UsageError, match=r"outside of the folders|no folder"):
        library.browse(0, path)
    with pytest.raises((UsageError, StreamError)):
        library.create(0, path)
    assert library.ids() == []


@pytest.mark.parametrize(
    "path", ["notes.txt", "pipe.mp4", "link.mp4", "nothing.mp4", "a\0b", "a\nb"]
)
def test_what_is_no_video_makes_no_project(library: Library, path: str) -> None:
    with pytest.raises((UsageError, StreamError)):
        library.create(0, path)
    assert library.ids() == []
    with pytest.raises(UsageError, match="no such folder"):
        library.browse(1, "")


def test_a_project_is_named_by_us_and_opens_again(library: Library, tmp_path: Path) -> None:
    first, second = library.create(0, "Two Dogs.mp4"), library.create(0, "Two Dogs.mp4")
    assert {first.folder.name, second.folder.name} == {"two-dogs", "two-dogs-2"}
    assert set(library.ids()) == {"two-dogs", "two-dogs-2"}
    assert library.open("two-dogs").settings.title == "Two Dogs"
    for wrong in ("..", "../videos", "two-dogs/../two-dogs", "", "A", ".uploads", "nothing"):
        with pytest.raises(UsageError):
            library.open(wrong)


def test_a_project_file_that_names_another_source_is_refused(
    library: Library, tmp_path: Path
) -> None:
    folder = library.create(0, "Two Dogs.mp4").folder
    settings = Project.open(folder).settings
    path = tmp_path / "secret" / "private.mp4"
    (folder / "project.json").write_text(
        settings.model_copy(update={"source": str(path)}).model_dump_json()
    )
    with pytest.raises(StreamError):
        library.open(folder.name)
    (folder / "project.json").write_text('{"version": 2}')
    with pytest.raises(TrackdError, match=r"project\.json: version"):
        library.open(folder.name)


def test_projects_that_are_made_at_once_have_folders_of_their_own(library: Library) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: library.create(0, "Two Dogs.mp4"), range(8)))
    names = {project.folder.name for project in made}
    assert names == set(library.ids())
    assert names == {"two-dogs", *(f"two-dogs-{number}" for number in range(2, 9))}


def test_a_folder_is_removed_only_by_whom_it_was_made(library: Library) -> None:
    theirs = library.projects / "notes"
    theirs.mkdir(parents=True)
    (theirs / "kept.txt").write_text("kept")
    (library.folders[0] / "notes.mp4").write_text("no video")
    with pytest.raises(StreamError):
        library.create(0, "notes.mp4")
    assert [path.name for path in library.projects.iterdir()] == ["notes"]
    assert (theirs / "kept.txt").read_text() == "kept"


def test_a_folder_of_pictures_is_a_project(library: Library) -> None:
    import cv2

    folder = library.folders[0] / "inside"
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.jpg"), picture(number))
    assert library.browse(0, "inside").pictures == 3
    assert library.create(0, "inside").settings.title == "inside"


def test_only_one_program_has_the_projects(library: Library) -> None:
    with library.lock(), pytest.raises(TrackdError, match="another studio"), library.lock():
        pass


# --- uploads


async def pieces(data: bytes, size: int = 1000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def receive(uploads: Uploads, upload: Upload, data: bytes, offset: int = 0) -> None:
    asyncio.run(uploads.receive(upload, offset, pieces(data)))


@pytest.fixture
def uploads(library: Library) -> Uploads:
    with library.lock():
        return Uploads(library, max_bytes=10 * 2**20)


def test_a_file_that_comes_in_pieces_becomes_a_project(uploads: Uploads, clip: Path) -> None:
    data = clip.read_bytes()
    upload = uploads.begin("../../etc/My clip.MP4", len(data))
    receive(uploads, upload, data[:500])
    with pytest.raises(UsageError, match="stands at 500"):
        receive(uploads, upload, data[:500])
    with pytest.raises(UsageError, match="stands at 500"):
        uploads.finish(upload)
    receive(uploads, uploads.find(upload.id), data[500:], 500)
    project = uploads.finish(upload)
    assert (project.folder.name, project.settings.title) == ("my-clip", "My clip")
    assert project.settings.source == "source.mp4"
    assert Path(project.source).read_bytes() == data
    with pytest.raises(UsageError, match="no such upload"):
        uploads.find(upload.id)


def left(uploads: Uploads, library: Library) -> list[Path]:
    return [p for p in library.projects.rglob("*") if p.is_file() and p.name != ".lock"]


@pytest.mark.parametrize("data", [b"\0" * 5000, b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", b"x"])
def test_what_is_no_video_is_deleted(uploads: Uploads, library: Library, data: bytes) -> None:
    upload = uploads.begin("clip.mp4", len(data))
    receive(uploads, upload, data)
    with pytest.raises(StreamError):
        uploads.finish(upload)
    assert left(uploads, library) == []
    assert library.ids() == []


def test_sizes_are_judged_before_anything_is_written(
    uploads: Uploads, library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(TooLargeError, match=r"10\.0 GiB"):
        uploads.begin("large.mp4", 10 * 2**30)
    with pytest.raises(UsageError, match="empty"):
        uploads.begin("empty.mp4", 0)
    upload = uploads.begin("liar.mp4", 1500)
    with pytest.raises(TooLargeError, match="larger than announced"):
        receive(uploads, upload, b"\0" * 10_000)
    assert sum(path.stat().st_size for path in left(uploads, library)) <= 1500
    for _ in range(3):
        uploads.begin("more.mp4", 1000)
    with pytest.raises(UsageError, match="4 uploads are on their way"):
        uploads.begin("more.mp4", 1000)
    uploads.drop(upload)
    usage = shutil.disk_usage(library.projects)._replace(free=uploads_module.SPARE_BYTES + 100)
    monkeypatch.setattr(uploads_module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(TooLargeError, match="no room"):
        uploads.begin("full.mp4", 1000)


def test_the_upload_that_is_idle_for_longest_makes_room(uploads: Uploads, library: Library) -> None:
    begun = [uploads.begin(f"{number}.mp4", 1000) for number in range(4)]
    for upload in begun:
        receive(uploads, upload, b"\0" * 10)
    with pytest.raises(UsageError, match="4 uploads are on their way"):
        uploads.begin("new.mp4", 1000)
    begun[1].touched_s -= uploads_module.IDLE_S + 1
    begun[2].touched_s -= uploads_module.IDLE_S + 2
    begun[3].touched_s -= uploads_module.IDLE_S + 3
    begun[3].busy = True
    uploads.begin("new.mp4", 1000)
    with pytest.raises(UsageError, match="no such upload"):
        uploads.find(begun[2].id)
    assert [uploads.find(begun[n].id) for n in (0, 1, 3)] == [begun[n] for n in (0, 1, 3)]
    assert len(left(uploads, library)) == 3


def test_titles_hold_nothing_that_a_terminal_acts_on(library: Library, clip: Path) -> None:
    project = library.add(library.folders[0] / clip.name, "a\x1b[31mb\n" + "c" * 500)
    assert project.settings.title == ("a[31mb" + "c" * 500)[:200]
    assert ProjectSettings.model_validate_json((project.folder / "project.json").read_bytes())
