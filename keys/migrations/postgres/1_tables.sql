-- Everything the key service knows. Ids, keys and digests are hexadecimal digits, times seconds since 1970.
CREATE TABLE settings (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
CREATE TABLE devices (
    device_id TEXT PRIMARY KEY NOT NULL,
    state TEXT NOT NULL,
    class TEXT NOT NULL,
    attestation_key TEXT NOT NULL,
    device_key TEXT NOT NULL,
    certificate TEXT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE TABLE keys (name TEXT PRIMARY KEY NOT NULL, policy TEXT NOT NULL, changed BIGINT NOT NULL);
CREATE TABLE versions (
    name TEXT NOT NULL REFERENCES keys (name),
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    retires BIGINT NOT NULL,
    material TEXT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (name, version)
);
-- A challenge is good for one release.
CREATE TABLE releases (
    challenge TEXT PRIMARY KEY NOT NULL,
    id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    name TEXT NOT NULL,
    version BIGINT NOT NULL,
    time BIGINT NOT NULL,
    digest TEXT NOT NULL,
    bundle TEXT NOT NULL
);
CREATE INDEX releases_of_device ON releases (device_id, name, time);
CREATE TABLE approvals (
    action TEXT NOT NULL,
    object TEXT NOT NULL,
    actor TEXT NOT NULL,
    time BIGINT NOT NULL,
    PRIMARY KEY (action, object)
);
CREATE TABLE revocations (sequence BIGINT PRIMARY KEY NOT NULL, statement TEXT NOT NULL, time BIGINT NOT NULL);
CREATE TABLE outbox (
    id TEXT PRIMARY KEY NOT NULL,
    url TEXT NOT NULL,
    body TEXT NOT NULL,
    attempts BIGINT NOT NULL,
    due BIGINT NOT NULL
);
CREATE TABLE clients (fingerprint TEXT PRIMARY KEY NOT NULL, subject TEXT NOT NULL, time BIGINT NOT NULL);
CREATE TABLE audit (sequence BIGINT PRIMARY KEY NOT NULL, previous TEXT NOT NULL, hash TEXT NOT NULL, body TEXT NOT NULL);
CREATE TABLE audit_head (
    id BIGINT PRIMARY KEY NOT NULL CHECK (id = 1),
    sequence BIGINT NOT NULL,
    hash TEXT NOT NULL,
    time BIGINT NOT NULL
);
INSERT INTO audit_head VALUES (1, 0, '0000000000000000000000000000000000000000000000000000000000000000', 0);
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit records are append-only';
END;
$$;
CREATE TRIGGER audit_is_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
