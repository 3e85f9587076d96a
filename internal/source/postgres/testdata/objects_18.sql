-- What there is since 16 to 18.
create table virtual (n int, twice int generated always as (n * 2) virtual, word text generated always as ('n' || n) virtual, stored int generated always as (n + 1) stored);
insert into virtual (n) select generate_series(1, 100);
create table enforced (n int, m int, constraint wished check (n > 5) not enforced, constraint filled not null m no inherit);
insert into enforced values (1, 2);
alter table enforced add constraint later_filled not null n not valid;
create table booked (room int4range, during daterange, primary key (room, during without overlaps));
insert into booked values ('[1,2)', '[2026-01-01,2026-02-01)');
create table booking (room int4range, during daterange, foreign key (room, period during) references booked (room, period during));
insert into booking values ('[1,2)', '[2026-01-05,2026-01-09)');
create collation ours (provider = builtin, locale = 'C.UTF-8');
create table ordered (t text collate ours);
insert into ordered values ('b'), ('A');
