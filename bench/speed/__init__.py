"""Speed beside peers: one job, one topic, one core each; every result is checked before a figure counts."""
