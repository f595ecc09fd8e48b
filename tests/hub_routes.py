"""The Hub's routes: what each request does to the repositories of the test server, and what it answers."""

import base64
import hashlib
import json
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.hub_repo import Commit, File, Repo, git_oid, is_lfs, pointer

if TYPE_CHECKING:
    from tests.hub_server import HubServer

KIND = r"(?P<kind>model|dataset|space)s"
ID = r"(?P<id>[^/]+/[^/]+)"
REVISION = r"(?P<revision>[^/]+)"


@dataclass
class Request:
    """One request, as the routes see it; `corrupt` asks for a damaged body, up or down."""

    method: str
    path: str
    query: dict[str, str]
    headers: Any
    body: bytes
    corrupt: bool

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


@dataclass
class Answer:
    """One answer; `body` is bytes as they are, or anything else as JSON."""

    status: int = 200
    body: Any = b""
    headers: dict[str, str] = field(default_factory=dict)


class Refused(Exception):
    """An error answer: status, the Hub's error code, and a sentence."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


def route(hub: "HubServer", request: Request) -> Answer:
    """Answer one request."""
    try:
        for method, pattern, handle in ROUTES:
            match = re.fullmatch(pattern, request.path)
            if match and request.method in method.split("|"):
                values = {
                    name: urllib.parse.unquote(text) for name, text in match.groupdict().items() if text is not None
                }
                return handle(hub, request, **values)
        raise Refused(404, "", f"the test Hub has no route {request.method} {request.path}")
    except Refused as error:
        headers = {"X-Error-Code": error.code, "X-Error-Message": error.message} if error.code else {}
        return Answer(error.status, {"error": error.message}, headers)


def _whoami(hub: "HubServer", request: Request) -> Answer:
    role = _role(hub, request)
    if role is None:
        raise Refused(401, "", "Invalid username or password.")
    token: dict[str, Any] = {"displayName": "test", "role": role}
    if isinstance(role, list):
        token |= {"role": "fineGrained", "fineGrained": {"canReadGatedRepos": False, "global": [], "scoped": role}}
    auth = {"type": "access_token", "accessToken": token}
    return _json({"type": "user", "name": "tester", "orgs": hub.orgs, "auth": auth})


def _create(hub: "HubServer", request: Request) -> Answer:
    asked = request.json()
    kind, id = asked.get("type", "model"), f"{asked.get('organization') or 'tester'}/{asked['name']}"
    _require_write(hub, request, kind, id)
    url = f"{hub.url}/{'' if kind == 'model' else kind + 's/'}{id}"
    if (kind, id) in hub.repos:
        return Answer(409, {"error": "You already created this model repo", "url": url})
    repo = Repo(kind, id, hub.blobs, asked.get("private", asked.get("visibility") == "private"))
    repo.commit("main", "initial commit", {".gitattributes": repo.add(".gitattributes", b"*.safetensors filter=lfs\n")})
    hub.repos[kind, id] = repo
    return _json({"url": url, "name": id, "id": "0" * 24})


def _info(hub: "HubServer", request: Request, kind: str, id: str, revision: str = "main") -> Answer:
    repo, commit = _at(hub, request, kind, id, revision)
    siblings = [
        {"rfilename": path} | (_entry(path, file) if "blobs" in request.query else {})
        for path, file in sorted(commit.files.items())
    ]
    return _json(
        {
            "_id": "0" * 24, "id": id, "modelId": id, "author": id.split("/")[0], "sha": commit.oid, "tags": [],
            "private": repo.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z", "siblings": siblings,
        }
    )  # fmt: skip


def _tree(hub: "HubServer", request: Request, kind: str, id: str, revision: str, path: str = "") -> Answer:
    _, commit = _at(hub, request, kind, id, revision)
    recursive = request.query.get("recursive", "").lower() in ("true", "1")
    start = f"{path}/" if path else ""
    found: dict[str, dict[str, Any]] = {}
    for name, file in sorted(commit.files.items()):
        if name.startswith(start):
            parts = name[len(start) :].split("/")
            for depth in range(1, len(parts) if recursive else min(2, len(parts))):
                folder = start + "/".join(parts[:depth])
                found.setdefault(folder, _folder(folder))
            if recursive or len(parts) == 1:
                found[name] = _entry(name, file)
    if path and not found:
        raise Refused(404, "EntryNotFound", f"{path} does not exist on {revision}")
    return _json(list(found.values()))


def _paths_info(hub: "HubServer", request: Request, kind: str, id: str, revision: str) -> Answer:
    _, commit = _at(hub, request, kind, id, revision)
    if "json" in (request.headers.get("Content-Type") or ""):
        paths = request.json()["paths"]
    else:
        paths = urllib.parse.parse_qs(request.body.decode()).get("paths", [])
    found = []
    for path in paths:
        if path in commit.files:
            found.append(_entry(path, commit.files[path]))
        elif any(name.startswith(f"{path}/") for name in commit.files):
            found.append(_folder(path))
    return _json(found)


def _refs(hub: "HubServer", request: Request, kind: str, id: str) -> Answer:
    repo = _repo(hub, request, kind, id)

    def listed(kind: str, refs: dict[str, str]) -> list[dict[str, str]]:
        return [{"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid} for name, oid in refs.items()]

    return _json({"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags), "converts": []})


def _auth_check(hub: "HubServer", request: Request, kind: str, id: str, write: str = "") -> Answer:
    _repo(hub, request, kind, id)
    if write:
        _require_write(hub, request, kind, id)
    return _json({})


def _resolve(hub: "HubServer", request: Request, id: str, revision: str, path: str, kind: str = "model") -> Answer:
    repo, commit = _at(hub, request, kind, id, revision)
    headers = {"X-Repo-Commit": commit.oid}
    if path not in commit.files:
        raise Refused(404, "EntryNotFound", f"{path} does not exist on {revision}")
    file = commit.files[path]
    data = repo.blobs[file.sha256]
    headers |= {"ETag": f'"{file.sha256 if file.lfs else file.oid}"', "Accept-Ranges": "bytes"}
    if file.lfs:
        headers |= {"X-Linked-Etag": headers["ETag"], "X-Linked-Size": str(file.size)}
    if request.corrupt and request.method == "GET":
        data = _flipped(data)
    wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range") or "")
    if not wanted:
        return Answer(200, data, headers)
    first, last = int(wanted[1]), int(wanted[2] or len(data) - 1)
    last = min(last, len(data) - 1)
    return Answer(206, data[first : last + 1], headers | {"Content-Range": f"bytes {first}-{last}/{len(data)}"})


def _preupload(hub: "HubServer", request: Request, kind: str, id: str, revision: str) -> Answer:
    _require_write(hub, request, kind, id)
    _, commit = _at(hub, request, kind, id, revision)
    files = []
    for asked in request.json()["files"]:
        mode = "lfs" if is_lfs(asked["path"], asked["size"]) else "regular"
        held = commit.files.get(asked["path"])
        oid = None if held is None else held.sha256 if held.lfs else held.oid
        files.append({"path": asked["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return _json({"files": files, "commitOid": commit.oid})


def _lfs_batch(hub: "HubServer", request: Request, id: str, kind: str = "model") -> Answer:
    _require_write(hub, request, kind, id)
    _repo(hub, request, kind, id)
    objects = []
    for asked in request.json()["objects"]:
        oid, size = asked["oid"], asked["size"]
        if oid in hub.blobs:
            objects.append({"oid": oid, "size": size})
            continue
        upload: dict[str, Any] = {"href": f"{hub.url}/_lfs/{oid}"}
        if size > hub.part_size:
            count = -(-size // hub.part_size)
            parts = {f"{number:05}": f"{hub.url}/_lfs/{oid}/{number}" for number in range(1, count + 1)}
            upload["header"] = {"chunk_size": str(hub.part_size)} | parts
        verify = {"href": f"{hub.url}/_lfs/{oid}/verify"}
        objects.append({"oid": oid, "size": size, "actions": {"upload": upload, "verify": verify}})
    return _json(
        {"transfer": "multipart" if "multipart" in request.json()["transfers"] else "basic", "objects": objects}
    )


def _lfs_put(hub: "HubServer", request: Request, oid: str, part: str = "") -> Answer:
    data = _flipped(request.body) if request.corrupt else request.body
    if part:
        hub.parts[oid, int(part)] = data
    else:
        hub.blobs[oid] = data
    return Answer(200, b"", {"ETag": f'"{hashlib.md5(data).hexdigest()}"'})


def _lfs_complete(hub: "HubServer", request: Request, oid: str) -> Answer:
    parts = sorted(part["partNumber"] for part in request.json()["parts"])
    hub.blobs[oid] = b"".join(hub.parts.pop((oid, number)) for number in parts)
    return _json({})


def _lfs_verify(hub: "HubServer", request: Request, oid: str) -> Answer:
    if len(hub.blobs.get(oid, b"")) != request.json()["size"]:
        raise Refused(404, "", "the object is not there in its whole size")
    return _json({})


def _commit(hub: "HubServer", request: Request, kind: str, id: str, revision: str) -> Answer:
    _require_write(hub, request, kind, id)
    repo, head = _at(hub, request, kind, id, revision)
    if revision not in repo.branches:
        raise Refused(400, "", f"{revision} is not a branch")
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = lines[0]["value"]
    if header.get("parentCommit") not in (None, head.oid):
        raise Refused(412, "", "A commit has happened since. Please refresh and try again.")
    files = dict(head.files)
    for line in lines[1:]:
        _apply(repo, files, line["key"], line["value"])
    commit = repo.commit(revision, header["summary"], files)
    return _json({"success": True, "commitOid": commit.oid, "commitUrl": f"{hub.url}/{id}/commit/{commit.oid}"})


def _apply(repo: Repo, files: dict[str, File], key: str, value: dict[str, Any]) -> None:
    path = value["path"]
    if key == "file":
        data = base64.b64decode(value["content"])
        digest = hashlib.sha256(data).hexdigest()
        repo.blobs[digest] = data
        files[path] = File(digest, len(data), False, git_oid(data))
    elif key == "lfsFile":
        if value["oid"] not in repo.blobs:
            raise Refused(400, "", f"LFS object {value['oid']} of {path} was never uploaded")
        data = repo.blobs.pop(value["oid"])
        true = hashlib.sha256(data).hexdigest()  # differs from the oid where a fault has damaged the upload
        repo.blobs[true] = data
        files[path] = File(true, len(data), True, git_oid(pointer(true, len(data))))
    elif key == "deletedFile":
        if files.pop(path, None) is None:
            raise Refused(404, "EntryNotFound", "A file with this name doesn't exist")
    elif key == "deletedFolder":
        for name in [name for name in files if name.startswith(path.rstrip("/") + "/")]:
            del files[name]
    else:
        raise Refused(400, "", f"the test Hub knows no operation {key}")


def _add_branch(hub: "HubServer", request: Request, kind: str, id: str, name: str) -> Answer:
    _require_write(hub, request, kind, id)
    start = (request.json() if request.body else {}).get("startingPoint", "main")
    repo, commit = _at(hub, request, kind, id, start)
    if name in repo.branches:
        raise Refused(409, "", f"Reference already exists: {name}")
    repo.branches[name] = commit.oid
    return _json({})


def _add_tag(hub: "HubServer", request: Request, kind: str, id: str, revision: str) -> Answer:
    _require_write(hub, request, kind, id)
    repo, commit = _at(hub, request, kind, id, revision)
    if request.json()["tag"] in repo.tags:
        raise Refused(409, "", "Tag reference exists already")
    repo.tags[request.json()["tag"]] = commit.oid
    return _json({})


def _drop_ref(hub: "HubServer", request: Request, kind: str, id: str, what: str, name: str) -> Answer:
    _require_write(hub, request, kind, id)
    repo = _repo(hub, request, kind, id)
    refs = repo.branches if what == "branch" else repo.tags
    if name == "main" or name not in refs:
        raise Refused(403 if name == "main" else 404, "", f"cannot delete {what} {name}")
    del refs[name]
    return _json({})


def _role(hub: "HubServer", request: Request) -> str | list[dict[str, Any]] | None:
    return hub.tokens.get((request.headers.get("Authorization") or "").removeprefix("Bearer "))


def _require_write(hub: "HubServer", request: Request, kind: str, id: str) -> None:
    role = _role(hub, request)
    named = (("user", id.split("/")[0]), ("org", id.split("/")[0]), (kind.removesuffix("s"), id))
    scopes = role if isinstance(role, list) else []
    granted = any(
        (s["entity"]["type"], s["entity"]["name"]) in named and "repo.write" in s["permissions"] for s in scopes
    )
    if role != "write" and not granted:
        raise Refused(401 if role is None else 403, "", "You don't have the rights to write to this repository.")


def _repo(hub: "HubServer", request: Request, kind: str, id: str) -> Repo:
    repo = hub.repos.get((kind.removesuffix("s"), id))
    if repo is None or (repo.private and _role(hub, request) is None):
        raise Refused(404, "RepoNotFound", "Repository not found")
    return repo


def _at(hub: "HubServer", request: Request, kind: str, id: str, revision: str) -> tuple[Repo, Commit]:
    repo = _repo(hub, request, kind, id)
    commit = repo.resolve(revision)
    if commit is None:
        raise Refused(404, "RevisionNotFound", f"Invalid rev id: {revision}")
    return repo, commit


def _entry(path: str, file: File) -> dict[str, Any]:
    lfs = (
        {"lfs": {"oid": file.sha256, "size": file.size, "pointerSize": 134, "sha256": file.sha256}} if file.lfs else {}
    )
    return {"type": "file", "path": path, "size": file.size, "oid": file.oid, "blobId": file.oid} | lfs


def _folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "size": 0, "oid": hashlib.sha1(path.encode()).hexdigest()}


def _flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if data else data


def _json(value: Any) -> Answer:
    return Answer(200, value)


ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/api/whoami-v2", _whoami),
    ("POST", "/api/validate-yaml", lambda hub, request: _json({"errors": [], "warnings": []})),
    ("POST", "/api/repos/create", _create),
    ("GET", rf"/api/{KIND}/{ID}/revision/{REVISION}", _info),
    ("GET", rf"/api/{KIND}/{ID}/tree/{REVISION}(?:/(?P<path>.+))?", _tree),
    ("POST", rf"/api/{KIND}/{ID}/paths-info/{REVISION}", _paths_info),
    ("GET", rf"/api/{KIND}/{ID}/refs", _refs),
    ("GET", rf"/api/{KIND}/{ID}/auth-check(?:/(?P<write>write))?", _auth_check),
    ("POST", rf"/api/{KIND}/{ID}/preupload/{REVISION}", _preupload),
    ("POST", rf"/api/{KIND}/{ID}/commit/{REVISION}", _commit),
    ("POST", rf"/api/{KIND}/{ID}/branch/(?P<name>.+)", _add_branch),
    ("POST", rf"/api/{KIND}/{ID}/tag/{REVISION}", _add_tag),
    ("DELETE", rf"/api/{KIND}/{ID}/(?P<what>branch|tag)/(?P<name>.+)", _drop_ref),
    ("GET", rf"/api/{KIND}/{ID}", _info),
    ("POST", rf"/(?:(?P<kind>dataset)s/)?{ID}\.git/info/lfs/objects/batch", _lfs_batch),
    ("PUT", r"/_lfs/(?P<oid>[0-9a-f]+)(?:/(?P<part>\d+))?", _lfs_put),
    ("POST", r"/_lfs/(?P<oid>[0-9a-f]+)/verify", _lfs_verify),
    ("POST", r"/_lfs/(?P<oid>[0-9a-f]+)", _lfs_complete),
    ("GET|HEAD", rf"/(?:(?P<kind>dataset)s/)?{ID}/resolve/{REVISION}/(?P<path>.+)", _resolve),
]
