-- What there is since 14 and 15.
create table many_ranges (n int, r int4multirange, d datemultirange, unique nulls not distinct (n));
insert into many_ranges values (1, '{[1,3),[7,9)}', '{}'), (null, '{(,)}', null);
create type stretch as range (subtype = int8, multirange_type_name = "Many lengths");
create table lengths (l stretch, m "Many lengths");
insert into lengths values ('[1,2)', '{[1,2),[5,6)}');
create publication a_part for table people (id, name) where (id > 5);
create publication of_schema for tables in schema other;
create view invoked with (security_invoker) as select 1 as one;
create statistics on_an_expression on (lower(t)), n from hashed;
create function atomic(n int) returns int language sql begin atomic select n + 1; end;
create table pressed (t text compression pglz);
insert into pressed values (repeat('x', 10000));
