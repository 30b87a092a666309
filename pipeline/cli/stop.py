"""`openoee stop`: end the local stack and everything that runs on it."""

from __future__ import annotations

from typing import Any

import click

from pipeline import settings
from pipeline.cli.answer import answer, json_option


@click.command(epilog="Example: openoee stop")
@json_option
@settings.options("home")
def command(as_json: bool, **flags: Any) -> None:
    """End the plant, the workers, the sink, the registry, the store and Kafka of this home; data survive.

    Each gets 10 seconds to end by itself.
    """
    from pipeline.local.stack import Stack

    stack = Stack(settings.load(flags))
    ended = stack.stop()
    said = f"stopped {', '.join(ended)}" if ended else f"nothing runs in {stack.home}"
    answer({"home": str(stack.home), "stopped": ended}, [said], as_json)
