"""The store: its connection, its numbered migrations, and nothing of what is asked of it (queries)."""
