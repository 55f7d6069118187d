"""Frames and sessions through a SageMaker endpoint: `motrail.remote` over `InvokeEndpoint`.

Only `POST /invocations` gets through to the container, with the headers of sessions and of custom
attributes; what the container refuses comes back as a `ModelError` that quotes it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from typing import TYPE_CHECKING, Any

from motrail.errors import ConfigError
from motrail.remote.messages import ATTRIBUTES, NEW_SESSION, SESSION
from motrail.remote.problems import RemoteError
from motrail.remote.transport import Answer
from motrail.sagemaker.redact import redact
from motrail.sagemaker.request import CloudError
from motrail.sagemaker.requests import endpoint as requests

if TYPE_CHECKING:
    from collections.abc import Mapping

    from motrail.sagemaker.request import Cloud, Request

MAX_BYTES = 25 * 1_000_000
"""Largest body of a request to a real-time endpoint."""
_CLOSED_SESSION = "X-Amzn-SageMaker-Closed-Session-Id"
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 8.0  # seconds
_BUSY = frozenset(
    {"ThrottlingException", "Throttling", "TooManyRequestsException", "ModelNotReadyException",
     "ServiceUnavailable", "ServiceUnavailableException"}
)  # fmt: skip
"""Nothing was done, and later it may be."""
_REFUSED = frozenset(
    {"ValidationError", "ValidationException", "AccessDenied", "AccessDeniedException",
     "ExpiredToken", "ExpiredTokenException", "UnrecognizedClientException",
     "InvalidSignatureException", "NoCredentials", "413"}
)  # fmt: skip
"""It will not be another time either."""
_QUOTED = re.compile(
    r"Received (?:client|server) error \((?P<status>[0-9]{1,3})\) from .{1,80}? "
    r'with message "(?P<said>.*)"(?:\. See |\.?\s*$)',
    re.DOTALL,
)
_TOO_LARGE = ("oversize body", "HTTP content length exceeded")
_SHOWN = 300


class EndpointTransport:
    """Carries bodies to an endpoint; several threads may use one.

    What a busy endpoint refuses is sent again as long as patience lasts, and what broke on the way
    where `again` allows it. A call that is under way cannot be cut off; `abort` leaves it behind.

    Args:
        cloud: Where the endpoint is.
        endpoint: Its name.
        patience: Seconds during which refused requests are tried again.
        variant: The variant that is to answer; None leaves it to their weights.
        sessions: Whether it keeps sessions; a serverless one has no instances that could.
    """

    def __init__(
        self,
        cloud: Cloud,
        endpoint: str,
        *,
        patience: float = 60.0,
        variant: str | None = None,
        sessions: bool = True,
    ) -> None:
        self._cloud, self._endpoint = cloud, endpoint
        self.sessions = sessions
        self._patience, self._variant = patience, variant
        self._lock = threading.Lock()
        self._given_up = threading.Event()

    @property
    def url(self) -> str:
        """What messages call it."""
        return f"endpoint {self._endpoint}"

    def sibling(self) -> EndpointTransport:
        """Another one to the same endpoint, that is given up by itself."""
        return EndpointTransport(
            self._cloud,
            self._endpoint,
            patience=self._patience,
            variant=self._variant,
            sessions=self.sessions,
        )

    def close(self) -> None:
        """Give up what is under way."""
        self.abort()

    def abort(self) -> None:
        """Give up what is under way; further requests are possible."""
        with self._lock:
            self._given_up.set()
            self._given_up = threading.Event()

    def invoke(
        self, content_type: str, body: bytes, headers: Mapping[str, str], *, again: bool
    ) -> Answer:
        """See `motrail.remote.transport.Transport`."""
        given = {name.lower(): value for name, value in headers.items()}
        if len(body) > MAX_BYTES:
            raise RemoteError(
                f"{self.url}: expected at most {MAX_BYTES:,} bytes in a request, found "
                f"{len(body):,} (413 too_large)",
                status=413,
                code="too_large",
            )
        if SESSION.lower() in given and not self.sessions:
            raise RemoteError(
                f"{self.url}: is serverless and keeps no sessions; have the tracks made here "
                "(--track client)"
            )
        request = requests.invoke(
            self._endpoint,
            # Nobody says that a request may be empty; the container takes this for nothing.
            content_type if body else "application/json",
            body or b"{}",
            accept=given.get("accept"),
            session=given.get(SESSION.lower()),
            attributes=given.get(ATTRIBUTES.lower()),
            variant=self._variant,
        )
        return self._patiently(request, again=again)

    def _patiently(self, request: Request, *, again: bool) -> Answer:
        deadline = time.monotonic() + self._patience
        given_up = self._given_up
        wait = _FIRST_WAIT
        while True:
            answer = self._call(request, given_up)
            if isinstance(answer, dict):
                return _answer(answer)
            error = answer
            problem = _problem(self.url, error)
            busy = error.code in _BUSY or (error.code == "ModelError" and problem.status == 503)
            final = error.code in _REFUSED or error.code == "ModelError"
            if not (busy or (again and not final)) or time.monotonic() + wait > deadline:
                raise problem from error
            if given_up.wait(wait):
                raise RemoteError(f"{self.url}: given up")
            wait = min(wait * 2, _LONGEST_WAIT)

    def _call(self, request: Request, given_up: threading.Event) -> dict[str, Any] | CloudError:
        """The answer or what was said instead; waits for it in a thread that can be left behind."""
        done = threading.Event()
        result: list[dict[str, Any] | Exception] = []

        def work() -> None:
            try:
                result.append(self._cloud.call(request))
            except Exception as error:  # noqa: BLE001  (handed on)
                result.append(error)
            done.set()

        threading.Thread(target=work, name="motrail-endpoint", daemon=True).start()
        while not done.wait(0.05):
            if given_up.is_set():
                raise RemoteError(f"{self.url}: given up")
        answer = result[0]
        if isinstance(answer, ConfigError):
            raise RemoteError(f"{self.url}: {answer}") from answer
        if isinstance(answer, Exception) and not isinstance(answer, CloudError):
            raise answer
        return answer


def _answer(answer: Mapping[str, Any]) -> Answer:
    """As HTTP would have brought it."""
    names = {
        "ContentType": "content-type",
        "NewSessionId": NEW_SESSION.lower(),
        "ClosedSessionId": _CLOSED_SESSION.lower(),
        "CustomAttributes": ATTRIBUTES.lower(),
    }
    headers = {header: str(answer[name]) for name, header in names.items() if answer.get(name)}
    return Answer(200, headers, bytes(answer.get("Body", b"")))


def _problem(url: str, error: CloudError) -> RemoteError:
    """The container's own words where it said some, else those of AWS."""
    quoted = _QUOTED.search(str(error)) if error.code == "ModelError" else None
    if quoted is None:
        large = error.code == "413" or any(words in str(error) for words in _TOO_LARGE)
        return RemoteError(f"{url}: {error}", status=413 if large else None, code=error.code)
    status = int(quoted["status"]) or None  # 0: it gave no answer
    code, said, request_id = _said(quoted["said"])
    name = " ".join(str(word) for word in (status, code) if word) or "no answer"
    return RemoteError(
        f"{url}: {redact(said)} ({name})", status=status, code=code, request_id=request_id
    )


def _said(text: str) -> tuple[str | None, str, str | None]:
    """Code, message and request of the container's JSON; AWS may have cut or escaped it."""
    for candidate in (text, text.replace('\\"', '"')):
        try:
            error = json.loads(candidate)["error"]
            return str(error["code"]), str(error["message"]), str(error.get("request_id") or "")
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return None, f"refused: {' '.join(text.split())[:_SHOWN] or 'without a reason'}", None
