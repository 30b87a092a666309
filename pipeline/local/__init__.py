"""The local stack: Apache Kafka, the store and a registry on one machine, without Docker."""
