"""A log of a small machine for the tests of the SHDR adapter: device file, mapping, lines."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pipeline.adapters import Refused, Tally
from pipeline.adapters.shdr import read
from pipeline.core.model import Control, Frame, StateChange
from pipeline.mapping import Mapping

DEVICES = """\
<MTConnectDevices xmlns='urn:mtconnect.org:MTConnectDevices:1.3'><Devices><Device name='M1' id='M1'><DataItems>
<DataItem category='EVENT' id='M1_1' name='avail' type='AVAILABILITY'/>
<DataItem category='EVENT' id='M1_2' name='execution' type='EXECUTION'/>
<DataItem category='EVENT' id='M1_3' name='mode' type='CONTROLLER_MODE'/>
<DataItem category='EVENT' id='M1_4' name='program' type='PROGRAM'/>
<DataItem category='SAMPLE' id='M1_5' name='speed' type='ROTARY_VELOCITY' units='REVOLUTION/MINUTE'/>
<DataItem category='SAMPLE' id='M1_6' name='load' type='LOAD' units='PERCENT'/>
<DataItem category='SAMPLE' id='M1_7' name='place' type='PATH_POSITION' units='MILLIMETER_3D'/>
<DataItem category='CONDITION' id='M1_8' name='system' type='SYSTEM'/>
<DataItem category='EVENT' id='M1_9' name='note' type='MESSAGE'/>
<DataItem category='EVENT' id='M1_10' name='made' type='PART_COUNT'/>
</DataItems></Device></Devices></MTConnectDevices>
"""
MAPPING = """\
adapter: shdr
device: M1
state:
  item: execution
  values: {ACTIVE: running, INTERRUPTED: stopped, READY: idle}
  overrides:
    - {when: {avail: UNAVAILABLE}, state: off, reason: switched off}
    - {when: {system: Fault, execution: [READY, INTERRUPTED]}, state: fault, reason: alarm}
parts:
  cycle: {item: execution, running: ACTIVE, hold: INTERRUPTED, end: READY, when: {mode: AUTOMATIC}, min_running_s: 10}
context: {program: program, product: program}
signals:
  speed: spindle_speed
  load: {name: spindle_load, scale: 0.01, unit: "1"}
  place: {name: [x, y, z]}
conditions: {items: "*", severity: {Normal: normal, Warning: warning, Fault: fault}}
messages: {note: warning}
ignore: [line]
"""
DAY = "2017-11-06T"


def ms(clock: str) -> int:
    return int(datetime.fromisoformat(f"{DAY}{clock}+00:00").timestamp() * 1000)


class Log:
    """A log of M1 in a folder: what the adapter makes of it."""

    def __init__(
        self, folder: Path, mapping: Mapping, text: str | bytes, name: str = "M1-20171106-20171107.txt"
    ) -> None:
        self.path = folder / name
        self.path.write_bytes(text.encode() if isinstance(text, str) else text)
        self.tally = Tally()
        self.all = list(read([self.path], [mapping], folder / "Devices.xml", self.tally))
        self.frames = [one for one in self.all if isinstance(one, Frame)]
        self.refused = [one for one in self.all if isinstance(one, Refused)]
        self.controls = [one for one in self.all if isinstance(one, Control)]
        assert self.tally.balanced

    def states(self) -> list[StateChange]:
        return [change for frame in self.frames for change in frame.states]

    def samples(self) -> dict[str, list[tuple[int, float]]]:
        found: dict[str, list[tuple[int, float]]] = {}
        for frame in self.frames:
            for block in frame.signals:
                for name, values in zip(block.names, block.values, strict=True):
                    found.setdefault(name, []).extend(zip(block.at.tolist(), values.tolist(), strict=True))
        return found
