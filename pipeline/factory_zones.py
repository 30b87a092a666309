"""Time zones of factory.yaml: IANA names, and neither abbreviations, nor offsets, nor what depends on the computer."""

from __future__ import annotations

import re
from functools import cache
from zoneinfo import available_timezones

from pipeline.yaml_lines import Node, nearest

REMEDY = "write an IANA name such as Europe/Paris, or UTC"
OF_COMPUTER = ("localtime", "Factory", "posixrules")
NO_PLACE = re.compile(r"(?!UTC|GMT)[A-Z]{3}|(Etc/)?GMT[+-]?[0-9]+")  # without a place, so without its summer time
LIKE_NO_PLACE = re.compile(r"[A-Za-z]{1,4}|.*[0-9+].*|.*\b[Tt]ime\b.*")  # where a similar name would mislead


@cache
def zones() -> frozenset[str]:
    """Names of the IANA time zones that this computer knows and a site may have."""
    return frozenset(z for z in available_timezones() if z not in OF_COMPUTER and not NO_PLACE.fullmatch(z))


def read_zone(node: Node) -> str:
    """The IANA zone that is written."""
    name = node.text("an IANA time zone such as Europe/Paris")
    if name in OF_COMPUTER:
        node.fail(f"the time zone {name!r} is another one on every computer", REMEDY)
    if NO_PLACE.fullmatch(name):
        node.fail(f"the time zone {name!r} is an abbreviation or an offset, not a place", REMEDY)
    if name not in zones():
        node.fail(f"the time zone {name!r} is unknown", _remedy(name))
    return name


def _remedy(name: str) -> str:
    city = name.rpartition("/")[2].replace(" ", "_").lower()
    if same := [zone for zone in zones() if zone.rpartition("/")[2].lower() == city]:
        return f"did you mean `{min(same, key=lambda zone: (len(zone), zone))}`?"
    if LIKE_NO_PLACE.fullmatch(name):
        return REMEDY
    found = nearest(name, zones())
    return REMEDY if found.startswith("known are") else found
