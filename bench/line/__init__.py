"""The whole line measured: worker and sink as work grows, from producer to SQL, and what the store makes of it."""
