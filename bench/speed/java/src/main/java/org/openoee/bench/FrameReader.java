package org.openoee.bench;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.List;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;

/** Reads frames in Confluent's wire format with Avro's generic reader: whole frames, all values of all signals. */
public final class FrameReader {
    private static final int HEADER = 5; // a zero and the schema's id, which is one for the whole topic here
    private static final Schema SCHEMA = schema();

    private final GenericDatumReader<GenericRecord> reader = new GenericDatumReader<>(SCHEMA);
    private BinaryDecoder decoder;
    private GenericRecord frame; // used again for every frame: nothing of it leaves this class

    /** What a record of the topic says about states and counts. */
    public Report read(byte[] value) {
        try {
            decoder = DecoderFactory.get().binaryDecoder(value, HEADER, value.length - HEADER, decoder);
            frame = reader.read(frame, decoder);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
        Report report = new Report();
        report.machine = frame.get("machine").toString();
        report.source = frame.get("source").toString();
        report.epoch = (long) frame.get("epoch");
        report.sequence = (long) frame.get("sequence");
        readTimes(report, records("signals"));
        readStates(report, records("states"));
        readCounts(report, records("counts"));
        return report;
    }

    private static void readTimes(Report report, List<GenericRecord> blocks) {
        report.oldest = Long.MAX_VALUE;
        report.newest = Long.MIN_VALUE;
        for (GenericRecord block : blocks) {
            long start = (long) block.get("start");
            List<?> offsets = (List<?>) block.get("offsets");
            report.oldest = Math.min(report.oldest, start);
            report.newest = Math.max(report.newest, start + (int) offsets.get(offsets.size() - 1));
        }
    }

    private static void readStates(Report report, List<GenericRecord> changes) {
        report.changedAt = new long[changes.size()];
        report.states = new String[changes.size()];
        Iterator<GenericRecord> each = changes.iterator();
        for (int i = 0; each.hasNext(); i++) {
            GenericRecord change = each.next();
            report.changedAt[i] = (long) change.get("at");
            report.states[i] = change.get("state").toString();
        }
    }

    private static void readCounts(Report report, List<GenericRecord> readings) {
        report.readAt = new long[readings.size()];
        report.totals = new long[readings.size()];
        Iterator<GenericRecord> each = readings.iterator();
        for (int i = 0; each.hasNext(); i++) {
            GenericRecord reading = each.next();
            report.readAt[i] = (long) reading.get("at");
            report.totals[i] = (long) reading.get("total");
        }
    }

    @SuppressWarnings("unchecked") // the schema says so
    private List<GenericRecord> records(String field) {
        return (List<GenericRecord>) frame.get(field);
    }

    private static Schema schema() {
        try (InputStream text = FrameReader.class.getResourceAsStream("/frame.avsc")) {
            return new Schema.Parser().parse(text);
        } catch (IOException error) {
            throw new UncheckedIOException(error);
        }
    }
}
