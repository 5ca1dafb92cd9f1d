"""A local server with files and batches that misbehaves on purpose: it loses answers, kills its client, and garbles what it gives back."""

import dataclasses
import json
import re
import threading
from collections.abc import Callable, Sequence
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Line = dict[str, Any]


def verdict(request: Line) -> Line:
    """An honest answer: the longer response is better."""
    user = request["body"]["messages"][1]["content"]
    ticket = re.findall(r"\[end response B ([0-9a-f]{12})\]", user)[-1]
    texts = [user.split(f"[begin response {name} {ticket}]\n")[1].split(f"\n[end response {name}")[0] for name in "AB"]
    label = "tie" if len(texts[0]) == len(texts[1]) else "A" if len(texts[0]) > len(texts[1]) else "B"
    return answer(request["custom_id"], json.dumps({"ticket": ticket, "reason": "longer", "verdict": label}))


def answer(id_: str, content: str) -> Line:
    """One line of an output file."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    body = {"id": "x", "object": "chat.completion", "model": "judge-1", "choices": [choice]}
    body["usage"] = {"prompt_tokens": 100, "completion_tokens": 10}
    return {
        "id": "b",
        "custom_id": id_,
        "response": {"status_code": 200, "request_id": "r", "body": body},
        "error": None,
    }


def failure(id_: str, code: str) -> Line:
    """One line of an error file."""
    return {"id": "b", "custom_id": id_, "response": None, "error": {"code": code, "message": "no time left"}}


@dataclasses.dataclass
class Ending:
    """How a batch ends: status, lines of both files (texts as they stand, or data), and what is wrong."""

    status: str = "completed"
    output: Sequence[Line | str] | None = None
    errors: Sequence[Line | str] | None = None
    problem: str = ""


@dataclasses.dataclass
class BatchServer:
    """Its state, and what it does; every hook is called at the moment that its name says."""

    end: Callable[[list[Line]], Ending] = lambda requests: Ending(output=[verdict(one) for one in requests])
    statuses: list[str] = dataclasses.field(default_factory=list)  # what the next looks say before a batch has ended
    after_upload: Callable[[], None] = lambda: None
    after_create: Callable[[], None] = lambda: None
    lose: list[str] = dataclasses.field(default_factory=list)  # paths whose next answer is lost: drop, 500, text
    refuse: tuple[int, str] | None = None
    hidden_lists: int = 0  # so many lists do not show what is there yet

    def __post_init__(self) -> None:
        self.files: dict[str, tuple[str, bytes]] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                owner._handle(self, b"")

            def do_POST(self) -> None:
                owner._handle(self, self.rfile.read(int(self.headers["Content-Length"])))

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def asked(self) -> list[str]:
        """Ids of the requests of all batches."""
        return [row["custom_id"] for batch in self.batches.values() for row in self.requests(batch)]

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()

    def requests(self, batch: dict[str, Any]) -> list[Line]:
        return [json.loads(line) for line in self.files[batch["input_file_id"]][1].splitlines()]

    def _handle(self, http: BaseHTTPRequestHandler, body: bytes) -> None:
        path = http.path.split("?")[0].removeprefix("/v1/")
        call = f"{http.command} {path}"
        self.calls.append(call)
        if self.refuse:
            status, message = self.refuse
            return self._send(http, {"error": {"message": message, "code": None}}, status=status)
        found = self._answer(http, call, path, body)
        lost = next((one for one in self.lose if one.startswith(f"{call} ")), None)
        if lost:
            self.lose.remove(lost)
            how = lost.rsplit(" ", 1)[1]
            if how == "drop":
                http.close_connection = True
                return None
            return self._send(
                http,
                b"garbled" if how == "text" else {"error": {"message": "oops"}},
                status=200 if how == "text" else 500,
            )
        return self._send(http, found, status=404 if found is None else 200)

    def _answer(self, http: BaseHTTPRequestHandler, call: str, path: str, body: bytes) -> Any:
        if call == "POST files":
            return self._uploaded(http, body)
        if call == "GET files":
            return self._listed([self._file(id_) for id_ in reversed(self.files)])
        if call == "POST batches":
            return self._created(json.loads(body))
        if call == "GET batches":
            return self._listed(list(reversed(self.batches.values())))
        if path.startswith("batches/"):
            return self._looked_at(path.split("/")[1])
        id_ = path.split("/")[1]
        return self.files[id_][1] if id_ in self.files else None

    def _listed(self, data: list[Any]) -> Any:
        self.hidden_lists -= 1
        return {"object": "list", "data": [] if self.hidden_lists >= 0 else data, "has_more": False}

    def _uploaded(self, http: BaseHTTPRequestHandler, body: bytes) -> Any:
        form = BytesParser().parsebytes(b"Content-Type: " + http.headers["Content-Type"].encode() + b"\r\n\r\n" + body)
        part = next(one for one in form.get_payload() if one.get_filename())
        id_ = f"file-{len(self.files)}"
        self.files[id_] = (part.get_filename(), part.get_payload(decode=True))
        self.after_upload()
        return self._file(id_)

    def _file(self, id_: str) -> Any:
        return {
            "id": id_,
            "object": "file",
            "filename": self.files[id_][0],
            "purpose": "batch",
            "bytes": 1,
            "created_at": 1,
            "status": "processed",
        }

    def _created(self, asked: dict[str, Any]) -> Any:
        id_ = f"batch-{len(self.batches)}"
        self.batches[id_] = {**asked, "id": id_, "object": "batch", "status": "validating", "created_at": 1}
        self.after_create()
        return self.batches[id_]

    def _looked_at(self, id_: str) -> Any:
        batch = self.batches.get(id_)
        if batch is None or batch["status"] in ("completed", "failed", "expired", "cancelled"):
            return batch
        if self.statuses:
            batch["status"] = self.statuses.pop(0)
            return batch
        ending = self.end(self.requests(batch))
        batch["status"] = ending.status
        for name, lines in (("output_file_id", ending.output), ("error_file_id", ending.errors)):
            if lines is not None:
                text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
                batch[name] = f"file-{len(self.files)}"
                self.files[batch[name]] = ("out.jsonl", text.encode())
        if ending.problem:
            batch["errors"] = {"object": "list", "data": [{"code": "x", "message": ending.problem}]}
        return batch

    def _send(self, http: BaseHTTPRequestHandler, data: Any, *, status: int) -> None:
        body = data if isinstance(data, bytes) else json.dumps(data or {"error": {"message": "no such thing"}}).encode()
        http.send_response(status)
        http.send_header("Content-Type", "application/json")
        http.send_header("Content-Length", str(len(body)))
        http.end_headers()
        http.wfile.write(body)
