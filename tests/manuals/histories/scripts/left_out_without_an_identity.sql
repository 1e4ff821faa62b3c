CREATE TABLE t1 (id int PRIMARY KEY);
-- start
-- catch up
CREATE TABLE t2 (id int NOT NULL, v text);
INSERT INTO t2 VALUES (1, 'x');
-- catch up
INSERT INTO t2 VALUES (1, 'x'), (2, 'y');
-- catch up
