"""Routes of annotation: the list of projects, uploads, frames, masks, timelines and exports."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import Annotated, Concatenate, ParamSpec

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from streams.errors import StreamError
from tracker.errors import TrackdError, UsageError
from tracker.project.library import Library
from tracker.project.uploads import MAX_PIECE_BYTES, TooLargeError, Uploads
from tracker.studio.export_job import export, formats
from tracker.studio.open_project import OpenProject
from tracker.studio.project_session import ProjectSession

MAX_OPEN = 2  # projects, each with a process that holds a model
MAX_PAGES = 32  # that show projects
MAX_SIDE_PX = 1920
_MAX_BODY = 16 * 1024
_CLOSE_EVERY_S = 5.0
_LOG = logging.getLogger("trackd.studio")
_P = ParamSpec("_P")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NewProject(_Strict):
    """A source under one of the allowed folders."""

    folder: Annotated[int, Field(ge=0)]
    path: Annotated[str, Field(max_length=4096)]


class NewUpload(_Strict):
    """A file that is going to be uploaded."""

    name: Annotated[str, Field(max_length=1024)]
    size: Annotated[int, Field(ge=0, le=2**60)]


class NewExport(_Strict):
    """A format to write."""

    format: Annotated[str, Field(min_length=1, max_length=100)]


def _answering(
    handler: Callable[Concatenate["ProjectPages", Request, _P], Awaitable[Response]],
) -> Callable[Concatenate["ProjectPages", Request, _P], Awaitable[Response]]:
    """A handler whose errors become answers: one line, and how to fix it."""

    @wraps(handler)
    async def answer(
        self: "ProjectPages", request: Request, /, *args: _P.args, **kwargs: _P.kwargs
    ) -> Response:
        try:
            return await handler(self, request, *args, **kwargs)
        except TooLargeError as error:
            return _error(413, error)
        except (UsageError, StreamError) as error:
            return _error(400, error)
        except ValidationError:
            return JSONResponse({"error": "that is no request of the page", "hint": ""}, 400)
        except TrackdError as error:
            return _error(500, error)
        except ClientDisconnect:
            return Response(status_code=400)

    return answer


class ProjectPages:
    """Handlers of all routes about projects.

    Args:
        library: The projects, and the folders that sources may come from.
        uploads: Files that come in through the page.
    """

    def __init__(self, library: Library, uploads: Uploads) -> None:
        self._library = library
        self._uploads = uploads
        self._open: dict[str, OpenProject] = {}
        self._opening = asyncio.Lock()
        self._pages = 0
        self._exporting: dict[str, asyncio.Lock] = {}

    @property
    def routes(self) -> list[BaseRoute]:
        """The routes."""
        return [
            Route("/projects.json", self.titles),
            Route("/browse.json", self.browse),
            Route("/projects", self.create, methods=["POST"]),
            Route("/uploads", self.begin_upload, methods=["POST"]),
            Route("/uploads/{upload}", self.upload, methods=["GET", "PUT"]),
            Route("/uploads/{upload}/finish", self.finish_upload, methods=["POST"]),
            Route("/projects/{project}/frames/{number:int}.jpg", self.frame),
            Route("/projects/{project}/thumbnails/{number:int}.jpg", self.thumbnail),
            Route("/projects/{project}/results/{number:int}.json", self.results),
            Route("/projects/{project}/timeline.json", self.timeline),
            Route("/projects/{project}/exports", self.export, methods=["POST"]),
            Route("/projects/{project}/exports/{name}", self.exported),
            WebSocketRoute("/projects/{project}/socket", self.socket),
        ]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Close projects that nobody needs, and all of them at the end."""
        closing = asyncio.create_task(self._close_unneeded())
        try:
            yield
        finally:
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            await asyncio.gather(*(opened.close() for opened in self._open.values()))

    # --- choosing

    @_answering
    async def titles(self, request: Request) -> Response:
        """The projects, and what may be opened."""
        return JSONResponse(
            {
                "projects": await asyncio.to_thread(self._titles),
                "folders": [folder.name or str(folder) for folder in self._library.folders],
                "formats": formats(),
                "max_upload_bytes": self._uploads.max_bytes,
                "piece_bytes": MAX_PIECE_BYTES // 4,
            }
        )

    @_answering
    async def browse(self, request: Request) -> Response:
        """A folder under an allowed one."""
        folder, path = request.query_params.get("folder", ""), request.query_params.get("path", "")
        if not folder.isdecimal() or len(folder) > 6 or len(path) > 4096:
            raise UsageError("there is no such folder", "choose one of the list")
        listing = await asyncio.to_thread(self._library.browse, int(folder), path)
        return JSONResponse(asdict(listing))

    @_answering
    async def create(self, request: Request) -> Response:
        """Make a project of a source under an allowed folder."""
        wanted = NewProject.model_validate_json(await _body(request))
        project = await asyncio.to_thread(self._library.create, wanted.folder, wanted.path)
        return JSONResponse({"project": project.folder.name})

    # --- uploads

    @_answering
    async def begin_upload(self, request: Request) -> Response:
        """Begin an upload; its size is judged before a byte of it is read."""
        wanted = NewUpload.model_validate_json(await _body(request))
        upload = self._uploads.begin(wanted.name, wanted.size)
        return JSONResponse({"upload": upload.id, "received": 0})

    @_answering
    async def upload(self, request: Request) -> Response:
        """Take a piece of an upload, or say where it stands."""
        upload = self._uploads.find(request.path_params["upload"])
        if request.method == "PUT":
            length = request.headers.get("content-length", "")
            offset = request.query_params.get("offset", "")
            if not length.isdecimal() or not offset.isdecimal() or len(offset) > 18:
                raise UsageError("a piece needs its length and its offset", "use the page")
            if int(length) > MAX_PIECE_BYTES:
                raise TooLargeError(f"a piece has at most {MAX_PIECE_BYTES >> 20} MiB", "send less")
            await self._uploads.receive(upload, int(offset), request.stream())
        return JSONResponse({"upload": upload.id, "received": upload.received_bytes})

    @_answering
    async def finish_upload(self, request: Request) -> Response:
        """Make a project of a whole upload."""
        upload = self._uploads.find(request.path_params["upload"])
        project = await asyncio.to_thread(self._uploads.finish, upload)
        return JSONResponse({"project": project.folder.name})

    # --- one project

    @_answering
    async def frame(self, request: Request) -> Response:
        """A frame as JPEG."""
        opened = await self._opened(request.path_params["project"])
        asked = request.query_params.get("side", "1280")
        side_px = min(MAX_SIDE_PX, max(16, int(asked) if asked.isdecimal() else 1280))
        found = await opened.frame(request.path_params["number"], side_px)
        size = {"X-Frame-Size": f"{found.width}x{found.height}"}
        return Response(found.data, media_type="image/jpeg", headers=size)

    @_answering
    async def thumbnail(self, request: Request) -> Response:
        """A thumbnail as JPEG."""
        opened = await self._opened(request.path_params["project"])
        data = await asyncio.to_thread(opened.thumbnails.read, request.path_params["number"])
        if data is None:
            return PlainTextResponse("no such thumbnail", 404)
        return Response(data, media_type="image/jpeg")

    @_answering
    async def results(self, request: Request) -> Response:
        """The objects on a frame with their masks."""
        opened = await self._opened(request.path_params["project"])
        number = request.path_params["number"]
        return JSONResponse(await asyncio.to_thread(opened.objects_on, number))

    @_answering
    async def timeline(self, request: Request) -> Response:
        """The stretches of each object."""
        opened = await self._opened(request.path_params["project"])
        return JSONResponse(await asyncio.to_thread(opened.timeline))

    @_answering
    async def export(self, request: Request) -> Response:
        """Write the project in a format; its name to download it by."""
        project_id = request.path_params["project"]
        opened = await self._opened(project_id)
        wanted = NewExport.model_validate_json(await _body(request))
        if not opened.worker.status.done:
            raise UsageError("not everything is tracked yet", "wait, or let it track")
        async with self._exporting.setdefault(project_id, asyncio.Lock()):
            path = await export(opened.project, wanted.format)
        return JSONResponse({"file": path.name, "bytes": path.stat().st_size})

    @_answering
    async def exported(self, request: Request) -> Response:
        """A file that was exported."""
        project = await asyncio.to_thread(self._library.open, request.path_params["project"])
        folder = project.folder / "exports"
        names = {p.name: p for p in folder.iterdir() if p.is_file()} if folder.is_dir() else {}
        path = names.get(request.path_params["name"])  # no path comes from a request
        if path is None:
            return PlainTextResponse("no such file", 404)
        return FileResponse(path, filename=f"{project.folder.name}-{path.name}")

    async def socket(self, socket: WebSocket) -> None:
        """The WebSocket of a page that shows a project."""
        if self._pages >= MAX_PAGES:
            await socket.close(1013, "too many pages are open")
            return
        self._pages += 1
        try:
            await self._serve(socket)
        finally:
            self._pages -= 1

    async def _serve(self, socket: WebSocket) -> None:
        await socket.accept()
        try:
            opened = await self._opened(socket.path_params["project"])
        except (TrackdError, StreamError) as error:
            await socket.send_text(json.dumps({"type": "refused", "error": str(error)}))
            await socket.close(1008, "the project cannot be opened")
            return
        await ProjectSession(socket, opened).serve()

    # ---

    async def _opened(self, project_id: str) -> OpenProject:
        """A project, opened if need be.

        Raises:
            TrackdError: There is none, it cannot be read, or too many are open.
            StreamError: Its source cannot be read.
        """
        if opened := self._open.get(project_id):
            return opened  # whatever is being opened meanwhile
        async with self._opening:
            if opened := self._open.get(project_id):
                return opened
            project = await asyncio.to_thread(self._library.open, project_id)
            await self._close_some()
            if len(self._open) >= MAX_OPEN:
                raise UsageError(
                    f"{MAX_OPEN} projects are open", "close the page of one, or let it end"
                )
            opened = OpenProject(project, self._library)
            try:
                await opened.start()
            except BaseException:
                await opened.close()
                raise
            self._open[project_id] = opened
            return opened

    async def _close_some(self) -> None:
        for project_id, opened in list(self._open.items()):
            if not opened.is_needed:
                del self._open[project_id]
                await opened.close()

    async def _close_unneeded(self) -> None:
        while True:
            await asyncio.sleep(_CLOSE_EVERY_S)
            async with self._opening:
                await self._close_some()

    def _titles(self) -> list[dict[str, str]]:
        titles = []
        for project_id in self._library.ids():
            try:
                project = self._library.open(project_id)
            except (TrackdError, StreamError) as error:
                titles.append({"id": project_id, "title": project_id, "error": str(error)})
                continue
            source = Path(project.source).name
            titles.append({"id": project_id, "title": project.settings.title, "source": source})
        return titles


async def _body(request: Request) -> bytes:
    """The body of a request, of bounded size."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_BODY:
            raise TooLargeError("that request is too long", "use the page")
    return body


def _error(status: int, error: TrackdError | StreamError) -> Response:
    return JSONResponse({"error": error.message, "hint": error.hint}, status)
