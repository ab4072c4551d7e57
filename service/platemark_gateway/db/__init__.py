"""The database: engine, sessions, types and locks."""
