"""The andon board for the people in the plant, and the figures under it as JSON; reads the store's views only."""
