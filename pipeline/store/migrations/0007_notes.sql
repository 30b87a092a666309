-- What is said with a correction, for people.
ALTER TABLE corrections ADD COLUMN IF NOT EXISTS note String COMMENT 'why it was made, as they said it' AFTER issued_by;
