"""DDL of each dialect from table schemas."""
