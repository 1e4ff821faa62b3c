"""The structure of MySQL and MariaDB databases, read from information_schema."""
