"""What no system can be faster than, in Python: `python -m bench.speed.floors NAME --bootstrap ... --topic ...`.

consume      librdkafka hands over every record; nothing is done with it
decode       and fastavro decodes it
hand-avro    and a loop written for this job, and for nothing else, answers the question
hand-numpy   the same with a decoder by hand: signals as numpy views, small frames by column
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

from bench.speed.answers import Machine, Task, avro_reader, entries, newest, task
from bench.speed.columns import Small, frame_of, singles
from bench.speed.log import Out, batches


def consume(work: Task) -> None:
    for messages in batches(work.bootstrap, work.topic):
        for message in messages:
            message.value()


def decode(work: Task) -> None:
    read = avro_reader()
    for messages in batches(work.bootstrap, work.topic):
        for message in messages:
            read(message.value())


def hand_avro(work: Task) -> None:
    read, out, machines = avro_reader(), Out(work), dict[str, Machine]()
    for messages in batches(work.bootstrap, work.topic):
        for message in messages:
            frame = read(message.value())
            name = frame["machine"]
            machine = machines.get(name) or machines.setdefault(name, Machine(name))
            if machine.seen.is_new(frame["sequence"]):
                machine.add(*entries(frame))
                for row in machine.reach(frame["signals"][0]["start"], newest(frame)):
                    out.write(name, row)
    out.close()


def hand_numpy(work: Task) -> None:
    out, machines = Out(work), dict[bytes, Machine]()

    def machine_of(name: bytes) -> Machine:
        return machines.get(name) or machines.setdefault(name, Machine(name.decode()))

    for messages in batches(work.bootstrap, work.topic):
        values = [message.value() for message in messages]
        if work.samples == 1:
            _small(singles(values), machine_of, out)
            continue
        for value in values:
            frame = frame_of(value)
            machine = machine_of(frame.machine)
            if machine.seen.is_new(frame.sequence):
                machine.add(frame.changes, frame.readings)
                for row in machine.reach(int(frame.at[0]), int(frame.at[-1])):
                    out.write(machine.name, row)
    out.close()


def _small(batch: Small, machine_of: Callable[[bytes], Machine], out: Out) -> None:
    """Frames that bear nothing but a sample move time on, for which a repeat does no harm; a few bear more.

    In a batch, changes and readings come before time moves: a window is closed later than record by record, never
    earlier.
    """
    for frame in batch.bearing:
        machine = machine_of(frame.machine)
        if machine.seen.is_new(frame.sequence):
            machine.add(frame.changes, frame.readings)
    for name, first, last in batch.times():
        machine = machine_of(name)
        for row in machine.reach(first, last):
            out.write(machine.name, row)


FLOORS: dict[str, Callable[[Task], None]] = {
    "consume": consume,
    "decode": decode,
    "hand-avro": hand_avro,
    "hand-numpy": hand_numpy,
}

if __name__ == "__main__":
    gc.freeze()
    FLOORS[sys.argv[1]](task(sys.argv[2:]))
