"""MySQL and MariaDB as a sink of rows and of changes."""
