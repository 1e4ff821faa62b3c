CREATE TABLE t (
  id int PRIMARY KEY, a text, b int, c int, d int,
  CONSTRAINT t_a CHECK (length(a) > 0),
  CONSTRAINT t_b CHECK ((a IS NULL) = (b IS NULL)),
  CONSTRAINT t_c CHECK (c + d > 0)
);
CREATE INDEX t_of_a ON t (lower(a));
CREATE INDEX t_where_b ON t (id) WHERE b IS NOT NULL;
CREATE INDEX t_with_a ON t (d) INCLUDE (a);
CREATE INDEX t_of_c ON t (abs(c));
INSERT INTO t VALUES (1, 'x', 1, 1, 1), (2, NULL, NULL, 2, 2);
-- start
-- catch up
BEGIN;
ALTER TABLE t RENAME COLUMN a TO name;
ALTER TABLE t DROP COLUMN c;
ALTER TABLE t RENAME COLUMN b TO number;
COMMIT;
INSERT INTO t VALUES (3, 'y', 3, 3);
-- catch up
-- stop
ALTER TABLE t RENAME COLUMN name TO label;
INSERT INTO t VALUES (4, 'z', 4, 4);
ALTER TABLE t RENAME COLUMN number TO count;
INSERT INTO t VALUES (5, 'z', 5, 5);
-- start
