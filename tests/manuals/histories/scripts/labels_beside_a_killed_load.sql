CREATE TABLE t1 (id int PRIMARY KEY, c enum('a', 'b'));
CREATE TABLE t3 (id int PRIMARY KEY, c enum('x', 'y'));
INSERT INTO t1 VALUES (1, 'a');
INSERT INTO t3 VALUES (1, 'x');
-- crash at load: rows read, 1
-- stop
ALTER TABLE t3 MODIFY c enum('z', 'x'), ADD d int DEFAULT 4;
INSERT INTO t3 VALUES (2, 'z', 5);
INSERT INTO t1 VALUES (2, 'b');
-- start
