"""What a home's Kafka is made with."""

from __future__ import annotations

import uuid

import pytest

from pipeline.local import kafka


def test_a_cluster_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids that begin with a dash made one first start in 64 fail: `kafka-storage format -t -Ab...`."""
    drawn = iter([uuid.UUID(int=0xF8 << 120), uuid.UUID(int=0xFB << 120), uuid.UUID(int=1 << 120)])
    monkeypatch.setattr(uuid, "uuid4", lambda: next(drawn))
    ids = [kafka.new_cluster_id()]
    assert ids == ["AQAAAAAAAAAAAAAAAAAAAA"]


def test_the_line_that_tells_is_the_error_not_the_last_word() -> None:
    said = ["usage: kafka-storage format", "kafka-storage: error: argument -t: expected one argument", "[INFO] bye"]
    assert kafka._telling(said) == said[1]
