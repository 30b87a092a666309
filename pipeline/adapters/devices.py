"""MTConnect device files (Devices.xml): which data items a machine has, of what category, in what unit."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from pipeline.errors import FactoryFileError

UCUM = {  # units of the MTConnect standard -> UCUM
    "AMPERE": "A", "CELSIUS": "Cel", "COUNT": "1", "DECIBEL": "dB", "DEGREE": "deg", "DEGREE/SECOND": "deg/s",
    "DEGREE/SECOND^2": "deg/s2", "HERTZ": "Hz", "JOULE": "J", "KILOGRAM": "kg", "LITER": "L", "LITER/SECOND": "L/s",
    "MILLIMETER": "mm", "MILLIMETER_3D": "mm", "MILLIMETER/SECOND": "mm/s", "MILLIMETER/SECOND^2": "mm/s2",
    "MILLIMETER/REVOLUTION": "mm", "NEWTON": "N", "NEWTON_METER": "N.m", "OHM": "Ohm", "PASCAL": "Pa",
    "PERCENT": "%", "PH": "[pH]", "REVOLUTION/MINUTE": "1/min", "REVOLUTION/SECOND": "1/s", "SECOND": "s",
    "VOLT": "V", "VOLT_AMPERE": "V.A", "WATT": "W", "WATT_SECOND": "W.s",
}  # fmt: skip


class DataItem(NamedTuple):
    """One data item: category is SAMPLE, EVENT or CONDITION; unit is UCUM, empty when there is none."""

    name: str
    category: str
    kind: str
    unit: str


def load(path: Path) -> dict[str, dict[str, DataItem]]:
    """Devices by name, each with its data items by every name that a log may use (name, source, id).

    Raises FactoryFileError when the file cannot be read or is no device file.
    """
    try:
        root = ElementTree.parse(path).getroot()
    except OSError as error:
        raise FactoryFileError(f"{path}: cannot be read ({error.strerror}); name the machine's device file") from error
    except ElementTree.ParseError as error:
        line = error.position[0]
        raise FactoryFileError(f"{path}:{line}: no XML ({error}); name the machine's device file") from error
    devices = {
        device.get("name", ""): _items(device) for device in root.iter() if device.tag.rpartition("}")[2] == "Device"
    }
    if not devices:
        raise FactoryFileError(f"{path}:1: holds no <Device>; name an MTConnect device file (Devices.xml)")
    return devices


def _items(device: ElementTree.Element) -> dict[str, DataItem]:
    items: dict[str, DataItem] = {}
    for element in device.iter():
        if element.tag.rpartition("}")[2] != "DataItem":
            continue
        names = [element.get("name"), element.get("id")]
        names += [child.text for child in element if child.tag.rpartition("}")[2] == "Source"]
        units = element.get("units", "")
        item = DataItem(
            element.get("name") or element.get("id") or "",
            element.get("category", ""),
            element.get("type", ""),
            UCUM.get(units, units),
        )
        for name in names:
            if name:
                items.setdefault(name, item)
    return items
