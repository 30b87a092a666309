"""Public holidays of factory.yaml, resolved to dates by the library `holidays` when the file is read."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from datetime import UTC, date, datetime
from functools import cache

from pipeline.factory_calendar import FIRST_YEAR, LAST_YEAR, read_date, read_dates
from pipeline.yaml_lines import Node, nearest

YEARS = re.compile(r"(\d{4})(?:\s*-\s*(\d{4}))?", re.ASCII)
YEARS_BEFORE, YEARS_AFTER = 2, 10
CODES = "write its ISO 3166 code, such as DE for Germany"

Holidays = tuple[tuple[str, str], ...]  # local date, name


def this_year() -> int:
    """The year that it is, for a reader who was not told one."""
    return datetime.now(UTC).year


def read_holidays(node: Node, year: int) -> Holidays:
    """The holidays that are written, in order: a country such as DE, DE-BY, or a mapping that says more.

    `year` is the current one: without `years` they are known from two years before it to ten years after.
    """
    if isinstance(node.value, str):
        code, _, part = node.text("a country and its subdivision, such as DE-BY").partition("-")
        country, subdivision = _country(node, code), _subdivision(node, code, part) if part else ""
        given: dict[str, Node] = {}
    else:
        given = node.mapping(("country", "subdivision", "years", "except"), ("country",))
        country = _country(given["country"], given["country"].text("a country such as DE"))
        inner = given.get("subdivision")
        subdivision = _subdivision(inner, country, inner.text("a subdivision such as BY")) if inner else ""
    first, last = max(year - YEARS_BEFORE, FIRST_YEAR), min(year + YEARS_AFTER, LAST_YEAR)
    if "years" in given:
        first, last = _years(given["years"])
    found = _known(country, subdivision, first, last)
    if not found:
        where = f"{country}-{subdivision}" if subdivision else country
        node.fail(f"no holidays of {where} are known from {first} to {last}", "write their dates under `closed`")
    return _without(given["except"], found, first, last) if "except" in given else found


@cache
def _known(country: str, subdivision: str, first: int, last: int) -> Holidays:
    import holidays

    with warnings.catch_warnings(action="ignore"):  # it says so when it knows some of the years only
        found = holidays.country_holidays(
            country, subdiv=subdivision or None, years=range(first, last + 1), language="en_US"
        )
    return tuple(sorted((day.isoformat(), name) for day, name in found.items()))


@cache
def _countries() -> dict[str, list[str]]:
    """Subdivisions by country code, both as the library knows them."""
    import holidays

    return holidays.list_supported_countries()


def _country(node: Node, code: str) -> str:
    if code in _countries():
        return code
    return node.fail(f"the country {code!r} is unknown", _nearest_country(code))


def _nearest_country(text: str) -> str:
    from holidays.registry import COUNTRIES

    codes: dict[str, str] = {}  # what a person may have meant, in small letters -> code
    for name, (_, code, *others) in COUNTRIES.items():
        codes |= dict.fromkeys((name.replace("_", ""), code.lower(), *map(str.lower, others)), code)
    word = re.sub(r"[^a-z]", "", text.lower())
    if word in codes:
        return f"did you mean `{codes[word]}`?"
    if len(word) > 3 and (remedy := nearest(word, codes)).startswith("did you mean"):
        return f"did you mean `{codes[remedy.split('`')[1]]}`?"
    near = sorted(code for code in set(codes.values()) if word and code.lower()[0] == word[0] and len(word) <= 3)
    return f"known with {word[0].upper()} are: {', '.join(near)}" if near else CODES


def _subdivision(node: Node, country: str, name: str) -> str:
    import holidays

    known: Collection[str] = _countries()[country]
    aliases = getattr(getattr(holidays, country, None), "subdivisions_aliases", {})
    if name in known or name in aliases:
        return str(aliases.get(name, name))
    if not known:
        node.fail(f"no subdivisions of {country} are known", f"write {country} alone")
    remedy = nearest(name, [*known, *aliases])
    if not remedy.startswith("did you mean"):
        remedy = nearest(name, known)
    return node.fail(f"the subdivision {name!r} of {country} is unknown", remedy)


def _years(node: Node) -> tuple[int, int]:
    text = node.text("years such as 2024-2030")
    found = YEARS.fullmatch(text)
    if not found:
        return node.fail(f"{text!r} are no years", "write the first and the last, such as 2024-2030")
    first, last = int(found[1]), int(found[2] or found[1])
    if not FIRST_YEAR <= first <= last <= LAST_YEAR:
        node.fail(
            f"the years {text} are out of range or in the wrong order",
            f"write the first and the last year, {FIRST_YEAR} to {LAST_YEAR}",
        )
    return first, last


def _without(node: Node, found: Holidays, first: int, last: int) -> Holidays:
    """The holidays but those on which work is done; each of these must be one, unless it is of another year."""
    days = {day for day, _ in found}
    worked = read_dates(node, "the exceptions from the holidays")
    for entry in node.items("dates"):
        day = read_date(entry)
        if day not in days and first <= int(day[:4]) <= last:
            near, name = min(found, key=lambda one: abs(date.fromisoformat(one[0]) - date.fromisoformat(day)))
            entry.fail(f"{day} is no holiday; the nearest is {near} ({name})", "correct the date, or delete it")
    return tuple(one for one in found if one[0] not in worked)
