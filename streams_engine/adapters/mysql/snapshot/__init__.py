"""Consistent snapshots of MySQL and MariaDB, decoded into Arrow."""
