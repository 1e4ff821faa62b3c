CREATE TABLE t9 (id int PRIMARY KEY);
INSERT INTO t9 VALUES (1);
-- start
-- catch up
-- stop
CREATE TYPE e20 AS ENUM ('sad', 'ok');
ALTER TABLE t9 ADD COLUMN c21 e20;
INSERT INTO t9 VALUES (2, 'ok'), (3, 'sad');
ALTER TYPE e20 RENAME VALUE 'sad' TO 'blue';
INSERT INTO t9 VALUES (4, 'blue');
DELETE FROM t9 WHERE id = 2;
-- start
