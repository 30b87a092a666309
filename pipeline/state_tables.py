"""State tables: what the states of PackML, MTConnect and ISO 22400 mean here, for mapping files that name one.

Sources: ISA-TR88.00.02 (OMAC PackML) for unit states and unit modes with their numbers, which OPC 30050 gives with the
same numbers; the Execution vocabulary of MTConnect (1.0 to 2.5, deprecated words included); the time elements of ISO
22400-2, as published in the hsu-aut ontology. The meanings are ours, so that each state falls into the element of time
that fits its definition; docs/adapters.md gives the reasons.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

IGNORED = str.maketrans("", "", " _-")


class Words(Mapping[str, str]):
    """Words and their meanings, found in any spelling: case, blanks, `_` and `-` do not count.

    `same` leads from another word for the same thing (a number, an acronym) to the word that has the meaning.

    >>> words = Words({"Held": "stopped"}, {"11": "Held"})
    >>> words["HELD"], words["11"]
    ('stopped', 'stopped')
    """

    def __init__(self, meanings: Mapping[str, str], same: Mapping[str, str]) -> None:
        self._same = {_squeezed(word): _squeezed(other) for word, other in same.items()}
        self._meanings = {self.plain(word): meaning for word, meaning in meanings.items()}

    def __getitem__(self, word: str) -> str:
        return self._meanings[self.plain(word)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._meanings)

    def __len__(self) -> int:
        return len(self._meanings)

    def plain(self, word: str) -> str:
        """The one spelling of all that are the same word."""
        squeezed = _squeezed(word)
        return self._same.get(squeezed, squeezed)

    def changed(self, meanings: Mapping[str, str]) -> Words:
        """These words, where some have another meaning or are added."""
        return Words({**self, **{self.plain(word): meaning for word, meaning in meanings.items()}}, self._same)

    def only(self, words: Iterable[str]) -> Words:
        """A set of words, each found by all its names and spellings."""
        return Words(dict.fromkeys(words, ""), self._same)


def _squeezed(word: str) -> str:
    return word.translate(IGNORED).casefold()


class PackmlState(NamedTuple):
    """A unit state with its number, and the state that it means in each unit mode."""

    number: int
    name: str
    production: str
    maintenance: str
    manual: str

    def meaning(self, mode: str) -> str:
        """The state in one of MODES; no data can be trusted in a mode that is invalid."""
        return {
            "Invalid": "unknown",
            "Production": self.production,
            "Maintenance": self.maintenance,
            "Manual": self.manual,
        }[mode]


PACKML = (
    PackmlState(1, "Clearing", "stopped", "maintenance", "setup"),
    PackmlState(2, "Stopped", "stopped", "maintenance", "setup"),
    PackmlState(3, "Starting", "setup", "maintenance", "setup"),
    PackmlState(4, "Idle", "idle", "maintenance", "setup"),
    PackmlState(5, "Suspended", "starved", "maintenance", "setup"),
    PackmlState(6, "Execute", "running", "maintenance", "setup"),
    PackmlState(7, "Stopping", "stopped", "maintenance", "setup"),
    PackmlState(8, "Aborting", "fault", "maintenance", "fault"),
    PackmlState(9, "Aborted", "fault", "maintenance", "fault"),
    PackmlState(10, "Holding", "stopped", "maintenance", "setup"),
    PackmlState(11, "Held", "stopped", "maintenance", "setup"),
    PackmlState(12, "Unholding", "stopped", "maintenance", "setup"),
    PackmlState(13, "Suspending", "starved", "maintenance", "setup"),
    PackmlState(14, "Unsuspending", "starved", "maintenance", "setup"),
    PackmlState(15, "Resetting", "setup", "maintenance", "setup"),
    PackmlState(16, "Completing", "running", "maintenance", "setup"),
    PackmlState(17, "Complete", "idle", "maintenance", "setup"),
)
MODES = ("Invalid", "Production", "Maintenance", "Manual")  # by number; from 4 on they are the user's

MTCONNECT = {
    "ACTIVE": "running",
    "READY": "idle",
    "INTERRUPTED": "stopped",
    "WAIT": "starved",
    "FEED_HOLD": "stopped",
    "STOPPED": "stopped",
    "OPTIONAL_STOP": "stopped",
    "PROGRAM_STOPPED": "stopped",
    "PROGRAM_COMPLETED": "idle",
    "PROGRAM_OPTIONAL_STOP": "stopped",
    "UNAVAILABLE": "unknown",
}

ISO22400 = {  # names of one time element, and its state
    ("Production", "Production time", "Actual production time", "APT"): "running",
    ("Setup", "Setup time", "Actual unit setup time", "AUST", "Actual setup time", "ASUT"): "setup",
    ("Delay", "Delay time", "Actual unit delay time", "ADET"): "stopped",
    ("Down", "Down time", "Actual unit down time", "ADOT"): "idle",
    ("Planned down", "Planned down time", "PDOT"): "planned_stop",
    ("Preventive maintenance", "Preventive maintenance time", "PMT"): "maintenance",
    ("Corrective maintenance", "Corrective maintenance time", "CMT"): "fault",
    ("Repair", "Time to repair", "TTR"): "fault",
}

PACKML_MODES = Words(
    dict.fromkeys(MODES, ""),
    {**{str(number): name for number, name in enumerate(MODES)}, "Produce": "Production"},  # OPC 30050's word
)
TABLES = {
    "packml": Words(
        {state.name: state.production for state in PACKML},
        {**{str(state.number): state.name for state in PACKML}, "Completed": "Complete"},
    ),
    "mtconnect": Words(MTCONNECT, {}),
    "iso22400": Words(
        {names[0]: state for names, state in ISO22400.items()},
        {name: names[0] for names in ISO22400 for name in names[1:]},
    ),
}


def packml_in_modes(item: str, mode: str) -> Iterator[tuple[dict[str, Words], str]]:
    """What the modes other than Production make of the states: values of both items, and the state they mean."""
    for name in MODES:
        meanings = {state.name: state.meaning(name) for state in PACKML}
        for meaning in dict.fromkeys(meanings.values()) if name != "Production" else ():
            states = [state for state, said in meanings.items() if said == meaning]
            yield {mode: PACKML_MODES.only([name]), item: TABLES["packml"].only(states)}, meaning
