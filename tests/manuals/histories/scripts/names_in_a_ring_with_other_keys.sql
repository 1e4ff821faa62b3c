CREATE TABLE t3 (id int NOT NULL, c1 varchar(300), c2 binary(4), CONSTRAINT k8 PRIMARY KEY (id));
CREATE TABLE t9 (id int NOT NULL, c1 mediumtext, c15 varchar(20) NOT NULL DEFAULT '', PRIMARY KEY (id, c15));
INSERT INTO t3 VALUES (1, 'a', 'b');
INSERT INTO t9 VALUES (2, 'a', 'b');
-- start
-- catch up
RENAME TABLE t9 TO swapped, t3 TO t9, swapped TO t3;
-- catch up
INSERT INTO t9 VALUES (5, 'a', 'b');
UPDATE t3 SET c1 = 'x';
