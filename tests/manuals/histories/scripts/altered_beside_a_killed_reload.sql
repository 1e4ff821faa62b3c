CREATE TABLE t1 (id int PRIMARY KEY, a int);
CREATE TABLE t2 (id int PRIMARY KEY, p varchar(20), q int);
INSERT INTO t1 VALUES (1, 1);
INSERT INTO t2 VALUES (1, 'x', 1);
-- start
-- catch up
-- stop
RENAME TABLE t1 TO swapped, t2 TO t1, swapped TO t2;
-- crash at reload: emptied, 2
-- stop
ALTER TABLE t1 RENAME COLUMN p TO r, DROP COLUMN q;
INSERT INTO t1 VALUES (2, 'y');
-- start
