-- Many kinds of objects, for PostgreSQL 13 to 18: what a dump must bring back.
create schema "Odd ""schema""";
create schema other;
create type mood as enum ('sad', 'ok', 'very happy');
create type pair as (a int, b text);
create domain positive as int check (value > 0);
create type span as range (subtype = float8, subtype_diff = float8mi);
create collation german (provider = libc, locale = 'C');
create function twice(n int) returns int language sql immutable as $$ select n * 2 $$;
create function touch() returns trigger language plpgsql as $$ begin new.touched := '2026-01-01'; return new; end $$;
create procedure nothing() language sql as $$ select 1 $$;
create aggregate total(int) (sfunc = int4pl, stype = int, initcond = '0');
create operator === (leftarg = int, rightarg = int, function = int4eq, commutator = ===);
create cast (text as pair) with inout;

create table people (
	id int generated always as identity primary key,
	name text not null unique,
	age positive,
	mood mood default 'ok',
	pair pair,
	span span,
	bytes bytea,
	json jsonb,
	numbers numeric(40, 10)[],
	price float8,
	doubled int generated always as (coalesce(length(name), 0) * 2) stored,
	touched timestamptz,
	born interval,
	gone text
);
alter table people drop column gone;
create trigger touch before update on people for each row execute function touch();
comment on table people is 'it''s a comment';
comment on column people.name is E'with\nnewline';
insert into people (name, age, mood, pair, span, bytes, json, numbers, price, born)
select E'name\t' || n || E'\\ \n\r end', n % 90 + 1, (array['sad', 'ok', 'very happy']::mood[])[n % 3 + 1],
	row(n, 'x' || n)::pair, span(n, n + 0.5), decode(lpad(to_hex(n), 8, '0'), 'hex'), jsonb_build_object('n', n, 'deep', array[n, null]),
	array[n, n / 3.0, null], 1.0 / n, make_interval(days => n, secs => n / 7.0)
from generate_series(1, 2000) n;
insert into people (name) values (''), ('\N'), ('\.'), (E'\b\f\v\x7f'), ('日本語 🦀');
update people set age = age where id % 100 = 0;
delete from people where id % 7 = 0;

create table "Odd ""schema"""."Table, with ""all"" FROM" ("Select FROM" int, "a,b" text, "ünïcode" text collate german);
insert into "Odd ""schema"""."Table, with ""all"" FROM" select n, ',"' || n, 'ü' || n from generate_series(1, 50) n;
create table nothing_in_it ();
insert into nothing_in_it default values;
insert into nothing_in_it default values;
create table empty (n int);
create unlogged table fast (n int);
insert into fast select generate_series(1, 10);

create table parent (n int, note text);
create table child (more int) inherits (parent);
insert into parent values (1, 'parent');
insert into child values (2, 'child', 3);

create table measure (at date not null, value int) partition by range (at);
create table measure_2025 partition of measure for values from ('2025-01-01') to ('2026-01-01');
create table measure_2026 partition of measure for values from ('2026-01-01') to ('2027-01-01') partition by list (value);
create table measure_2026_even partition of measure_2026 for values in (0, 2, 4);
create table measure_rest partition of measure default;
insert into measure select date '2025-01-01' + n, 0 from generate_series(0, 700) n;
create index on measure (value);

create table orders (id bigserial primary key, person int not null references people, what text, check (length(what) < 1000));
insert into orders (person, what) select id, repeat('order ', 5) || id from people where id % 3 = 0;
create index orders_what on orders (lower(what)) where person > 10;
create statistics orders_stats (dependencies) on person, what from orders;
alter table orders cluster on orders_pkey;
create table hidden (owner name, secret text);
insert into hidden values ('postgres', 'a'), ('somebody', 'b');
alter table hidden enable row level security;
alter table hidden force row level security;
create policy own on hidden using (owner = current_user);
create table wide (id int, big text);
alter table wide alter column big set storage external;
insert into wide select n, string_agg(md5(n::text || m), '') from generate_series(1, 40) n, generate_series(1, 400) m group by n;

create view grown as select id, name from people where age > 20;
create materialized view summary as select mood, count(*) from people group by mood;
create materialized view unfilled as select 1 as one with no data;
create rule noop as on insert to grown do instead nothing;
create sequence counter start 5 increment 3;
select nextval('counter') from generate_series(1, 4);
create publication pub for table people, orders;
create text search configuration plain (copy = simple);

create foreign data wrapper nobody;
create server nowhere foreign data wrapper nobody;
create foreign table abroad (n int) server nowhere;

select lo_from_bytea(0, decode(repeat('00ff10', 50000), 'hex')), lo_from_bytea(0, ''), lo_from_bytea(0, 'small');

grant select on people to public;
grant select (id) on orders to public;
alter default privileges in schema other grant select on tables to public;
