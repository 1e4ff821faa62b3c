-- The shop on MySQL 8 and newer, and on MariaDB. Foreign keys are true by construction.
SET SESSION foreign_key_checks = 0;

SET SESSION time_zone = '+00:00';

CREATE TABLE numbers (n INT NOT NULL PRIMARY KEY);

INSERT INTO numbers
WITH digits AS (
  SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
  UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)
SELECT a.d + 10 * (b.d + 10 * (c.d + 10 * (d.d + 10 * (e.d + 10 * (f.d + 10 * g.d))))) AS n
FROM digits g
JOIN digits f ON 10 * g.d + f.d <= $most DIV 100000
JOIN digits e ON 100 * g.d + 10 * f.d + e.d <= $most DIV 10000
JOIN digits d ON 1000 * g.d + 100 * f.d + 10 * e.d + d.d <= $most DIV 1000
JOIN digits c JOIN digits b JOIN digits a
HAVING n BETWEEN 1 AND $most;

CREATE TABLE customers (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT,
  email VARCHAR(120) NOT NULL,
  name VARCHAR(80) NOT NULL COMMENT 'as the customer writes it: "quotes", it''s and all',
  tier ENUM('bronze', 'silver', 'gold') NOT NULL DEFAULT 'bronze',
  interests SET('books', 'music', 'garden', 'toys') NOT NULL,
  birthday DATE,
  first_seen YEAR,
  score DOUBLE,
  active TINYINT(1) NOT NULL DEFAULT 1,
  default_address_id BIGINT UNSIGNED COMMENT 'half of a cycle: addresses point back',
  created_at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3),
  PRIMARY KEY (id),
  UNIQUE KEY email (email),
  KEY tier_and_age (tier, birthday DESC)
) COMMENT = 'people who buy', DEFAULT CHARSET = utf8mb4;

CREATE TABLE addresses (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
  customer_id INT UNSIGNED NOT NULL,
  street VARCHAR(120) NOT NULL,
  city VARCHAR(60) NOT NULL,
  country CHAR(2) NOT NULL,
  PRIMARY KEY (id),
  KEY customer (customer_id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE categories (
  id SMALLINT UNSIGNED NOT NULL AUTO_INCREMENT,
  parent_id SMALLINT UNSIGNED,
  name VARCHAR(60) NOT NULL,
  PRIMARY KEY (id),
  KEY parent (parent_id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE products (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT,
  category_id SMALLINT UNSIGNED NOT NULL,
  sku BINARY(8) NOT NULL,
  name VARCHAR(120) NOT NULL,
  description TEXT,
  price DECIMAL(10, 2) NOT NULL,
  weight DECIMAL(30, 10),
  attributes JSON,
  picture BLOB,
  flags BIT(10) NOT NULL DEFAULT b'0',
  sold_until DATE NOT NULL DEFAULT '9999-12-31',
  PRIMARY KEY (id),
  UNIQUE KEY sku (sku),
  KEY category (category_id),
  FULLTEXT KEY words (name, description),
  CONSTRAINT price_is_not_negative CHECK (price >= 0)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE orders (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT,
  customer_id INT UNSIGNED NOT NULL,
  address_id BIGINT UNSIGNED NOT NULL,
  status ENUM('new', 'paid', 'sent', 'it''s lost') NOT NULL,
  placed_at DATETIME(6) NOT NULL,
  deliver_by TIME(3),
  remark VARCHAR(200),
  PRIMARY KEY (id),
  KEY customer (customer_id, placed_at),
  KEY address (address_id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE order_items (
  order_id INT UNSIGNED NOT NULL,
  line SMALLINT UNSIGNED NOT NULL,
  product_id INT UNSIGNED NOT NULL,
  quantity MEDIUMINT UNSIGNED NOT NULL,
  unit_price DECIMAL(10, 2) NOT NULL,
  total DECIMAL(14, 2) GENERATED ALWAYS AS (quantity * unit_price) STORED,
  PRIMARY KEY (order_id, line),
  KEY product (product_id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE payments (
  id CHAR(36) CHARACTER SET ascii NOT NULL,
  order_id INT UNSIGNED NOT NULL,
  amount DECIMAL(30, 10) NOT NULL,
  method VARCHAR(20) NOT NULL DEFAULT 'card',
  paid_at TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6),
  receipt VARBINARY(32),
  PRIMARY KEY (id),
  KEY paid_order (order_id)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE reviews (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT,
  product_id INT UNSIGNED NOT NULL,
  customer_id INT UNSIGNED NOT NULL,
  stars TINYINT UNSIGNED NOT NULL,
  body TEXT NOT NULL,
  PRIMARY KEY (id),
  UNIQUE KEY one_each (product_id, customer_id),
  KEY customer (customer_id),
  CONSTRAINT stars_range CHECK (stars BETWEEN 1 AND 5)
) DEFAULT CHARSET = utf8mb4;

CREATE TABLE audit (
  happened_at DATETIME(6),
  actor VARCHAR(80),
  action VARCHAR(20) NOT NULL,
  detail JSON,
  counter BIGINT UNSIGNED NOT NULL
) COMMENT = 'no key, and rows that occur twice', DEFAULT CHARSET = utf8mb4;

INSERT INTO customers (email, name, tier, interests, birthday, first_seen, score, active, created_at)
SELECT CONCAT('c', n, '@example.org'),
       CONCAT(ELT(1 + MOD(n, 6), 'Ana', 'Bo "B."', 'Chloé', 'D''Arcy', '李雷', 'Zoë 🦊'), ' ', n),
       1 + MOD(n * 7, 3), MOD(n * 13, 16),
       IF(MOD(n, 11) = 0, NULL, DATE '1930-01-01' + INTERVAL MOD(n * 7919, 27000) DAY),
       1901 + MOD(n * 31, 255), n / 7, MOD(n, 5) <> 0,
       TIMESTAMP '2015-01-01 00:00:00' + INTERVAL MOD(n * 104729, 300000000) SECOND
FROM numbers WHERE n <= $customers ORDER BY n;

INSERT INTO addresses (customer_id, street, city, country)
SELECT 1 + MOD(n - 1, $customers), CONCAT(MOD(n, 200) + 1, ' Rue de l''Été'),
       ELT(1 + MOD(n, 4), 'Köln', 'São Paulo', '東京', 'Łódź'), ELT(1 + MOD(n, 4), 'DE', 'BR', 'JP', 'PL')
FROM numbers WHERE n <= $addresses ORDER BY n;

UPDATE customers SET default_address_id = id WHERE MOD(id, 3) <> 0;

INSERT INTO categories (parent_id, name)
SELECT IF(n <= 8, NULL, n DIV 8), CONCAT('Category ', n)
FROM numbers WHERE n <= $categories ORDER BY n;

INSERT INTO products
  (category_id, sku, name, description, price, weight, attributes, picture, flags, sold_until)
SELECT 1 + MOD(n, $categories), UNHEX(LPAD(HEX(n), 16, '0')), CONCAT('Product ', n),
       ELT(1 + MOD(n, 4), 'Says "hello", and it''s 100% new 🎉', 'Tab\there, line\nbreak, back\\slash',
           '', NULL),
       MOD(n * 7919, 100000) / 100, MOD(n * 104729, 1000000) / 1234567,
       JSON_OBJECT('colour', ELT(1 + MOD(n, 3), 'red', 'grün', NULL), 'size', n, 'tags', JSON_ARRAY(n, 'x')),
       IF(MOD(n, 5) = 0, NULL, UNHEX(REPEAT(SHA2(n, 256), 2))), MOD(n, 1024),
       ELT(1 + MOD(n, 3), '9999-12-31', '1000-01-01', '2024-02-29')
FROM numbers WHERE n <= $products ORDER BY n;

INSERT INTO orders (customer_id, address_id, status, placed_at, deliver_by, remark)
SELECT 1 + MOD(n * 7919, $customers), 1 + MOD(n * 7919, $customers), 1 + MOD(n * 3, 4),
       TIMESTAMP '2016-01-01 00:00:00' + INTERVAL MOD(n * 104729, 280000000) SECOND
         + INTERVAL MOD(n, 1000000) MICROSECOND,
       IF(MOD(n, 9) = 0, '23:59:59.999', SEC_TO_TIME(MOD(n * 61, 86400))),
       IF(MOD(n, 3) = 0, NULL, CONCAT('Ring twice; door ', MOD(n, 90)))
FROM numbers WHERE n <= $orders ORDER BY n;

INSERT INTO order_items (order_id, line, product_id, quantity, unit_price)
SELECT (n + 1) DIV 2, 1 + MOD(n, 2), 1 + MOD(n * 31, $products), 1 + MOD(n, 9),
       MOD(n * 7919, 100000) / 100
FROM numbers WHERE n <= $order_items ORDER BY 1, 2;

INSERT INTO payments (id, order_id, amount, method, paid_at, receipt)
SELECT CONCAT(LPAD(HEX(n), 8, '0'), '-', MID(SHA2(n, 256), 1, 4), '-4', MID(SHA2(n, 256), 5, 3), '-a',
              MID(SHA2(n, 256), 8, 3), '-', MID(SHA2(n, 256), 11, 12)),
       1 + MOD(n * 3, $orders), n / 7, ELT(1 + MOD(n, 3), 'card', 'cash', 'vo''ucher'),
       TIMESTAMP '2016-01-02 03:04:05' + INTERVAL MOD(n * 104729, 280000000) SECOND,
       UNHEX(SHA2(n, 256))
FROM numbers WHERE n <= $payments ORDER BY n;

INSERT INTO reviews (product_id, customer_id, stars, body)
SELECT 1 + MOD(n, $products), 1 + MOD(n DIV $products + MOD(n, $products), $customers), 1 + MOD(n, 5),
       ELT(1 + MOD(n, 3), 'Très bien 👍', CONCAT('"', n, '" out of 10'), 'It''s fine.')
FROM numbers WHERE n <= $reviews ORDER BY n;

INSERT INTO audit
SELECT IF(MOD(n, 7) = 0, NULL, TIMESTAMP '2020-02-29 12:00:00' + INTERVAL n DIV 2 SECOND),
       CONCAT('actor ', n DIV 2), 'login', JSON_OBJECT('ok', TRUE, 'n', n DIV 2),
       18446744073709551615 - n DIV 2
FROM numbers WHERE n <= $audit;

DROP TABLE numbers;

ALTER TABLE customers ADD CONSTRAINT customers_address
  FOREIGN KEY (default_address_id) REFERENCES addresses (id) ON DELETE SET NULL;

ALTER TABLE addresses ADD CONSTRAINT addresses_customer
  FOREIGN KEY (customer_id) REFERENCES customers (id) ON DELETE CASCADE;

ALTER TABLE categories ADD CONSTRAINT categories_parent
  FOREIGN KEY (parent_id) REFERENCES categories (id);

ALTER TABLE products ADD CONSTRAINT products_category
  FOREIGN KEY (category_id) REFERENCES categories (id) ON UPDATE CASCADE;

ALTER TABLE orders ADD CONSTRAINT orders_customer FOREIGN KEY (customer_id) REFERENCES customers (id),
  ADD CONSTRAINT orders_address FOREIGN KEY (address_id) REFERENCES addresses (id);

ALTER TABLE order_items
  ADD CONSTRAINT items_order FOREIGN KEY (order_id) REFERENCES orders (id) ON DELETE CASCADE,
  ADD CONSTRAINT items_product FOREIGN KEY (product_id) REFERENCES products (id);

ALTER TABLE payments ADD CONSTRAINT payments_order FOREIGN KEY (order_id) REFERENCES orders (id);

ALTER TABLE reviews ADD CONSTRAINT reviews_product FOREIGN KEY (product_id) REFERENCES products (id),
  ADD CONSTRAINT reviews_customer FOREIGN KEY (customer_id) REFERENCES customers (id);

CREATE VIEW revenue AS
  SELECT product_id, SUM(total) AS revenue FROM order_items GROUP BY product_id;

SET SESSION foreign_key_checks = 1;
