-- A role for each service, and a database of its name that only it may enter. Run once, when the server is made.
\getenv orders ORDERS_PASSWORD
\getenv inventory INVENTORY_PASSWORD
\getenv payment PAYMENT_PASSWORD
\getenv shipping SHIPPING_PASSWORD
\getenv notification NOTIFICATION_PASSWORD
\getenv orchestrator ORCHESTRATOR_PASSWORD
\getenv customer CUSTOMER_PASSWORD

CREATE TEMPORARY TABLE service (name, password) AS VALUES
    ('orders', :'orders'),
    ('inventory', :'inventory'),
    ('payment', :'payment'),
    ('shipping', :'shipping'),
    ('notification', :'notification'),
    ('orchestrator', :'orchestrator'),
    ('customer', :'customer');

SELECT format('CREATE ROLE %I LOGIN PASSWORD %L', name, password) FROM service \gexec
SELECT format('CREATE DATABASE %I OWNER %I', name, name) FROM service \gexec
SELECT format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', name) FROM service \gexec
