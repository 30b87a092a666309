package org.openoee.bench;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Utils;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.processor.api.ContextualProcessor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.ProcessorSupplier;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueIterator;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.StoreBuilder;
import org.apache.kafka.streams.state.Stores;

/**
 * The job on Kafka Streams with one thread: a processor with a store of machines in memory, cached, with its changelog
 * in Kafka. Time is the stream time of each partition, so windows that no later record passes stay open, as they do
 * in Kafka Streams: there is no answer for what the last {@link Task#graceMs} of the topic touch.
 */
public final class StreamsPeer {
    private static final String STORE = "machines";

    public static void main(String[] arguments) throws Exception {
        Task task = Task.of(arguments);
        Ends ends = new Ends(task);
        Path place = Files.createTempDirectory("bench-streams-");
        try (KafkaStreams streams = new KafkaStreams(topology(task, ends), configuration(task, place))) {
            streams.setUncaughtExceptionHandler(error -> {
                error.printStackTrace();
                ends.giveUp();
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            ends.await();
        } // answers are flushed here
        Utils.delete(place.toFile());
        System.exit(ends.areReached() ? 0 : 1);
    }

    private static Properties configuration(Task task, Path place) {
        Properties settings = new Properties();
        settings.put(StreamsConfig.APPLICATION_ID_CONFIG, "bench-streams-" + task.out());
        settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, task.bootstrap());
        settings.put(StreamsConfig.STATE_DIR_CONFIG, place.toString());
        settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
        settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        settings.put(StreamsConfig.consumerPrefix("max.partition.fetch.bytes"), 8 << 20);
        return settings;
    }

    private static Topology topology(Task task, Ends ends) {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(task.topic(), Consumed.with(Serdes.String(), reports())
                        .withTimestampExtractor((record, partitionTime) -> ((Report) record.value()).newest))
                .process(windows(task, ends))
                .mapValues(Answer::toJson)
                .to(task.out(), Produced.with(Serdes.String(), Serdes.ByteArray()));
        return builder.build();
    }

    private static Serde<Report> reports() {
        FrameReader reader = new FrameReader();
        return Serdes.serdeFrom(
                (topic, report) -> {
                    throw new UnsupportedOperationException("reports are read, never written");
                },
                (topic, value) -> reader.read(value));
    }

    private static ProcessorSupplier<String, Report, String, Answer> windows(Task task, Ends ends) {
        StoreBuilder<KeyValueStore<String, Ledger>> store = Stores
                .keyValueStoreBuilder(Stores.inMemoryKeyValueStore(STORE), Serdes.String(), new LedgerSerde())
                .withCachingEnabled();
        return new ProcessorSupplier<>() {
            @Override
            public Windows get() {
                return new Windows(task.graceMs(), ends);
            }

            @Override
            public Set<StoreBuilder<?>> stores() {
                return Set.of(store);
            }
        };
    }

    /** All machines of one partition. */
    private static final class Windows extends ContextualProcessor<String, Report, String, Answer> {
        private final long graceMs;
        private final Ends ends;
        private KeyValueStore<String, Ledger> ledgers;
        private long closedUntil = Long.MIN_VALUE; // windows that end by this instant [ms UTC] are closed

        Windows(long graceMs, Ends ends) {
            this.graceMs = graceMs;
            this.ends = ends;
        }

        @Override
        public void init(ProcessorContext<String, Answer> context) {
            super.init(context);
            ledgers = context.getStateStore(STORE);
        }

        @Override
        public void process(Record<String, Report> record) {
            Ledger ledger = ledgers.get(record.key());
            ledger = ledger == null ? new Ledger() : ledger;
            if (ledger.add(record.value())) {
                ledgers.put(record.key(), ledger);
            }
            long over = Ledger.windowOf(context().currentStreamTimeMs() - graceMs);
            if (over > closedUntil) {
                close(over);
                closedUntil = over;
            }
            context().recordMetadata().ifPresent(where -> ends.passed(where.partition(), where.offset()));
        }

        private void close(long over) {
            try (KeyValueIterator<String, Ledger> each = ledgers.all()) {
                while (each.hasNext()) {
                    KeyValue<String, Ledger> one = each.next();
                    if (one.value.isDue(over)) {
                        one.value.closeUntil(over, answer -> context().forward(new Record<>(one.key, answer, over)));
                        ledgers.put(one.key, one.value);
                    }
                }
            }
        }
    }
}
