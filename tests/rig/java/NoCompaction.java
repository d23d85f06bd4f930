import java.util.Map;
import org.apache.kafka.common.errors.PolicyViolationException;
import org.apache.kafka.server.policy.AlterConfigPolicy;
import org.apache.kafka.server.policy.CreateTopicPolicy;

/** A cluster whose operator allows no compaction, neither at a topic's creation nor later; of its own topics it does. */
public class NoCompaction implements CreateTopicPolicy, AlterConfigPolicy {
    private static void look(String topic, String cleanup) {
        if (!topic.startsWith("__") && cleanup != null && cleanup.contains("compact")) {
            throw new PolicyViolationException("topic " + topic + ": cleanup.policy=compact is not allowed here");
        }
    }

    @Override
    public void validate(CreateTopicPolicy.RequestMetadata asked) {
        look(asked.topic(), asked.configs() == null ? null : asked.configs().get("cleanup.policy"));
    }

    @Override
    public void validate(AlterConfigPolicy.RequestMetadata asked) {
        look(asked.resource().name(), asked.configs().get("cleanup.policy"));
    }

    @Override
    public void configure(Map<String, ?> configs) {}

    @Override
    public void close() {}
}
