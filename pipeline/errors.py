"""Every error that openoee raises on purpose, as one tree.

OpenOeeError                exit code 1; the message says what happened, where, and what to do
|- RetryError               the other side is away or busy: wait and do the same again
|  |- BrokerUnavailable
|  |- StoreUnavailable
|  |- RegistryUnavailable
|  `- SpoolFull             no room for another record until Kafka has taken some
|- ParkError                this one record cannot be used: dead letter, the line goes on
|  |- UndecodableRecord     bytes that are no valid Avro of a known schema
|  `- UnknownSchema         a schema id that neither the bundle nor the registry knows
`- StopError                going on would lose or falsify something: stop and say why
   |- UsageError            a command called wrongly (exit code 2)
   |- FactoryFileError      factory.yaml or a mapping file is wrong; names file, line and remedy
   |- SettingError          a setting has an impossible value
   |- StackError            the local stack cannot start or run
   |- SchemaMismatch        registry and bundle disagree
   |- TopicMismatch         a topic is missing or has another shape than the line needs
   |- DeliveryFailed        a record could not be stored in Kafka
   |- SpoolUnusable         the folder of a spool is in use, of another line, or its disk fails
   |- AccessRefused         Kafka does not let this user in, or forbids what the line must do
   |- LogHole               records that were never read are gone from the log
   |- TooManyDeadLetters    so many records are unusable that the input must be wrong
   |- StoreRefused          the store refuses a statement (rights, schema, space)
   |- BackupUnusable        a backup is unfinished, damaged, or of a newer version
   |- FileUnusable          a file cannot be written or read: the disk is full, rights are missing
   |- PortTaken             the port of the metrics is in use
   `- StateUnreadable       a snapshot of another engine version, or damaged
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Self


class OpenOeeError(Exception):
    """Root of the tree: a message for a person and an exit code for a shell."""

    exit_code = 1
    place: Mapping[str, object] = MappingProxyType({})

    def at(self, **place: object) -> Self:
        """The same error, with what it is about (machine, topic, partition, offset) as fields for the log."""
        self.place = place
        return self


class RetryError(OpenOeeError):
    """The other side is away or busy; the same call may succeed later."""


class BrokerUnavailable(RetryError):
    """Kafka does not answer."""


class StoreUnavailable(RetryError):
    """The store does not answer, or is too busy to take the rows."""


class RegistryUnavailable(RetryError):
    """The schema registry does not answer."""


class SpoolFull(RetryError):
    """The spool of a producer has no room for another record until Kafka has taken some."""


class ParkError(OpenOeeError):
    """One record cannot be used; it becomes a dead letter with `reason`, and the line goes on."""

    reason = "invalid"

    def __init__(self, message: str, reason: str | None = None) -> None:
        super().__init__(message)
        if reason is not None:
            self.reason = reason


class UndecodableRecord(ParkError):
    """The bytes are no valid record of the schema that they name."""

    reason = "undecodable"


class UnknownSchema(ParkError):
    """The record names a schema id that nobody knows."""

    reason = "unknown_schema"


class StopError(OpenOeeError):
    """Going on would lose or falsify something."""


class UsageError(StopError):
    """A command was called in a way that it cannot carry out."""

    exit_code = 2


class FactoryFileError(StopError):
    """A factory or mapping file is wrong; the message names file, line and remedy."""


class SettingError(StopError):
    """A setting has an impossible value."""


class StackError(StopError):
    """The local stack cannot start or go on."""


class SchemaMismatch(StopError):
    """The registry holds another schema under an id or subject than the committed bundle."""


class TopicMismatch(StopError):
    """A topic is missing or has another shape than the line needs."""


class DeliveryFailed(StopError):
    """Kafka did not take a record."""


class SpoolUnusable(StopError):
    """The folder of a spool is in use by another process, of another line, or its disk fails."""


class AccessRefused(StopError):
    """Kafka does not let this user in, or forbids it what it asks for."""


class LogHole(StopError):
    """Records that were never read are gone from the log."""


class TooManyDeadLetters(StopError):
    """So large a share of the records cannot be used that the input must be wrong."""


class StoreRefused(StopError):
    """The store refuses a statement for good."""


class FileUnusable(StopError):
    """A file or folder cannot be written or read: the disk is full, rights are missing."""


class PortTaken(StopError):
    """The port of the metrics is in use."""


class StateUnreadable(StopError):
    """A snapshot cannot be read by this version of the engine."""


class BackupUnusable(StopError):
    """A backup is unfinished, damaged, of a newer version, or cannot be written."""


REMEDIES: dict[type[OpenOeeError], str] = {  # what to do, where the message does not say more
    BrokerUnavailable: "start Kafka (`openoee up`), or correct `OPENOEE_KAFKA`; long-running parts go on by themselves",
    StoreUnavailable: "start the store, or run `openoee migrate`; the sink goes on by itself when it answers",
    RegistryUnavailable: "start the registry (`openoee up --registry`), correct `OPENOEE_REGISTRY`, or leave it empty",
    SpoolFull: "bring Kafka back; the source waits meanwhile. More room: `OPENOEE_SPOOL_MB`",
    UndecodableRecord: "look at it with `openoee dead-letters show`, correct its sender, `replay` it",
    UnknownSchema: "register the schema (`openoee schemas register`), then `openoee dead-letters replay`",
    UsageError: "call it as its `--help` shows",
    FactoryFileError: "correct the line that the message names; `openoee factory check` names the next mistake",
    SettingError: "correct the flag or variable that the message names; `openoee settings` lists them all",
    StackError: "do what the message says, or ask `openoee doctor`",
    SchemaMismatch: "use one version of openoee on one registry, or a registry of its own",
    TopicMismatch: "run `openoee topics --create`, or change the topic as the message says",
    DeliveryFailed: "read the reason in the message; produce again, what was stored already counts once",
    SpoolUnusable: "give each producer a folder of its own on a disk that is well",
    AccessRefused: "correct user and password, or grant the right (`openoee access`)",
    LogHole: "keep records for longer than parts are away; `openoee restore` and `openoee audit` tell what is missing",
    TooManyDeadLetters: "find out who sends what (`openoee dead-letters list`), then start the worker again",
    StoreRefused: "give the user its rights, the disk room, or use the version of openoee that made the tables",
    FileUnusable: "make room, give the rights, or name another place; what was begun there is incomplete",
    PortTaken: "choose another `OPENOEE_METRICS_PORT`, one for each process",
    StateUnreadable: "stop all workers and run `openoee topics --reset-state`: they compute it again from the log",
    BackupUnusable: "use another backup, or make a new one",
}
