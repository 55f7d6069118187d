"""Who may use the page: people who know the token, from the page itself."""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from starlette.responses import JSONResponse, RedirectResponse

from motrail.label.problems import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-motrail"
_SAFE = frozenset({"GET", "HEAD"})
_HEADERS = (
    (
        b"content-security-policy",
        (
            b"default-src 'self'; img-src 'self' blob: data:; base-uri 'none'; form-action 'none'; "
            b"frame-ancestors 'none'; object-src 'none'"
        ),
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


@dataclass(frozen=True, slots=True)
class Door:
    """What has to be known to come in.

    Attributes:
        token: The secret of the printed address.
        port: The port that is served.
        public_url: Where a proxy shows the server; None where there is none.
        loopback: Whether only this machine can reach it.
    """

    token: str
    port: int
    public_url: str | None = None
    loopback: bool = True

    @property
    def cookie(self) -> str:
        """The name of our cookie; cookies are shared by all ports of a machine."""
        return f"motrail_label_{self.port}"

    def check_host(self, host: str) -> None:
        """Refuse names that somebody else let point here (DNS rebinding).

        Raises:
            Problem: 421.
        """
        if self.public_url is not None and host.lower() == urlsplit(self.public_url).netloc.lower():
            return
        try:
            parts = urlsplit(f"//{host}")
            name, port = parts.hostname or "", parts.port or 80
        except ValueError:
            name, port = "", 0
        if port == self.port and self._is_ours(name):
            return
        raise Problem(
            421, "wrong_host", f"host: expected the address that was printed, found {host[:100]!r}"
        )

    def _is_ours(self, name: str) -> bool:
        if name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or not self.loopback

    def check_cookie(self, cookies: str) -> None:
        """See that the browser has our cookie.

        Raises:
            Problem: 401.
        """
        given = ""
        try:
            jar = SimpleCookie(cookies)
        except CookieError:
            jar = SimpleCookie()
        if self.cookie in jar:
            given = jar[self.cookie].value
        if not self.knows(given):
            raise Problem(
                401,
                "unauthorized",
                "open the address that `motrail label` printed, with its token",
            )

    def knows(self, token: str) -> bool:
        """Whether it is the token; takes the same time however much of it is right."""
        return hmac.compare_digest(token.encode(errors="replace"), self.token.encode())

    def check_origin(self, method: str, headers: Mapping[str, str]) -> None:
        """Refuse what another site makes a browser ask.

        Raises:
            Problem: 403.
        """
        site = headers.get("sec-fetch-site")
        if site is not None and site not in ("same-origin", "none"):
            raise _crossed()
        origin = headers.get("origin")
        if origin is not None and not self._same(origin, headers.get("host", "")):
            raise _crossed()
        if method in _SAFE:
            return
        if headers.get(HEADER) != "1" or (origin is None and site != "same-origin"):
            raise _crossed()

    def _same(self, origin: str, host: str) -> bool:
        if self.public_url is not None:
            public = urlsplit(self.public_url)
            if origin.lower() == f"{public.scheme}://{public.netloc}".lower():
                return True
        return origin.lower() == f"http://{host}".lower()


def _crossed() -> Problem:
    return Problem(403, "cross_site", "the request did not come from the page itself")


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}

        async def say(message: Message) -> None:
            if message["type"] == "http.response.start":
                there = {name.lower() for name, _ in message["headers"]}
                more = [(b"cache-control", b"no-store")] if b"cache-control" not in there else []
                message = {**message, "headers": [*message["headers"], *_HEADERS, *more]}
            await send(message)

        try:
            welcome = self._check(scope, headers)
        except Problem as problem:
            answer = JSONResponse(problem.as_dict(), problem.status)
            answer.headers["connection"] = "close"
            await answer(scope, receive, say)
            return
        if welcome:
            redirect = RedirectResponse("/", 303)
            redirect.set_cookie(
                self._door.cookie,
                self._door.token,
                httponly=True,
                samesite="strict",
                secure=(self._door.public_url or "").startswith("https:"),
            )
            await redirect(scope, receive, say)
            return
        await self._app(scope, receive, say)

    def _check(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether somebody comes with the token and is to be let in by a cookie."""
        door = self._door
        door.check_host(headers.get("host", ""))
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        if scope["path"] == "/" and scope["method"] in _SAFE and "token" in query:
            if door.knows(query["token"][0]):
                return True
            raise Problem(401, "unauthorized", "token: expected the one that was printed")
        door.check_origin(scope["method"], headers)
        door.check_cookie(headers.get("cookie", ""))
        return False
