import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.common.security.auth.SaslExtensions;
import org.apache.kafka.common.security.oauthbearer.internals.OAuthBearerClientInitialResponse;

/**
 * Prints tests/unit/vectors/sasl_vectors.h: OAUTHBEARER's first message as Apache Kafka's own client writes it.
 *
 *     java -cp 'build/kafka/jars/*' tests/unit/vectors/SaslVectors.java > tests/unit/vectors/sasl_vectors.h
 */
public class SaslVectors {
    static void print(String name, Map<String, String> extensions) throws Exception {
        byte[] bytes = new OAuthBearerClientInitialResponse("abc.def-_.ghi", new SaslExtensions(extensions)).toBytes();
        StringBuilder out = new StringBuilder("static const uint8_t " + name + "[] = {");
        for (int i = 0; i < bytes.length; i++) {
            out.append(i % 24 == 0 ? "\n    " : " ").append(String.format("0x%02x,", bytes[i] & 0xff));
        }
        System.out.println(out + "\n};");
    }

    public static void main(String[] args) throws Exception {
        System.out.println("/* Printed by SaslVectors.java: bytes as Apache Kafka's own client writes them. Do not edit. */");
        System.out.println("#ifndef FERRY_TESTS_SASL_VECTORS_H\n#define FERRY_TESTS_SASL_VECTORS_H\n\n#include <stdint.h>\n\n/* clang-format off */");
        print("bearer_alone", Map.of());
        print("bearer_with_extensions", new TreeMap<>(Map.of("logicalCluster", "one", "pool", "a b")));
        System.out.println("/* clang-format on */\n\n#endif");
    }
}
