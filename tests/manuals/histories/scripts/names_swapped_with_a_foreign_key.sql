CREATE TABLE t7 (id int PRIMARY KEY, a int);
CREATE TABLE t9 (id int PRIMARY KEY, p int, CONSTRAINT f18 FOREIGN KEY (p) REFERENCES t7 (id));
INSERT INTO t7 VALUES (1, 1);
INSERT INTO t9 VALUES (1, 1);
-- start
-- catch up
-- stop
RENAME TABLE t9 TO swapped, t7 TO t9, swapped TO t7;
INSERT INTO t9 VALUES (2, 2);
INSERT INTO t7 VALUES (3, 2);
-- start
