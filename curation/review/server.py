"""The review page's server: this machine alone, one reviewer, every decision on the disk before it is answered."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
from collections.abc import Callable
from dataclasses import asdict
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from curation.review.agreement import NO_ANSWERS, agreements
from curation.review.pictures import KINDS
from curation.review.view import Review, answer_facts, set_facts
from icvos.errors import IcvosError, UserInputError, missing_package

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.datastructures import Headers
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
_STATIC = {"": "text/html", "review.js": "text/javascript", "review.css": "text/css", "review.svg": "image/svg+xml"}
_MOST_BYTES = 1 << 16  # of what a page sends
# Nothing but this server's own files may be loaded, run, or talked to, and no other page may frame this one.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def make_app(review: Review, token: str, port: int) -> Starlette:
    """The page and what it asks for, all below ``/token/``.

    Raises:
        UserInputError: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.responses import FileResponse, JSONResponse, Response
        from starlette.routing import Mount, Route
    except ModuleNotFoundError as error:
        raise missing_package("the review page", error, "review") from error

    def page(request: Request) -> Response:
        name = request.path_params.get("name", "")
        if name not in _STATIC:  # a table, so that no path leads anywhere else
            return Response("no such page", 404)
        content = (files("curation.review") / "static" / (name or "review.html")).read_bytes()
        return Response(content, media_type=_STATIC[name], headers={"Cache-Control": "no-cache"})

    def candidates(request: Request) -> Response:
        return JSONResponse(set_facts(review), headers=_NOT_KEPT)

    def answers(request: Request) -> Response:
        found = review.standing()
        facts = {tube: answer_facts(given, review.reviewer) for tube, given in found.items()}
        return JSONResponse({"answers": facts, "agreements": [asdict(pair) for pair in agreements(found)]}, headers=_NOT_KEPT)

    async def decision(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        given = _parse(await request.body())
        tube = await run_in_threadpool(review.take, given)
        found = await run_in_threadpool(review.standing)
        return JSONResponse({"tube": tube, "answer": answer_facts(found.get(tube, NO_ANSWERS), review.reviewer)}, headers=_NOT_KEPT)

    def picture(request: Request) -> Response:
        place, kind = request.path_params["place"], request.path_params["kind"]
        if kind not in KINDS or place >= len(review.candidates.tubes):
            return Response("no such picture", 404)
        return FileResponse(review.pictures.path(place, kind), headers={"Cache-Control": "private, max-age=86400"})

    def refused(request: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, 400 if isinstance(error, UserInputError) else 500, headers=_NOT_KEPT)

    routes = [
        Route("/", page),
        Route("/api/set", candidates),
        Route("/api/answers", answers),
        Route("/api/decisions", decision, methods=["POST"]),
        Route("/pictures/{place:int}/{kind}", picture),
        Route("/{name}", page),
    ]
    guard = Middleware(_Guard, token=token, hosts={f"{HOST}:{port}", f"localhost:{port}"})
    return Starlette(routes=[Mount(f"/{token}", routes=routes)], middleware=[guard], exception_handlers={IcvosError: refused})


def serve(review: Review, port: int, on_ready: Callable[[str], None]) -> None:
    """Serve the page on 127.0.0.1 until Ctrl-C; `on_ready` is told its address once it can be opened. Port 0 takes a free one.

    Raises:
        UserInputError: uvicorn is not installed, or the port is taken.
    """
    try:
        import uvicorn
    except ModuleNotFoundError as error:
        raise missing_package("the review page", error, "review") from error
    token = secrets.token_urlsafe(16)
    with socket.socket() as listener:
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
            listener.listen()
        except OSError as error:
            raise UserInputError("cannot listen", f"{HOST}:{port}", error.strerror, fix="choose another --port, or leave it out") from error
        port = listener.getsockname()[1]
        app = make_app(review, token, port)
        options: dict[str, Any] = {"log_level": "warning", "access_log": False, "server_header": False, "lifespan": "off", "ws": "none"}
        server = uvicorn.Server(uvicorn.Config(app, **options))
        on_ready(f"http://{HOST}:{port}/{token}/")
        server.run(sockets=[listener])


_NOT_KEPT = {"Cache-Control": "no-store"}


class _Guard:
    """Lets through what comes from this page alone: right host (no foreign name made to point here), token, and origin."""

    def __init__(self, app: ASGIApp, token: str, hosts: set[str]) -> None:
        self.app, self.token, self.hosts = app, token, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import PlainTextResponse

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        if scope["type"] != "http":  # neither web sockets nor anything else is spoken here
            return
        refusal = self._refusal(scope["method"], scope["path"], Headers(scope=scope))
        app = PlainTextResponse(refusal[1], refusal[0]) if refusal else self.app
        await app(scope, receive, send_guarded)

    def _refusal(self, method: str, path: str, headers: Headers) -> tuple[int, str] | None:
        """Status and words, or None where the request may pass."""
        host = headers.get("host", "")
        if host not in self.hosts:
            return 421, "this server answers to 127.0.0.1 alone"
        if not hmac.compare_digest(path.split("/")[1].encode(), self.token.encode()):
            return 404, "not here; open the address that `icvos review` printed"
        if method in {"GET", "HEAD"}:
            return (403, "not from another page") if headers.get("sec-fetch-site") == "cross-site" else None
        if headers.get("origin") != f"http://{host}":
            return 403, "not from another page"
        if headers.get("content-type") != "application/json":
            return 415, "expected application/json"
        if not headers.get("content-length", "").isdecimal() or int(headers["content-length"]) > _MOST_BYTES:
            return 413, f"expected at most {_MOST_BYTES} bytes"
        return None


def _parse(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        raise UserInputError("not a decision", expected="a JSON object", fix="load the page again")
    return given
