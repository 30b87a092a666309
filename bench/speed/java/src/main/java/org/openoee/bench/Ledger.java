package org.openoee.bench;

import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.Consumer;

/**
 * What is known of one machine: the state and the counter that the last closed window left, changes and readings of
 * the open windows, and which frames were there. Plain fields, so that Flink and the serde of Kafka Streams keep it.
 */
public class Ledger {
    public static final long WINDOW_MS = 60_000;

    public String machine;
    /** State that holds at the start of the oldest open window; empty: not known yet. */
    public String state = "";
    /** Counter as last read before the oldest open window; null: not read yet. */
    public Long counter;
    /** Start of the oldest open window [ms UTC]. */
    public long open = Long.MAX_VALUE;
    /** Last instant that a frame spoke of [ms UTC]. */
    public long newest = Long.MIN_VALUE;
    /** Whether a window was closed, and so nothing can come before {@link #open} any more. */
    public boolean closed;
    /** State from an instant on. */
    public Map<Long, String> changes = new HashMap<>();
    /** Counter at an instant. */
    public Map<Long, Long> readings = new HashMap<>();
    /** By source and epoch. */
    public Map<String, Seen> seen = new HashMap<>();

    /** Start of the window that an instant belongs to [ms UTC]. */
    public static long windowOf(long at) {
        return at - Math.floorMod(at, WINDOW_MS);
    }

    /** Takes in what a frame says, unless the same frame was there before; whether it was new. */
    public boolean add(Report report) {
        if (!seen.computeIfAbsent(report.source + '@' + report.epoch, key -> new Seen()).isNew(report.sequence)) {
            return false;
        }
        machine = report.machine;
        newest = Math.max(newest, report.newest);
        if (!closed) {
            open = Math.min(open, windowOf(report.oldest));
        }
        for (int i = 0; i < report.states.length; i++) {
            if (report.changedAt[i] >= open) {
                changes.put(report.changedAt[i], report.states[i]);
            }
        }
        for (int i = 0; i < report.totals.length; i++) {
            if (report.readAt[i] >= open) {
                readings.put(report.readAt[i], report.totals[i]);
            }
        }
        return true;
    }

    /** Whether {@link #closeUntil} would close a window. */
    public boolean isDue(long watermark) {
        return open <= newest && open + WINDOW_MS <= watermark;
    }

    /** Closes the windows that end by {@code watermark} [ms UTC], as far as the machine has spoken of them. */
    public void closeUntil(long watermark, Consumer<Answer> answers) {
        while (isDue(watermark)) {
            answers.accept(close());
        }
    }

    private Answer close() {
        long end = open + WINDOW_MS;
        Answer answer = new Answer(machine, open, spent("running", end), spent("stopped", end), partsUntil(end));
        for (String last : before(end, changes).values()) {
            state = last;
        }
        changes.keySet().removeIf(at -> at < end);
        readings.keySet().removeIf(at -> at < end);
        open = end;
        closed = true;
        return answer;
    }

    /** Milliseconds of a state in the oldest open window. */
    private long spent(String wanted, long end) {
        long spent = 0;
        long since = open;
        String held = state;
        for (var change : before(end, changes).entrySet()) {
            spent += held.equals(wanted) ? change.getKey() - since : 0;
            since = change.getKey();
            held = change.getValue();
        }
        return spent + (held.equals(wanted) ? end - since : 0);
    }

    private long partsUntil(long end) {
        long parts = 0;
        for (long total : before(end, readings).values()) {
            parts += counter == null ? 0 : total - counter;
            counter = total;
        }
        return parts;
    }

    private static <T> TreeMap<Long, T> before(long end, Map<Long, T> entries) {
        TreeMap<Long, T> found = new TreeMap<>();
        entries.forEach((at, value) -> {
            if (at < end) {
                found.put(at, value);
            }
        });
        return found;
    }
}
