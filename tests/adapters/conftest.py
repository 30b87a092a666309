"""The mapping of the small machine in shdr_log."""

from __future__ import annotations

from pathlib import Path

import pytest
from shdr_log import DEVICES, MAPPING

from pipeline.mapping import Mapping, load


@pytest.fixture
def mapping(tmp_path: Path) -> Mapping:
    (tmp_path / "Devices.xml").write_text(DEVICES)
    (tmp_path / "m1.mapping.yaml").write_text(MAPPING)
    return load(tmp_path / "m1.mapping.yaml")
