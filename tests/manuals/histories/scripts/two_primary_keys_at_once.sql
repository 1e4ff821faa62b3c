CREATE TABLE m (id int CONSTRAINT m_pk PRIMARY KEY, a int, b text);
INSERT INTO m VALUES (1, 10, 'one'), (2, NULL, '');
CREATE TABLE t (id int, a int NOT NULL, b text);
ALTER TABLE t REPLICA IDENTITY FULL;
INSERT INTO t VALUES (1, 10, 'one'), (2, 0, '');
-- start
-- catch up
ALTER TABLE m DROP CONSTRAINT m_pk, ADD PRIMARY KEY (b), ALTER id DROP NOT NULL;
ALTER TABLE t ADD PRIMARY KEY (id);
-- catch up
INSERT INTO m VALUES (NULL, 9, 'five');
INSERT INTO t VALUES (5, 9, 'five');
-- catch up
UPDATE m SET b = 'z' WHERE b = '';
UPDATE t SET a = 1 WHERE id = 2;
-- catch up
