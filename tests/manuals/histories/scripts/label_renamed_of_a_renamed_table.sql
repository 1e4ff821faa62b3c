CREATE TYPE e20 AS ENUM ('sad', 'ok');
CREATE TABLE t5 (id int PRIMARY KEY, c e20);
CREATE TABLE t7 (id int PRIMARY KEY, p int, CONSTRAINT f1 FOREIGN KEY (p) REFERENCES t5 (id) ON DELETE CASCADE);
INSERT INTO t5 VALUES (1, 'ok'), (2, 'sad');
INSERT INTO t7 VALUES (1, 1), (2, 2);
-- start
-- catch up
-- stop
INSERT INTO t7 VALUES (3, 2);
ALTER TABLE t5 RENAME TO t9;
ALTER TYPE e20 RENAME VALUE 'sad' TO 'blue';
INSERT INTO t9 VALUES (3, 'blue');
ALTER TABLE t7 RENAME TO t5;
INSERT INTO t5 VALUES (4, 3);
DELETE FROM t9 WHERE id = 2;
-- crash at reload: rows applied, 1
-- stop
UPDATE t9 SET c = 'blue' WHERE id = 1;
-- crash at commit: after, 2
-- stop
INSERT INTO t9 VALUES (5, 'ok');
-- start
