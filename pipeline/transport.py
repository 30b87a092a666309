"""Faust's transport, changed in four places; the only file that overrides private methods of Faust and aiokafka.

    _drain_messages     an agent gets one event per partition and fetch (`event.value` is the list of raw records)
                        instead of two asyncio tasks per record
    seek_to_committed   a partition starts where the worker's saved state ends, not at the committed offset
    mark                commits a position that is a lag marker only: it never crashes the worker
    _watch_group        asks aiokafka for the group errors that it parks; Faust never does, and stays silent for ever

What Faust drops around a rebalance is dropped here too: the worker checks that each batch follows the last one and
seeks back. Faust's acknowledgements are off. `PINNED` lists what this relies on; tests/test_transport.py fails when
the source of any of it changes.
"""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import textwrap
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mode
from aiokafka.client import AIOKafkaClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.errors import KafkaError
from aiokafka.structs import TopicPartition
from faust.app.base import App
from faust.auth import Credentials, SASLCredentials, SSLCredentials
from faust.streams import Stream
from faust.tables.recovery import Recovery
from faust.transport import consumer as base
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread
from faust.transport.drivers.aiokafka import Consumer as AiokafkaConsumer
from faust.transport.drivers.aiokafka import Transport as AiokafkaTransport
from faust.types import TP, ConsumerMessage
from mode.threads import MethodQueue

from pipeline import kafka_clients
from pipeline.settings import Settings

COMMIT_WITHIN_S = 5.0
GROUP_ERRORS_ALLOWED = 10  # in a row, one a second: after that the group will not come back by itself

PINNED: dict[Callable[..., Any], str] = {
    base.Consumer._drain_messages: "8f35dd7a1114",
    base.Consumer._wait_next_records: "ba40cd367132",
    base.Consumer.perform_seek: "2b4ceebd23de",
    base.Consumer.on_stop: "7accc1bf4f97",
    base.Consumer.commit: "e43a7d03685f",
    base.ThreadDelegateConsumer.seek_to_committed: "6c17ae1d4f33",
    AIOKafkaConsumerThread._seek_wait: "98f8aa716db2",
    AIOKafkaConsumerThread._fetch_records: "9e7369fc572d",
    AIOKafkaConsumerThread._create_worker_consumer: "c179c0bdb975",
    Recovery._resume_streams: "fbe0f747b84c",
    Recovery._restart_recovery.fun: "f93138b040ef",
    App._on_partitions_revoked: "c1abd58dcb37",
    App._on_partitions_assigned: "c9c5485eb273",
    App.on_stop: "d8e7904b258c",
    App._stop_consumer: "96573acf5f04",
    Stream.events: "bed628278776",
    MethodQueue._process_enqueued: "3488d5b16ac8",
    GroupCoordinator.check_errors: "c67ee34a37d9",
    GroupCoordinator.need_rejoin: "40a8e580883b",
    GroupCoordinator.coordinator_dead: "98a0dfe85794",
    SubscriptionState.reassignment_in_progress.fget: "8281e4c792df",
    AIOKafkaClient._get_conn: "1eaeaab22404",
}

Starts = Callable[[set[TP]], Awaitable[Mapping[TP, int]]]


def credentials(settings: Settings) -> Credentials | None:
    """How Faust and aiokafka get into Kafka; None where it is open to all. Raises SettingError."""
    context = kafka_clients.encrypted(settings)
    if not kafka_clients.has_user(settings):
        return SSLCredentials(context) if context is not None else None
    user, password = kafka_clients.credentials(settings)
    mechanism = kafka_clients.mechanism(settings)
    return SASLCredentials(username=user, password=password, ssl_context=context, mechanism=mechanism)


def digest(function: Callable[..., Any]) -> str:
    """Fingerprint of a function's source."""
    return hashlib.sha256(textwrap.dedent(inspect.getsource(function)).encode()).hexdigest()[:12]


class Consumer(AiokafkaConsumer):  # type: ignore[misc]
    """Hands over batches, starts where it is told to, and survives a broker that is away."""

    def settled(self) -> bool:
        """Whether no rebalance is under way; a commit sent during one makes aiokafka rejoin, which starts the next."""
        client = self._thread._consumer
        if client is None or getattr(client, "_coordinator", None) is None:
            return False
        state = client._subscription
        return not (state.reassignment_in_progress or client._coordinator.need_rejoin(state.subscription))

    def reached(self) -> bool:
        """Whether Kafka has answered lately as this group's coordinator; aiokafka forgets one that does not."""
        coordinator = getattr(self._thread._consumer, "_coordinator", None)
        return getattr(coordinator, "coordinator_id", None) is not None

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Position every assigned partition at the worker's own start (Faust calls this after each assignment)."""
        starts: Mapping[TP, int] = await self.transport.starts(self.assignment())
        await self.seek_wait(starts)
        return starts

    async def mark(self, offsets: Mapping[TP, int]) -> bool:
        """Commit these positions for lag monitors; False when Kafka or the group cannot take them now."""
        if not self.settled():
            return False
        client = self._thread._consumer
        assigned = self.assignment()
        held = {TopicPartition(*tp): offset for tp, offset in offsets.items() if tp in assigned}
        if not held:
            return False

        async def commit() -> None:
            await asyncio.wait_for(client.commit(held), COMMIT_WITHIN_S)

        try:
            await self._thread.call_thread(commit)
        except (TimeoutError, KafkaError) as error:
            self.log.info("lag marker not committed: %r", error)
            return False
        return True

    @mode.Service.task  # type: ignore[untyped-decorator]
    async def _watch_group(self) -> None:
        errors = 0
        while not self.should_stop:
            await self.sleep(1.0)
            client = self._thread._consumer
            if client is None or getattr(client, "_coordinator", None) is None:
                continue
            password = self.transport.password()
            if password:
                client._client._sasl_plain_password = password  # of the connections to come
            try:
                await self._thread.call_thread(client._coordinator.check_errors)
                errors = 0
            except Exception as error:  # asked for, so aiokafka tries again
                errors += not getattr(error, "retriable", False)
                self.log.warning("consumer group: %r", error)
                if errors > GROUP_ERRORS_ALLOWED:
                    await self.crash(error)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self.should_stop or fetcher.should_stop):
                await self.sleep(0)
                records, _ = await self._wait_next_records(1.0)
                if not records or self.should_stop:
                    continue
                if not self.flow_active:  # a rebalance began while the fetch was under way: read again after it
                    continue
                await self._hand_over(records, self.app.consumer_generation_id)
        except (asyncio.CancelledError, *self.consumer_stopped_errors):
            if not self.app.should_stop:
                raise

    async def _hand_over(self, records: Mapping[TP, list[Any]], generation: int) -> None:
        for tp, rows in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return  # the worker will see the hole and seek back
            last = rows[-1]
            stamp = last.timestamp / 1000.0
            message = ConsumerMessage(
                tp.topic, tp.partition, last.offset, stamp, last.timestamp_type, {}, None, rows, None, 0, 0, tp,
                generation_id=generation,
            )  # fmt: skip
            await self.wait_first(self.callback(message), self.suspend_flow.wait())


class Transport(AiokafkaTransport):  # type: ignore[misc]
    """A transport whose consumer asks `starts` where to begin the partitions that it was given.

    `password`: what Kafka's user has to say from now on; empty: nothing, or what it said before.
    """

    Consumer = Consumer

    def __init__(self, url: Any, app: Any, starts: Starts, password: Callable[[], str] = str) -> None:
        super().__init__(url, app)
        self.starts, self.password = starts, password
