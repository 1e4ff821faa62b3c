"""The binary log of MySQL and MariaDB: events, row images, DDL, positions."""
