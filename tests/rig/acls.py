"""Clusters that ask for permission: StandardAuthorizer, nobody may anything by default.

KafkaCluster("a", listeners={"sasl": Listener("SASL_PLAINTEXT", users={...}, mechanism="PLAIN")}, props=AUTHORIZER)
allow(cluster, [Acl("topic", "literal", "orders", "Read", "User:ferry")])
take_back(cluster, acls), all_acls(cluster)

The rig itself comes in by the listener in the clear, as User:ANONYMOUS: a super user, as brokers among themselves are.
"""

from dataclasses import dataclass

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

AUTHORIZER = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "super.users": "User:ANONYMOUS;User:admin",
    "allow.everyone.if.no.acl.found": "false",
}
RESOURCES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "cluster": ResourceType.BROKER,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}
PATTERNS = {"literal": ResourcePatternType.LITERAL, "prefixed": ResourcePatternType.PREFIXED}
OPERATIONS = {
    "All": AclOperation.ALL,
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Alter": AclOperation.ALTER,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
    "AlterConfigs": AclOperation.ALTER_CONFIGS,
    "IdempotentWrite": AclOperation.IDEMPOTENT_WRITE,
}


@dataclass(frozen=True, order=True)
class Acl:
    resource: str
    pattern: str
    name: str
    operation: str
    principal: str
    permission: str = "Allow"
    host: str = "*"

    def binding(self, kind=AclBinding):
        return kind(
            RESOURCES[self.resource],
            self.name,
            PATTERNS[self.pattern],
            self.principal,
            self.host,
            OPERATIONS[self.operation],
            AclPermissionType[self.permission.upper()],
        )

    @classmethod
    def of_row(cls, row):
        """A row of `ferry check --print-acls -o json`."""
        return cls(row["resource"], row["pattern"], row["name"], row["operation"], row["principal"])


def name_of(table, value):
    return next(name for name, other in table.items() if other == value)


def allow(cluster, acls):
    if not acls:
        return
    for future in cluster.admin.create_acls([acl.binding() for acl in acls]).values():
        future.result(20)


def take_back(cluster, acls):
    if not acls:
        return
    for future in cluster.admin.delete_acls([acl.binding(AclBindingFilter) for acl in acls]).values():
        future.result(20)


def all_acls(cluster, resource="topic"):
    every = AclBindingFilter(
        RESOURCES[resource],
        None,
        ResourcePatternType.ANY,
        None,
        None,
        AclOperation.ANY,
        AclPermissionType.ANY,
    )
    return sorted(
        Acl(
            resource,
            name_of(PATTERNS, found.resource_pattern_type),
            found.name,
            name_of(OPERATIONS, found.operation),
            found.principal,
            "Deny" if found.permission_type == AclPermissionType.DENY else "Allow",
            found.host,
        )
        for found in cluster.admin.describe_acls(every).result(20)
    )
