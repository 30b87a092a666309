"""openoee: from machine telemetry in Kafka to OEE and anomaly flags in ClickHouse."""

__version__ = "0.1.0"
