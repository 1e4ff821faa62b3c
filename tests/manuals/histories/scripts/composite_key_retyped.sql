CREATE TABLE t (a char(3) NOT NULL, b char(4) NOT NULL, v int, PRIMARY KEY (a, b));
INSERT INTO t VALUES ('x', 'y', 1), ('z', 'z', 2);
-- start
-- catch up
-- stop
BEGIN;
UPDATE t SET v = 9;
ALTER TABLE t ALTER a TYPE varchar(3), ALTER b TYPE char(3);
UPDATE t SET v = 3 WHERE a = 'x';
COMMIT;
-- start
