-- The read model. `condorito rebuild` makes it anew from the log; nothing here is the truth.
--
-- conversation.row and message.conversation_row are `client << 32 | conversation id`;
-- feed.row and every *_feed_row are `position << 16 | ordinal` (a cursor as one integer).

CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    version INTEGER NOT NULL,
    fold_version INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    checkpoint INTEGER NOT NULL,
    -- Rows of feed and feed_state, since counting them takes long.
    feed_rows INTEGER NOT NULL DEFAULT 0,
    -- 1: the full-text indexes hold words of erased persons until they are merged.
    words_due INTEGER NOT NULL DEFAULT 0,
    -- No message gets a lower row: those that erased messages had are not given again.
    message_row_min INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE tenant (
    client INTEGER PRIMARY KEY,
    stats TEXT NOT NULL,
    bot TEXT NOT NULL,
    whatsapp TEXT NOT NULL,
    day_date TEXT,
    day_zone TEXT,
    -- The newest state event of each kind in feed_state.
    stats_feed_row INTEGER,
    bot_feed_row INTEGER,
    whatsapp_feed_row INTEGER,
    -- The last fact that retention took away.
    floor_feed_row INTEGER NOT NULL DEFAULT 0
);

-- How tenants were set up at run time. `setup` has their credentials as they were sealed.
CREATE TABLE setup (
    client INTEGER PRIMARY KEY,
    event BLOB NOT NULL,
    at INTEGER NOT NULL,
    setup TEXT NOT NULL
);

CREATE TABLE conversation (
    row INTEGER PRIMARY KEY,
    client INTEGER NOT NULL,
    status TEXT NOT NULL,
    merged_into INTEGER,
    -- When something was last written in it, else when it was opened: the order of the list.
    active_at INTEGER NOT NULL,
    -- The newest conversation_updated in feed_state.
    feed_row INTEGER,
    body TEXT NOT NULL
);
CREATE INDEX conversation_by_activity ON conversation (client, active_at, row, status)
    WHERE merged_into IS NULL;

CREATE TABLE message (
    row INTEGER PRIMARY KEY,
    client INTEGER NOT NULL,
    conversation_row INTEGER NOT NULL,
    id BLOB NOT NULL,
    timestamp INTEGER NOT NULL,
    kind TEXT NOT NULL,
    direction TEXT NOT NULL,
    sender TEXT NOT NULL,
    status TEXT NOT NULL,
    status_at INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    -- 1: send_started, 2: imported, 64: its medium is to be fetched.
    flags INTEGER NOT NULL,
    -- First 64 bits of a hash of the dedupe_key: a small index for keys that are mostly new.
    key_hash INTEGER,
    dedupe_key TEXT,
    wa_message_id TEXT,
    text TEXT,
    media TEXT,
    payload TEXT,
    reply_to TEXT,
    client_ref TEXT,
    bulk_id BLOB,
    error TEXT
);
CREATE UNIQUE INDEX message_by_id ON message (id, client);
CREATE INDEX message_by_key ON message (key_hash) WHERE key_hash IS NOT NULL;
-- What waits to be sent, in the order in which it was queued.
CREATE INDEX message_queued ON message (client) WHERE status = 'queued';
CREATE INDEX message_by_conversation ON message (conversation_row, timestamp, id);
CREATE INDEX message_media_pending ON message (row) WHERE flags & 64;
CREATE INDEX message_by_media ON message (json_extract(media, '$.copy.id'), client)
    WHERE media IS NOT NULL;

CREATE TABLE waiting (
    client INTEGER NOT NULL,
    key TEXT NOT NULL,
    since INTEGER NOT NULL,
    waiting TEXT NOT NULL,
    PRIMARY KEY (client, key)
) WITHOUT ROWID;
CREATE INDEX waiting_by_age ON waiting (client, since);

CREATE TABLE hour (
    client INTEGER NOT NULL,
    hour INTEGER NOT NULL,
    received INTEGER NOT NULL,
    sent INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    read INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    PRIMARY KEY (client, hour)
) WITHOUT ROWID;

CREATE TABLE identity (
    client INTEGER NOT NULL,
    hash BLOB NOT NULL,
    conversation INTEGER NOT NULL,
    PRIMARY KEY (client, hash)
) WITHOUT ROWID;
CREATE INDEX identity_by_conversation ON identity (client, conversation);

-- Writes that were answered under a key; the answers are in the log, until it forgets them.
CREATE TABLE answer (
    client INTEGER NOT NULL,
    key TEXT NOT NULL,
    -- Whose data the answer holds, where it does.
    conversation INTEGER,
    at INTEGER NOT NULL,
    PRIMARY KEY (client, key)
) WITHOUT ROWID;
CREATE INDEX answer_by_age ON answer (client, at);

-- Ids of bulks begin with their time, so their order is that of creation.
CREATE TABLE bulk (
    client INTEGER NOT NULL,
    id BLOB NOT NULL,
    -- The runner may have something to do.
    active INTEGER NOT NULL,
    -- What it was asked to be, and what of it changes.
    spec TEXT NOT NULL,
    progress TEXT NOT NULL,
    -- The newest bulk_message_progress in feed_state.
    feed_row INTEGER,
    PRIMARY KEY (client, id)
) WITHOUT ROWID;
CREATE INDEX bulk_active ON bulk (client, id) WHERE active;

-- Recipients as they were given, by the number of the part's first. Personal data.
CREATE TABLE bulk_part (
    client INTEGER NOT NULL,
    bulk BLOB NOT NULL,
    first INTEGER NOT NULL,
    part INTEGER NOT NULL,
    recipients TEXT NOT NULL
);
CREATE UNIQUE INDEX bulk_part_by_first ON bulk_part (client, bulk, first);

-- Recipients who are claimed. The message is found by its id, which follows from bulk and number.
CREATE TABLE bulk_recipient (
    client INTEGER NOT NULL,
    bulk BLOB NOT NULL,
    number INTEGER NOT NULL,
    result TEXT NOT NULL,
    conversation INTEGER,
    PRIMARY KEY (client, bulk, number)
) WITHOUT ROWID;

-- Numbers of erased conversations: never used again. No personal data.
CREATE TABLE erased (
    client INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    PRIMARY KEY (client, conversation)
) WITHOUT ROWID;

-- Keyed hashes of erased identities, for as long as what they wrote before may be told again.
CREATE TABLE erased_identity (
    client INTEGER NOT NULL,
    hash BLOB NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (client, hash)
) WITHOUT ROWID;

-- Erasures of which streams and media are not deleted yet.
CREATE TABLE erasing (
    client INTEGER NOT NULL,
    conversation INTEGER NOT NULL,
    erasure TEXT NOT NULL,
    PRIMARY KEY (client, conversation)
) WITHOUT ROWID;

-- The public events in their final bytes. Facts are appended and taken away by retention alone.
CREATE TABLE feed (
    row INTEGER PRIMARY KEY,
    client INTEGER NOT NULL,
    type INTEGER NOT NULL,
    conversation INTEGER,
    taken_in_at INTEGER NOT NULL,
    json BLOB NOT NULL
);
CREATE INDEX feed_by_client ON feed (client);

-- Of each state key the newest event, so never more rows than there are keys.
CREATE TABLE feed_state (
    client INTEGER NOT NULL,
    row INTEGER NOT NULL,
    type INTEGER NOT NULL,
    conversation INTEGER,
    -- What supersedes it, where that is not the conversation: a hash of the bulk's id.
    key INTEGER,
    taken_in_at INTEGER NOT NULL,
    json BLOB NOT NULL,
    PRIMARY KEY (client, row)
) WITHOUT ROWID;

-- Words made by words.rs; no text is kept here, and none of its positions.
CREATE VIRTUAL TABLE message_words USING fts5
    (words, content = '', columnsize = 0, detail = none, tokenize = 'ascii');
CREATE VIRTUAL TABLE contact_words USING fts5
    (words, content = '', columnsize = 0, detail = none, tokenize = 'ascii');
