CREATE TABLE t1 (id int PRIMARY KEY, a int);
CREATE TABLE t3 (id int PRIMARY KEY);
INSERT INTO t1 VALUES (1, 1), (2, 1);
-- start
-- catch up
-- stop
ALTER TABLE t1 ADD COLUMN b int;
INSERT INTO t1 VALUES (3, 1, 5), (4, 2, 5);
UPDATE t1 SET b = 6 WHERE id = 2;
INSERT INTO t3 VALUES (1);
ALTER TABLE t1 RENAME TO t2;
CREATE TABLE t1 (id int, a int PRIMARY KEY, b int CHECK (b > 100));
INSERT INTO t1 VALUES (1, 1, 101), (1, 2, 102);
UPDATE t2 SET a = 3 WHERE id = 3;
-- start
