-- What an administrator does on a new Postgres instance, before the first migration. The owner makes the schema; the
-- router's and the audit's role get from its migrations what they need and no more. Nobody has a password: pg_hba.conf.
-- Statements end at an empty line, which is how Postgres reads this file in single-user mode, too.

CREATE ROLE psephos_owner LOGIN;

CREATE ROLE psephos_router LOGIN;

CREATE ROLE psephos_audit LOGIN;

CREATE DATABASE psephos OWNER psephos_owner;

REVOKE ALL ON DATABASE psephos FROM PUBLIC;

GRANT CONNECT ON DATABASE psephos TO psephos_router, psephos_audit;

