package org.openoee.bench;

import java.util.HashMap;
import java.util.Map;

/**
 * One run: read {@code topic} to the end that it has now, write answers to {@code out}.
 *
 * @param samples seconds of one machine that a frame speaks of at most
 */
public record Task(String bootstrap, String topic, String out, int samples) {
    private static final long LATENESS_MS = 30_000;

    /** The task from a command line of {@code --name value} pairs; the names that it does not need are let pass. */
    public static Task of(String[] arguments) {
        Map<String, String> named = new HashMap<>();
        for (int i = 0; i + 1 < arguments.length; i += 2) {
            named.put(arguments[i], arguments[i + 1]);
        }
        return new Task(
                required(named, "--bootstrap"),
                required(named, "--topic"),
                required(named, "--out"),
                Integer.parseInt(named.getOrDefault("--samples", "1000")));
    }

    /**
     * How far the oldest sample of a frame may be behind the newest of its partition [ms]: a frame is sent when its
     * last sample is there, so its length comes on top of the lateness.
     */
    public long graceMs() {
        return LATENESS_MS + samples * 1000L;
    }

    private static String required(Map<String, String> named, String name) {
        String value = named.get(name);
        if (value == null) {
            throw new IllegalArgumentException(name + " is missing");
        }
        return value;
    }
}
