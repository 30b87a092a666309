"""Who may log in to the board: names and hashes of their passwords, in one file that only its owner reads."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from pathlib import Path

from pipeline.access import keep
from pipeline.errors import SettingError, UsageError

COST = (2**15, 8, 3)  # n, r, p: 32 MB and a tenth of a second or more; one of OWASP's equals for scrypt
LEAST_COST = (2**14, 8, 1)
MOST_MEMORY = 2**27
SALT_BYTES, HASH_BYTES = 16, 32
LEAST_LETTERS, MOST_LETTERS = 12, 1024
MOST_NAME, MOST_PEOPLE = 64, 1000


class People:
    """The file as it is now: it is read again when it has changed. Without the file there is nobody."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, ...] = ()
        self._hashes: dict[str, str] = {}

    def hash_of(self, name: str) -> str | None:
        """What `matches` compares with; another one as soon as the password is changed. Raises SettingError."""
        return self.all().get(name)

    def all(self) -> dict[str, str]:
        """Hashes by name. Raises SettingError when the file cannot be read."""
        try:
            now = self.path.stat()
        except FileNotFoundError:
            self._seen, self._hashes = (), {}
            return self._hashes
        except OSError as error:
            raise SettingError(f"{self.path} cannot be looked at ({error.strerror})") from None
        seen = (now.st_mtime_ns, now.st_size, now.st_ino)
        if seen != self._seen:
            self._hashes = _read(self.path)
            self._seen = seen
        return self._hashes

    def let(self, name: str, password: str) -> None:
        """Give somebody a password, in place of the one before. Raises UsageError, SettingError."""
        if not name.isprintable() or name != name.strip() or ":" in name or not 0 < len(name) <= MOST_NAME:
            raise UsageError(f"{name!r} is no name to log in with: up to {MOST_NAME} letters, no colon")
        if not LEAST_LETTERS <= len(password) <= MOST_LETTERS:
            raise UsageError(f"a password has {LEAST_LETTERS} to {MOST_LETTERS} letters")
        known = {**self.all(), name: hashed(password)}
        if len(known) > MOST_PEOPLE:
            raise UsageError(f"{self.path} has {MOST_PEOPLE} people already")
        self._write(known)

    def remove(self, name: str) -> None:
        """Let somebody no longer log in; open sessions end. Raises UsageError, SettingError."""
        known = dict(self.all())
        if known.pop(name, None) is None:
            raise UsageError(f"{self.path} knows nobody by the name {name!r}")
        self._write(known)

    def _write(self, known: dict[str, str]) -> None:
        keep(self.path, json.dumps(known, indent=1, sort_keys=True))


def hashed(password: str) -> str:
    """`scrypt$n$r$p$salt$hash`, the last two in base64 (RFC 7914)."""
    salt = os.urandom(SALT_BYTES)
    return _line(salt, _scrypt(password, salt, *COST))


def matches(password: str, known: str | None) -> bool:
    """Whether this is the password of that hash; takes as long for somebody who is not known (None)."""
    _, n, r, p, salt, wanted = (known or _line(os.urandom(SALT_BYTES), os.urandom(HASH_BYTES))).split("$")
    found = _scrypt(password, base64.b64decode(salt), int(n), int(r), int(p))
    return hmac.compare_digest(found, base64.b64decode(wanted)) and known is not None


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=MOST_MEMORY, dklen=HASH_BYTES)


def _line(salt: bytes, result: bytes) -> str:
    return "$".join(
        ("scrypt", *(str(number) for number in COST), *(base64.b64encode(raw).decode() for raw in (salt, result)))
    )


def _read(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        for known in found.values():
            kind, n, r, p, salt, wanted = known.split("$")
            sound = kind == "scrypt" and len(base64.b64decode(wanted)) == HASH_BYTES and base64.b64decode(salt)
            if not sound or any(one < least for one, least in zip((int(n), int(r), int(p)), LEAST_COST, strict=True)):
                raise ValueError(kind)
        return dict(found)
    except (OSError, ValueError, AttributeError) as error:
        raise SettingError(
            f"{path}: not a file of `openoee access person` ({type(error).__name__}): make it again"
        ) from None
