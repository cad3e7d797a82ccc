"""A hub on loopback: as much of the Hugging Face hub's protocol as its unmodified clients use under ``HF_ENDPOINT``.

It serves folders at their ids. Large files go the way of LFS: the answer at ``resolve`` names SHA-256 and size and
leads to another host. Faults change its answers.

    with Hub() as hub:
        hub.serve("dataset", "C-MTEB/BQ", folder, revisions=["e3dda5e115e487b39ec7e618c0c6a29137052a55"])
        hub.fault("GET .*train", cut(after=1000), times=1)
        subprocess.run(..., env={**os.environ, **hub.environment(home)})
"""

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = re.compile(r"[0-9a-f]{40}")
LFS_SUFFIXES = (".safetensors", ".bin", ".parquet", ".gz", ".tsv", ".model")
API = re.compile(r"/api/(model|dataset)s/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.+))?)?")
RESOLVE = re.compile(r"/(datasets/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
LFS = re.compile(r"/lfs/([0-9a-f]{64})")
BLOCK = 64 * 1024


@dataclass(frozen=True)
class Request:
    """A request as the server saw it; ``path`` is decoded and without its query."""

    method: str
    path: str
    headers: Message


@dataclass(frozen=True)
class Reply:
    """An answer. ``cut`` bytes of the body are sent before the connection ends, by a reset if ``reset``.

    ``pause`` seconds pass before each 64 KiB of the body.
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: int | None = None
    reset: bool = False
    pause: float = 0.0


Fault = Callable[[Request, Reply], Reply]


def refuse(status: int, code: str = "", message: str = "", **headers: str) -> Fault:
    """Answer with an error, as the hub words it: ``code`` in X-Error-Code, ``message`` in X-Error-Message."""
    given = {"X-Error-Code": code, "X-Error-Message": message, **{k.replace("_", "-"): v for k, v in headers.items()}}
    return lambda request, reply: Reply(status, {name: value for name, value in given.items() if value})


def cut(after: int, *, reset: bool = False) -> Fault:
    """End the connection after ``after`` bytes of the body."""
    return lambda request, reply: replace(reply, cut=after, reset=reset)


def alter(request: Request, reply: Reply) -> Reply:
    """Change the byte in the middle of the body."""
    body = bytearray(reply.body)
    body[len(body) // 2] ^= 1
    return replace(reply, body=bytes(body))


def truncate(request: Request, reply: Reply) -> Reply:
    """Send the first half of the body as if it were all."""
    return replace(reply, body=reply.body[: len(reply.body) // 2])


def slow(pause: float) -> Fault:
    """Wait before each 64 KiB."""
    return lambda request, reply: replace(reply, pause=pause)


def gated(request: Request, reply: Reply) -> Reply:
    """Refuse whoever has no token, as a repository does whose terms must be accepted."""
    if request.headers["Authorization"]:
        return reply
    return refuse(401, "GatedRepo", "Access to it is restricted. Please log in.")(request, reply)


@dataclass(frozen=True)
class Repository:
    """Files by path; every commit of 40 digits has them, or those of ``revisions`` alone."""

    files: dict[str, bytes]
    revisions: tuple[str, ...] | None

    def commit(self, revision: str) -> str | None:
        """Return the commit that a revision names; ``None`` for a revision it does not have."""
        head = self.revisions[0] if self.revisions else "f" * 40
        if revision == "main":
            return head
        known = COMMIT.fullmatch(revision) if self.revisions is None else revision in self.revisions
        return revision if known else None

    def entry(self, path: str) -> dict[str, Any]:
        """Return what the hub's listing says of a file."""
        content = self.files[path]
        entry = {"type": "file", "path": path, "size": len(content), "oid": git_hash(content)}
        if path.endswith(LFS_SUFFIXES):
            oid = hashlib.sha256(content).hexdigest()
            pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {len(content)}\n".encode()
            entry["oid"] = git_hash(pointer)
            entry["lfs"] = {"oid": oid, "size": len(content), "pointerSize": len(pointer)}
        return entry

    def tree(self, below: str | None, *, recursive: bool) -> list[dict[str, Any]]:
        """Return the listing of a folder: its files, and folders if not ``recursive``."""
        start = f"{below}/" if below else ""
        inside = [path for path in sorted(self.files) if path.startswith(start)]
        if recursive:
            return [self.entry(path) for path in inside]
        folders = {path.removeprefix(start).partition("/")[0] for path in inside if "/" in path.removeprefix(start)}
        entries = [self.entry(path) for path in inside if "/" not in path.removeprefix(start)]
        return entries + [{"type": "directory", "path": start + name, "oid": "0" * 40} for name in sorted(folders)]


def git_hash(content: bytes) -> str:
    """Return git's id of a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub:
    """The server; a context manager.

    Attributes:
        requests: all that were answered, in order.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self._repositories: dict[tuple[str, str], Repository] = {}
        self._faults: list[list[Any]] = []  # pattern, fault, how many times more
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        """The port on 127.0.0.1."""
        return self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self.port}"

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables under which a process asks this hub, and keeps what it fetched in ``home``."""
        own = {"HF_ENDPOINT": self.endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0"}
        return {**own, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_TOKEN": "", "NO_PROXY": "127.0.0.1,localhost"}

    def use_in(self, home: Path, monkeypatch: Any) -> None:
        """Let the clients of this process do the same: they read the variables when they are imported."""
        from huggingface_hub import constants

        for name, value in {
            "ENDPOINT": self.endpoint,
            "HUGGINGFACE_CO_URL_TEMPLATE": self.endpoint + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_CACHE": str(home / "hub"),
            "HF_ASSETS_CACHE": str(home / "assets"),
            "HF_TOKEN_PATH": str(home / "token"),
            "HF_HUB_OFFLINE": False,
        }.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
        monkeypatch.delenv("HF_TOKEN", raising=False)

    def serve(
        self, kind: str, hub_id: str, files: Path | Mapping[str, bytes], revisions: list[str] | None = None
    ) -> None:
        """Serve a ``model`` or ``dataset``, a folder or files by path; more files join those it has.

        ``revisions`` are its commits, the head first; without, it has every commit.
        """
        if isinstance(files, Path):
            found = (path for path in files.rglob("*") if path.is_file())
            files = {path.relative_to(files).as_posix(): path.read_bytes() for path in found}
        before = self._repositories.get((kind, hub_id))
        all_files = {**(before.files if before else {}), **files}
        self._repositories[kind, hub_id] = Repository(all_files, tuple(revisions) if revisions else None)

    def fault(self, pattern: str, fault: Fault, times: float = float("inf")) -> None:
        """Change the answers to the next ``times`` requests whose ``METHOD /path`` the pattern matches."""
        self._faults.append([re.compile(pattern), fault, times])

    def mend(self) -> None:
        """Forget all faults and requests."""
        self._faults.clear()
        self.requests.clear()

    def asked(self, pattern: str) -> list[Request]:
        """Return the requests whose ``METHOD /path`` the pattern matches."""
        return [request for request in self.requests if re.match(pattern, f"{request.method} {request.path}")]

    def reply(self, request: Request, query: dict[str, list[str]], form: dict[str, list[str]]) -> Reply:
        """Answer a request, then let the faults change the answer."""
        reply = self._right_reply(request, query, form)
        if (start := re.fullmatch(r"bytes=(\d+)-", request.headers["Range"] or "")) and reply.status == 200:
            first, total = int(start[1]), len(reply.body)
            headers = {**reply.headers, "Content-Range": f"bytes {first}-{total - 1}/{total}"}
            reply = Reply(206, headers, reply.body[first:])
        with self._lock:
            self.requests.append(request)
            for entry in self._faults:
                pattern, fault, times = entry
                if times > 0 and pattern.match(f"{request.method} {request.path}"):
                    entry[2] -= 1
                    reply = fault(request, reply)
        return reply

    def _right_reply(self, request: Request, query: dict[str, list[str]], form: dict[str, list[str]]) -> Reply:
        if found := LFS.fullmatch(request.path):
            contents = (content for repository in self._repositories.values() for content in repository.files.values())
            return Reply(200, {}, next(one for one in contents if hashlib.sha256(one).hexdigest() == found[1]))
        if found := RESOLVE.fullmatch(request.path):
            kind, hub_id, revision, path = "dataset" if found[1] else "model", *found.groups()[1:]
        elif found := API.fullmatch(request.path):
            kind, hub_id, what, revision, path = found.groups()
            revision = revision or "main"
        else:
            return _missing(404, "", f"this hub knows no {request.path}")
        repository = self._repositories.get((kind, hub_id))
        if repository is None:
            return _missing(
                401, "RepoNotFound", "Invalid username or password."
            )  # as the hub tells those not logged in
        commit = repository.commit(revision)
        if commit is None:
            return _missing(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if found.re is RESOLVE:
            return self._file(repository, commit, path)
        if what == "tree":
            return _json(repository.tree(path, recursive=query.get("recursive") == ["true"]))
        if what == "paths-info":
            return _json([repository.entry(path) for path in form["paths"] if path in repository.files])
        sizes = "blobs" in query
        siblings = [
            {"rfilename": path, **({"size": len(content)} if sizes else {})}
            for path, content in sorted(repository.files.items())
        ]
        licence = re.search(rb"^license: (.+)$", repository.files.get("README.md", b""), re.MULTILINE)
        card = {"cardData": {"license": licence[1].decode()}} if licence else {}
        said = {"id": hub_id, "sha": commit, "private": False, "gated": False, "tags": [], "siblings": siblings}
        return _json(said | card)

    def _file(self, repository: Repository, commit: str, path: str) -> Reply:
        if path not in repository.files:
            return replace(_missing(404, "EntryNotFound", "Entry not found"), headers={
                "X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit,
            })  # fmt: skip
        entry = repository.entry(path)
        if "lfs" not in entry:
            headers = {"ETag": f'"{entry["oid"]}"', "X-Repo-Commit": commit}
            return Reply(200, headers, repository.files[path])
        oid, size = entry["lfs"]["oid"], entry["lfs"]["size"]
        headers = {"X-Linked-Etag": f'"{oid}"', "X-Linked-Size": str(size), "X-Repo-Commit": commit}
        return Reply(302, {**headers, "Location": f"http://localhost:{self.port}/lfs/{oid}"})


def _missing(status: int, code: str, message: str) -> Reply:
    return Reply(status, {"X-Error-Code": code, "X-Error-Message": message})


def _json(value: Any) -> Reply:
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(value).encode())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def _answer(self) -> None:
        url = urlsplit(self.path)
        given = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        request = Request(self.command, unquote(url.path), self.headers)
        reply = self.hub.reply(request, parse_qs(url.query.lower()), parse_qs(given))
        self.send_response(reply.status)
        for name, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self._send(reply)

    do_GET = do_HEAD = do_POST = _answer  # noqa: N815 -- the names that http.server asks for

    def _send(self, reply: Reply) -> None:
        body = memoryview(reply.body if reply.cut is None else reply.body[: reply.cut])
        try:
            for start in range(0, len(body), BLOCK):
                if reply.pause:
                    threading.Event().wait(reply.pause)
                self.wfile.write(body[start : start + BLOCK])
        except OSError:  # the client has gone
            self.close_connection = True
            return
        if reply.cut is not None:
            self.close_connection = True
            if reply.reset:
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""
