-- The tables of a journal of schema 1, as the first releases made them.
CREATE TABLE kat_schema (version INTEGER NOT NULL);
INSERT INTO kat_schema VALUES (1);
CREATE TABLE kat_entries (
        position INTEGER PRIMARY KEY,
        stream TEXT NOT NULL,
        version INTEGER NOT NULL,
        recorded INTEGER NOT NULL,
        cause TEXT NOT NULL,
        person TEXT NOT NULL,
        role TEXT NOT NULL,
        body BLOB NOT NULL,
        UNIQUE (stream, version));
CREATE TABLE kat_commands (
        command TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE kat_streams (
        stream TEXT PRIMARY KEY NOT NULL,
        version INTEGER NOT NULL,
        row BLOB,
        wake INTEGER);
CREATE INDEX kat_wakes ON kat_streams (wake, stream) WHERE wake IS NOT NULL;
CREATE TABLE kat_items (
        stream TEXT NOT NULL,
        item TEXT NOT NULL,
        role TEXT NOT NULL,
        lead INTEGER NOT NULL,
        site TEXT NOT NULL,
        patient TEXT NOT NULL,
        sort INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (stream, item, role)) WITHOUT ROWID;
CREATE INDEX kat_items_role ON kat_items (site, role, sort, stream, item);
CREATE INDEX kat_items_site ON kat_items (site, sort, stream, item) WHERE lead = 1;
CREATE INDEX kat_items_patient ON kat_items (patient);
CREATE TABLE kat_census (
        stream TEXT PRIMARY KEY NOT NULL,
        site TEXT NOT NULL,
        standing TEXT NOT NULL,
        body BLOB NOT NULL);
CREATE INDEX kat_census_site ON kat_census (site, standing);
CREATE TABLE kat_programs (
        digest TEXT PRIMARY KEY,
        id TEXT NOT NULL,
        version TEXT NOT NULL,
        main TEXT NOT NULL,
        files BLOB NOT NULL) WITHOUT ROWID;
