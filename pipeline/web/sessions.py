"""Who is logged in, and how often somebody may try: both bounded in memory."""

from __future__ import annotations

import hashlib
import ipaddress
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.web.people import People

MOST_OF_ONE = 20  # browsers that one person is logged in with; the oldest goes
WINDOW_S = 300.0
MOST_OF_ADDRESS, MOST_OF_NAME = 10, 30  # attempts in it that fail
MOST_KEPT = 4096


@dataclass(frozen=True)
class Session:
    """`known`: the hash of the password it was begun with; `until` on the clock of time.time()."""

    name: str
    known: str
    until: float


class Sessions:
    """Sessions by the hash of their token. One ends by its time, by logging out, and with its password."""

    def __init__(self, people: People, length_s: float) -> None:
        self._people, self.length_s = people, length_s
        self._open: OrderedDict[str, Session] = OrderedDict()

    def begin(self, name: str, known: str) -> str:
        """A new token of somebody whose password was right."""
        now = time.time()
        self._open = OrderedDict((key, one) for key, one in self._open.items() if one.until > now)
        own = [key for key, one in self._open.items() if one.name == name]
        for key in own[: max(0, len(own) - MOST_OF_ONE + 1)]:
            del self._open[key]
        token = secrets.token_urlsafe(32)
        self._open[_digest(token)] = Session(name, known, now + self.length_s)
        return token

    def of(self, token: str) -> Session | None:
        """The session of a token while it lasts."""
        found = self._open.get(_digest(token))
        return found if found and self.lasts(found) else None

    def lasts(self, session: Session) -> bool:
        """Whether its time is not over and its password still that person's."""
        return time.time() < session.until and self._people.hash_of(session.name) == session.known

    def end(self, token: str) -> None:
        """Log out."""
        self._open.pop(_digest(token), None)

    def __len__(self) -> int:
        return len(self._open)


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
    return address if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
