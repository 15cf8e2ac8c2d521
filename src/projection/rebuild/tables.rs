//! The new tables, their indices, and the exchange.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::super::projector::ProjectionError;

/// The tables, in no particular order.
const TABLES: [&str; 7] = ["checkpoint", "words", "accounts", "events", "event_locations", "rsvps", "rsvp_counts"];

/// Empty copies of the tables, without indices. What an interrupted rebuild left is thrown away.
pub(super) async fn prepare(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut tx = connection.begin().await?;
    sqlx::query("drop schema if exists calendar_next cascade").execute(&mut *tx).await?;
    sqlx::query("create schema calendar_next").execute(&mut *tx).await?;
    for table in TABLES {
        let statement =
            format!("create table calendar_next.{table} (like calendar.{table} including all excluding indexes)");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *tx).await?;
    }
    sqlx::query("insert into calendar_next.checkpoint (position) values (0)").execute(&mut *tx).await?;
    tx.commit().await
}

/// Whether views or foreign keys of other schemas hang on the tables.
pub(super) async fn are_in_use(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(
        "with ours as (select oid from pg_class where relnamespace = 'calendar'::regnamespace)
         select exists (
             select from pg_depend d
             join pg_rewrite r on d.classid = 'pg_rewrite'::regclass and r.oid = d.objid
             where d.refclassid = 'pg_class'::regclass and d.refobjid in (select oid from ours)
                 and r.ev_class not in (select oid from ours)
         ) or exists (
             select from pg_constraint c
             where c.contype = 'f' and c.confrelid in (select oid from ours) and c.conrelid not in (select oid from ours)
         )",
    )
    .fetch_one(connection)
    .await
}

/// An index to be made as the old table has it, under its name.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Index {
    table: String,
    name: String,
    definition: String,
    /// The clause of the constraint that it carries: a primary key's, or another's.
    clause: Option<String>,
    /// Bytes of the old one.
    size: i64,
}

/// The indices of the old tables.
pub(super) async fn indices(connection: &mut PgConnection) -> Result<Vec<Index>, sqlx::Error> {
    sqlx::query_as(
        "select t.relname::text as table, i.relname::text as name,
             regexp_replace(pg_get_indexdef(x.indexrelid), ' ON calendar[.]', ' ON calendar_next.') as definition,
             case c.contype when 'p' then 'primary key' when 'u' then 'unique' end as clause,
             pg_relation_size(x.indexrelid) as size
         from pg_index x
         join pg_class t on t.oid = x.indrelid
         join pg_class i on i.oid = x.indexrelid
         join pg_namespace n on n.oid = t.relnamespace
         left join pg_constraint c on c.conindid = x.indexrelid and c.contype in ('p', 'u')
         where n.nspname = 'calendar' and t.relname = any($1) and x.indisvalid
         order by t.relname, i.relname",
    )
    .bind(&TABLES[..])
    .fetch_all(connection)
    .await
}

impl Index {
    /// Whether it is the primary key of this table.
    pub fn is_key_of(&self, table: &str) -> bool {
        self.table == table && self.clause.as_deref() == Some("primary key")
    }

    /// Whether its table gets rows by [`fill_rest`].
    pub fn is_of_the_rest(&self) -> bool {
        ["accounts", "rsvp_counts"].contains(&self.table.as_str())
    }

    /// What it will cost to make, beside others.
    pub fn weight(&self) -> i64 {
        self.size
    }

    /// Makes it.
    pub async fn make(&self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        sqlx::query(AssertSqlSafe(self.definition.clone())).execute(connection).await?;
        Ok(())
    }
}

/// Rows that follow from the others: accounts of which only records are known, and the counts.
pub(super) async fn fill_rest(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(include_str!("fill_rest.sql")).execute(connection).await?;
    Ok(())
}

/// Declares the constraints whose indices are made.
pub(super) async fn constrain(connection: &mut PgConnection, indices: &[Index]) -> Result<(), sqlx::Error> {
    for Index { table, name, clause, .. } in indices {
        let Some(clause) = clause else { continue };
        let statement =
            format!("alter table calendar_next.{table} add constraint \"{name}\" {clause} using index \"{name}\"");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Puts the new tables in the old ones' place, under the old ones' grants.
pub(super) async fn exchange(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let grants: Vec<String> = sqlx::query_scalar(
        "select format('grant %s on calendar_next.%I to %s', privilege_type, table_name,
             case grantee when 'PUBLIC' then 'public' else quote_ident(grantee) end)
         from information_schema.role_table_grants where table_schema = 'calendar' and grantee <> grantor
         union all
         select format('grant %s on schema calendar_next to %s', a.privilege_type,
             case when a.grantee = 0 then 'public' else quote_ident(pg_get_userbyid(a.grantee)) end)
         from pg_namespace n, aclexplode(n.nspacl) a
         where n.nspname = 'calendar' and a.grantee <> a.grantor",
    )
    .fetch_all(&mut *connection)
    .await?;
    for grant in grants {
        sqlx::query(AssertSqlSafe(grant)).execute(&mut *connection).await?;
    }
    sqlx::query("alter schema calendar rename to calendar_old").execute(&mut *connection).await?;
    sqlx::query("alter schema calendar_next rename to calendar").execute(&mut *connection).await?;
    Ok(())
}

/// Drops what the exchange replaced. Without `cascade`: a view of somebody's that hangs on the old tables must not vanish in
/// silence.
pub(super) async fn drop_old(connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let tables = TABLES.iter().map(|table| format!("drop table if exists calendar_old.{table}"));
    for statement in tables.chain(["drop schema if exists calendar_old".to_owned()]) {
        match sqlx::query(AssertSqlSafe(statement)).execute(&mut *connection).await {
            Ok(_) => {}
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("2BP01") => {
                return Err(ProjectionError::OldTablesInUse { by: error.message().to_owned() });
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
