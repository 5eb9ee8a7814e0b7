use parta_edge::{Page, PageRequest, Query, Read};
use parta_ids::{OrgId, RosterImportId};

use super::{load, may_import};
use crate::{
    context::{Context, Run},
    error::Error,
    roster_import::{
        Problem,
        model::Import,
        plan::Change,
        storage,
        storage::rows::{self, ChangeFilter},
    },
};

#[derive(Debug, Clone, Copy)]
pub(crate) struct GetRosterImport {
    pub(crate) org_id: OrgId,
    pub(crate) roster_import_id: RosterImportId,
}

impl Query for GetRosterImport {
    type Context = Context;
    type View = Import;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Import>, Error> {
        let scope = may_import(run, self.org_id).await?;
        Ok(Read::plain(load(run.tx, &scope, self.roster_import_id).await?))
    }
}

/// Lists imports, newest first.
#[derive(Debug)]
pub(crate) struct ListRosterImports {
    pub(crate) org_id: OrgId,
    pub(crate) page: PageRequest,
}

impl Query for ListRosterImports {
    type Context = Context;
    type View = Page<Import>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<Import>>, Error> {
        let Run { tx, caller, .. } = run;
        let scope = may_import(run, self.org_id).await?;
        let after = self.page.after(tx, caller)?;
        let rows = storage::list(tx, &scope, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |row| row.id)))
    }
}

/// Lists the changes of an import, in the order in which they are applied.
#[derive(Debug)]
pub(crate) struct ListChanges {
    pub(crate) import: GetRosterImport,
    pub(crate) filter: ChangeFilter,
    pub(crate) page: PageRequest,
}

impl Query for ListChanges {
    type Context = Context;
    type View = Page<(i64, Change)>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<(i64, Change)>>, Error> {
        let Run { tx, caller, .. } = run;
        let id = self.import.roster_import_id;
        let scope = may_import(run, self.import.org_id).await?;
        load(tx, &scope, id).await?;
        let after = self.page.after(tx, caller)?.unwrap_or(0);
        let rows = rows::list_changes(tx, &scope, id, self.filter, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |(seq, _)| *seq)))
    }
}

/// Lists the problems of an import, by file and line.
#[derive(Debug)]
pub(crate) struct ListProblems {
    pub(crate) import: GetRosterImport,
    pub(crate) page: PageRequest,
}

impl Query for ListProblems {
    type Context = Context;
    type View = Page<(i64, Problem)>;
    type Error = Error;

    async fn run(&self, run: Run<'_>) -> Result<Read<Page<(i64, Problem)>>, Error> {
        let Run { tx, caller, .. } = run;
        let id = self.import.roster_import_id;
        let scope = may_import(run, self.import.org_id).await?;
        load(tx, &scope, id).await?;
        let after = self.page.after(tx, caller)?.unwrap_or(0);
        let rows = rows::list_problems(tx, &scope, id, after, self.page.limit()).await?;
        Ok(Read::plain(self.page.page(tx, caller, rows, |(seq, _)| *seq)))
    }
}
