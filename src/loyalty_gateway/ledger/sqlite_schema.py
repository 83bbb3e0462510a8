"""The SQLite tables, as migrations in their order; ``PRAGMA user_version`` counts those applied."""

from typing import Final

MIGRATIONS: Final = (
    """
    CREATE TABLE merchants (
        id   INTEGER PRIMARY KEY,
        name TEXT NOT NULL UNIQUE
    ) STRICT;

    CREATE TABLE wallets (
        id              INTEGER PRIMARY KEY,
        merchant_id     INTEGER NOT NULL REFERENCES merchants (id),
        available       INTEGER NOT NULL DEFAULT 0 CHECK (available >= 0),
        reserved        INTEGER NOT NULL DEFAULT 0 CHECK (reserved >= 0),
        lifetime_earned INTEGER NOT NULL DEFAULT 0 CHECK (lifetime_earned >= 0),
        lifetime_burned INTEGER NOT NULL DEFAULT 0 CHECK (lifetime_burned >= 0),
        version         INTEGER NOT NULL DEFAULT 0,
        excluded        INTEGER NOT NULL DEFAULT 0 CHECK (excluded IN (0, 1)),
        tier            TEXT,
        created_at      INTEGER NOT NULL,  -- microseconds since the epoch, like all times here
        updated_at      INTEGER NOT NULL,
        last_entry_at   INTEGER
    ) STRICT;
    CREATE INDEX wallets_of_merchant ON wallets (merchant_id, id);

    CREATE TABLE customer_references (
        merchant_id INTEGER NOT NULL REFERENCES merchants (id),
        namespace   TEXT NOT NULL,
        value       TEXT NOT NULL,
        wallet_id   INTEGER NOT NULL REFERENCES wallets (id),
        PRIMARY KEY (merchant_id, namespace, value)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX references_of_wallet ON customer_references (wallet_id, namespace);

    CREATE TABLE entries (
        id              INTEGER PRIMARY KEY,
        merchant_id     INTEGER NOT NULL REFERENCES merchants (id),
        wallet_id       INTEGER NOT NULL REFERENCES wallets (id),
        version         INTEGER NOT NULL,  -- the wallet's, from 1 without a gap
        vendor          TEXT NOT NULL,
        points_delta    INTEGER NOT NULL,  -- what took effect
        points_asked    INTEGER,           -- NULL for a reset
        points_before   INTEGER NOT NULL,
        points_after    INTEGER NOT NULL,
        reserved_after  INTEGER NOT NULL,
        earned_delta    INTEGER NOT NULL,
        burned_delta    INTEGER NOT NULL,
        reason          TEXT,
        metadata        TEXT,              -- a JSON object
        notify          TEXT,              -- a JSON array of channels
        visible         INTEGER NOT NULL,
        idempotency_key TEXT,
        occurred_at     INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX entries_of_wallet ON entries (wallet_id, version);

    CREATE TABLE idempotency_keys (
        merchant_id INTEGER NOT NULL REFERENCES merchants (id),
        vendor      TEXT NOT NULL,
        key         TEXT NOT NULL,
        fingerprint BLOB NOT NULL,
        receipt     BLOB NOT NULL,
        created_at  INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, vendor, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
    """,
    """
    ALTER TABLE wallets ADD COLUMN granted INTEGER NOT NULL DEFAULT 0 CHECK (granted >= 0);
    ALTER TABLE wallets ADD COLUMN grants INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE entries ADD COLUMN granted_after INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE entries ADD COLUMN grants_after INTEGER NOT NULL DEFAULT 0;

    -- Added up in two halves, since a sum beyond 64 bits is an error; such a wallet has had the most there can be.
    UPDATE entries SET granted_after = so_far.granted, grants_after = so_far.grants
    FROM (
        SELECT id, grants, CASE WHEN high + (low >> 32) >= 1 << 31 THEN 9223372036854775807
                                ELSE ((high + (low >> 32)) << 32) + (low & 4294967295) END AS granted
        FROM (
            SELECT id, sum(points_delta > 0) OVER wallet AS grants,
                   sum(max(points_delta, 0) >> 32) OVER wallet AS high,
                   sum(max(points_delta, 0) & 4294967295) OVER wallet AS low
            FROM entries WINDOW wallet AS (PARTITION BY wallet_id ORDER BY version)
        )
    ) AS so_far WHERE so_far.id = entries.id;
    UPDATE wallets SET granted = last.granted_after, grants = last.grants_after
    FROM entries AS last WHERE last.wallet_id = wallets.id AND last.version = wallets.version;

    -- By id within the merchant, since the id ends every index.
    CREATE INDEX entries_of_merchant ON entries (merchant_id);

    CREATE TABLE profiles (
        wallet_id        INTEGER PRIMARY KEY REFERENCES wallets (id),
        first_name       TEXT,
        last_name        TEXT,
        date_of_birth    TEXT,
        anniversary_date TEXT,
        tags             TEXT NOT NULL DEFAULT '[]',  -- a JSON array
        source           TEXT
    ) STRICT;
    """,
    """
    -- Every table names the merchant, by whom databases with several nodes spread their rows.
    ALTER TABLE profiles RENAME TO profiles_before;
    CREATE TABLE profiles (
        merchant_id      INTEGER NOT NULL REFERENCES merchants (id),
        wallet_id        INTEGER NOT NULL REFERENCES wallets (id),
        first_name       TEXT,
        last_name        TEXT,
        date_of_birth    TEXT,
        anniversary_date TEXT,
        tags             TEXT NOT NULL DEFAULT '[]',  -- a JSON array
        source           TEXT,
        PRIMARY KEY (merchant_id, wallet_id)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO profiles
    SELECT w.merchant_id, p.* FROM profiles_before p JOIN wallets w ON w.id = p.wallet_id;
    DROP TABLE profiles_before;

    -- Deductions are few among additions, and asked for by themselves.
    CREATE INDEX deductions_of_wallet ON entries (merchant_id, wallet_id, version) WHERE points_delta < 0;

    -- With the merchant first, since every statement names the merchant, whose rows may be nearly all there are.
    DROP INDEX references_of_wallet;
    CREATE INDEX references_of_wallet ON customer_references (merchant_id, wallet_id, namespace);
    DROP INDEX entries_of_wallet;
    CREATE UNIQUE INDEX entries_of_wallet ON entries (merchant_id, wallet_id, version);
    """,
    """
    CREATE TABLE import_batches (
        merchant_id INTEGER NOT NULL REFERENCES merchants (id),
        name        TEXT NOT NULL,
        digest      TEXT NOT NULL,     -- of what is in the batch
        lines       INTEGER NOT NULL,  -- how many of them are taken
        PRIMARY KEY (merchant_id, name)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- What is to be done to all of a merchant's wallets, beyond what is done before an answer.
    CREATE TABLE jobs (
        merchant_id INTEGER NOT NULL REFERENCES merchants (id),
        number      INTEGER NOT NULL,  -- the merchant's, from 1 without a gap
        instruction TEXT NOT NULL,     -- a JSON object
        wallets     INTEGER NOT NULL,  -- whom it is for
        reached     INTEGER NOT NULL,  -- the last wallet of the chunks so far
        passed      INTEGER NOT NULL,  -- how many wallets these had
        accepted_at INTEGER NOT NULL,
        finished_at INTEGER,
        PRIMARY KEY (merchant_id, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX unfinished_jobs ON jobs (merchant_id, number) WHERE finished_at IS NULL;

    CREATE TABLE job_refusals (
        merchant_id INTEGER NOT NULL,
        job         INTEGER NOT NULL,
        wallet_id   INTEGER NOT NULL,
        code        TEXT NOT NULL,
        PRIMARY KEY (merchant_id, job, wallet_id)
    ) STRICT, WITHOUT ROWID;

    ALTER TABLE merchants ADD COLUMN last_job INTEGER NOT NULL DEFAULT 0;
    -- The last one that has reached it.
    ALTER TABLE wallets ADD COLUMN job INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE wallets ADD COLUMN last_entry_id INTEGER NOT NULL DEFAULT 0;
    UPDATE wallets SET last_entry_id = entry.id FROM entries AS entry
    WHERE entry.merchant_id = wallets.merchant_id AND entry.wallet_id = wallets.id
        AND entry.version = wallets.version;
    """,
    """
    -- What is to be carried out at an upstream, written down before it is asked for there.
    CREATE TABLE intents (
        id          INTEGER PRIMARY KEY,
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,    -- in whose dialect it was asked
        upstream    TEXT NOT NULL,
        mark        TEXT NOT NULL,    -- by which it is known again there
        parent      INTEGER,           -- the one for several customers of which it is a part
        wallet_id   INTEGER,           -- whose points they are, where one customer is addressed
        adjustment  TEXT NOT NULL,    -- a JSON object
        idempotency_key TEXT,
        fingerprint BLOB,
        likeness    BLOB NOT NULL,  -- the digest of the request, by which one without a key is known again
        state       TEXT NOT NULL,    -- waiting, open, unclear, parked, done, refused
        outcome     TEXT,             -- a JSON object
        owner       TEXT,             -- the gateway that is at it
        due_at      INTEGER NOT NULL,  -- when another one may take it up
        sent_at     INTEGER,
        known_again INTEGER NOT NULL,  -- whether the upstream's history shows it by its mark or key
        created_at  INTEGER NOT NULL,
        settled_at  INTEGER,
        follow      INTEGER NOT NULL DEFAULT 0  -- 1: once it is done, it is to follow at the other side of a move
    ) STRICT;
    CREATE UNIQUE INDEX intents_by_key ON intents (merchant_id, vendor, idempotency_key)
    WHERE idempotency_key IS NOT NULL AND state <> 'refused';
    CREATE UNIQUE INDEX intents_by_likeness ON intents (merchant_id, vendor, likeness)
    WHERE idempotency_key IS NULL AND parent IS NULL AND settled_at IS NULL;
    CREATE INDEX unsettled_intents ON intents (due_at) WHERE settled_at IS NULL;
    CREATE INDEX intents_of_parent ON intents (parent) WHERE parent IS NOT NULL;
    CREATE INDEX intents_of_wallet ON intents (merchant_id, wallet_id, id);
    CREATE INDEX intents_to_follow ON intents (merchant_id, vendor, wallet_id) WHERE follow = 1;
    CREATE INDEX intents_to_follow_since ON intents (merchant_id, vendor, created_at) WHERE follow = 1;

    -- How far a merchant's move from one backend to another is.
    CREATE TABLE migrations (
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,     -- whose dialect the clients speak
        stage       TEXT NOT NULL,     -- observe, shadow, mirror, lead, done, ended
        percent     INTEGER NOT NULL,  -- of the customers who are in it; the others are in the one before
        customers   TEXT NOT NULL,     -- a JSON array of the numbers of those who are in it besides
        staged_at   INTEGER NOT NULL,  -- when the stage became this one
        PRIMARY KEY (merchant_id, vendor)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE migration_changes (
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,
        number      INTEGER NOT NULL,  -- the migration's, from 1 without a gap
        stage       TEXT NOT NULL,
        percent     INTEGER NOT NULL,
        customers   INTEGER NOT NULL,  -- how many are named
        who         TEXT NOT NULL,
        why         TEXT NOT NULL,
        changed_at  INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, vendor, number)
    ) STRICT, WITHOUT ROWID;

    -- How far each customer's points at one side have followed those at the other.
    CREATE TABLE followed (
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,
        wallet_id   INTEGER NOT NULL,
        version     INTEGER,           -- of the wallet up to which its entries have followed; NULL: not taken over
        batch       TEXT,              -- the import that set the balance last
        pending     INTEGER,           -- the points by which the new balance is being set
        pending_key TEXT,
        owner       TEXT,              -- the gateway that is at it
        due_at      INTEGER NOT NULL,  -- when another one may take it up
        tries       INTEGER NOT NULL,  -- in vain, one after another
        PRIMARY KEY (merchant_id, vendor, wallet_id)
    ) STRICT, WITHOUT ROWID;

    -- What could not follow, which a person has to look at.
    CREATE TABLE parked_follow_ups (
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,
        key         TEXT NOT NULL,
        wallet_id   INTEGER NOT NULL,
        side        TEXT NOT NULL,     -- where it was to follow: old, new
        adjustment  TEXT NOT NULL,     -- a JSON object
        code        TEXT NOT NULL,     -- why it was refused
        state       TEXT NOT NULL,     -- parked, waiting (to be tried again)
        parked_at   INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, vendor, key)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE comparisons (
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,
        number      INTEGER NOT NULL,  -- the migration's, from 1; the oldest are forgotten
        wallet_id   INTEGER NOT NULL,
        kind        TEXT NOT NULL,     -- adjustment, customer
        differences TEXT NOT NULL,     -- a JSON array
        compared_at INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, vendor, number)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE reconciliations (
        merchant_id INTEGER NOT NULL,
        vendor      TEXT NOT NULL,
        number      INTEGER NOT NULL,  -- the migration's, from 1 without a gap
        started_at  INTEGER NOT NULL,
        finished_at INTEGER,           -- NULL: it was broken off
        equal       INTEGER NOT NULL,
        explained   INTEGER NOT NULL,
        different   INTEGER NOT NULL,
        unread      INTEGER NOT NULL,
        PRIMARY KEY (merchant_id, vendor, number)
    ) STRICT, WITHOUT ROWID;
    """,
)
