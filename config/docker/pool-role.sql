-- The fleet's role and its database, made by the image of PostgreSQL when it sets a new volume up. The role owns the
-- database and is no superuser: commands on the server and its files are not the fleet's business.
\set password `cat /run/secrets/pool_password`
CREATE ROLE pairing LOGIN PASSWORD :'password';
CREATE DATABASE pairing OWNER pairing;
