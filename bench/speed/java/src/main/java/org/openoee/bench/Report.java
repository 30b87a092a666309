package org.openoee.bench;

/** What the question needs of one frame. All instants are UTC milliseconds. A POJO, so that Flink sends it as one. */
public class Report {
    public String machine;
    public String source;
    public long epoch;
    public long sequence;
    /** First instant that the frame speaks of. */
    public long oldest;
    /** Last instant that the frame speaks of. */
    public long newest;
    /** When the states of {@link #states} began, ascending. */
    public long[] changedAt;
    public String[] states;
    /** When the counters of {@link #totals} were read, ascending. */
    public long[] readAt;
    /** Cumulative parts. */
    public long[] totals;
}
