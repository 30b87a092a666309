package org.openoee.bench;

import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;

/** Where a topic ends when a run begins, and whether the run has come there: Kafka Streams itself reads for ever. */
final class Ends {
    private final Map<Integer, Long> left = new ConcurrentHashMap<>();
    private final CountDownLatch reached = new CountDownLatch(1);

    Ends(Task task) throws Exception {
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", task.bootstrap()))) {
            var described = admin.describeTopics(List.of(task.topic())).allTopicNames().get().get(task.topic());
            var asked = IntStream.range(0, described.partitions().size())
                    .mapToObj(number -> new TopicPartition(task.topic(), number))
                    .collect(Collectors.toMap(one -> one, one -> OffsetSpec.latest()));
            admin.listOffsets(asked).all().get().forEach((one, end) -> {
                if (end.offset() > 0) {
                    left.put(one.partition(), end.offset());
                }
            });
        }
        if (left.isEmpty()) {
            reached.countDown();
        }
    }

    /** Notes that a record has been worked on. */
    void passed(int partition, long offset) {
        Long end = left.get(partition);
        if (end != null && offset + 1 >= end) {
            left.remove(partition);
            if (left.isEmpty()) {
                reached.countDown();
            }
        }
    }

    /** Waits until every partition has been worked on to its end. */
    void await() throws InterruptedException {
        reached.await();
    }

    /** Ends the waiting, since nothing more will come. */
    void giveUp() {
        reached.countDown();
    }

    /** Whether every partition has been worked on to its end. */
    boolean areReached() {
        return left.isEmpty();
    }
}
