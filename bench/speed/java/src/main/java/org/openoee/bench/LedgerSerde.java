package org.openoee.bench;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serializer;

/** Ledgers as bytes, by hand: Kafka Streams turns state into bytes and back at every record, so this must be quick. */
final class LedgerSerde implements Serde<Ledger> {
    @Override
    public Serializer<Ledger> serializer() {
        return (topic, ledger) -> {
            if (ledger == null) {
                return null;
            }
            ByteArrayOutputStream bytes = new ByteArrayOutputStream(256);
            try {
                write(ledger, new DataOutputStream(bytes));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
            return bytes.toByteArray();
        };
    }

    @Override
    public Deserializer<Ledger> deserializer() {
        return (topic, bytes) -> {
            try {
                return bytes == null ? null : read(new DataInputStream(new ByteArrayInputStream(bytes)));
            } catch (IOException error) {
                throw new UncheckedIOException(error);
            }
        };
    }

    private static void write(Ledger ledger, DataOutputStream out) throws IOException {
        out.writeUTF(ledger.machine);
        out.writeUTF(ledger.state);
        out.writeBoolean(ledger.counter != null);
        out.writeLong(ledger.counter == null ? 0 : ledger.counter);
        out.writeLong(ledger.open);
        out.writeLong(ledger.newest);
        out.writeBoolean(ledger.closed);
        out.writeInt(ledger.changes.size());
        for (Map.Entry<Long, String> change : ledger.changes.entrySet()) {
            out.writeLong(change.getKey());
            out.writeUTF(change.getValue());
        }
        out.writeInt(ledger.readings.size());
        for (Map.Entry<Long, Long> reading : ledger.readings.entrySet()) {
            out.writeLong(reading.getKey());
            out.writeLong(reading.getValue());
        }
        out.writeInt(ledger.seen.size());
        for (Map.Entry<String, Seen> seen : ledger.seen.entrySet()) {
            out.writeUTF(seen.getKey());
            out.writeLong(seen.getValue().next);
            out.writeInt(seen.getValue().above.size());
            for (long sequence : seen.getValue().above) {
                out.writeLong(sequence);
            }
        }
    }

    private static Ledger read(DataInputStream in) throws IOException {
        Ledger ledger = new Ledger();
        ledger.machine = in.readUTF();
        ledger.state = in.readUTF();
        boolean isRead = in.readBoolean();
        long counter = in.readLong();
        ledger.counter = isRead ? counter : null;
        ledger.open = in.readLong();
        ledger.newest = in.readLong();
        ledger.closed = in.readBoolean();
        for (int left = in.readInt(); left > 0; left--) {
            ledger.changes.put(in.readLong(), in.readUTF());
        }
        for (int left = in.readInt(); left > 0; left--) {
            ledger.readings.put(in.readLong(), in.readLong());
        }
        for (int left = in.readInt(); left > 0; left--) {
            Seen seen = new Seen();
            ledger.seen.put(in.readUTF(), seen);
            seen.next = in.readLong();
            for (int above = in.readInt(); above > 0; above--) {
                seen.above.add(in.readLong());
            }
        }
        return ledger;
    }
}
