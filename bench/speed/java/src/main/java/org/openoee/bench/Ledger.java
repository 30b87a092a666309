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
        TreeMap<Long, String> inside = takeBefore(end, changes);
        inside.put(end, inside.isEmpty() ? state : inside.lastEntry().getValue());
        long since = open;
        long runMs = 0;
        long stoppedMs = 0;
        for (var change : inside.entrySet()) {
            long spent = change.getKey() - since;
            runMs += state.equals("running") ? spent : 0;
            stoppedMs += state.equals("stopped") ? spent : 0;
            since = change.getKey();
            state = change.getValue();
        }
        long parts = 0;
        for (long total : takeBefore(end, readings).values()) {
            parts += counter == null ? 0 : total - counter;
            counter = total;
        }
        Answer answer = new Answer(machine, open, runMs, stoppedMs, parts);
        open = end;
        closed = true;
        return answer;
    }

    private static <T> TreeMap<Long, T> takeBefore(long end, Map<Long, T> entries) {
        TreeMap<Long, T> taken = new TreeMap<>();
        entries.forEach((at, value) -> {
            if (at < end) {
                taken.put(at, value);
            }
        });
        entries.keySet().removeAll(taken.keySet());
        return taken;
    }
}
