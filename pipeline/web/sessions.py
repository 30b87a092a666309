"""Who is logged in, and how often somebody may try: both bounded in memory."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.access import keep
from pipeline.web.people import People

MOST_OF_ONE = 20  # browsers that one person is logged in with; the oldest goes
WINDOW_S = 300.0
MOST_OF_ADDRESS, MOST_OF_NAME = 10, 30  # attempts in it that fail
MOST_KEPT = 4096
logger = logging.getLogger("openoee.web")


@dataclass(frozen=True)
class Session:
    """`known`: digest of the hash of the password that it was begun with; `until` on the clock of time.time().

    `key`: digest of its token; empty: name and password come with each request, so that nobody can log out.
    """

    name: str
    known: str
    until: float
    key: str = ""


class Sessions:
    """Who is logged in. A session ends by its time, by logging out, and with its password.

    They outlast the board in a file that only its owner reads, so that screens on a wall go on after an update.
    """

    def __init__(self, people: People, length_s: float, path: Path) -> None:
        self._people, self.length_s, self._path = people, length_s, path
        self._open = _kept(path)

    def begin(self, name: str, known: str) -> str:
        """A new token of somebody whose password was right, by its hash."""
        now = time.time()
        self._open = {key: one for key, one in self._open.items() if one.until > now}
        own = [key for key, one in self._open.items() if one.name == name]
        for key in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
            del self._open[key]
        token = secrets.token_urlsafe(32)
        key = _digest(token)
        self._open[key] = Session(name, _digest(known), now + self.length_s, key)
        self._keep()
        return token

    def once(self, name: str, known: str) -> Session:
        """Somebody whose name and password, by its hash, came with the request."""
        return Session(name, _digest(known), float("inf"))

    def of(self, token: str) -> Session | None:
        """The session of a token while it lasts."""
        found = self._open.get(_digest(token))
        return found if found and self.lasts(found) else None

    def lasts(self, session: Session) -> bool:
        """Whether its time is not over, nobody has logged out, and its password is still that person's."""
        known = self._people.hash_of(session.name)
        is_open = not session.key or session.key in self._open
        return is_open and time.time() < session.until and known is not None and _digest(known) == session.known

    def end(self, token: str) -> None:
        """Log out."""
        if self._open.pop(_digest(token), None):
            self._keep()

    def __len__(self) -> int:
        return len(self._open)

    def _keep(self) -> None:
        keep(self._path, json.dumps([asdict(one) for one in self._open.values()]))


def _kept(path: Path) -> dict[str, Session]:
    try:
        return {row["key"]: Session(**row) for row in json.loads(path.read_text(encoding="utf-8"))}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.warning("%s cannot be read (%s): everybody logs in again", path, type(error).__name__)
        return {}


class Throttle:
    """Attempts that failed within 300 s, by address and by name; of too many keys the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failed: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()  # since when, how many

    def wait_s(self, address: str, name: str) -> float:
        """Seconds until another attempt may be made; 0: now."""
        now, waits = self._clock(), 0.0
        for key, most in _keys(address, name):
            began, count = self._failed.get(key, (now, 0))
            if count >= most:
                waits = max(waits, began + WINDOW_S - now)
        return waits

    def count(self, address: str, name: str) -> bool:
        """An attempt begins: it counts as failed until it is `forgiven`. Returns whether it is the last one."""
        now, last = self._clock(), False
        for key, most in _keys(address, name):
            began, count = self._failed.pop(key, (now, 0))
            if now - began >= WINDOW_S:
                began, count = now, 0
            self._failed[key] = (began, count + 1)
            last = last or count + 1 == most
        while len(self._failed) > MOST_KEPT:
            self._failed.popitem(last=False)
        return last

    def forgive(self, address: str, name: str) -> None:
        """The attempt was right after all."""
        for key, _ in _keys(address, name):
            if key in self._failed:
                began, count = self._failed[key]
                self._failed[key] = (began, max(0, count - 1))


def _keys(address: str, name: str) -> tuple[tuple[tuple[str, str], int], ...]:
    return (("address", _network(address)), MOST_OF_ADDRESS), (("name", _digest(name)), MOST_OF_NAME)


def _network(address: str) -> str:
    """An address; of IPv6 its /64, which one customer has to himself."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    found = getattr(found, "ipv4_mapped", None) or found
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
