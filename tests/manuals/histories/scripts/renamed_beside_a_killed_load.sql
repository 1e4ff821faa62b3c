CREATE TABLE t1 (id int PRIMARY KEY, a int);
CREATE INDEX i1 ON t1 (a);
CREATE TABLE t2 (id int PRIMARY KEY, b int);
INSERT INTO t1 VALUES (1, 1);
INSERT INTO t2 VALUES (1, 1);
-- crash at handover: keys built, 1
-- stop
RENAME TABLE t1 TO t3;
INSERT INTO t3 VALUES (2, 2);
-- start
-- catch up
CREATE TABLE t1 (id int PRIMARY KEY, c varchar(20));
INSERT INTO t1 VALUES (3, 'x');
