CREATE TABLE t7 (id int NOT NULL PRIMARY KEY, c2 tinyint, c3 mediumtext, c4 date);
INSERT INTO t7 VALUES (1, 1, 'a', NULL);
-- start
-- catch up
-- stop
ALTER TABLE t7 MODIFY COLUMN c2 smallint;
INSERT INTO t7 VALUES (2, -32768, 'b', NULL);
-- start
