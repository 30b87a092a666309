package org.openoee.bench;

import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;

/** Facts of one machine and window of 60 s: when it starts [ms UTC], ms running, ms stopped, parts made. */
public record Answer(
        String machine,
        @JsonProperty("window_start") long windowStart,
        @JsonProperty("run_ms") long runMs,
        @JsonProperty("stopped_ms") long stoppedMs,
        long parts) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** As it goes into the topic of answers. */
    public byte[] toJson() {
        try {
            return JSON.writeValueAsBytes(this);
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }
}
