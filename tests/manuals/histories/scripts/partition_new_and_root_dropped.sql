CREATE TABLE z (id int PRIMARY KEY);
CREATE TABLE r (id int, day date, v text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE r_22 PARTITION OF r FOR VALUES FROM ('2022-01-01') TO ('2023-01-01');
-- start
-- catch up
-- stop
CREATE TABLE r_d PARTITION OF r DEFAULT;
INSERT INTO r VALUES (1, '2022-05-05', 'a'), (2, '2023-01-01', 'b'), (3, '2025-01-01', NULL), (4, '2022-01-01', 'd');
DROP TABLE r;
-- start
