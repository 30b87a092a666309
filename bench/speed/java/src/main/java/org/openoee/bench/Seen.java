package org.openoee.bench;

import java.util.HashSet;
import java.util.Set;

/** Sequence numbers that were there: all below {@link #next}, and some above; so it stays small. */
public class Seen {
    public long next;
    public Set<Long> above = new HashSet<>();

    /** Whether a number comes for the first time; remembers it. */
    public boolean isNew(long sequence) {
        if (sequence < next || !above.add(sequence)) {
            return false;
        }
        while (above.remove(next)) {
            next++;
        }
        return true;
    }
}
