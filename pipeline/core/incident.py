"""One incident: flags of one machine that touch each other, as one thing that a person hears of once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, NamedTuple

from pipeline.core.model import Anomaly, Incident

SEVERITIES = ("info", "warning", "critical")
WARNING = 1
# Flags within so long of each other touch; longer than the 5 quiet minutes that end a flag.
TOUCH_MS = 600_000
# So long after an incident, the same kind of flag on the same signal is still the same incident: no second message.
REFRACTORY_MS = 1_800_000
ENDED_MS = 300_000  # a flag whose last instant lies further back when it is said has ended
LONGEST_WAIT_MS = 12 * 3_600_000  # a flag is not waited for any longer than that
MOST_FLAGS = 256  # remembered per incident, to tell a new flag from a later word of a known one
MOST_NAMES = 32  # signals, and kinds, listed per incident
MANY_FLAGS, MANY_SIGNALS = 3, 2  # small flags that together are worth a message

Key = tuple[int, str, str]  # first instant, signal, kind of a flag


class Word(NamedTuple):
    """What was last said of a flag: until when it may go on, its severity (place in SEVERITIES), whether muted."""

    until: int
    severity: int
    muted: bool


def key(flag: Anomaly) -> Key:
    return flag.first, flag.signal, flag.kind


def may_go_on_until(flag: Anomaly, now: int, heard: int) -> int:
    """Until when [ms] something that touches this flag belongs to its incident.

    `now`: samples before it have been judged; `heard`: the machine's last message before it. A flag that goes on is
    said again when its age has doubled, so without a word by then it has ended.
    """
    is_over = heard > flag.first if flag.kind == "gap" and not flag.signal else now - flag.last > ENDED_MS
    wait = 0 if is_over else min(flag.last - flag.first, LONGEST_WAIT_MS)
    return flag.last + wait + TOUCH_MS


def joins(flag: Anomaly, incident: Incident, until: int) -> bool:
    """Whether a flag belongs to an incident that reaches until `until`, be that closed or not.

    Flags are said late (a drift starts before it is one): one that begins before the incident belongs to it as well.
    """
    if flag.first <= until:
        return True
    same = flag.signal in incident.signals and flag.kind in incident.kinds
    return same and flag.first <= until + REFRACTORY_MS


def opened_by(flag: Anomaly, machine: str) -> Incident:
    """A new incident, with nothing but this flag's first instant: `take` adds the flag."""
    return Incident(
        machine=machine, site=flag.site, line=flag.line, id=f"{machine}/{flag.first}", opened=flag.first,
        first=flag.first, last=flag.last, closed=None, severity=SEVERITIES[0], page=False, muted=True, flags=0,
        signals=[], kinds=[], signal=flag.signal, kind=flag.kind, score=-1.0, state="", product="", message="",
    )  # fmt: skip


def take(incident: Incident, flag: Anomaly, words: dict[Key, Word], word: Word, leading: Key) -> Key:
    """Add a flag, or what is newly said of it, to the incident and to `words`; returns the key of the leading flag.

    The leading flag, whose sentence the incident carries, is the worst one: by severity, then score, then age.
    """
    known = key(flag)
    if known not in words:
        incident.flags += 1
        if len(words) >= MOST_FLAGS:
            del words[next(iter(words))]
    lead = words.get(leading)
    words[known] = word
    incident.closed = None
    incident.first, incident.last = min(incident.first, flag.first), max(incident.last, flag.last)
    incident.signals = _with(incident.signals, flag.signal)
    incident.kinds = _with(incident.kinds, flag.kind)
    incident.muted = incident.muted and word.muted
    incident.severity = SEVERITIES[max(SEVERITIES.index(incident.severity), together(words))]
    loud = {one: said for one, said in words.items() if not said.muted}
    incident.page = incident.page or together(loud) >= WARNING
    if lead is not None and known != leading and (lead.severity, incident.score) >= (word.severity, flag.score):
        return leading
    incident.signal, incident.kind, incident.score = flag.signal, flag.kind, flag.score
    incident.state, incident.product, incident.message = flag.state, flag.product, flag.message
    return known


def together(words: Mapping[Key, Word]) -> int:
    """Severity of flags taken together: the worst one's, and a warning where several small ones come together."""
    worst = max((word.severity for word in words.values()), default=0)
    many = len(words) >= MANY_FLAGS or len({signal for _, signal, _ in words}) >= MANY_SIGNALS
    return max(worst, WARNING if many else 0)


def copy(incident: Incident) -> Incident:
    """A row of its own: the incident goes on changing."""
    return replace(incident, signals=list(incident.signals), kinds=list(incident.kinds))


def pack(incident: Incident) -> list[Any]:
    return [getattr(incident, field.name) for field in fields(Incident)]


def unpack(packed: list[Any]) -> Incident:
    return copy(Incident(*packed))


def _with(names: list[str], name: str) -> list[str]:
    return names if name in names or len(names) >= MOST_NAMES else sorted([*names, name])
