CREATE TYPE e20 AS ENUM ('sad', 'ok');
CREATE TABLE t7 (id int PRIMARY KEY, c1 bigint);
INSERT INTO t7 VALUES (1, 1);
CREATE TABLE t5 (id int PRIMARY KEY, c2 float8, c21 e20);
INSERT INTO t5 VALUES (1, 1, 'ok'), (2, 2, 'sad');
-- start
-- catch up
-- stop
BEGIN;
ALTER TABLE t5 RENAME TO swapped;
ALTER TABLE t7 RENAME TO t5;
ALTER TABLE swapped RENAME TO t7;
COMMIT;
UPDATE t7 SET c21 = 'ok' WHERE id = 2;
ALTER TYPE e20 RENAME VALUE 'sad' TO 'new 24';
INSERT INTO t7 VALUES (7, 1.5, 'new 24');
-- start
-- catch up
