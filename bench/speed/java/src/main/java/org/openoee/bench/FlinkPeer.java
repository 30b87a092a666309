package org.openoee.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.apache.flink.api.common.eventtime.WatermarkStrategy;
import org.apache.flink.api.common.functions.OpenContext;
import org.apache.flink.api.common.serialization.AbstractDeserializationSchema;
import org.apache.flink.api.common.state.ValueState;
import org.apache.flink.api.common.state.ValueStateDescriptor;
import org.apache.flink.configuration.CheckpointingOptions;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.configuration.MemorySize;
import org.apache.flink.configuration.PipelineOptions;
import org.apache.flink.configuration.RestartStrategyOptions;
import org.apache.flink.configuration.StateBackendOptions;
import org.apache.flink.configuration.TaskManagerOptions;
import org.apache.flink.connector.base.DeliveryGuarantee;
import org.apache.flink.connector.kafka.sink.KafkaRecordSerializationSchema;
import org.apache.flink.connector.kafka.sink.KafkaSink;
import org.apache.flink.connector.kafka.source.KafkaSource;
import org.apache.flink.connector.kafka.source.enumerator.initializer.OffsetsInitializer;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.streaming.api.functions.KeyedProcessFunction;
import org.apache.flink.util.Collector;
import org.apache.kafka.clients.producer.ProducerRecord;

/**
 * The job on Apache Flink's DataStream API, in one process with one slot: watermarks per partition, state per machine
 * on the heap, an event-time timer per window. The source is bounded, so its end closes every window, the last too.
 */
public final class FlinkPeer {
    private static final Duration CHECKPOINT_EVERY = Duration.ofSeconds(10);

    public static void main(String[] arguments) throws Exception {
        Task task = Task.of(arguments);
        WatermarkStrategy<Report> watermarks = WatermarkStrategy
                .<Report>forBoundedOutOfOrderness(Duration.ofMillis(task.graceMs()))
                .withTimestampAssigner((report, recorded) -> report.newest);
        StreamExecutionEnvironment environment = StreamExecutionEnvironment.createLocalEnvironment(1, configuration());
        environment
                .fromSource(source(task), watermarks, "frames")
                .keyBy(report -> report.machine)
                .process(new Windows())
                .sinkTo(sink(task));
        environment.execute("bench");
        System.exit(0); // threads of the mini cluster linger
    }

    private static Configuration configuration() {
        Configuration settings = new Configuration();
        settings.set(PipelineOptions.OBJECT_REUSE, true);
        settings.set(StateBackendOptions.STATE_BACKEND, "hashmap");
        settings.set(CheckpointingOptions.CHECKPOINTING_INTERVAL, CHECKPOINT_EVERY);
        settings.set(RestartStrategyOptions.RESTART_STRATEGY, "none"); // an error ends the run
        // else the end of the source waits for one more checkpoint
        settings.set(CheckpointingOptions.ENABLE_CHECKPOINTS_AFTER_TASKS_FINISH, false);
        settings.set(TaskManagerOptions.MANAGED_MEMORY_SIZE, MemorySize.ZERO); // that is for RocksDB and batch jobs
        return settings;
    }

    private static KafkaSource<Report> source(Task task) {
        return KafkaSource.<Report>builder()
                .setBootstrapServers(task.bootstrap())
                .setTopics(task.topic())
                .setGroupId("bench-flink-" + task.out())
                .setStartingOffsets(OffsetsInitializer.earliest())
                .setBounded(OffsetsInitializer.latest())
                .setValueOnlyDeserializer(new Reports())
                .setProperty("max.partition.fetch.bytes", Integer.toString(8 << 20))
                .build();
    }

    private static KafkaSink<Answer> sink(Task task) {
        return KafkaSink.<Answer>builder()
                .setBootstrapServers(task.bootstrap())
                .setDeliveryGuarantee(DeliveryGuarantee.AT_LEAST_ONCE)
                .setRecordSerializer(new Answers(task.out()))
                .build();
    }

    /** Frames decoded in the source, so that only what the question needs goes on to the machines. */
    private static final class Reports extends AbstractDeserializationSchema<Report> {
        private transient FrameReader reader;

        Reports() {
            super(Report.class);
        }

        @Override
        public void open(InitializationContext context) {
            reader = new FrameReader();
        }

        @Override
        public Report deserialize(byte[] value) throws IOException {
            return reader.read(value);
        }
    }

    /** Answers as JSON, keyed by machine. */
    private static final class Answers implements KafkaRecordSerializationSchema<Answer> {
        private final String topic;

        Answers(String topic) {
            this.topic = topic;
        }

        @Override
        public ProducerRecord<byte[], byte[]> serialize(Answer answer, KafkaSinkContext context, Long recorded) {
            return new ProducerRecord<>(topic, answer.machine().getBytes(StandardCharsets.UTF_8), answer.toJson());
        }
    }

    /** One machine: a timer for each window that a frame touches. */
    private static final class Windows extends KeyedProcessFunction<String, Report, Answer> {
        private transient ValueState<Ledger> ledgers;

        @Override
        public void open(OpenContext context) {
            ledgers = getRuntimeContext().getState(new ValueStateDescriptor<>("ledger", Ledger.class));
        }

        @Override
        public void processElement(Report report, Context context, Collector<Answer> out) throws Exception {
            Ledger ledger = ledgers.value() == null ? new Ledger() : ledgers.value();
            if (!ledger.add(report)) {
                return;
            }
            ledgers.update(ledger);
            for (long at = Ledger.windowOf(report.oldest); at <= report.newest; at += Ledger.WINDOW_MS) {
                context.timerService().registerEventTimeTimer(at + Ledger.WINDOW_MS - 1);
            }
        }

        @Override
        public void onTimer(long lastOfWindow, OnTimerContext context, Collector<Answer> out) throws Exception {
            Ledger ledger = ledgers.value();
            ledger.closeUntil(lastOfWindow + 1, out::collect);
            ledgers.update(ledger);
        }
    }
}
